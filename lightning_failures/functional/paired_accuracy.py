"""Who is right on the same images: the difference of two accuracies, its interval, and whether it is chance.

Interval: Newcombe, "Improved confidence intervals for the difference between binomial proportions based on paired
data", Statistics in Medicine 17 (1998), method 10. Test: McNemar, Psychometrika 12 (1947), in its exact form.
"""

from collections.abc import Sequence
from math import log
from typing import NamedTuple

import torch
from torch import Tensor

from lightning_failures.functional.clusters import clustered_rate, correlation
from lightning_failures.functional.proportions import difference_interval, wilson

__all__ = ["AccuracyDifference", "accuracy_difference", "count_pairs", "exact_mcnemar"]


class AccuracyDifference(NamedTuple):
    """What :func:`accuracy_difference` gives; each of the shape of the counts, float64."""

    difference: Tensor
    low: Tensor
    high: Tensor


def count_pairs(first: Tensor, second: Tensor, kept: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """How many images both get right, only the first, only the second, and neither.

    Args:
        first: which images the first gets right; (n ...), bool.
        second: which the second gets right; broadcast against it.
        kept: which images count; broadcast against both.

    Returns:
        Four counts, each without the first axis; int64.

    Example:
        >>> first, second = torch.tensor([True, True, False]), torch.tensor([True, False, False])
        >>> [int(count) for count in count_pairs(first, second, torch.tensor([True, True, False]))]
        [1, 1, 0, 0]
    """
    return (
        (kept & first & second).sum(0),
        (kept & first & ~second).sum(0),
        (kept & ~first & second).sum(0),
        (kept & ~first & ~second).sum(0),
    )


def accuracy_difference(
    both: Tensor, first: Tensor, second: Tensor, neither: Tensor, *, by_group: Sequence[Tensor] | None = None
) -> AccuracyDifference:
    """Accuracy of the first minus that of the second on the same images, with its paired 95% interval.

    Newcombe's method 10: Wilson limits of the two dependent proportions, combined by their correlation; with groups,
    the limits and the correlation of :mod:`.clusters`.

    Args:
        both: images that both get right; any shape, float64.
        first: images that only the first gets right; the same shape.
        second: images that only the second gets right; the same shape.
        neither: images that both get wrong; the same shape.
        by_group: the same four counts of each group of images that belong together, with a leading axis (g). None:
            images are independent.

    Convention:
        In [-1, 1]; above 0 the first is better. Without groups it takes images as independent: neighbouring pixels or
        overlapping patches make the interval too narrow. ``nan`` without images; the limits also below
        :data:`.FEWEST_GROUPS` groups.

    Example:
        >>> both, first, second, neither = torch.tensor([1.0, 1, 7, 12], dtype=torch.float64)
        >>> [round(float(value), 4) for value in accuracy_difference(both, first, second, neither)]
        [-0.2857, -0.5069, -0.0256]
    """
    images = both + first + second + neither
    p1, p2 = (both + first) / images, (both + second) / images
    if by_group is not None:
        seen = torch.stack(list(by_group)).sum(0)
        one = clustered_rate(by_group[0] + by_group[1], seen)
        other = clustered_rate(by_group[0] + by_group[2], seen)
        limits = (one.low, one.high), (other.low, other.high)
        return AccuracyDifference(p1 - p2, *difference_interval(p1, limits[0], p2, limits[1], correlation(one, other)))
    limits1, limits2 = wilson(both + first, images), wilson(both + second, images)
    cross = both * neither - first * second
    cross = torch.where(cross > 0, (cross - images / 2).clamp(min=0), cross)  # its continuity correction
    margins = (both + first) * (second + neither) * (both + second) * (first + neither)
    phi = torch.where(margins > 0, cross / margins.sqrt(), 0.0)
    return AccuracyDifference(p1 - p2, *difference_interval(p1, limits1, p2, limits2, phi))


def exact_mcnemar(first: Tensor, second: Tensor) -> Tensor:
    """Probability of so unequal numbers of images that only one of both gets right, if both were equally good.

    McNemar's exact test, two-sided. What both get right or both get wrong says nothing and is not asked for; counts of
    images that only one gets wrong give the same.

    Args:
        first: images that only the first gets right; any shape, int64.
        second: images that only the second gets right; the same shape.

    Convention:
        From 0 to 1; 1 where the two never differ.

    Returns:
        One p-value each, not adjusted for their number; of the shape given, float64.

    Example:
        >>> exact_mcnemar(torch.tensor([1, 4]), torch.tensor([7, 4]))
        tensor([0.0703, 1.0000], dtype=torch.float64)
    """
    pairs = torch.stack([first, second]).cpu().double()
    values = [_both_sides(n, fewer) for n, fewer in zip(pairs.sum(0).flatten(), pairs.amin(0).flatten(), strict=True)]
    p = torch.stack(values) if values else pairs.new_zeros(0)
    return p.reshape(first.shape).to(first.device)


def _both_sides(n: Tensor, fewer: Tensor) -> Tensor:
    """Probability that the rarer of two equally likely sides is met at most so often in n draws, doubled."""
    k = torch.arange(int(fewer) + 1, dtype=torch.float64)
    log_terms = torch.lgamma(n + 1) - torch.lgamma(k + 1) - torch.lgamma(n - k + 1) - n * log(2)
    return (2 * log_terms.logsumexp(0).exp()).clamp(max=1)
