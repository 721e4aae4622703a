"""A run of W&B with accumulated gradients, half epochs and the user's own ``wandb.log``: read back, nothing is missing.

The same run's CSV log is the oracle.
"""

import csv
import json
import math
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

import pytest

pytest.importorskip("wandb")
pytest.importorskip("matplotlib")

from lightning_failures.reporting.wandb import read_history

ROOT = Path(__file__).resolve().parents[1]

SCRIPT = """
import json, logging, sys, warnings

warnings.simplefilter("ignore")
import wandb
from lightning.pytorch.loggers import CSVLogger, WandbLogger
from lightning_failures import failure_monitors
from tests.runs import Classifier, fit, table

folder = sys.argv[1]
calls = []
log = wandb.Run.log


def noted(self, data, *args, **options):
    ours = any(key.startswith("failures/") for key in data)
    calls.append({"ours": ours, "commit": options.get("commit"), "step": data.get("trainer/global_step")})
    return log(self, data, *args, **options)


wandb.Run.log = noted


class Mine(Classifier):
    def training_step(self, batch, place):
        wandb.log({"mine": self.trainer.current_epoch * 100 + place})
        loss = super().training_step(batch, place)
        self.log("train_loss", loss)
        return loss


monitors = failure_monitors(factors=table(), budget=None, on_error="raise")
monitors[-1].announce = "nothing"
loggers = [WandbLogger(project="test", offline=True, save_dir=folder), CSVLogger(folder, name="", version="")]
options = {"log_every_n_steps": 1, "accumulate_grad_batches": 2, "val_check_interval": 0.5}
fit(monitors, Mine(), epochs=2, logger=loggers, **options)
wandb.finish()
with open(folder + "/calls.json", "w") as file:
    json.dump(calls, file)
"""


class Run(NamedTuple):
    folder: Path
    file: Path
    rows: list[dict[str, Any]]
    calls: list[dict[str, Any]]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    folder = tmp_path_factory.mktemp("wandb-run")
    private = {f"WANDB_{name}_DIR": str(folder / name.lower()) for name in ("CACHE", "CONFIG", "DATA", "ARTIFACT")}
    settings = {"WANDB_SILENT": "true", "PYTHONPATH": str(ROOT), "HOME": str(folder)}
    environment = {k: v for k, v in os.environ.items() if not k.startswith("WANDB_")} | private | settings
    command = [sys.executable, "-c", SCRIPT, str(folder)]
    done = subprocess.run(command, env=environment, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    (file,) = folder.glob("wandb/offline-run-*/*.wandb")
    rows, whole = read_history(file)
    assert whole
    read = [{key: json.loads(value) for key, value in row.items()} for row in rows]
    return Run(folder, file, read, json.loads((folder / "calls.json").read_text()))


def as_logged(folder: Path) -> list[tuple[str, int, float]]:
    """Key, step and value of all that Lightning's CSV log has."""
    with (folder / "metrics.csv").open() as file:
        lines = list(csv.DictReader(file))
    return [
        (key, int(line["step"]), float(cell))
        for line in lines
        for key, cell in line.items()
        if cell and key not in ("step", "epoch")
    ]


def test_every_figure_stands_at_its_step(run: Run) -> None:
    expected = as_logged(run.folder)
    assert len([key for key, _, _ in expected if key.startswith("failures/")]) > 50
    assert {"failures/accuracy", "failures/kept", "failures/findings", "val_loss", "train_loss"} <= {
        key for key, _, _ in expected
    }
    found: dict[tuple[str, int], list[float]] = {}
    for row in run.rows:
        for key, value in row.items():
            if isinstance(value, int | float):
                found.setdefault((key, row.get("trainer/global_step", -1)), []).append(value)
    for key, step, value in expected:
        assert any(
            math.isclose(value, other, rel_tol=1e-6) or (math.isnan(value) and math.isnan(other))
            for other in found.get((key, step), ())
        ), (key, step, value)


def test_the_figures_of_an_evaluation_and_the_count_of_findings_stand_at_one_step(run: Run) -> None:
    steps = {
        key: [step for each, step, _ in as_logged(run.folder) if each == key]
        for key in ("val_loss", "failures/findings")
    }
    assert steps["val_loss"] == steps["failures/findings"]
    assert len(steps["val_loss"]) == 4


def test_no_row_of_the_user_is_dropped_or_moved(run: Run) -> None:
    assert [row["mine"] for row in run.rows if "mine" in row] == [*range(6), *range(100, 106)]
    steps = [row["_step"] for row in run.rows]
    assert steps == sorted(set(steps))
    assert not any("mine" in row and any(key.startswith("failures/") for key in row) for row in run.rows)


def test_an_evaluation_makes_two_rows_pictures_and_tables_included(run: Run) -> None:
    evaluated = [row["trainer/global_step"] for row in run.rows if "val_loss" in row]
    assert len(set(evaluated)) == 4
    for step in evaluated:
        ours = [call for call in run.calls if call["ours"] and call["step"] == step]
        assert len([call for call in ours if call["commit"] is not False]) == 2
        assert [call["commit"] for call in ours[-2:]] == [None, None]  # what came before is in the first of them
        assert len(ours) >= 5


def test_the_viewer_of_wandb_reads_the_same_rows(run: Run) -> None:
    command = [sys.executable, "-m", "wandb", "leet", "inspect", "--json", str(run.file.parent)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip("wandb leet inspect needs wandb 0.29")
    records = [json.loads(line) for line in done.stdout.splitlines()]
    history = [record["history"]["item"] for record in records if record["type"] == "history"]
    assert [item["_step"] for item in history] == [row["_step"] for row in run.rows]
    for item, row in zip(history, run.rows, strict=True):
        assert ("val_loss" in row) is any(key.startswith("failures/factors/table.") for key in item)
        for key in ("failures/accuracy", "failures/kept", "failures/findings", "mine", "trainer/global_step"):
            assert item.get(key) == row.get(key)
