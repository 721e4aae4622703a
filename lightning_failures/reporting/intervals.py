"""95% intervals of a proportion and of a difference, in closed form, for what is compared without a tensor."""

import math
from collections.abc import Sequence
from statistics import NormalDist, fmean, variance
from typing import NamedTuple

__all__ = ["Interval", "mover", "paired", "welch", "wilson"]


class Interval(NamedTuple):
    """The ends of a 95% interval; nan where it is not known.

    Example:
        >>> Interval(0.1, 0.2).known, Interval(math.nan, math.nan).known
        (True, False)
    """

    low: float
    high: float

    @property
    def known(self) -> bool:
        """Whether both ends are finite."""
        return math.isfinite(self.low) and math.isfinite(self.high)


UNKNOWN = Interval(math.nan, math.nan)


def wilson(share: float, images: float) -> Interval:
    """Wilson's 95% interval of a share; nan where it or the number of images is not known.

    :func:`lightning_failures.functional.wilson` needs torch, which a report is written and read without.

    Args:
        share: 0 to 1.
        images: of which it is a share; 1 or more.

    Example:
        >>> [round(end, 3) for end in wilson(0.8, 100)]
        [0.711, 0.867]
    """
    if not (math.isfinite(share) and images >= 1):
        return UNKNOWN
    right, z = round(share * images), NormalDist().inv_cdf(0.975)
    centre, half = right + z**2 / 2, z * math.sqrt(right * (images - right) / images + z**2 / 4)
    return Interval(max(0.0, (centre - half) / (images + z**2)), min(1.0, (centre + half) / (images + z**2)))


def mover(first: float, of_first: Interval, second: float, of_second: Interval) -> Interval:
    """The 95% interval of ``second - first`` from the interval of each, where the two were drawn apart.

    The method of variance estimates recovery, of which Newcombe's interval of two shares is a case; source: Zou and
    Donner, Statistics in Medicine 27 (2008), 1693-1702. Figures of the same images go up and down together as a rule;
    the interval is then wider than it had to be.

    Example:
        >>> [round(end, 4) for end in mover(48 / 80, wilson(48 / 80, 80), 56 / 70, wilson(56 / 70, 70))]
        [0.0524, 0.3339]
    """
    if not (of_first.known and of_second.known and math.isfinite(first) and math.isfinite(second)):
        return UNKNOWN
    difference = second - first
    return Interval(
        difference - math.hypot(second - of_second.low, of_first.high - first),
        difference + math.hypot(of_second.high - second, first - of_first.low),
    )


def welch(first: Sequence[float], second: Sequence[float]) -> Interval:
    """Welch's 95% interval of ``mean(second) - mean(first)``, the values independent.

    Nan for fewer than two values on a side, and where neither side varies.

    Example:
        >>> [round(end, 3) for end in welch([0.80, 0.82, 0.81], [0.86, 0.88, 0.84])]
        [0.008, 0.092]
    """
    if min(len(first), len(second)) < 2:
        return UNKNOWN
    of_first, of_second = variance(first) / len(first), variance(second) / len(second)
    if of_first + of_second <= 0:
        return UNKNOWN
    freedom = (of_first + of_second) ** 2 / (of_first**2 / (len(first) - 1) + of_second**2 / (len(second) - 1))
    return _around(fmean(second) - fmean(first), math.sqrt(of_first + of_second), freedom)


def paired(first: Sequence[float], second: Sequence[float]) -> Interval:
    """Student's 95% interval of the mean of ``second - first``, pair by pair.

    Nan for fewer than two pairs, and where all differ by the same.

    Example:
        >>> [round(end, 3) for end in paired([0.80, 0.82, 0.81], [0.85, 0.88, 0.85])]
        [0.025, 0.075]
    """
    differences = [after - before for before, after in zip(first, second, strict=True)]
    if len(differences) < 2 or (spread := variance(differences)) <= 0:
        return UNKNOWN
    return _around(fmean(differences), math.sqrt(spread / len(differences)), len(differences) - 1)


def _around(difference: float, error: float, freedom: float) -> Interval:
    from scipy.special import stdtrit

    half = float(stdtrit(freedom, 0.975)) * error
    return Interval(difference - half, difference + half)
