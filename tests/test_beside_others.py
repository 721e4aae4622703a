"""Beside others: several validation loaders, other callbacks, loggers that fail, and W&B that is not installed."""

import json
import sys
from importlib.metadata import EntryPoint

import lightning as L
import pytest
import torch
from lightning.pytorch.loggers import CSVLogger, Logger, WandbLogger
from torch.utils.data import DataLoader

from lightning_failures import (
    ChannelAttributionMonitor,
    CollapseMonitor,
    FailureDiagnosis,
    GatedCheckpoint,
    GatedEarlyStopping,
    failure_monitors,
)
from lightning_failures.errors import FailuresWarning
from lightning_failures.reporting.loggers import log_scalars
from tests.runs import Classifier, dataset, fit, hooks_on, loaders, table

TWO = (loaders()[0], [DataLoader(dataset(30, seed=1), batch_size=8), DataLoader(dataset(16, seed=2), batch_size=8)])


class TwoLoaders(Classifier):
    """Validates on two loaders, whose keys Lightning tells apart by a suffix."""

    def validation_step(self, batch, batch_idx, dataloader_idx=0):
        return super().validation_step(batch, batch_idx)


# -- several validation loaders


@pytest.mark.parametrize("name", ["val_loss", "val_loss/dataloader_idx_0"])
@pytest.mark.parametrize(("module", "data"), [(TwoLoaders, TWO), (Classifier, loaders())], ids=["two", "one"])
def test_a_gate_finds_the_first_loader_s_value_whatever_lightning_calls_it(tmp_path, module, data, name):
    gate = GatedCheckpoint(f"{name} < 100", monitor=name, tie_breaks=[f"min {name}"], dirpath=tmp_path)
    run, _ = fit([gate], module(), data=data, enable_checkpointing=True)
    logged = "val_loss/dataloader_idx_0" if module is TwoLoaders else "val_loss"
    assert gate.feasible
    assert gate.best_model_score <= run.callback_metrics[logged]
    last = json.loads((tmp_path / "gate.json").read_text())["evaluations"][-1]
    assert [each["value"] for each in last["constraints"]] == pytest.approx([float(run.callback_metrics[logged])] * 3)


def test_the_second_loader_is_asked_for_by_its_own_name(tmp_path):
    gate = GatedCheckpoint("val_loss/dataloader_idx_1 < 0", dirpath=tmp_path)
    run, _ = fit([gate], TwoLoaders(), data=TWO, epochs=1, enable_checkpointing=True)
    value = float(run.callback_metrics["val_loss/dataloader_idx_1"])
    assert gate.verdict.why == f"val_loss/dataloader_idx_1 = {value:.4g} violates < 0 by {value:.3g}"


def test_what_monitors_log_has_no_suffix_and_a_rule_and_a_stop_find_the_first_loader_s_values():
    rule = {"name": "high", "kind": "own_rule", "when": "val_loss > 0", "message": "{val_loss:.1f}", "warmup": 0}
    diagnosis = FailureDiagnosis([rule | {"persistence": 1}], announce="nothing", on_error="raise")
    stopping = GatedEarlyStopping("val_loss < 0", patience=2)
    monitor = CollapseMonitor(on_error="raise")
    run, _ = fit([monitor, diagnosis, stopping], TwoLoaders(), data=TWO, epochs=5)
    assert [finding.rule for finding in diagnosis.findings] == ["high"]
    assert diagnosis.findings[0].metric == "val_loss"
    assert stopping.stopped_epoch == 1
    assert run.callback_metrics["failures/collapse/images/penultimate"] == 30  # of the first loader


def test_a_key_that_nobody_logged_is_told_with_the_suffixed_ones_that_may_be_meant(tmp_path):
    gate = GatedCheckpoint("val_los < 1", dirpath=tmp_path)
    with pytest.warns(FailuresWarning) as caught:
        fit([gate], TwoLoaders(), data=TWO, epochs=1, enable_checkpointing=True)
    (said,) = (str(warning.message) for warning in caught if warning.category is FailuresWarning)
    assert said == (
        "GatedCheckpoint: 'val_los' was not logged; the nearest that were: 'val_loss', "
        "'val_loss/dataloader_idx_1', 'val_loss/dataloader_idx_0'."
    )


# -- other callbacks


class Theirs(L.Callback):
    """Of another package: logs under its own keys, and keeps what it is given."""

    def on_validation_epoch_end(self, trainer, pl_module):
        pl_module.log("theirs/score", 1.0 + trainer.current_epoch)


def theirs():
    """What the entry point of another package gives."""
    return [Theirs()]


def test_callbacks_that_another_package_adds_by_its_entry_point_are_heard_by_rules_and_gates(monkeypatch, tmp_path):
    entry = EntryPoint("theirs", "tests.test_beside_others:theirs", "lightning.pytorch.callbacks_factory")

    def entry_points(group=None, **_):
        return [entry] if group == "lightning.pytorch.callbacks_factory" else []

    for name, module in list(sys.modules.items()):
        if name == "lightning.fabric.utilities.registry":
            monkeypatch.setattr(module, "entry_points", entry_points)
    rule = {"name": "high", "kind": "own_rule", "when": "theirs/score > 1", "message": "{score}", "warmup": 0}
    diagnosis = FailureDiagnosis([rule | {"persistence": 1}], announce="nothing", on_error="raise")
    gate = GatedCheckpoint("theirs/score <= 1", dirpath=tmp_path)
    run, _ = fit([CollapseMonitor(on_error="raise"), diagnosis, gate], epochs=2, enable_checkpointing=True)
    assert "Theirs" in [type(callback).__name__ for callback in run.callbacks]
    assert [finding.rule for finding in diagnosis.findings] == ["high"]
    assert [each["feasible"] for each in gate.verdicts.verdicts] == [True, False]


# -- loggers


class Gone(Logger):
    """A logger whose server is gone, which takes no more than what Lightning logs itself."""

    name, version, experiment, save_dir = "gone", "0", None, None

    @property
    def log_dir(self):
        raise ConnectionError("the server\nis gone")

    def log_hyperparams(self, *args, **kwargs):
        pass

    def log_metrics(self, metrics, step=None):
        if "epoch" not in metrics:  # which Lightning adds to all that it logs itself
            raise ConnectionError("the server\nis gone")


class GoneWandb(Gone, WandbLogger):
    """The same of W&B."""

    def __init__(self):
        Logger.__init__(self)

    def after_save_checkpoint(self, checkpoint_callback):
        pass

    def finalize(self, status):
        pass


def test_a_logger_that_refuses_scalars_is_named_once_and_training_and_monitors_go_on(tmp_path):
    monitors = failure_monitors(factors=table(), on_error="raise")
    logger, kept = Gone(), CSVLogger(tmp_path, name="", version="")
    with pytest.warns(FailuresWarning) as caught:
        _, module = fit(monitors, logger=[logger, kept], epochs=2, log_every_n_steps=1)
    said = [str(warning.message) for warning in caught if warning.category is FailuresWarning]
    assert all(monitor.failure is None for monitor in monitors)
    assert hooks_on(module) == 0
    assert len(said) == 1
    assert said[0].startswith("lightning-failures: Gone refused what a monitor gave it, training goes on: ")
    assert said[0].count("\n") == 1
    assert (tmp_path / "failures" / "factors" / "table.jsonl").exists()  # the other logger has all


def test_scalars_that_are_logged_at_once_reach_the_loggers_that_take_them(tmp_path):
    gone, kept = Gone(), CSVLogger(tmp_path)
    with pytest.warns(FailuresWarning) as caught:
        log_scalars([gone, kept], {"train": 0.0}, 0)
    for step in (1, 2):
        log_scalars([gone, kept], {"train": float(step)}, step)
    (said,) = caught
    assert str(said.message) == (
        "lightning-failures: Gone refused what a monitor gave it, training goes on: ConnectionError: the server is "
        "gone.\nMend the logger, or leave it out; this is said once."
    )
    assert kept.experiment.metrics == [{"train": float(step), "step": step} for step in range(3)]


def test_training_windows_and_steps_between_evaluations_survive_a_logger_that_fails():
    monitors = [
        CollapseMonitor(every_n_steps=2, on_error="raise"),
        ChannelAttributionMonitor(every_n_steps=2, budget=1e9, on_error="raise"),
    ]
    with pytest.warns(FailuresWarning, match="refused what a monitor gave it"):
        fit(monitors, logger=Gone(), epochs=2, log_every_n_steps=1)
    assert [monitor.failure for monitor in monitors] == [None, None]


def test_a_gate_survives_a_logger_that_fails(tmp_path):
    gate = GatedCheckpoint("val_loss < 100", dirpath=tmp_path)
    with pytest.warns(FailuresWarning, match="GoneWandb refused what a monitor gave it"):
        fit([gate], logger=GoneWandb(), epochs=1, enable_checkpointing=True, log_every_n_steps=1)
    assert gate.best_model_path
    assert torch.load(gate.best_model_path, weights_only=True)["failures_verdict"]["feasible"]


def test_without_wandb_all_monitors_and_gates_work(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "wandb", None)  # an import of it fails
    gate = GatedCheckpoint("val_loss < 100", dirpath=tmp_path / "gate")
    monitors = failure_monitors(factors=table(), on_error="raise")
    logger = CSVLogger(tmp_path, name="", version="")
    fit([*monitors, gate], logger=logger, epochs=2, enable_checkpointing=True, log_every_n_steps=1)
    assert gate.feasible
    assert (tmp_path / "failures" / "factors" / "table.jsonl").exists()
