"""How much better a network is on images that it was trained on than on others.

Interval: Newcombe, "Interval estimation for the difference between independent proportions: comparison of eleven
methods", Statistics in Medicine 17 (1998), method 10: the Wilson limits of both proportions, combined. Where images
come in groups both limits count groups, and groups that have images of both kinds make the two go together.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from lightning_failures.functional.clusters import clustered_rate, correlation
from lightning_failures.functional.proportions import difference_interval, wilson

__all__ = ["Gap", "GapCounts", "accuracy_limits", "generalisation_gap"]


class GapCounts(NamedTuple):
    """Images of training and of validation, and how many of them are right; each (), int64, or (g) by group."""

    training_right: Tensor
    training_seen: Tensor
    validation_right: Tensor
    validation_seen: Tensor

    @classmethod
    def zero(cls) -> "GapCounts":
        """The counts of no images."""
        return cls(*(torch.zeros((), dtype=torch.int64) for _ in range(4)))


class Gap(NamedTuple):
    """What :func:`generalisation_gap` gives; each (), float64."""

    gap: Tensor
    low: Tensor
    high: Tensor


def generalisation_gap(counts: GapCounts, by_group: GapCounts | None = None) -> Gap:
    """Accuracy on training images minus accuracy on validation images, with its 95% interval.

    Convention:
        In [-1, 1]; above 0 the network is better on images that it was trained on. ``nan`` where either has
        no images; the limits also where fewer than :data:`.FEWEST_GROUPS` groups hold images of either kind, or
        one of them holds most.

    Args:
        counts: of both.
        by_group: the same of each group, with a leading axis (g), so that the interval counts groups; None: images are
            independent. Where it holds no image of a kind, the groups of these images are not known, and each of them
            counts by itself.

    Example:
        >>> found = generalisation_gap(GapCounts(*torch.tensor([56, 70, 48, 80])))
        >>> [round(float(value), 4) for value in found]
        [0.2, 0.0524, 0.3339]
    """
    right, seen, other_right, other_seen = (count.double() for count in counts)
    p1, p2 = right / seen, other_right / other_seen
    limits, other_limits = accuracy_limits(counts, by_group)
    together = torch.zeros(())
    if by_group is not None:
        one = clustered_rate(by_group.training_right, by_group.training_seen)
        together = correlation(one, clustered_rate(by_group.validation_right, by_group.validation_seen))
    return Gap(p1 - p2, *difference_interval(p1, limits, p2, other_limits, together))


def accuracy_limits(
    counts: GapCounts, by_group: GapCounts | None = None
) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
    """Ends of the 95% intervals of the accuracy on training images and of that on validation images.

    Args:
        counts: of both.
        by_group: as for :func:`generalisation_gap`.

    Returns:
        Low and high of training, and of validation; each (), float64, ``nan`` as there.

    Example:
        >>> (low, high), _ = accuracy_limits(GapCounts(*torch.tensor([56, 70, 48, 80])))
        >>> round(float(low), 3), round(float(high), 3)
        (0.692, 0.877)
    """

    def of(kind: slice) -> tuple[Tensor, Tensor]:
        if by_group is not None and bool((by_group[kind][1] > 0).any()):
            rate = clustered_rate(*by_group[kind])
            return rate.low, rate.high
        low, high = wilson(*(count.double() for count in counts[kind]))
        return low, high

    return of(slice(0, 2)), of(slice(2, 4))
