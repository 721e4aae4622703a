"""How much better a network is on images that it was trained on than on others.

Interval: Newcombe, "Interval estimation for the difference between independent proportions: comparison of eleven
methods", Statistics in Medicine 17 (1998), method 10: the Wilson limits of both proportions, combined.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from lightning_failures.functional.proportions import difference_interval, wilson

__all__ = ["Gap", "GapCounts", "generalisation_gap"]


class GapCounts(NamedTuple):
    """Images of training and of validation, and how many of them are right; each (), int64."""

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


def generalisation_gap(counts: GapCounts) -> Gap:
    """Accuracy on training images minus accuracy on validation images, with its 95% interval.

    Convention:
        In [-1, 1]; above 0 the network is better on images that it was trained on. ``nan`` where either has no images.

    Args:
        counts: of both.

    Example:
        >>> found = generalisation_gap(GapCounts(*torch.tensor([56, 70, 48, 80])))
        >>> [round(float(value), 4) for value in found]
        [0.2, 0.0524, 0.3339]
    """
    right, seen, other_right, other_seen = (count.double() for count in counts)
    p1, p2 = right / seen, other_right / other_seen
    limits, other_limits = wilson(right, seen), wilson(other_right, other_seen)
    return Gap(p1 - p2, *difference_interval(p1, limits, p2, other_limits, torch.zeros(())))
