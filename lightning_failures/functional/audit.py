"""What data invite before a model is trained: where their variance lies, and where what they say of the labels.

Label information along principal directions: Pillai, "Some new test criteria in multivariate analysis", Annals of
Mathematical Statistics 26 (1955); its trace is the sum of the correlation ratios along the principal directions, so
that each direction has a share of it. Directions of small variance are learned last: Saxe, McClelland and Ganguli,
"Exact solutions to the nonlinear dynamics of learning in deep linear networks" (arXiv 1312.6120).
"""

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, TypeVar

import torch
from torch import Tensor

from lightning_failures.functional.ladder import label_share
from lightning_failures.functional.moments import ClassMoments, Moments, covariance, eigen, mean, rounding, spectrum

__all__ = [
    "Estimate",
    "LabelDirections",
    "TrainingSpread",
    "add_sums",
    "directions_for_variance",
    "half_slowdown",
    "jackknife",
    "label_directions",
    "offset_ratio",
    "training_spread",
    "widen",
    "widen_classes",
]

_STUDENT = (12.71, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262)  # 97.5% quantiles, 1 to 9 degrees of freedom
_SIGMAS = 3.0  # by which Pillai's trace must exceed that of shuffled labels

S = TypeVar("S", bound=NamedTuple)


class Estimate(NamedTuple):
    """A value with its 95% interval; each a number, nan where undefined."""

    value: float
    low: float
    high: float


class LabelDirections(NamedTuple):
    """What :func:`label_directions` gives."""

    variance: Tensor  # (d) eigenvalues of the covariance, descending
    directions: Tensor  # (d d) unit eigenvectors, columns
    label: Tensor  # (d) share of the variance along each that lies between the classes, less its null
    collected: Tensor  # (d) share of all label information in the first 1, 2, ... directions
    null: Tensor  # () mean of that share where labels are shuffled
    null_high: Tensor  # () its 95% quantile, for one direction


class TrainingSpread(NamedTuple):
    """How far accuracies of networks lie apart that differ in their seed alone; see :func:`training_spread`."""

    deviation: float  # on the scale of 2 arcsin sqrt(accuracy), where it does not depend on the accuracy
    freedom: int  # degrees of freedom that it rests on

    def reach(self, accuracy: float, runs: int = 1) -> float:
        """Half the width of the 95% interval that this spread gives the mean accuracy of some runs."""
        deviation = self.deviation * (accuracy * (1 - accuracy) / runs) ** 0.5
        return float(_STUDENT[min(self.freedom, len(_STUDENT)) - 1] * deviation)


def training_spread(accuracies: Sequence[float]) -> TrainingSpread:
    """Spread of the accuracy between trainings that differ in their seed alone.

    Args:
        accuracies: of two runs or more.

    Example:
        >>> spread = training_spread([0.5, 0.6])
        >>> round(spread.deviation, 3), spread.freedom
        (0.142, 1)
    """
    angles = 2 * torch.tensor(accuracies, dtype=torch.float64).sqrt().asin()
    return TrainingSpread(float(angles.std()), len(accuracies) - 1)


def widen(estimate: Estimate, reach: float) -> Estimate:
    """An estimate whose interval also holds an independent error that reaches so far.

    Example:
        >>> widen(Estimate(0.5, 0.25, 0.75), 0.0)
        Estimate(value=0.5, low=0.25, high=0.75)
        >>> round(widen(Estimate(0.5, 0.47, 0.53), 0.04).high, 2)
        0.55
    """
    value, low, high = estimate
    return Estimate(value, value - math.hypot(value - low, reach), value + math.hypot(high - value, reach))


def add_sums(sums: Sequence[S]) -> S:
    """The sums of all parts together.

    Example:
        >>> add_sums([Moments(*torch.ones(3)), Moments(*torch.ones(3))]).count
        tensor(2.)
    """
    totals: list[Any] = [torch.stack(parts).sum(0) for parts in zip(*sums, strict=True)]
    return type(sums[0])(*totals)


def widen_classes(sums: ClassMoments, num_classes: int) -> ClassMoments:
    """The same sums with room for more classes, which have no rows."""
    more = num_classes - len(sums.counts)
    if more <= 0:
        return sums
    empty = ClassMoments.zero(more, sums.totals.shape[1])
    counts, totals, squares = (torch.cat([own, new.to(own)]) for own, new in zip(sums[:3], empty[:3], strict=True))
    return ClassMoments(counts, totals, squares, sums.outer)


def offset_ratio(sums: Moments) -> Tensor:
    """Length of the mean row over the root of the summed variances: how much more all rows share than they differ by.

    Convention:
        0 for centred rows. Images in [0, 1] without normalisation have about 2; where it is well above, a small change
        of a first layer's weights moves its outputs by more than they vary, and the running statistics of a batch norm
        lag behind. ``nan`` for constant rows, and with fewer than two.

    Args:
        sums: moments of the rows.

    Example:
        >>> from lightning_failures.functional.moments import moments
        >>> offset_ratio(moments(torch.tensor([[4.0], [6.0]])))
        tensor(3.5355, dtype=torch.float64)
    """
    trace = covariance(sums).trace()
    return torch.where(trace > 0, mean(sums).norm() / trace.sqrt(), torch.nan)


def label_directions(sums: ClassMoments) -> LabelDirections:
    """Variance and label information along each principal direction of the rows.

    Convention:
        ``label`` is the correlation ratio of each direction minus ``null``, (classes - 1) / (rows - 1), which is its
        exact mean over all orders of the labels: about 0 for a direction that says nothing, at most 1. Its sum is
        Pillai's trace above chance, at most classes - 1. ``collected`` is its cumulated share, from the direction of
        largest variance on; ``nan`` where the trace is less than three standard deviations above that of shuffled
        labels. Directions without variance carry nothing. All is ``nan`` with fewer than two rows or classes.

    Args:
        sums: moments of rows by class.

    Example:
        >>> from lightning_failures.functional.moments import class_moments
        >>> rows = torch.tensor([[9.0, 0.0], [-9.0, 0.1], [9.0, 1.0], [-9.0, 1.1]]).repeat(20, 1)
        >>> label_directions(class_moments(rows, torch.tensor([0, 0, 1, 1]).repeat(20), 2)).collected
        tensor([-0.0130,  1.0000], dtype=torch.float64)
    """
    matrix = covariance(sums.all)
    rows, classes = sums.counts.sum().double(), (sums.counts > 0).sum()
    if not bool(matrix.isfinite().all() & (classes > 1)):
        nothing, lost = torch.full_like(sums.totals[0], torch.nan), torch.full_like(rows, torch.nan)
        return LabelDirections(nothing, torch.full_like(matrix, torch.nan), nothing, nothing, lost, lost)
    values, directions = eigen(matrix)
    values = torch.minimum(values, spectrum(matrix, rounding(sums.all))).clamp(min=0)  # zero what rounding explains
    freedom = (classes - 1).double()
    null = freedom / (rows - 1)
    # a chi-square variable's quantile, Wilson and Hilferty
    quantile = freedom * (1 - 2 / (9 * freedom) + 1.645 * (2 / (9 * freedom)).sqrt()) ** 3
    varies = values > 0
    label = torch.where(varies, label_share(sums, directions).nan_to_num() - null, 0.0)
    spread = (2 * freedom * varies.sum()).sqrt() / (rows - 1)
    total = label.sum()
    collected = torch.where(total > _SIGMAS * spread, label.cumsum(0) / total, torch.nan)
    return LabelDirections(values, directions, label, collected, null, quantile / (rows - 1))


def directions_for_variance(info: LabelDirections, share: float = 0.95) -> int:
    """How many of the first directions hold this share of the variance; 0 without variance."""
    cumulated = info.variance.cumsum(0)
    if not bool(cumulated[-1] > 0):
        return 0
    return int((cumulated < share * cumulated[-1]).sum()) + 1


def half_slowdown(info: LabelDirections) -> Tensor:
    """Largest variance over that of the direction at which half of the label information is collected.

    Convention:
        At least 1. Plain gradient descent learns a direction at a pace proportional to its variance: 1,000 says that
        half of what a linear model uses is learned 1,000 times as slowly as the main direction. Between two directions
        it is interpolated. ``nan`` where no label information is found.

    Args:
        info: what :func:`label_directions` gave.

    Returns:
        A ratio; ().
    """
    if not bool(info.collected.isfinite().all()):
        return torch.full_like(info.null, torch.nan)
    place = int((info.collected < 0.5).long().cumprod(0).sum())
    before = info.collected.new_zeros(()) if place == 0 else info.collected[place - 1]
    step = (0.5 - before) / (info.collected[place] - before)
    speeds = info.variance.log()
    return (speeds[0] - torch.lerp(speeds[max(place - 1, 0)], speeds[place], step)).exp()


def jackknife(statistic: Callable[[S], Tensor], groups: Sequence[S]) -> Estimate:
    """A positive statistic of sums, with an interval from leaving out one group of rows at a time.

    Convention:
        Student's interval on the logarithm, with one degree of freedom fewer than groups. Rows are taken as
        independent. ``nan`` where the rows of all other groups lack what the statistic needs.

    Args:
        statistic: of sums.
        groups: sums of two to ten random groups of rows.

    Example:
        >>> from lightning_failures.functional.moments import moments
        >>> rows = 5 + torch.randn(8, 100, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
        >>> jackknife(offset_ratio, [moments(group) for group in rows]).value.__round__(2)
        5.1
    """
    together = add_sums(groups)
    value = statistic(together).double()
    g = len(groups)
    logs = torch.stack([statistic(_without(together, part)).double() for part in groups]).log()
    error = ((g - 1) / g * (logs - logs.mean()).square().sum()).sqrt()
    reach = _STUDENT[g - 2] * error
    return Estimate(float(value), float(value * (-reach).exp()), float(value * reach.exp()))


def _without(together: S, part: S) -> S:
    rest: list[Any] = [whole - own for whole, own in zip(together, part, strict=True)]
    return type(part)(*rest)
