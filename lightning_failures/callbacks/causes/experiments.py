"""The experiments of one evaluation: one thing undone at a time, on the two fixed batches."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager

import torch
from torch import Tensor, nn

from lightning_failures.callbacks.causes.answers import answers, of_answers
from lightning_failures.callbacks.causes.case import TOO_MUCH
from lightning_failures.callbacks.causes.orientation import ORIENTATIONS, Orientation, put_back
from lightning_failures.callbacks.causes.preparation import Preparation
from lightning_failures.callbacks.causes.training_content import TRAINING_CONTENTS, TrainingContent, give_content
from lightning_failures.functional.logit_adjustment import adjust_logits
from lightning_failures.metrics.generalisation import GeneralisationGap
from lightning_failures.metrics.label_matching import LabelMatching
from lightning_failures.metrics.mending import MendedAccuracy
from lightning_failures.observe.batch_statistics import batch_statistics

__all__ = [
    "CLASS_IMBALANCE",
    "CONSTANT_CHANNELS",
    "EXPERIMENTS",
    "LABELS",
    "PROVEN_SHARE",
    "TRAINING_IMAGES",
    "Experiments",
]

#: On validation images, by running the network again.
EXPERIMENTS = (
    "evaluation_mode",
    "input_scale",
    "channel_order",
    "order_and_scale",
    "input_turned",
    "orientation",
    "training_content",
)

#: On the same answers: scores as they would be if all classes had been equally frequent in training.
CLASS_IMBALANCE = "class_imbalance"

#: From the predictions that pass by.
LABELS = "labels"

#: On training images: batch norm with the statistics of the batch.
TRAINING_IMAGES = "training_images"

#: On training images: before, with the values of the channels that do not vary in validation; after, as they are.
CONSTANT_CHANNELS = "constant_channels"

#: How far training and validation must be apart, so that a share of it can be told.
LEAST_GAP = 0.05

#: Images below which a last part of a batch is left out: its own statistics would be of too few.
FEWEST_OF_PART = 16

#: Gain, at the lower end of its interval, and share of the gap from which a mismatch is proven: it is then no matter of
#: chance, of warm-up, or of how long a network was trained.
PROVEN_GAIN, PROVEN_SHARE = 0.1, 0.5

Model = Callable[[Tensor], Tensor]


class Experiments:
    """Sums of what was tried, over all processes one answer each.

    Where groups are given, intervals of the gap and of what an experiment mends count groups. An experiment is made on
    these very images: where there are too few groups for an interval, what is beyond the chance of single images
    decides whether it is proven. That of the labels counts images, see :class:`.LabelMatching`.

    Args:
        classes: number of classes.
    """

    def __init__(self, classes: int) -> None:
        self.gap = GeneralisationGap()
        self.mended = MendedAccuracy([*EXPERIMENTS, CLASS_IMBALANCE])
        # before: in evaluation mode; after: as in training
        self.on_training = MendedAccuracy([TRAINING_IMAGES, CONSTANT_CHANNELS])
        self.oriented = MendedAccuracy([each.words for each in ORIENTATIONS])
        self.given = MendedAccuracy([each.words for each in TRAINING_CONTENTS])
        self.labels = LabelMatching(classes)
        self.class_counts: Tensor | None = None  #: kept training images of each class, (c); None where these are even
        self.undefined: dict[str, str] = {}

    def begin(self, device: torch.device) -> None:
        """Forget the evaluation before."""
        for metric in (self.gap, self.mended, self.on_training, self.oriented, self.given, self.labels):
            metric.to(device).reset()

    def pass_by(self, logits: Tensor, target: Tensor, groups: Tensor | None = None) -> None:
        """Count one batch of the evaluation; logits (n c), target (n), groups (n), int64, or None: not known."""
        self.gap.to(logits.device).update(logits, target, training=False, groups=groups)
        self.labels.to(logits.device).update(logits.float(), target)

    def train(
        self,
        model: Model,
        images: Tensor,
        target: Tensor,
        norms: Sequence[nn.Module],
        preparation: Preparation | None,
        groups: Tensor | None = None,
    ) -> None:
        """Ask the network for training images, in evaluation and with the statistics of the batch.

        A channel that does not vary in validation cannot be mended there. So it is spoilt here: where training images
        with that same value in it are judged as badly as those of validation, it is the cause.

        Args:
            model: as the step runs it.
            images: (n b ...).
            target: (n) or (n h w), negative where there is none.
            norms: batch norms that learn running statistics.
            preparation: how inputs of validation differ from these; None: not known.
            groups: which of these images belong together; (n), int64; None: not known.
        """
        images, target = _even(images), _even(target)
        as_evaluated, labels = answers(model(images), target)
        of = of_answers(groups, len(images), len(labels))
        self.gap.update(as_evaluated, labels, training=True, groups=of)
        with batch_statistics(norms):
            in_training = answers(model(images), target)[0] if norms else as_evaluated
        self.on_training.update(TRAINING_IMAGES, as_evaluated, in_training, labels, of)
        if preparation is not None and bool(preparation.is_constant.any()):
            spoilt = answers(model(preparation.with_constants(images)), target)[0]
            self.on_training.update(CONSTANT_CHANNELS, spoilt, as_evaluated, labels, of)

    def validate(
        self,
        model: Model,
        images: Tensor,
        target: Tensor,
        other_mode: AbstractContextManager[object] | None,
        preparation: Preparation | None,
        groups: Tensor | None = None,
        *,
        gap_is_open: bool = False,
        training: tuple[Tensor, Tensor] | None = None,
    ) -> Tensor:
        """Ask the network for validation images, as they are and with one thing undone at a time.

        Args:
            model: as the step runs it.
            images: (n b ...).
            target: (n) or (n h w), negative where there is none.
            other_mode: makes the network work in training's way, or in evaluation's where the step did not; None: both
                are one.
            preparation: how these inputs differ from those of training; None: not known.
            groups: which of these images belong together; (n), int64; None: not known.
            gap_is_open: whether a gap to training was seen that nothing closes yet, so that images are mirrored, turned
                and transposed too, and given what training images hold.
            training: images (m b ...) and labels (m) of training; None: not known.

        Returns:
            Logits of the images as they are; of the first of them, where a last part of few was left out; (m c ...).
        """
        images, target = _even(images), _even(target)
        logits = model(images)
        before, labels = answers(logits, target)
        of = of_answers(groups, len(images), len(labels))
        if other_mode is not None:
            with other_mode:
                self.mended.update("evaluation_mode", before, answers(model(images), target)[0], labels, of)
        if self.class_counts is not None:
            balanced = adjust_logits(logits, self.class_counts)
            self.mended.update(CLASS_IMBALANCE, before, answers(balanced, target)[0], labels, of)
        undoings = (
            {}
            if preparation is None or not images.is_floating_point()
            else preparation.undoings() | preparation.trial() | preparation.turning()
        )
        for name, undo in undoings.items():
            self.mended.update(name, before, answers(model(undo(images)), target)[0], labels, of)
        if gap_is_open and (found := put_back(model, images, before, target)) is not None:
            after, ways = found
            self.mended.update("orientation", before, after, labels, of)
            for each, way in zip(ORIENTATIONS, ways, strict=True):
                self.oriented.update(each.words, before, way, labels)
        if gap_is_open and training is not None and (given := give_content(model, images, target, *training)):
            rows, own, theirs, with_own, with_theirs = given
            self.mended.update("training_content", own, theirs, target[rows], None if of is None else of[rows])
            for content, mine, of_training in zip(TRAINING_CONTENTS, with_own, with_theirs, strict=True):
                self.given.update(content.words, mine, of_training, target[rows])
        return logits

    def forget_groups(self) -> None:
        """Count images, where some process could not read the groups; on every process."""
        for metric in (self.gap, self.mended, self.on_training):
            metric.forget_groups()

    def compute(self) -> dict[str, Tensor]:
        """All figures; :attr:`undefined` says why some are nan."""
        values: dict[str, Tensor] = self.gap.compute()
        labels: dict[str, Tensor] = self.labels.compute()
        mended: dict[str, Tensor] = self.mended.compute()
        mended |= {f"{key}/{LABELS}": value for key, value in labels.items()}
        mended |= self.on_training.compute()
        mended.pop("groups/all", None)  # those of the gap are said
        as_trained = mended[f"after/{TRAINING_IMAGES}"]
        reached = as_trained if not bool(as_trained.isnan()) else values["training_accuracy"]
        values |= {"reached": reached, "chance": self.labels.chance}
        least_gap = values["gap_low"]
        if "gap_low_of_images" in values and bool(least_gap.isnan()):  # of fewer groups than an interval needs
            least_gap = values["gap_low_of_images"]
        for name in (*EXPERIMENTS, CLASS_IMBALANCE, LABELS, TRAINING_IMAGES):
            # what is wrong with validation alone cannot bring more than training images have in the same mode
            of_mode = name in ("evaluation_mode", TRAINING_IMAGES)
            best = reached if of_mode else values["training_accuracy"]
            gap = best - (values["validation_accuracy"] if name == TRAINING_IMAGES else mended[f"before/{name}"])
            share = mended[f"gain/{name}"] / gap
            # of few training images a gap may be chance, and then there is nothing to be shared
            least = gap if of_mode else torch.minimum(gap, least_gap)
            mended[f"share/{name}"] = torch.where(least > LEAST_GAP, share, torch.nan)
        mended[f"share/{CONSTANT_CHANNELS}"] = _reproduced(mended, values["validation_accuracy"])
        mismatches = (*EXPERIMENTS[1:], LABELS, CONSTANT_CHANNELS)
        most = [name for name in mismatches if PROVEN_SHARE < float(mended[f"share/{name}"]) < TOO_MUCH]
        lower = {name: mended[f"gain_low/{name}"] for name in most}
        for name in most:  # of fewer groups than an interval needs
            if bool(lower[name].isnan()):
                lower[name] = mended.get(f"gain_low_of_images/{name}", lower[name])
        proven = any(bool(low > PROVEN_GAIN) for low in lower.values())
        # of few images, as the budget may have it, an interval proves neither a gain nor that there is none
        undecided = not proven and any(not bool(mended[f"gain_high/{name}"] <= PROVEN_GAIN) for name in most)
        shift = self.labels.shift
        values["orientation"] = _best(self.oriented, ORIENTATIONS, mended["after/orientation"])
        values["training_content"] = _best(self.given, TRAINING_CONTENTS, mended["after/training_content"])
        values["labels_renamed"] = torch.tensor(float(self.labels.renamed), dtype=torch.float64)
        values["label_shift"] = torch.tensor(torch.nan if shift is None else float(shift), dtype=torch.float64)
        for name, holds in (("proven", proven), ("undecided", undecided)):
            values[name] = torch.tensor(torch.nan if bool(reached.isnan()) else float(holds))
        self.undefined = self.gap.undefined | self.mended.undefined | self.on_training.undefined
        self.undefined |= {f"{key}/{LABELS}": why for key, why in self.labels.undefined.items()}
        return values | mended


def _best(tried: MendedAccuracy, ways: Sequence[Orientation | TrainingContent], after: Tensor) -> Tensor:
    """Which of several ways is best, counted from 0; nan where none was tried."""
    found: dict[str, Tensor] = tried.compute()
    right = torch.stack([found[f"after/{each.words}"] for each in ways])
    return torch.where(after.isnan(), torch.nan, right.nan_to_num(nan=-1).argmax().double())


def _reproduced(mended: dict[str, Tensor], validation: Tensor) -> Tensor:
    """How much of the gap to validation spoilt training images show: 1 where they are judged just as validation is."""
    spoilt, sound = mended[f"before/{CONSTANT_CHANNELS}"], mended[f"after/{CONSTANT_CHANNELS}"]
    gap = sound - validation
    return torch.where(gap > LEAST_GAP, 1 - (spoilt - validation).abs() / gap, torch.nan)


def _even(rows: Tensor, part: int = 64) -> Tensor:
    """Without a last part of few rows, which parts of this size would leave."""
    rest = len(rows) % part
    return rows[: len(rows) - rest] if len(rows) > part and rest < FEWEST_OF_PART else rows
