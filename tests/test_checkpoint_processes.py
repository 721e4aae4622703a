"""The gates on two gloo processes of a real Trainer, where only one sees a violation."""

import json

import lightning as L
import pytest
import torch
from torch.utils.data import DataLoader, TensorDataset

from lightning_failures import FailureDiagnosis, GatedCheckpoint, GatedEarlyStopping
from tests.gates import WORST, Scripted, names, script
from tests.processes import strategy

pytestmark = pytest.mark.slow


class ByRank(Scripted):
    """The second process sees a violation at some evaluations that the first does not see, and a value less."""

    def on_validation_epoch_end(self):
        if self.trainer.global_rank == 1 and not self.trainer.sanity_checking:
            if self.evaluation in (2, 4, 5):
                self.script[self.evaluation][WORST] = 2.0
            if self.evaluation == 1:
                del self.script[1][WORST]
        super().on_validation_epoch_end()


class Outcome(L.Callback):
    """What each process knows at the end."""

    def __init__(self, folder):
        self.folder = folder

    def on_train_end(self, trainer, pl_module):
        gate = trainer.checkpoint_callback
        torch.save(
            {
                "best": gate.best_model_path,
                "kept": sorted(gate.best_k_models),
                "feasible": gate.feasible,
                "epoch": trainer.current_epoch,
                "verdicts": gate.verdicts.verdicts,
            },
            self.folder / f"rank{trainer.global_rank}.pt",
        )


def on_two(callbacks, folder, epochs):
    return L.Trainer(
        max_epochs=epochs,
        accelerator="cpu",
        devices=2,
        strategy=strategy(2),
        callbacks=callbacks,
        logger=False,
        enable_checkpointing=any(isinstance(callback, GatedCheckpoint) for callback in callbacks),
        enable_progress_bar=False,
        enable_model_summary=False,
        default_root_dir=folder,
    )


@pytest.mark.filterwarnings("ignore:It is recommended to use")
def test_a_violation_that_one_rank_sees_rejects_on_all_and_stops_all(tmp_path):
    lines = script([6, 5, 1, 4, 3, 2, 1, 1], [1] * 8)
    gate = GatedCheckpoint(
        f"{WORST} <= 1.5", monitor="val_loss", dirpath=tmp_path / "kept", filename="{epoch}", save_top_k=2,
        save_last=True,
    )  # fmt: skip
    run = on_two([GatedEarlyStopping(f"{WORST} <= 1.5", 2), Outcome(tmp_path), gate], tmp_path, 8)
    data = TensorDataset(torch.zeros(4, 1))
    run.fit(ByRank(lines), DataLoader(data, batch_size=1), DataLoader(data, batch_size=2))
    one, two = (torch.load(tmp_path / f"rank{rank}.pt") for rank in range(2))
    assert one == two
    assert one["epoch"] == 6  # epochs ran: the evaluations 4 and 5 violate
    assert names(tmp_path) == ["epoch=0.ckpt", "epoch=3.ckpt", "last.ckpt"]
    why = [each["why"] for each in json.loads((tmp_path / "kept" / "gate.json").read_text())["evaluations"]]
    assert why == [
        "",
        f"{WORST} was not logged at this evaluation on rank 1",
        f"{WORST} = 2 violates <= 1.5 by 0.5 on rank 1",
        "",
        f"{WORST} = 2 violates <= 1.5 by 0.5 on rank 1",
        f"{WORST} = 2 violates <= 1.5 by 0.5 on rank 1",
    ]


class Hopeless(L.Callback):
    """How many epochs each process ran, and what it found."""

    def __init__(self, folder):
        self.folder = folder

    def on_train_end(self, trainer, pl_module):
        (diagnosis,) = (callback for callback in trainer.callbacks if isinstance(callback, FailureDiagnosis))
        found = [finding.epoch for finding in diagnosis.history]
        torch.save((trainer.current_epoch, found), self.folder / f"rank{trainer.global_rank}.pt")


@pytest.mark.filterwarnings("ignore:It is recommended to use")
def test_a_run_that_one_rank_finds_hopeless_ends_on_all(tmp_path):
    rule = {"kind": "own_rule", "when": f"{WORST} > 1.5", "message": "High.", "warmup": 0, "persistence": 1}
    diagnosis = FailureDiagnosis([rule], action="stop", on_error="raise")
    run = on_two([diagnosis, Hopeless(tmp_path)], tmp_path, 6)
    data = TensorDataset(torch.zeros(4, 1))
    run.fit(ByRank(script([1] * 6, [1] * 6)), DataLoader(data, batch_size=1), DataLoader(data, batch_size=2))
    assert [torch.load(tmp_path / f"rank{rank}.pt") for rank in range(2)] == [(3, []), (3, [2])]
