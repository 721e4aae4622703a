"""How sure a proportion is, and a difference of two: Wilson's interval, Newcombe's, and quantiles that limits reach to.

Newcombe, "Interval estimation for the difference between independent proportions: comparison of eleven methods" and
"Improved confidence intervals for the difference between binomial proportions based on paired data", Statistics in
Medicine 17 (1998), method 10 of both.
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor

__all__ = ["Interval", "difference_interval", "normal_quantile", "student_quantile", "student_tail", "wilson"]


class Interval(NamedTuple):
    """Both ends of a confidence interval."""

    low: Tensor
    high: Tensor


def normal_quantile(confidence: float) -> Tensor:
    """The standard normal deviate that a two-sided interval of this confidence reaches to; (), float64."""
    deviate: Tensor = torch.special.ndtri(torch.tensor((1 + confidence) / 2, dtype=torch.float64))
    return deviate


def student_quantile(probability: float, freedom: int) -> Tensor:
    """What Student's t stays below with a probability; (), float64; infinite without a degree of freedom.

    By bisection of the finite series of Abramowitz and Stegun (1964), 26.7.3 and 26.7.4.

    Args:
        probability: from 0.5 up to, not including, 1.
        freedom: degrees of freedom.

    Example:
        >>> student_quantile(0.975, 9)
        tensor(2.2622, dtype=torch.float64)
    """
    if freedom < 1:
        return torch.tensor(torch.inf, dtype=torch.float64)
    low, high = torch.zeros((), dtype=torch.float64), torch.tensor(torch.pi / 2, dtype=torch.float64)
    for _ in range(64):
        angle = (low + high) / 2
        low, high = (angle, high) if (1 + _within(angle, freedom)) / 2 < probability else (low, angle)
    quantile: Tensor = math.sqrt(freedom) * low.tan()
    return quantile


def student_tail(value: float, freedom: int) -> float:
    """Probability that Student's t is above a value; 0 to 1.

    Args:
        value: any number, or infinity.
        freedom: degrees of freedom, 1 or more.

    Example:
        >>> round(student_tail(2.2622, 9), 4)
        0.025
    """
    tail = (1 - _within(torch.tensor(abs(value) / math.sqrt(freedom), dtype=torch.float64).atan(), freedom)) / 2
    return max(tail, 0.0) if value >= 0 else 1 - tail


def _within(angle: Tensor, freedom: int) -> float:
    """Probability that the modulus of Student's t stays below the root of the degrees of freedom times this tangent."""
    odd = freedom % 2
    steps = torch.arange(2 + odd, max(freedom - 1, 2 + odd), 2, dtype=torch.float64)
    series = angle.sin() * (1 + ((steps - 1) / steps * angle.cos().square()).cumprod(0).sum())
    if odd:
        series = (angle + (series * angle.cos() if freedom > 1 else 0)) * 2 / torch.pi
    return float(series)


def wilson(wrong: Tensor, seen: Tensor, confidence: float = 0.95) -> Interval:
    """Wilson's interval of a proportion.

    Convention:
        Both ends in [0, 1]. ``nan`` where nothing was seen.

    Args:
        wrong: how many of them; any shape, int.
        seen: out of how many; the same shape, int.
        confidence: probability that the interval covers.

    Example:
        >>> wilson(torch.tensor([5]), torch.tensor([10]))
        Interval(low=tensor([0.2366], dtype=torch.float64), high=tensor([0.7634], dtype=torch.float64))
    """
    wrong, seen = wrong.double(), seen.double()
    z = normal_quantile(confidence).to(wrong.device)
    centre = wrong + z**2 / 2
    half = z * (wrong * (seen - wrong) / seen + z**2 / 4).sqrt()
    low, high = (centre - half) / (seen + z**2), (centre + half) / (seen + z**2)
    return Interval(torch.where(wrong == 0, 0 * low, low), torch.where(wrong == seen, 0 * high + 1, high))


def difference_interval(
    one: Tensor, one_limits: tuple[Tensor, Tensor], other: Tensor, other_limits: tuple[Tensor, Tensor], together: Tensor
) -> Interval:
    """Interval of a difference of two values from the limits of both: Newcombe's method 10.

    Args:
        one: the first value; any shape, float64.
        one_limits: its lower and upper limit.
        other: the second value.
        other_limits: its lower and upper limit.
        together: correlation of the two, 0 where they are independent; broadcast against them.

    Convention:
        Holds ``one - other``. ``nan`` where a limit is.

    Example:
        >>> p1, p2 = torch.tensor([56 / 70, 48 / 80], dtype=torch.float64)
        >>> one, other = wilson(torch.tensor(56), torch.tensor(70)), wilson(torch.tensor(48), torch.tensor(80))
        >>> [round(float(end), 4) for end in difference_interval(p1, one, p2, other, torch.tensor(0.0))]
        [0.0524, 0.3339]
    """

    def combined(a: Tensor, b: Tensor) -> Tensor:
        return (a.square() - 2 * together * a * b + b.square()).clamp(min=0).sqrt()

    difference, (low_one, high_one), (low_other, high_other) = one - other, one_limits, other_limits
    low = difference - combined(one - low_one, high_other - other)
    return Interval(low, difference + combined(high_one - one, other - low_other))
