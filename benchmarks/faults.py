"""Training bugs of real life, each put into a healthy run by a few lines, with what is true of the run then."""

import copy
from collections.abc import Callable
from dataclasses import replace
from typing import Any, NamedTuple

import torch
from digit_runs import Classifier, Labelled, Setup, Statistics
from judgement import Truth
from torch import Tensor, nn

__all__ = ["FAULTS", "Fault"]


class Fault(NamedTuple):
    """One bug: how it comes into a run, and what may be said of the run."""

    put_into: Callable[[Setup], Setup]
    truth: Truth


def channel_order(setup: Setup) -> Setup:
    """The validation set is read with its channels in the opposite order (RGB for BGR), before all else."""
    return replace(setup, valid=Labelled(setup.valid.images.flip(1), setup.valid.labels))


def statistics_off(setup: Setup) -> Setup:
    """Validation is standardised by statistics of another unit, a thousand times too large."""
    return replace(setup, valid_by=Statistics(1000 * setup.valid_by.mean, 1000 * setup.valid_by.deviation))


def empty_channel(setup: Setup) -> Setup:
    """One channel is missing from the files of validation, and the reader fills it with zeros."""
    images = setup.valid.images.clone()
    images[:, 0] = 0
    return replace(setup, valid=Labelled(images, setup.valid.labels))


def labels_off_by_one(setup: Setup) -> Setup:
    """The labels of validation count from 1 (the last class is 0), those of training from 0."""
    return replace(setup, valid=Labelled(setup.valid.images, (setup.valid.labels + 1) % 10))


class ValidatedInTrainingMode(Classifier):
    """Dropout and batch norm stay as they are in training."""

    def validation_step(self, batch: Any, index: int) -> None:
        """The user's own call puts the module back into training mode."""
        self.train()
        super().validation_step(batch, index)


class WithoutZeroGrad(Classifier):
    """Manual optimisation that never forgets a gradient."""

    def __init__(self, setup: Setup) -> None:
        super().__init__(setup)
        self.automatic_optimization = False

    def training_step(self, batch: Any, index: int) -> Tensor:
        """A step without ``zero_grad``."""
        loss = super().training_step(batch, index)
        self.manual_backward(loss)
        self.optimizers().step()  # type: ignore[union-attr]
        return loss


def backbone_frozen(setup: Setup) -> Setup:
    """All but the head is frozen, as for fine-tuning, though no pretrained weights were loaded."""
    parameters = list(setup.network.parameters())
    for parameter in parameters[:-2]:  # weight and bias of the head are the last
        parameter.requires_grad_(False)
    return setup


class StaleOptimizer(Classifier):
    """The optimizer holds the parameters that the network had before it was copied."""

    def __init__(self, setup: Setup) -> None:
        super().__init__(setup)
        self.earlier = list(setup.network.parameters())
        self.net = copy.deepcopy(setup.network)

    def configure_optimizers(self) -> Any:
        """Over the parameters of the network that is gone."""
        return self.optimizer_over(self.earlier)


def nan_pixel(setup: Setup) -> Setup:
    """One training image holds one pixel that is not a number."""
    images = setup.train.images.clone()
    images[100, 0, 4, 4] = torch.nan
    return replace(setup, train=Labelled(images, setup.train.labels))


def copied_images(setup: Setup) -> Setup:
    """Half of the validation images are copies of training images."""
    half = len(setup.valid.labels) // 2
    both = zip(setup.train, setup.valid, strict=True)
    return replace(setup, valid=Labelled(*(torch.cat([ours[:half], theirs[half:]]) for ours, theirs in both)))


def rectified_logits(setup: Setup) -> Setup:
    """The network ends in a ReLU, as one that was cut off behind an activation does."""
    return replace(setup, network=nn.Sequential(setup.network, nn.ReLU()))


def class_never_shown(setup: Setup) -> Setup:
    """A table of classes joins two of them in training: images of class 7 are labelled 1."""
    labels = setup.train.labels
    return replace(setup, train=Labelled(setup.train.images, torch.where(labels == 7, 1, labels)))


#: The bugs by name. Where a kind of finding names the bug, a finding of that kind is right without a cause too.
FAULTS = {
    "channel order": Fault(channel_order, Truth(("input_mismatch",), least="failure")),
    "statistics off by 1,000": Fault(statistics_off, Truth(("input_mismatch",), least="failure")),
    "empty channel": Fault(empty_channel, Truth(("input_mismatch",))),
    "labels off by one": Fault(labels_off_by_one, Truth(("label_mismatch",), least="failure")),
    "validation in training mode": Fault(
        lambda setup: replace(setup, module=ValidatedInTrainingMode), Truth(("evaluation_mode",), ("training_fault",))
    ),
    "no zero_grad": Fault(lambda setup: replace(setup, module=WithoutZeroGrad), Truth((), ("training_fault",))),
    "backbone frozen": Fault(backbone_frozen, Truth(("frozen_parameters",), ("training_fault",))),
    "stale optimizer": Fault(
        lambda setup: replace(setup, module=StaleOptimizer),
        Truth(("frozen_parameters",), ("training_fault",), least="failure"),
    ),
    "learning rate times 10": Fault(
        lambda setup: replace(setup, rate=10 * setup.rate), Truth(("learning_rate_high",), least="failure")
    ),
    "learning rate over 10": Fault(
        lambda setup: replace(setup, rate=setup.rate / 10),
        Truth(("learning_rate_low",), also=("unfinished_training",)),
    ),
    "NaN in one image": Fault(nan_pixel, Truth(("not_finite",), least="failure")),
    "ReLU on the logits": Fault(rectified_logits, Truth(("dead_units",), ("untapped_information", "class_collapse"))),
    "class never shown": Fault(class_never_shown, Truth(("label_mismatch",), ("data_fault",))),
    "copied images": Fault(copied_images, Truth(("leakage",), ("data_fault",))),
}
