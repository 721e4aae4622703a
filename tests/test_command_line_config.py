"""Every callback from YAML, with LightningCLI, as the example has it."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import yaml
from lightning.pytorch import Callback

import lightning_failures as lf

pytest.importorskip("jsonargparse")
pytest.importorskip("jinja2")
pytest.importorskip("matplotlib")

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"
CONFIG = yaml.safe_load((EXAMPLES / "config.yaml").read_text())


def test_the_example_names_every_callback():
    classes = {name for name in lf.__all__ if isinstance(getattr(lf, name), type)}
    callbacks = {name for name in classes if issubclass(getattr(lf, name), Callback)}
    assert {entry["class_path"].removeprefix("lightning_failures.") for entry in CONFIG["trainer"]["callbacks"]} == (
        callbacks
    )


@pytest.mark.slow
def test_the_example_runs_as_it_is(tmp_path):
    for name in ("command_line.py", "config.yaml"):
        shutil.copy(EXAMPLES / name, tmp_path)
    quick = ["--trainer.max_epochs=2", "--trainer.accelerator=cpu", "--trainer.enable_progress_bar=false"]
    done = subprocess.run(
        [sys.executable, "command_line.py", "fit", "--config", "config.yaml", *quick],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "stepped aside" not in done.stdout + done.stderr
    assert "Verdict" in done.stdout
    last = json.loads((tmp_path / "report" / "findings.json").read_text())["runs"]["run"]["last"]
    for key in ("factors/error_ratio/dark", "collapse/class_share", "simplicity/low", "factors/perturbed_ratio/blur"):
        assert f"failures/{key}" in last
    (log,) = (tmp_path / "lightning_logs").rglob("gate.json")
    assert json.loads(log.read_text())["constraints"] == [
        "val_acc >= failures/collapse/chance + 0.1",
        "failures/factors/high/* <= 5",
    ]
    verdict = torch.load(log.parent / "last.ckpt", weights_only=True)["failures_verdict"]
    assert verdict["epoch"] == 1
