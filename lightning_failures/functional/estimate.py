"""A value with its interval: by leaving out one group of rows at a time, and between trainings of other seeds."""

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, TypeVar

import torch
from torch import Tensor

__all__ = ["Estimate", "TrainingSpread", "add_sums", "jackknife", "training_spread", "widen"]

_STUDENT = (12.71, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262)  # 97.5% quantiles, 1 to 9 degrees of freedom

S = TypeVar("S", bound=NamedTuple)


class Estimate(NamedTuple):
    """A value with its 95% interval; each a number, nan where undefined."""

    value: float
    low: float
    high: float


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
        >>> from lightning_failures.functional.moments import Moments
        >>> add_sums([Moments(*torch.ones(3)), Moments(*torch.ones(3))]).count
        tensor(2.)
    """
    totals: list[Any] = [torch.stack(parts).sum(0) for parts in zip(*sums, strict=True)]
    return type(sums[0])(*totals)


def jackknife(statistic: Callable[[S], Tensor], groups: Sequence[S]) -> Estimate:
    """A positive statistic of sums, with an interval from leaving out one group of rows at a time.

    Convention:
        Student's interval on the logarithm, with one degree of freedom fewer than groups. Rows are taken as
        independent. ``nan`` where the rows of all other groups lack what the statistic needs.

    Args:
        statistic: of sums.
        groups: sums of two to ten random groups of rows.

    Example:
        >>> from lightning_failures.functional.moments import moments, offset_ratio
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
