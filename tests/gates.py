"""Tiny Lightning runs whose logged values are scripted, for the gates."""

import json

import lightning as L
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from lightning_failures import GatedCheckpoint

CONSTRAINT = "failures/factors/error_ratio/worst <= 1.5"
WORST = "failures/factors/error_ratio/worst"


class Scripted(L.LightningModule):
    """Logs what a script says of each evaluation; its one weight counts the optimizer's steps."""

    def __init__(self, script):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1))
        self.script = script
        self.evaluation = 0

    def training_step(self, batch, _):
        return -self.weight.sum()  # with a rate of 1 the weight is the number of steps

    def validation_step(self, batch, _):
        pass

    def on_validation_epoch_end(self):
        if self.trainer.sanity_checking:
            return
        for key, value in self.script[self.evaluation].items():
            self.log(key, value, sync_dist=False)
        self.evaluation += 1

    def on_save_checkpoint(self, checkpoint):
        checkpoint["evaluation"] = self.evaluation

    def on_load_checkpoint(self, checkpoint):
        self.evaluation = checkpoint["evaluation"]

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=1.0)


def script(losses, worst):
    return [{"val_loss": float(a), WORST: float(b)} for a, b in zip(losses, worst, strict=True)]


def trainer(callbacks, folder, **options):
    defaults = {
        "max_epochs": 1,
        "accelerator": "cpu",
        "devices": 1,
        "logger": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
        "default_root_dir": folder,
    }
    return L.Trainer(callbacks=callbacks, **(defaults | options))


def loaders():
    data = TensorDataset(torch.zeros(4, 1))
    return DataLoader(data, batch_size=1), DataLoader(data, batch_size=4)


def gate(folder, constraints=CONSTRAINT, **options):
    return GatedCheckpoint(constraints, **({"monitor": "val_loss", "dirpath": folder / "kept"} | options))


def fit(callback, folder, lines, ckpt_path=None, callbacks=(), **options):
    module = Scripted(lines)
    defaults = {"max_epochs": len(lines)}
    run = trainer([*callbacks, callback], folder, **(defaults | options))
    run.fit(module, *loaders(), ckpt_path=ckpt_path)
    return run, module


def names(folder):
    return sorted(path.name for path in (folder / "kept").glob("*.ckpt"))


def written(folder):
    return json.loads((folder / "kept" / "gate.json").read_text())


def load(path):
    return torch.load(path, weights_only=True)
