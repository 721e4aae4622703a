"""Proportions and their differences where images come in groups: of one patient, slide, scanner or field.

Images of one group are no independent draws. The variance of a proportion is therefore taken from its groups, by
linearisation (Cochran, "Sampling Techniques", 1977, 6.3; the same as cluster-robust standard errors of Liang and Zeger
1986). What it is over that of independent images is the design effect; Wilson's limits of as many images as the groups
are worth (Korn and Graubard, "Confidence intervals for proportions with small expected number of positive counts
estimated from survey data", Survey Methodology 24, 1998), with Student's quantile for the number of groups, stay within
0 and 1. Two proportions that share groups go together, so that limits of their difference or ratio take their
correlation in, as Newcombe's method 10 and Donner and Zou's MOVER-R do for pairs.

Tests are score tests, with the variance from the groups and Student's t: Boos, "On generalized score tests", The
American Statistician 46 (1992).
"""

from typing import NamedTuple

import torch
from torch import Tensor

from lightning_failures.functional.proportions import normal_quantile, student_quantile, student_tail, wilson

__all__ = [
    "FEWEST_GROUPS",
    "ClusteredRate",
    "Grouped",
    "add_by_group",
    "clustered_error",
    "clustered_rate",
    "correlation",
    "degrees_of_freedom",
    "group_p_value",
    "student_p_value",
    "student_quantiles",
]

#: Fewest groups with images of a kind from which an interval is given.
FEWEST_GROUPS = 4


class Grouped(NamedTuple):
    """Sums of each group; two of them are put together by :func:`add_by_group`."""

    ids: Tensor  # (g) int64, ascending; or (g j)
    sums: Tensor  # (g k)


class ClusteredRate(NamedTuple):
    """A proportion, and what it rests on."""

    value: Tensor  # (...) float64
    low: Tensor  # (...) float64
    high: Tensor  # (...) float64
    residuals: Tensor  # (g ...) float64, what each group adds to its error


def add_by_group(rows: Tensor, groups: Tensor) -> Grouped:
    """Add up the rows of each group: of images, or of parts of the data that were added up before.

    Args:
        rows: what is added up; (n k).
        groups: the group of each row; (n), int64; or several numbers that name it together; (n j).

    Example:
        >>> add_by_group(torch.tensor([[1], [2], [4]]), torch.tensor([7, 3, 7]))
        Grouped(ids=tensor([3, 7]), sums=tensor([[2],
                [5]]))
    """
    ids, place = groups.unique(return_inverse=True, dim=None if groups.ndim == 1 else 0)
    return Grouped(ids, rows.new_zeros(len(ids), rows.shape[1]).index_add_(0, place, rows))


def clustered_rate(some: Tensor, seen: Tensor, confidence: float = 0.95) -> ClusteredRate:
    """A proportion with an interval that counts groups, not images.

    Convention:
        In [0, 1]. Never narrower than for independent images. Where all or none are so, groups tell nothing of how
        alike their images are, and each counts as one image. ``nan`` without images; the limits also below
        :data:`FEWEST_GROUPS` groups.

    Args:
        some: how many of each group's images are so; (g ...), int.
        seen: out of how many; (g ...), int.
        confidence: probability that the interval covers.

    Example:
        >>> some = torch.tensor([10, 0, 10, 0, 10, 0, 10, 0])  # whole groups: 8 groups say as much as 8 images, or less
        >>> rate = clustered_rate(some, torch.full((8,), 10))
        >>> [round(float(value), 2) for value in (rate.value, rate.low, rate.high)]
        [0.5, 0.17, 0.83]
    """
    some, seen = some.double(), seen.double()
    total, held = seen.sum(0), (seen > 0).sum(0)
    value = some.sum(0) / total
    residuals = (some - value * seen) / total
    residuals = torch.where(total > 0, residuals, 0.0)
    variance = residuals.square().sum(0) * held / (held - 1)
    worth = torch.where(variance > 0, value * (1 - value) / variance, total)
    effective = torch.where((value == 0) | (value == 1), held.double(), worth).minimum(total)
    freedom = degrees_of_freedom(seen)
    narrowed = effective * (normal_quantile(confidence) / student_quantiles(confidence, freedom)).square()
    low, high = wilson(value * narrowed, narrowed, confidence)
    enough = (held >= FEWEST_GROUPS) & (freedom > 0)
    return ClusteredRate(value, torch.where(enough, low, torch.nan), torch.where(enough, high, torch.nan), residuals)


def correlation(one: ClusteredRate, other: ClusteredRate) -> Tensor:
    """How two proportions go together through the groups that they share; in [-1, 1], 0 where one does not vary.

    Example:
        >>> seen = torch.full((4,), 10)
        >>> rate = clustered_rate(torch.tensor([1, 2, 3, 4]), seen)
        >>> correlation(rate, clustered_rate(torch.tensor([4, 3, 2, 1]), seen))
        tensor(-1., dtype=torch.float64)
    """
    product = (one.residuals * other.residuals).sum(0)
    scale = (one.residuals.square().sum(0) * other.residuals.square().sum(0)).sqrt()
    return torch.where(scale > 0, product / scale, 0.0).clamp(-1, 1)


def group_p_value(contributions: Tensor, freedom: Tensor) -> Tensor:
    """Probability of so large a sum over groups if its expectation were 0: a score test, two-sided.

    Convention:
        From 0 to 1; 1 where every group contributes 0. ``nan`` without a degree of freedom.

    Args:
        contributions: of each group to a sum that is 0 on average if there is no effect; (g ...), float64.
        freedom: degrees of freedom of Student's t; (...), int.
    """
    error = clustered_error(contributions - contributions.mean(0))
    total = contributions.sum(0)
    return student_p_value(torch.where(total != 0, total / error, 0.0), freedom)


def clustered_error(contributions: Tensor) -> Tensor:
    """Standard error of a sum over groups whose parts scatter about 0, with the factor g / (g - 1) for g groups.

    Convention:
        At least 0; ``nan`` for a single group.

    Args:
        contributions: of each group; (g ...), float64.

    Example:
        >>> clustered_error(torch.tensor([1.0, -1.0]))
        tensor(2.)
    """
    groups = len(contributions)
    return (contributions.square().sum(0) * (groups / (groups - 1) if groups > 1 else torch.nan)).sqrt()


def student_p_value(deviates: Tensor, freedom: Tensor) -> Tensor:
    """Probability of a deviate so far from 0, two-sided; 0 to 1, ``nan`` without a degree of freedom.

    Args:
        deviates: an estimate over its standard error; (...), float64.
        freedom: degrees of freedom of Student's t; the same shape, int.

    Example:
        >>> student_p_value(torch.tensor([2.2622]), torch.tensor([9]))
        tensor([0.0500], dtype=torch.float64)
    """
    tails = [
        student_tail(abs(deviate), free) if free > 0 and deviate == deviate else torch.nan
        for deviate, free in zip(deviates.flatten().tolist(), freedom.flatten().tolist(), strict=True)
    ]
    return torch.tensor(tails, dtype=torch.float64).reshape(deviates.shape).mul(2).clamp(max=1)


def student_quantiles(confidence: float, freedom: Tensor) -> Tensor:
    """How many standard errors a two-sided interval reaches for each of the degrees of freedom; infinite for none.

    Args:
        confidence: probability that the interval covers.
        freedom: degrees of freedom; (...), int.

    Example:
        >>> student_quantiles(0.95, torch.tensor([9, 0]))
        tensor([2.2622,    inf], dtype=torch.float64)
    """
    known = {free: student_quantile((1 + confidence) / 2, free) for free in set(freedom.flatten().tolist())}
    return torch.stack([known[free] for free in freedom.flatten().tolist()]).reshape(freedom.shape)


def degrees_of_freedom(seen: Tensor) -> Tensor:
    """Degrees of freedom of a variance between groups: Kish's effective number of groups, less one, rounded down.

    Args:
        seen: images of each group; (g ...).

    Returns:
        One less than the number of groups where they are of one size, fewer where some hold most images; (...), int64.

    Example:
        >>> degrees_of_freedom(torch.tensor([[10, 1], [10, 1], [10, 98]]))
        tensor([2, 0])
    """
    seen = seen.double()
    effective = seen.sum(0).square() / seen.square().sum(0)
    return (effective.nan_to_num(nan=1.0) + 1e-9).long() - 1
