"""How much better a network is on training images, streamed: the metric over :func:`.generalisation_gap`."""

from typing import Any, ClassVar

import torch
from torch import Tensor

from lightning_failures.errors import InputError
from lightning_failures.functional.generalisation import GapCounts, accuracy_limits, generalisation_gap
from lightning_failures.metrics.base import ALL_GROUPS, GroupedMetric, check_groups
from lightning_failures.metrics.checks import find_mistakes
from lightning_failures.records.term import Term

__all__ = ["GeneralisationGap"]

_NO_IMAGES = "no image of this kind was seen"
_ACCURACY = ("0 to 1", "higher is better")
_OF_TRAINING = ("training_accuracy", "training_low", "training_high")
_OF_VALIDATION = ("validation_accuracy", "validation_low", "validation_high")


class GeneralisationGap(GroupedMetric[GapCounts]):
    """Accuracy on training images and on validation images, and how far they are apart.

    ``compute()`` gives ``training_accuracy`` with ``training_low`` and ``training_high``, ``validation_accuracy`` with
    ``validation_low`` and ``validation_high``, and ``gap`` with ``gap_low`` and ``gap_high``; see
    :func:`.generalisation_gap`. Images whose label is below 0 do not count. Where groups are
    given, intervals count groups, ``groups/all`` says how many there are, and ``gap_low_of_images`` is the lower end as
    it would be if images were independent. Where the groups of training images, or of validation images, are not known,
    each of these counts by itself: the interval is then too narrow as far as that side goes.

    Args:
        kwargs: passed on to :class:`torchmetrics.Metric`.

    Raises:
        InputError: in ``compute``, some images of a kind came with a group and others of it without.

    Example:
        >>> metric = GeneralisationGap()
        >>> metric.update(torch.tensor([0, 1, 1, 0]), torch.tensor([0, 1, 1, 0]), training=True)
        >>> metric.update(torch.tensor([0, 0, 1, 0]), torch.tensor([0, 1, 1, 1]), training=False)
        >>> metric.compute()["gap"]
        tensor(0.5000, dtype=torch.float64)
    """

    counts_groups = ("training_low", "training_high", "validation_low", "validation_high", "gap_low", "gap_high")

    terms: ClassVar[tuple[Term, ...]] = (
        Term(
            "training_accuracy",
            "Accuracy on training images",
            "Accuracy, in evaluation mode, on images that the network was trained on.",
            *_ACCURACY,
            when_nan=_NO_IMAGES,
        ),
        Term(
            "training_low",
            "Accuracy on training images, lower end",
            "Lower end of its 95% interval.",
            *_ACCURACY,
            when_nan=_NO_IMAGES,
        ),
        Term(
            "training_high",
            "Accuracy on training images, upper end",
            "Upper end of its 95% interval.",
            *_ACCURACY,
            when_nan=_NO_IMAGES,
        ),
        Term(
            "validation_accuracy",
            "Accuracy on validation images",
            "Accuracy on all images of the evaluation.",
            *_ACCURACY,
            when_nan=_NO_IMAGES,
        ),
        Term(
            "validation_low",
            "Accuracy on validation images, lower end",
            "Lower end of its 95% interval.",
            *_ACCURACY,
            when_nan=_NO_IMAGES,
        ),
        Term(
            "validation_high",
            "Accuracy on validation images, upper end",
            "Upper end of its 95% interval.",
            *_ACCURACY,
            when_nan=_NO_IMAGES,
        ),
        Term(
            "gap",
            "Gap between training and validation",
            "Accuracy on training images minus accuracy on validation images.",
            "-1 to 1",
            "lower is better; 0: what is learnt holds for new images too",
            when_nan=_NO_IMAGES,
        ),
        Term(
            "gap_low",
            "Gap between training and validation, lower end",
            "Lower end of its 95% interval.",
            "-1 to 1",
            "above 0: better on training images, beyond chance",
            when_nan=_NO_IMAGES,
        ),
        Term(
            "gap_high",
            "Gap between training and validation, upper end",
            "Upper end of its 95% interval.",
            "-1 to 1",
            "below 0: better on validation images, beyond chance",
            when_nan=_NO_IMAGES,
        ),
        Term(
            "gap_low_of_images",
            "Gap between training and validation, lower end on these very images",
            "Lower end of its 95% interval where images count and not groups: what holds for the images that were "
            "seen, and need not hold for other groups. Given only where groups are.",
            "-1 to 1",
            "above 0: better on training images, beyond the chance of single images",
            when_nan=_NO_IMAGES,
        ),
        ALL_GROUPS,
    )

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(GapCounts.zero(), **kwargs)

    def update(self, preds: Tensor, target: Tensor, training: bool, groups: Tensor | None = None) -> None:
        """Add a batch.

        Args:
            preds: labels (n) or scores (n c).
            target: true classes, below 0 where there is none; (n), int.
            training: whether the network was trained on these images.
            groups: which images belong together, over training and validation; see :meth:`.FactorErrorRatio.update`;
                (n), int. None: images are independent. With every batch of a kind or with none of it.
        """
        check_groups("GeneralisationGap.update", groups, len(target))
        known = target >= 0
        clamped = target.clamp(min=0)
        right = (~find_mistakes("GeneralisationGap.update", preds, clamped).wrong & known).long()
        zero = torch.zeros_like(right)
        mine, others = (right, known.long()), (zero, zero)
        of_images = GapCounts(*(mine + others if training else others + mine))
        self.add(GapCounts(*(count.sum() for count in of_images)))
        if groups is not None:
            self.add_groups(groups, len(target), lambda: of_images)

    def compute(self) -> dict[str, Tensor]:
        """Both accuracies and their gap."""
        sums = self.sums_on_cpu
        by_group = self.by_group
        if by_group is not None:
            _check_whole(sums, by_group)
        gap = generalisation_gap(sums, by_group)
        values: dict[str, Tensor] = {}
        kinds = ((_OF_TRAINING, sums[:2]), (_OF_VALIDATION, sums[2:]))
        for (names, (right, seen)), limits in zip(kinds, accuracy_limits(sums, by_group), strict=True):
            values |= dict(zip(names, (right.double() / seen.double(), *limits), strict=True))
        if by_group is not None:
            values["gap_low_of_images"] = generalisation_gap(sums).low
            values["groups/all"] = ((by_group.training_seen + by_group.validation_seen) > 0).sum()
        return values | dict(zip(("gap", "gap_low", "gap_high"), gap, strict=True))


def _check_whole(counts: GapCounts, by_group: GapCounts) -> None:
    """Raise an :class:`InputError` where some images of a kind have a group and others have none."""
    for kind, seen, grouped in (
        ("training", counts.training_seen, by_group.training_seen.sum()),
        ("validation", counts.validation_seen, by_group.validation_seen.sum()),
    ):
        if 0 < int(grouped) < int(seen):
            given = f"{int(grouped)} of {int(seen)} {kind} images with a group"
            fix = f"Pass groups with every batch of {kind} images, or with none of them."
            raise InputError("GeneralisationGap.compute", f"only some {kind} images have a group", given, fix)
