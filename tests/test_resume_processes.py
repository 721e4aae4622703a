"""A run that goes on from one process to two and back has the figures, course and streaks of a run on one process."""

import math

import lightning as L
import pytest
import torch
from lightning.pytorch.callbacks import ModelCheckpoint
from torch import nn
from torch.utils.data import DataLoader, DistributedSampler

from lightning_failures import FactorErrorMonitor, FailureDiagnosis, failure_monitors
from tests.runs import CHANNELS, CLASSES, dataset, table

pytestmark = pytest.mark.slow

HELD = 37  # images, of which two processes see 38
#: What the number of processes or a resume changes rightly: the module's own mean, which counts the padding; what
#: a small model reads of a sample of training images, which a resumed run takes anew; the chance of a channel profile;
#: and what is counted anew from a resume on: the course of the weights, of the training loss, and which training images
#: were seen.
OURS = (
    "simplicity/without",
    "channels/floor",
    "channels/share",
    "channels/effective_channels",
    "channels/largest_share",
    "channels/jensen_shannon",
    "training/distance",
    "training/loss_",
    "data/recognised",
)
OTHERWISE = ("val_loss", *(f"failures/{key}" for key in OURS))
#: Raised at the third evaluation, which is the first on two processes, and at the fifth, the first on one again.
RULES = [
    {"name": name, "kind": "own_rule", "when": "failures/collapse/effective_rank/* < 99", "warmup": 0,
     "persistence": persistence, "message": "{subject} {effective_rank:.2f}"}
    for name, persistence in (("third", 3), ("fifth", 5))
]  # fmt: skip


class Steady(L.LightningModule):
    """Nothing in it depends on how a batch is cut: no dropout, no batch norm."""

    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(nn.Conv2d(CHANNELS, 8, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
        self.head = nn.Linear(8, CLASSES)

    def forward(self, inputs):
        return self.head(self.net(inputs))

    def training_step(self, batch, _):
        return nn.functional.cross_entropy(self(batch[0]), batch[1])

    def validation_step(self, batch, _):
        self.log("val_loss", nn.functional.cross_entropy(self(batch[0]), batch[1]), sync_dist=True)

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.3, momentum=0.9)


class InOrder(L.LightningDataModule):
    """Each step takes the same eight images, however many processes share them: Lightning would shuffle."""

    def train_dataloader(self):
        return self.loader(dataset())

    def val_dataloader(self):
        return self.loader(dataset(HELD, seed=1))

    def loader(self, images):
        world = self.trainer.world_size
        order = DistributedSampler(images, world, self.trainer.global_rank, shuffle=False)
        return DataLoader(images, 8 // world, sampler=order if world > 1 else None)


class Failures(L.Callback):
    """Stops a run on two processes, whose callbacks nobody sees afterwards, where a monitor stepped aside."""

    def on_fit_end(self, trainer, pl_module):
        failures = {type(each).__name__: getattr(each, "failure", None) for each in trainer.callbacks}
        assert not any(failures.values()), failures


def train(folder, devices, epochs, resume=None):
    L.seed_everything(1, verbose=False)
    diagnosis = FailureDiagnosis(RULES, announce="nothing", on_error="raise")
    monitors = failure_monitors(budget=1e9, on_error="raise")[:-1]
    saving = ModelCheckpoint(dirpath=folder, filename=f"{epochs}", save_on_train_epoch_end=True)
    run = L.Trainer(
        max_epochs=epochs,
        accelerator="cpu",
        devices=devices,
        strategy="ddp_spawn" if devices > 1 else "auto",  # which passes the state of random numbers on
        callbacks=[FactorErrorMonitor(table(HELD), on_error="raise"), *monitors, diagnosis, Failures(), saving],
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        use_distributed_sampler=False,
    )
    run.fit(Steady(), InOrder(), ckpt_path=resume)
    return diagnosis, folder / f"{epochs}.ckpt"


@pytest.mark.filterwarnings("ignore:Checkpoint directory")
def test_a_run_that_goes_on_on_two_processes_and_back_is_one_run(tmp_path):
    whole, _ = train(tmp_path / "whole", 1, 6)
    _, first = train(tmp_path / "parts", 1, 2)
    _, second = train(tmp_path / "parts", 2, 4, first)
    parts, _ = train(tmp_path / "parts", 1, 6, second)

    assert [(f.rule, f.epoch) for f in parts.history] == [(f.rule, f.epoch) for f in whole.history]
    assert [(f.rule, f.epoch) for f in whole.history] == [("third", 2), ("fifth", 4)]
    assert [(e.epoch, e.step) for e in parts.record.evaluations] == [
        (e.epoch, e.step) for e in whole.record.evaluations
    ]
    for mine, theirs in zip(parts.record.evaluations, whole.record.evaluations, strict=True):
        assert set(mine.values) == set(theirs.values), mine.epoch
        for key in (key for key in theirs.values if not key.startswith(OTHERWISE)):
            one, other = mine.values[key], theirs.values[key]
            assert one == pytest.approx(other, rel=1e-3, abs=1e-4, nan_ok=True), (mine.epoch, key)
    assert math.isfinite(parts.record.evaluations[-1].values["failures/simplicity/own/1"])
    after = [e.values["failures/factors/spillover_mcnemar_p/dark"] for e in parts.record.evaluations[1:]]
    assert all(math.isfinite(value) for value in after), "the best epoch is that of before the resume"
