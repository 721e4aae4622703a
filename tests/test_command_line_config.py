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


def band(batch):
    """A cue of one's own, named by its import path."""
    return batch["image"].mean((1, 2, 3))


OPTIONS = """
- class_path: lightning_failures.FactorErrorMonitor
  init_args: {factors: {dark: meta.dark, blurred: 1}, on_error: raise}
- class_path: lightning_failures.CollapseMonitor
  init_args: {layers: [net.*, head], factors: [dark], by_class: true, every_n_steps: 50}
- class_path: lightning_failures.SimplicityBiasMonitor
  init_args: {cues: {band: tests.test_command_line_config.band}, wavelengths: [400, 500.5], inputs: image}
- class_path: lightning_failures.PerturbationMonitor
  init_args: {names: [blur], images: null}
- class_path: lightning_failures.ChannelAttributionMonitor
  init_args: {wavelengths: [400, 500], unit: nm, bands: {red: [0, 1]}, targets: label, logits: net.fc}
- class_path: lightning_failures.FailureDiagnosis
  init_args: {rules: RULES, action: stop, metric: max val_acc, announce: nothing}
- class_path: lightning_failures.FailureDiagnosis
  init_args:
    name: other
    rules: [class_collapse, {name: own, kind: own_rule, when: val_loss > 1, message: "{val_loss}"}]
- class_path: lightning_failures.GatedEarlyStopping
  init_args: {constraints: a <= 1, patience: 2, warmup: 3}
- class_path: lightning_failures.GatedCheckpoint
  init_args: {constraints: a <= 1, monitor: val_loss, mode: max, save_top_k: 3, every_n_train_steps: 10}
"""


def test_every_option_that_is_no_object_can_be_written_in_yaml():
    from jsonargparse import ArgumentParser

    parser = ArgumentParser(exit_on_error=False)
    parser.add_argument("--callbacks", type=list[Callback])
    text = OPTIONS.replace("RULES", str(EXAMPLES / "rules.yaml"))
    config = parser.parse_object({"callbacks": yaml.safe_load(text)})
    instantiate = getattr(parser, "instantiate", None) or parser.instantiate_classes
    made = instantiate(config).callbacks
    assert [type(each) for each in made] == [
        getattr(lf, entry["class_path"].split(".")[1]) for entry in yaml.safe_load(text)
    ]
    assert {rule.name for rule in made[5].rules} >= {"class_collapse", "diverged"}
    assert [rule.name for rule in made[6].rules] == ["class_collapse", "own"]
    assert (made[8].save_top_k, made[8].mode, made[7].warmup) == (3, "max", 3)
