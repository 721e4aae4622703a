"""Runs with one planted cause each, and their healthy twins, on scikit-learn's digits."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any, NamedTuple, cast

import lightning as L
import torch
from digit_runs import NETWORKS, Labelled, Setup, prepared, with_true_valid
from faults import FAULTS
from judgement import HEALTHY, Truth
from lightning.pytorch import Callback, Trainer
from torch import nn

__all__ = ["CASES", "PlantedCase"]


class PlantedCase(NamedTuple):
    """One case."""

    put_into: Callable[[Setup], Setup]
    truth: Truth
    networks: tuple[str, ...] = tuple(NETWORKS)  # in which it can happen


def of_images(setup: Setup, change: Callable[[torch.Tensor], torch.Tensor]) -> Setup:
    """The same change of training and validation, which hurts nobody."""
    train, valid = (Labelled(change(part.images), part.labels) for part in (setup.train, setup.valid))
    return with_true_valid(replace(setup, train=train, valid=valid))


def of_labels(setup: Setup, change: Callable[[torch.Tensor], torch.Tensor]) -> Setup:
    """The same change of the labels of training and validation."""
    train, valid = (Labelled(part.images, change(part.labels)) for part in (setup.train, setup.valid))
    return with_true_valid(replace(setup, train=train, valid=valid))


def validation_scaled(setup: Setup) -> Setup:
    """Validation is divided by a deviation that is three times too small, after a mean that is not its own."""
    by = setup.valid_by
    return replace(setup, valid_by=by._replace(mean=by.mean + 0.5, deviation=by.deviation / 3))


def channels_permuted(setup: Setup) -> Setup:
    """The channels of validation change places after they were standardised, so that means and deviations agree."""
    order = torch.tensor([2, 3, 0, 1])
    by = setup.valid_by
    return replace(
        setup,
        valid=Labelled(setup.valid.images[:, order], setup.valid.labels),
        valid_by=by._replace(mean=by.mean[order], deviation=by.deviation[order]),
    )


def offset(setup: Setup) -> Setup:
    """Raw inputs far from zero, few steps: batch norm's running averages lag behind."""
    by = setup.train_by._replace(mean=setup.train_by.mean - 50 * setup.train_by.deviation)
    true_valid = Labelled(prepared(setup.valid.images, by), setup.valid.labels)
    return replace(setup, train_by=by, valid_by=by, true_valid=true_valid, rate=setup.rate / 10)


def offset_removed(setup: Setup) -> Setup:
    """The same inputs, standardised."""
    return of_images(setup, lambda images: images + 50)


def labels_shuffled(setup: Setup) -> Setup:
    """No label belongs to its image."""
    return of_labels(setup, lambda labels: labels[torch.randperm(len(labels))])


def learnt_by_heart(setup: Setup) -> Setup:
    """Sixty training images."""
    few = Labelled(*(part[:60] for part in setup.train))
    return replace(setup, train=few, batch=6, epochs=2 * setup.epochs, rate=setup.rate / 2)


class DeadUnits(Callback):
    """One bad step leaves biases so low that no unit of the last convolution answers to anything, nor learns again."""

    def __init__(self, epoch: int) -> None:
        self.epoch = epoch

    def on_train_batch_start(self, trainer: Trainer, pl_module: L.LightningModule, batch: Any, batch_idx: int) -> None:
        """Lower the biases."""
        if trainer.current_epoch == self.epoch and batch_idx == 2:
            last = [module for module in pl_module.modules() if isinstance(module, nn.Conv2d)][-1]
            with torch.no_grad():
                cast(nn.Parameter, last.bias).sub_(1000)


class NanWeights(Callback):
    """One weight stops being a number in the middle of the run."""

    def __init__(self, epoch: int) -> None:
        self.epoch = epoch

    def on_train_batch_start(self, trainer: Trainer, pl_module: L.LightningModule, batch: Any, batch_idx: int) -> None:
        """Spoil the first weight."""
        if trainer.current_epoch == self.epoch and batch_idx == 2:
            with torch.no_grad():
                next(pl_module.parameters()).view(-1)[0] = torch.nan


CASES = {
    "validation scaled otherwise": PlantedCase(validation_scaled, Truth(("input_mismatch",), least="failure")),
    "channels permuted": PlantedCase(channels_permuted, Truth(("input_mismatch",), least="failure")),
    "labels off by one": PlantedCase(FAULTS["labels off by one"].put_into, FAULTS["labels off by one"].truth),
    "batch norm lags": PlantedCase(offset, Truth(("evaluation_mode",), least="failure"), ("resnet10t",)),
    "labels shuffled": PlantedCase(labels_shuffled, Truth(("no_signal",), least="failure")),
    "learnt by heart": PlantedCase(learnt_by_heart, Truth(("overfitting",))),
    "learning rate over 100": PlantedCase(
        lambda setup: replace(setup, rate=setup.rate / 100),
        Truth(("learning_rate_low",), also=("unfinished_training",)),
    ),
    "learning rate times 20": PlantedCase(
        lambda setup: replace(setup, rate=20 * setup.rate), Truth(("learning_rate_high",), least="failure")
    ),
    "dead units": PlantedCase(
        lambda setup: replace(setup, callbacks=[DeadUnits(4)]), Truth(("dead_units",), least="failure"), ("cnn",)
    ),
    "NaN weights": PlantedCase(
        lambda setup: replace(setup, callbacks=[NanWeights(3)]),
        Truth(("not_finite",), least="failure"),
    ),
    "healthy": PlantedCase(lambda setup: setup, HEALTHY),
    "both sides scaled": PlantedCase(lambda setup: of_images(setup, lambda images: 1000 * images), HEALTHY),
    "both sides permuted": PlantedCase(lambda setup: of_images(setup, lambda images: images.flip(1)), HEALTHY),
    "both sides off by one": PlantedCase(lambda setup: of_labels(setup, lambda labels: (labels + 1) % 10), HEALTHY),
    "offset removed": PlantedCase(offset_removed, HEALTHY),
    "one cycle": PlantedCase(lambda setup: replace(setup, schedule="one_cycle"), HEALTHY),
}
