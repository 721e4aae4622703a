"""Runs under Lightning's other name, ``pytorch_lightning``, which published packages still import."""

import copy
import inspect
import json
import pickle
import subprocess
import sys
import warnings

import lightning as L
import pytest
import torch

import lightning_failures as lf
from lightning_failures.callbacks.monitor import Monitor
from lightning_failures.errors import FailuresWarning
from lightning_failures.reporting.loggers import log_table
from tests import runs

pl = pytest.importorskip("pytorch_lightning")

LOSS = "val_loss <= 100"


class Classifier(pl.LightningModule):
    """An ordinary module of the other package."""

    def __init__(self):
        super().__init__()
        self.net = runs.Classifier().net

    training_step = runs.Classifier.training_step
    validation_step = runs.Classifier.validation_step
    configure_optimizers = runs.Classifier.configure_optimizers


def fit(callbacks, folder, **options):
    pl.seed_everything(7, verbose=False)
    defaults = {
        "max_epochs": 2,
        "accelerator": "cpu",
        "logger": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
        "default_root_dir": folder,
    }
    trainer, module = pl.Trainer(callbacks=callbacks, **(defaults | options)), Classifier()
    trainer.fit(module, *runs.loaders())
    return trainer, module


@pytest.fixture
def silent():
    """Nothing of ours is amiss, and nothing is said."""
    with warnings.catch_warnings():
        warnings.simplefilter("error", FailuresWarning)
        yield


@pytest.mark.usefixtures("silent")
def test_all_monitors_findings_and_gates_run_under_the_other_name(tmp_path):
    monitors = lf.failure_monitors(factors=runs.table(), on_error="raise", report_dir=tmp_path / "report")
    gate = lf.GatedCheckpoint(LOSS, monitor="val_loss", dirpath=tmp_path / "kept", save_last=True)
    stopping = lf.GatedEarlyStopping("val_loss <= 0", patience=2)
    trainer, module = fit([gate, stopping, *monitors], tmp_path, max_epochs=4)
    nouns = {
        key.split("/")[1] for key in trainer.callback_metrics if key.count("/") > 1 and key.startswith("failures/")
    }
    assert nouns == {monitor.noun for monitor in monitors if isinstance(monitor, Monitor)} - {
        "images"
    }  # has no figures
    assert (stopping.stopped_epoch, trainer.current_epoch) == (1, 2)
    assert trainer.checkpoint_callbacks == [gate]
    assert trainer.callbacks[-1] is gate  # after all that log
    assert (tmp_path / "report" / "findings.json").is_file()
    assert len(json.loads((tmp_path / "kept" / "gate.json").read_text())["evaluations"]) == 2
    kept = torch.load(gate.best_model_path, weights_only=True)
    assert kept["failures_verdict"]["feasible"] is True
    assert runs.hooks_on(module) == 0
    trainer.validate(module, runs.loaders()[1], ckpt_path="best", verbose=False)


@pytest.mark.usefixtures("silent")
def test_a_run_under_the_other_name_is_resumed(tmp_path):
    def gate():
        return lf.GatedCheckpoint(LOSS, monitor="val_loss", dirpath=tmp_path / "kept", save_last=True, save_top_k=-1)

    first = gate()
    fit([first], tmp_path)
    second = gate()
    trainer = pl.Trainer(
        callbacks=[second],
        max_epochs=3,
        accelerator="cpu",
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        default_root_dir=tmp_path,
    )
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Checkpoint directory .* exists and is not empty")
        trainer.fit(Classifier(), *runs.loaders(), ckpt_path="last")
    assert [verdict["epoch"] for verdict in second.verdicts.verdicts] == [0, 1, 2]
    assert second.state_key == first.state_key


def test_loggers_of_the_other_name_get_tables_and_figures_where_they_keep_them(tmp_path):
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    logger = pl.loggers.TensorBoardLogger(tmp_path)
    log_table([logger], "failures/factors/table", ["epoch", "factor"], [[0, "dark"]], 10)
    logger.experiment.flush()
    events = EventAccumulator(logger.log_dir, size_guidance={"tensors": 0})
    events.Reload()
    assert [event.step for event in events.Tensors("failures/factors/table/text_summary")] == [10]


def test_one_gate_serves_the_trainers_of_both_names(tmp_path):
    gate = lf.GatedCheckpoint(LOSS, monitor="val_loss", dirpath=tmp_path / "kept")
    runs.fit([gate], enable_checkpointing=True)
    assert type(gate) is lf.GatedCheckpoint
    assert isinstance(gate, L.pytorch.callbacks.ModelCheckpoint)
    assert isinstance(gate, pl.callbacks.ModelCheckpoint)
    assert gate.best_model_path
    assert next(iter(inspect.signature(lf.GatedCheckpoint).parameters)) == "constraints"


def test_monitors_findings_and_early_stopping_are_callbacks_of_both_names():
    for callback in (*lf.failure_monitors(factors=runs.table()), lf.GatedEarlyStopping(LOSS)):
        assert isinstance(callback, L.Callback)
        assert isinstance(callback, pl.Callback)


@pytest.mark.parametrize("again", [copy.deepcopy, lambda gate: pickle.loads(pickle.dumps(gate))])
def test_copies_and_pickles_serve_both_names(again, tmp_path):
    gate = lf.GatedCheckpoint(LOSS, monitor="val_loss", dirpath=tmp_path)
    other = again(gate)
    assert type(other) is lf.GatedCheckpoint
    assert isinstance(other, pl.callbacks.ModelCheckpoint)
    assert (other.dirpath, other.monitor, other.state_key) == (gate.dirpath, "val_loss", gate.state_key)


def said_by(program):
    """What another process prints, which imports what its program says and nothing else."""
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    return run.stdout.splitlines()


def test_the_other_package_is_not_imported_by_us():
    program = (
        "import sys, lightning_failures as lf\n"
        "gate = lf.GatedCheckpoint('val_loss <= 1')\n"
        "print('pytorch_lightning' in sys.modules)"
    )
    assert said_by(program) == ["False"]


def test_classes_are_of_both_names_before_any_is_made_as_a_command_line_of_the_other_package_asks():
    program = (
        "import pytorch_lightning as pl, lightning_failures as lf\n"
        "print(issubclass(lf.GatedCheckpoint, pl.Callback), issubclass(lf.CollapseMonitor, pl.Callback))"
    )
    assert said_by(program) == ["True True"]


def test_a_gate_made_before_the_other_package_was_imported_is_an_error_that_says_what_to_do():
    program = (
        "import lightning_failures as lf\n"
        "gate = lf.GatedCheckpoint('val_loss <= 1')\n"
        "import pytorch_lightning as pl\n"
        "trainer = pl.Trainer(logger=False, accelerator='cpu')\n"
        "trainer.callbacks.append(gate)\n"
        "try:\n"
        "    gate.setup(trainer, pl.LightningModule(), 'fit')\n"
        "except lf.FailuresError as error:\n"
        "    print(error)\n"
        "lf.CollapseMonitor()\n"  # the next callback that is made sees the other package
        "print(isinstance(gate, pl.callbacks.ModelCheckpoint))"
    )
    assert said_by(program) == [
        "GatedCheckpoint: the Trainer does not know the gate as a checkpoint; given a Trainer of pytorch_lightning, "
        "which was imported after the gate was made. Import pytorch_lightning before you make the gate.",
        "True",
    ]


def test_checkpoints_of_the_other_package_are_replayed_at_their_epochs(tmp_path):
    fit([pl.callbacks.ModelCheckpoint(tmp_path, save_top_k=-1)], tmp_path)
    callbacks = [lf.CollapseMonitor(on_error="raise"), lf.FailureDiagnosis(announce="nothing", on_error="raise")]
    record = lf.replay(tmp_path, Classifier(), runs.loaders(), callbacks, accelerator="cpu")
    assert [(each.epoch, each.step) for each in record.evaluations] == [(0, 6), (1, 12)]
    assert 0 < record.last("failures/collapse/kept/penultimate") <= 1
