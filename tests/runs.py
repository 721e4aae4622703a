"""Tiny Lightning runs of an ordinary classifier, for the monitors."""

import lightning as L
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from lightning_failures import FactorTable

CLASSES, CHANNELS = 3, 6


def dataset(images=48, seed=0):
    """Images whose class is the strongest of the first three channels' means."""
    generator = torch.Generator().manual_seed(seed)
    inputs = torch.rand(images, CHANNELS, 5, 5, generator=generator)
    return TensorDataset(inputs, inputs[:, :CLASSES].mean((2, 3)).argmax(1))


class Classifier(L.LightningModule):
    """An ordinary module with dropout and batch norm; nothing in it knows of the monitors."""

    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(
            nn.Conv2d(CHANNELS, 8, 3),
            nn.BatchNorm2d(8),
            nn.ReLU(),
            nn.Dropout(0.3),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Linear(8, CLASSES),
        )

    def training_step(self, batch, _):
        return nn.functional.cross_entropy(self.net(batch[0]), batch[1])

    def validation_step(self, batch, _):
        loss = nn.functional.cross_entropy(self.net(batch[0]), batch[1])
        self.log("val_loss", loss)
        return loss

    test_step = validation_step

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1)


def loaders(shuffle=True):
    return (
        DataLoader(dataset(), batch_size=8, shuffle=shuffle),
        DataLoader(dataset(30, seed=1), batch_size=8),
    )


def trainer(callbacks, epochs=2, **options):
    defaults = {
        "max_epochs": epochs,
        "accelerator": "cpu",
        "logger": False,
        "enable_checkpointing": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
    }
    return L.Trainer(callbacks=callbacks, **(defaults | options))


def fit(callbacks, module=None, seed=7, data=None, **options):
    L.seed_everything(seed, verbose=False)
    module = module or Classifier()
    run = trainer(callbacks, **options)
    run.fit(module, *(data or loaders()))
    return run, module


def table(images=30):
    inputs = dataset(images, seed=1).tensors[0]
    return FactorTable(
        ("bright", "dark"), torch.stack([inputs.mean((1, 2, 3)) > 0.5, inputs.mean((1, 2, 3)) <= 0.5], 1)
    )


def hooks_on(module):
    # by ``items``, which tells of the monitors' hooks too
    return sum(len(child._forward_hooks.items()) + len(child._forward_pre_hooks.items()) for child in module.modules())


def noted(monitor):
    """All figures that a monitor logs from now on, curves or not: statistic -> last value."""
    seen, log = {}, monitor.log_values

    def note(evaluation, values, **options):
        seen.update({statistic: float(value) for statistic, value in values.items()})
        log(evaluation, values, **options)

    monitor.log_values = note
    return seen
