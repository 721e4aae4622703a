"""How sure an error ratio is: intervals, tests, adjustment for many factors, and shrinkage.

A factor is part of the whole, so it is compared with its complement: with the risk ratio RR of the two and the
factor's share w of the images, the error ratio is RR / (w RR + 1 - w), and any interval of RR maps end by end. That of
RR is MOVER-R (Donner and Zou 2012) over Wilson limits, which holds at ten images per factor; the delta method does not.
Where images come in groups, the limits count groups, and the two rates go together: see :mod:`.clusters`.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from lightning_failures.functional.clusters import (
    clustered_rate,
    correlation,
    degrees_of_freedom,
    group_p_value,
)
from lightning_failures.functional.factors import FactorCounts, error_rates, error_ratio
from lightning_failures.functional.proportions import Interval, difference_interval, wilson

__all__ = [
    "FactorLimits",
    "error_difference_interval",
    "error_ratio_interval",
    "factor_limits",
    "factor_p_value",
    "holm",
    "log_ratio_error",
    "shrunk_error_ratio",
]


class FactorLimits(NamedTuple):
    """What :func:`factor_limits` gives."""

    carried: Interval  # (f) each, of the error rate on the images with each factor
    others: Interval  # (f) each, of the error rate on the images without it
    together: Tensor  # (f) or (), correlation of the two rates


def factor_limits(counts: FactorCounts, confidence: float = 0.95, by_group: FactorCounts | None = None) -> FactorLimits:
    """Limits of the error rates with and without each factor: Wilson's, or those of :func:`.clustered_rate`.

    Args:
        counts: the counts.
        confidence: probability that an interval covers.
        by_group: the same counts of each group of images that belong together; (g f) and (g). None: images are
            independent.
    """
    other_wrong, other_seen = counts.all_wrong - counts.wrong, counts.all_seen - counts.seen
    if by_group is None:
        apart = torch.zeros((), device=counts.wrong.device)
        return FactorLimits(
            wilson(counts.wrong, counts.seen, confidence), wilson(other_wrong, other_seen, confidence), apart
        )
    wrong, seen = by_group.wrong, by_group.seen
    one = clustered_rate(wrong, seen, confidence)
    other = clustered_rate(by_group.all_wrong[:, None] - wrong, by_group.all_seen[:, None] - seen, confidence)
    return FactorLimits(Interval(one.low, one.high), Interval(other.low, other.high), correlation(one, other))


def error_ratio_interval(
    counts: FactorCounts, confidence: float = 0.95, by_group: FactorCounts | None = None
) -> Interval:
    """Confidence interval of each error ratio, in closed form.

    Convention:
        Holds the error ratio; the lower end is 0 when no image with the factor is wrong, the upper end is the inverse
        of the factor's share when no other image is. Both ends are 1 when every image carries the factor. ``nan``
        where the error ratio is, and with groups below :data:`.FEWEST_GROUPS` of them with or without the factor.

    Args:
        counts: the counts.
        confidence: probability that the interval covers.
        by_group: the same counts of each group of images that belong together; (g f) and (g). None: images are
            independent.

    Returns:
        Both ends per factor; (f), float64.
    """
    other_wrong, other_seen = counts.all_wrong - counts.wrong, counts.all_seen - counts.seen
    t1, t2 = counts.wrong.double() / counts.seen.double(), other_wrong.double() / other_seen.double()
    (l1, u1), (l2, u2), together = factor_limits(counts, confidence, by_group)
    share = counts.seen.double() / counts.all_seen.double()

    def through(numerator: Tensor, denominator: Tensor) -> Tensor:  # RR as a fraction, so that an infinite one maps too
        return numerator / (share * numerator + (1 - share) * denominator)

    # each root is taken in the form that subtracts nothing
    low_1, low_2 = l1 * (2 * t1 - l1), u2 * (2 * t2 - u2)
    middle = t1 * t2 - together * (t1 - l1) * (u2 - t2)
    low = through(low_1, middle + (middle**2 - low_1 * low_2).clamp(min=0).sqrt())
    high_1, high_2 = u1 * (2 * t1 - u1), l2 * (2 * t2 - l2)
    middle = t1 * t2 - together * (u1 - t1) * (t2 - l2)
    high = through(middle + (middle**2 - high_1 * high_2).clamp(min=0).sqrt(), high_2)

    low = torch.where(counts.wrong == 0, 0.0, low)
    high = torch.where(other_wrong == 0, 1 / share, high)
    whole = other_seen == 0
    undefined = error_ratio(counts).isnan() | l1.isnan() | (l2.isnan() & ~whole)
    low, high = torch.where(whole, 1.0, low), torch.where(whole, 1.0, high)
    return Interval(torch.where(undefined, torch.nan, low), torch.where(undefined, torch.nan, high))


def error_difference_interval(
    counts: FactorCounts, confidence: float = 0.95, by_group: FactorCounts | None = None
) -> Interval:
    """Confidence interval of each :func:`.error_difference`: the hybrid score interval of Newcombe.

    Wilson's limits of both rates, put together as for independent ones, see :func:`.difference_interval`; with groups,
    limits that count groups, put together as far as the two rates share them.

    Convention:
        Both ends in [-1, 1]; holds the difference, also where all or none of the images are wrong. ``nan`` where the
        difference is, and with groups below :data:`.FEWEST_GROUPS` of them with or without the factor.

    Args:
        counts: the counts.
        confidence: probability that the interval covers.
        by_group: the same counts of each group of images that belong together; (g f) and (g). None: images are
            independent.

    Returns:
        Both ends per factor; (f), float64.

    Example:
        >>> counts = FactorCounts(torch.tensor([56]), torch.tensor([70]), torch.tensor(104), torch.tensor(150))
        >>> error_difference_interval(counts)  # 56 of 70 against 48 of 80, the example of the paper
        Interval(low=tensor([0.0524], dtype=torch.float64), high=tensor([0.3339], dtype=torch.float64))
    """
    (one, other), (carried, others, together) = error_rates(counts), factor_limits(counts, confidence, by_group)
    return difference_interval(one, carried, other, others, together)


def log_ratio_error(counts: FactorCounts) -> Tensor:
    """Standard error of the logarithm of each error ratio, by the delta method.

    Convention:
        At least 0; infinite when no image with the factor is wrong. Too small below some 40 images, and 0 when no other
        image is wrong: use :func:`error_ratio_interval` there. ``nan`` where the error ratio is.

    Returns:
        One standard error per factor; (f), float64.
    """
    a, n, E, N = (count.double() for count in counts)
    inside, outside = 1 / a - 1 / n, 1 / (E - a) - 1 / (N - n)
    error = torch.where(a == E, 0.0, (1 - a / E) * (inside + outside).clamp(min=0).sqrt())
    return torch.where(error_ratio(counts).isnan(), torch.nan, error)


def factor_p_value(counts: FactorCounts, by_group: FactorCounts | None = None) -> Tensor:
    """Probability of errors spread as unevenly between a factor and its complement, if the factor did not matter.

    Fisher's exact test, two-sided: the sum over all tables with the same margins that are no more probable than the one
    seen. It holds its level at any count, where a score test does not with a handful of images. Of images in groups the
    score test whose variance comes from the groups, :func:`.group_p_value`: what each group adds to the errors on the
    factor beyond those expected. With few groups it is careful, and seldom small.

    Convention:
        From 0 to 1. ``nan`` where the error ratio is, and with groups below two of them with or without the factor.

    Args:
        counts: the counts.
        by_group: the same counts of each group of images that belong together; (g f) and (g). None: images are
            independent.

    Returns:
        One p-value per factor, not adjusted for their number; (f), float64.

    Example:
        >>> counts = FactorCounts(torch.tensor([3]), torch.tensor([4]), torch.tensor(4), torch.tensor(8))
        >>> factor_p_value(counts)
        tensor([0.4857], dtype=torch.float64)
    """
    defined = ~error_ratio(counts).isnan()
    if by_group is not None:
        return torch.where(defined, _clustered(counts, by_group), torch.nan)
    E, N = int(counts.all_wrong), int(counts.all_seen)
    tables = zip(counts.wrong.tolist(), counts.seen.tolist(), defined.tolist(), strict=True)
    values = [_fisher(a, n, E, N) if known else torch.nan for a, n, known in tables]
    return torch.tensor(values, dtype=torch.float64, device=counts.wrong.device)


def _clustered(counts: FactorCounts, by_group: FactorCounts) -> Tensor:
    """The score test of each factor: errors beyond the usual rate, weighted by carrying it beyond the usual share."""
    error = counts.all_wrong.double() / counts.all_seen.double()
    share = counts.seen.double() / counts.all_seen.double()
    carried = by_group.wrong - error * by_group.seen
    overall = by_group.all_wrong - error * by_group.all_seen
    others = by_group.all_seen[:, None] - by_group.seen
    freedom = torch.minimum(degrees_of_freedom(by_group.seen), degrees_of_freedom(others))
    return group_p_value(carried - share * overall[:, None], freedom)


def _fisher(a: int, n: int, E: int, N: int) -> float:
    lowest = max(0, n + E - N)
    k = torch.arange(lowest, min(n, E) + 1, dtype=torch.float64)
    log_weight = -torch.stack([k, n - k, E - k, N - n - E + k]).add(1).lgamma().sum(0)
    log_probability = log_weight - log_weight.logsumexp(0)
    as_rare = log_probability <= log_probability[a - lowest] + 1e-7  # equal ones differ by rounding
    return min(1.0, float(log_probability[as_rare].logsumexp(0).exp()))


def holm(p_values: Tensor) -> Tensor:
    """Holm's adjustment: the chance of any false alarm among all stays below the adjusted value.

    Args:
        p_values: one per factor; (f), float. ``nan`` stays so and does not count.

    Returns:
        Adjusted values, no smaller; (f), float64.

    Example:
        >>> holm(torch.tensor([0.01, 0.04, torch.nan, 0.03], dtype=torch.float64))
        tensor([0.0300, 0.0600,    nan, 0.0600], dtype=torch.float64)
    """
    p = p_values.double()
    order = p.argsort()  # nan last
    K = (~p.isnan()).sum()
    steps = torch.arange(len(p), device=p.device)
    adjusted = (p[order] * (K - steps)).cummax(0).values if len(p) else p
    return torch.empty_like(p).index_copy_(0, order, adjusted.clamp(max=1))


def shrunk_error_ratio(counts: FactorCounts) -> Tensor:
    """Error ratios drawn towards their common level, each as far as its own noise asks for (empirical Bayes).

    The largest of many noisy ratios is too large; the largest of the shrunk ones is not. The spread between factors is
    DerSimonian and Laird's, over the log ratios and :func:`log_ratio_error`. Where that error degenerates, since all or
    none of the images are wrong with the factor or without it, half an image is added to each of the four cells, and
    the error is that of a factor with the overall error rate.

    Convention:
        As :func:`error_ratio`; unchanged with a single factor, or when every image carries the factor.

    Returns:
        One ratio per factor; (f), float64.
    """
    a, n, E, N = (count.double() for count in counts)
    cells = torch.stack([a, n - a, (E - a).expand_as(a), N - n - (E - a)])
    sparse = (cells == 0).any(0) * 0.5
    padded = FactorCounts(a + sparse, n + 2 * sparse, E + 2 * sparse, N + 4 * sparse)
    typical = padded._replace(wrong=torch.where(sparse > 0, padded.seen * padded.all_wrong / padded.all_seen, a))
    theta, s2 = error_ratio(padded).log(), log_ratio_error(typical).square()
    used = error_ratio(counts).isfinite() & (n < N)
    if int(used.sum()) < 2:
        return error_ratio(counts)

    v = torch.where(used, 1 / s2, 0.0)
    theta_0 = torch.where(used, theta, 0.0)
    fixed = (v * theta_0).sum() / v.sum()
    Q = (v * (theta_0 - fixed).square()).sum()
    tau2 = ((Q - used.sum() + 1) / (v.sum() - v.square().sum() / v.sum())).clamp(min=0)
    weight = torch.where(used, 1 / (tau2 + s2), 0.0)
    mean = (weight * theta_0).sum() / weight.sum()
    shrunk = (mean + tau2 / (tau2 + s2) * (theta - mean)).exp()
    return torch.where(used, shrunk, error_ratio(counts))
