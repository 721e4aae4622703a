"""An offline run in a process of its own, read back with W&B's own reader."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("wandb")
pytest.importorskip("matplotlib")

ROOT = Path(__file__).resolve().parents[1]

SCRIPT = """
import math, socket, sys

connect = socket.socket.connect
def local(self, address):
    if self.family != socket.AF_UNIX and address[0] not in ("127.0.0.1", "::1", "localhost"):
        raise SystemExit(f"the network was tried: {address}")
    return connect(self, address)
socket.socket.connect = local

from lightning.pytorch.loggers import WandbLogger
from lightning_failures.callbacks.factors import factor_figure
from lightning_failures.reporting.loggers import log_alert, log_figure, log_summary, log_table
from tests.records import failing

folder = sys.argv[1]
logger = WandbLogger(project="test", offline=True, save_dir=folder)
logger.log_metrics({"val_acc": 0.3}, 100)
for epoch, step in enumerate((100, 200, 50)):  # a step that goes back drops nothing
    rows = [[epoch, "dark", 1.5 + epoch], [epoch, "bright", math.nan]]
    log_table([logger], "failures/factors/table", ["epoch", "factor", "error_ratio"], rows, step)
    log_figure([logger], "failures/factors/figure", factor_figure(failing()), step)
log_table([logger], "failures/factors/table", ["epoch", "factor", "error_ratio"], [], 300)
log_alert([logger], "untapped information " * 5, "The network gets 52%.", "failure")
log_summary([logger], {"failures/findings": 3, "failures/low": math.nan})
logger.experiment.finish()
"""


def write(folder: Path) -> Path:
    private = {f"WANDB_{name}_DIR": str(folder / name.lower()) for name in ("CACHE", "CONFIG", "DATA", "ARTIFACT")}
    settings = {"WANDB_SILENT": "true", "PYTHONPATH": str(ROOT), "HOME": str(folder)}
    environment = {k: v for k, v in os.environ.items() if not k.startswith("WANDB_")} | private | settings
    # W&B leaves its temporary folders to the interpreter's end, of which ResourceWarning complains.
    command = [sys.executable, "-W", "error", "-W", "ignore::ResourceWarning", "-c", SCRIPT, str(folder)]
    done = subprocess.run(command, env=environment, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "Warning" not in done.stderr
    (run,) = (folder / "wandb").glob("offline-run-*")
    return run


def inspect(run: Path, *options: str) -> str:
    command = [sys.executable, "-m", "wandb", "leet", "inspect", *options, "--json", str(run)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip("wandb leet inspect needs wandb 0.29")
    return done.stdout


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("wandb"))


@pytest.fixture(scope="module")
def records(run: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in inspect(run).splitlines()]


def test_the_table_grows_and_the_newest_figure_stands_in_the_summary(run: Path) -> None:
    summary = json.loads(inspect(run, "--summary"))["summary"]
    table = summary["failures/factors/table"]
    assert table["_type"] == "incremental-table-file"
    assert (table["ncols"], table["nrows"], table["increment_num"]) == (3, 6, 2)
    assert summary["failures/factors/figure"]["format"] == "png"
    assert summary["failures/findings"] == 3
    assert summary.get("failures/low") is None


def test_each_increment_holds_the_new_rows_only(run: Path) -> None:
    tables = sorted(json.loads(path.read_text())["data"] for path in (run / "files").rglob("*.table.json"))
    assert tables == [[[e, "dark", 1.5 + e], [e, "bright", None]] for e in range(3)]


def test_every_step_is_kept_beside_what_was_logged(records: list[dict[str, Any]]) -> None:
    history = [record["history"]["item"] for record in records if record["type"] == "history"]
    figures = [item for item in history if any(key.startswith("failures/factors/figure") for key in item)]
    assert [item["trainer/global_step"] for item in figures] == [100, 200, 50]
    steps = [item["_step"] for item in history]
    assert steps == sorted(set(steps))


def test_an_alert_is_sent_with_a_title_that_fits(records: list[dict[str, Any]]) -> None:
    (alert,) = (record["alert"] for record in records if record["type"] == "alert")
    assert alert["level"] == "ERROR"
    assert alert["text"] == "The network gets 52%."
    assert alert["title"] == ("untapped information " * 5)[:63]
