"""A run that somebody interrupts: its report and record are there, its hooks are off, and it can go on."""

import json
import signal

import lightning as L
import pytest
from lightning.pytorch.callbacks import ModelCheckpoint

from lightning_failures import failure_monitors
from tests.runs import Classifier, fit, hooks_on, loaders, table, trainer


class Interrupts(L.Callback):
    """Ctrl-C in a training batch or in the middle of an evaluation of the second epoch."""

    def __init__(self, where):
        self.where = where

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        if self.where == "training" and trainer.current_epoch == 2 and batch_idx == 1:
            signal.raise_signal(signal.SIGINT)

    def on_validation_batch_start(self, trainer, pl_module, batch, batch_idx, dataloader_idx=0):
        if self.where == "evaluation" and trainer.current_epoch == 2 and batch_idx == 1:
            signal.raise_signal(signal.SIGINT)


@pytest.fixture(autouse=True)
def handler():
    """Lightning ignores further Ctrl-C after the first."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.filterwarnings("ignore:Be aware that when using `ckpt_path`")
@pytest.mark.parametrize("where", ["training", "evaluation"])
def test_an_interrupted_run_leaves_its_report_and_no_hook_and_goes_on_from_its_checkpoint(where, tmp_path):
    monitors = failure_monitors(factors=table(), report_dir=tmp_path / "report", budget=1e9, on_error="raise")
    saving = ModelCheckpoint(dirpath=tmp_path / "saved", filename="{epoch}", save_top_k=-1)
    module = Classifier()
    with pytest.raises(SystemExit):
        fit([*monitors, Interrupts(where), saving], module, epochs=4, enable_checkpointing=True)
    assert hooks_on(module) == 0
    assert [evaluation.epoch for evaluation in monitors[-1].record.evaluations] == [0, 1]
    (record,) = json.loads((tmp_path / "report" / "records.json").read_text())
    assert [evaluation["epoch"] for evaluation in record["evaluations"]] == [0, 1]
    assert json.loads((tmp_path / "report" / "findings.json").read_text())["runs"]["run"]["evaluations"] == 2
    assert (tmp_path / "report" / "report.html").read_text().rstrip().endswith("</html>")
    assert {path.name for path in (tmp_path / "report").iterdir()} == {"records.json", "findings.json", "report.html"}

    signal.signal(signal.SIGINT, signal.default_int_handler)
    again = failure_monitors(factors=table(), report_dir=tmp_path / "report", budget=1e9, on_error="raise")
    L.seed_everything(7, verbose=False)
    run = trainer(again, epochs=4)
    run.fit(Classifier(), *loaders(), ckpt_path=tmp_path / "saved" / "epoch=1.ckpt")
    assert [evaluation.epoch for evaluation in again[-1].record.evaluations] == [0, 1, 2, 3]
    (record,) = json.loads((tmp_path / "report" / "records.json").read_text())
    assert len(record["evaluations"]) == 4
    assert "failures/simplicity/own/1" in run.callback_metrics
    assert again[2].ready  # its simple models went on
