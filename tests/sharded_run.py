"""Runs whose weights are spread over two processes; ``python -m tests.sharded_run FILE`` writes what came of them."""

import sys

import lightning as L
import torch
from lightning.pytorch.strategies import ModelParallelStrategy
from torch import nn
from torch.distributed.fsdp import fully_shard
from torch.utils.data import DataLoader

from lightning_failures import CollapseMonitor, FailureDiagnosis, PerturbationMonitor, failure_monitors
from tests.runs import CHANNELS, CLASSES, dataset, hooks_on

HELD = 37  # images, of which two processes see 38


class FailsOnRankOne(CollapseMonitor):
    """Breaks at its third batch, on the second process only."""

    def update(self, evaluation, seen, batch_idx):
        if evaluation.trainer.global_rank == 1 and batch_idx == 2:
            raise ArithmeticError("a fault of one rank")
        super().update(evaluation, seen, batch_idx)


def network():
    return nn.Sequential(
        nn.Conv2d(CHANNELS, 8, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 12), nn.ReLU(),
        nn.Linear(12, CLASSES),
    )  # fmt: skip


class Sharded(L.LightningModule):
    """An ordinary classifier under FSDP2."""

    def configure_model(self):
        self.net = network()
        for layer in (self.net[0], self.net[4], self.net[6], self.net):
            fully_shard(layer, mesh=self.device_mesh["data_parallel"])

    def forward(self, inputs):
        return self.net(inputs)

    def training_step(self, batch, _):
        return nn.functional.cross_entropy(self(batch[0]), batch[1])

    def validation_step(self, batch, _):
        self.log("val_loss", nn.functional.cross_entropy(self(batch[0]), batch[1]), sync_dist=True)

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=0.02)


def train(callbacks):
    L.seed_everything(3, verbose=False)
    module = Sharded()
    run = L.Trainer(
        max_epochs=3,
        accelerator="cpu",
        devices=2,
        strategy=ModelParallelStrategy(
            data_parallel_size=2,
            tensor_parallel_size=1,
            process_group_backend="gloo",
            save_distributed_checkpoint=False,
        ),
        callbacks=callbacks,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    run.fit(module, DataLoader(dataset(), 8, shuffle=True), DataLoader(dataset(HELD, seed=1), 4))
    weights = {name: weight.full_tensor() for name, weight in module.net.state_dict().items()}
    return run, module, weights


def what_came_of_them():
    _, plain, bare = train([])
    _, _, again = train([])
    monitors = failure_monitors(budget=1e9)
    diagnosis = monitors[-1]
    diagnosis.announce = "nothing"
    run, module, watched = train([PerturbationMonitor(["blur"]), *monitors])
    faulty = [FailsOnRankOne(name="fails"), CollapseMonitor(), FailureDiagnosis(announce="nothing")]
    after, _, _ = train(faulty)
    return {
        "bare": bare,
        "again": again,
        "watched": watched,
        "figures": {key: float(value) for key, value in run.callback_metrics.items()},
        "hooks": hooks_on(module) - hooks_on(plain),  # FSDP has hooks of its own
        "failures": [monitor.failure for monitor in monitors],
        "not watched": diagnosis.record.not_watched,
        "epochs": (run.current_epoch, after.current_epoch),
        "faults": [callback.failure for callback in faulty],
        "figures beside a fault": {key: float(value) for key, value in after.callback_metrics.items()},
    }


if __name__ == "__main__":
    found = what_came_of_them()
    if torch.distributed.get_rank() == 0:
        torch.save(found, sys.argv[1])
    torch.distributed.barrier()
    torch.distributed.destroy_process_group()
