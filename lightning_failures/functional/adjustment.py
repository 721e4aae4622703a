"""Error ratios adjusted for class: a factor can look hard only because it occurs in hard classes.

Indirect standardisation (observed over expected errors), the risk ratio of Mantel and Haenszel with the variance of
Greenland and Robins (1985), and the test of Cochran, Mantel and Haenszel; the classes are the strata. Where images come
in groups, variance and test are of what each group adds, see :mod:`.clusters`.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from lightning_failures.functional.clusters import (
    FEWEST_GROUPS,
    clustered_error,
    degrees_of_freedom,
    group_p_value,
    student_quantiles,
)
from lightning_failures.functional.factors import FactorCounts
from lightning_failures.functional.proportions import Interval, normal_quantile

__all__ = [
    "GroupedClasses",
    "StratifiedCounts",
    "cochran_mantel_haenszel",
    "count_by_class",
    "mantel_haenszel",
    "mantel_haenszel_difference",
    "mantel_haenszel_difference_interval",
    "mantel_haenszel_interval",
    "mantel_haenszel_log_error",
    "standardised_error_ratio",
]


class StratifiedCounts(NamedTuple):
    """Factor counts of each class; adds up across batches and across ranks."""

    wrong: Tensor  # (f c) int64, misclassified images of each class that carry each factor
    seen: Tensor  # (f c) int64, images of each class that carry each factor
    class_wrong: Tensor  # (c) int64, misclassified images of each class
    class_seen: Tensor  # (c) int64, images of each class

    @classmethod
    def zero(cls, num_factors: int, num_classes: int) -> "StratifiedCounts":
        """The counts of no images."""
        by_factor = torch.zeros(num_factors, num_classes, dtype=torch.int64)
        by_class = torch.zeros(num_classes, dtype=torch.int64)
        return cls(by_factor, by_factor.clone(), by_class, by_class.clone())

    @property
    def factors(self) -> FactorCounts:
        """The same images without their classes."""
        return FactorCounts(self.wrong.sum(1), self.seen.sum(1), self.class_wrong.sum(), self.class_seen.sum())


class GroupedClasses(NamedTuple):
    """Factor counts of each class in each group of images that belong together: m pairs that hold an image."""

    group: Tensor  # (m) int64, from 0 to the number of groups, each at least once
    classes: Tensor  # (m) int64, in [0, c)
    counts: FactorCounts  # (m f) and (m)

    def add_up(self, values: Tensor) -> Tensor:
        """Sum of the values (m f) of each group; (g f), float64."""
        groups = int(self.group.max()) + 1 if len(self.group) else 0
        return values.new_zeros(groups, values.shape[1]).index_add_(0, self.group, values)

    @property
    def sides(self) -> tuple[Tensor, Tensor]:
        """Images with each factor, and without it, of each group; (g f), float64."""
        seen = self.add_up(self.counts.seen.double())
        return seen, self.add_up(self.counts.all_seen[:, None].double()) - seen

    @property
    def freedom(self) -> Tensor:
        """Degrees of freedom: of the groups with and of those without each factor, whichever are fewer; (f)."""
        return torch.minimum(*map(degrees_of_freedom, self.sides))

    def reach(self, confidence: float, error: Tensor) -> Tensor:
        """How far an interval reaches to each side; (f); nan below :data:`.FEWEST_GROUPS` with or without the factor.

        Args:
            confidence: probability that the interval covers.
            error: standard error; (f).
        """
        held = torch.minimum(*((side > 0).sum(0) for side in self.sides))
        return torch.where(held >= FEWEST_GROUPS, student_quantiles(confidence, self.freedom) * error, torch.nan)

    def error(self, counts: "StratifiedCounts", carried: Tensor, other: Tensor, ratio: Tensor) -> Tensor:
        """Standard error of the sum over classes of errors with a factor, less those without it, weighted as by Mantel.

        Args:
            counts: of all groups.
            carried: error rate that each class is taken to have with each factor; (f c).
            other: and without it; (f c).
            ratio: by which errors without the factor are multiplied; (f).
        """
        _, n_F, _, n_C, _, n = _strata(counts)
        each, at = self.counts, self.classes
        inside = each.wrong - carried.T[at] * each.seen
        outside = (each.all_wrong[:, None] - each.wrong) - other.T[at] * (each.all_seen[:, None] - each.seen)
        return clustered_error(self.add_up((inside * n_C.T[at] - ratio * outside * n_F.T[at]) / n[at][:, None]))


def count_by_class(
    wrong: Tensor, factors: Tensor, target: Tensor, num_classes: int, known: Tensor | None = None
) -> StratifiedCounts:
    """Count a batch.

    Args:
        wrong: which images are misclassified; (n), bool.
        factors: which factors each image carries; (n f), bool or int of 0 and 1.
        target: the true class of each image; (n), int64, in [0, c).
        num_classes: number of classes c.
        known: which images have a label; the others count nowhere; (n), bool; None: all have one.
    """
    wrong = wrong.bool()
    known = torch.ones_like(wrong) if known is None else known
    rows = torch.cat([factors.bool() & known[:, None], known[:, None]], 1)  # the last column: all images
    zero = torch.zeros(num_classes, rows.shape[1], dtype=torch.int64, device=target.device)
    seen, missed = (zero.index_add(0, target, chosen.long()).T for chosen in (rows, rows & wrong[:, None]))
    return StratifiedCounts(missed[:-1], seen[:-1], missed[-1], seen[-1])


def _strata(counts: StratifiedCounts) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Of each class: wrong and all images with the factor, the same without it, the same over both."""
    a, n_F, E, n = (count.double() for count in counts)
    return a, n_F, E - a, n - n_F, E, n.clamp(min=1)  # so that a class without images adds 0 to every sum


def standardised_error_ratio(counts: StratifiedCounts) -> Tensor:
    """Errors on the images carrying each factor, over those expected if each class had its usual error rate.

    Convention:
        1 is what the classes explain, 2 is twice that; dimensionless, at least 0. ``nan``: no image carries the
        factor, or no class that carries it has errors.

    Returns:
        One ratio per factor; (f), float64.

    Example:
        >>> wrong, target = torch.tensor([1, 1, 0, 0]), torch.tensor([0, 0, 1, 1])
        >>> counts = count_by_class(wrong, torch.tensor([[1], [0], [0], [0]]), target, 2)
        >>> standardised_error_ratio(counts)  # twice the usual errors, and all of it is its class
        tensor([1.], dtype=torch.float64)
    """
    a, n_F, _, _, E, n = _strata(counts)
    expected = (n_F * E / n).sum(1)
    return torch.where(expected > 0, a.sum(1) / expected, torch.nan)


def mantel_haenszel(counts: StratifiedCounts) -> Tensor:
    """Error rate with each factor over the error rate without it, pooled over the classes.

    Convention:
        1: the factor does not matter within a class; dimensionless, at least 0. ``nan``: no class holds images both
        with and without the factor and an error among the latter.

    Returns:
        One risk ratio per factor; (f), float64.
    """
    a, n_F, c, n_C, _, n = _strata(counts)
    R, S = (a * n_C / n).sum(1), (c * n_F / n).sum(1)
    return torch.where(S > 0, R / S, torch.nan)


def mantel_haenszel_log_error(counts: StratifiedCounts, groups: GroupedClasses | None = None) -> Tensor:
    """Standard error of the logarithm of :func:`mantel_haenszel`, after Greenland and Robins; with groups, from these.

    With groups, each class is taken to have the error rate that the ratio and all its errors give, with the factor and
    without; what a group's errors are beyond that is what it adds.

    Convention:
        At least 0; infinite where the ratio is 0, ``nan`` where it is nan.

    Args:
        counts: the counts.
        groups: the same counts by group; None: images are independent.

    Returns:
        One standard error per factor; (f), float64.
    """
    a, n_F, c, n_C, E, n = _strata(counts)
    R, S = (a * n_C / n).sum(1), (c * n_F / n).sum(1)
    if groups is None:
        error = (((E * n_F * n_C - a * c * n) / n**2).sum(1) / (R * S)).sqrt()
    else:
        ratio = (R / S)[:, None]
        usual = E / (n_C + ratio * n_F).clamp(min=torch.finfo(torch.float64).tiny)  # error rate without the factor
        error = groups.error(counts, ratio * usual, usual, R / S) / R
    return torch.where(S > 0, torch.where(R > 0, error, torch.inf), torch.nan)


def mantel_haenszel_interval(
    counts: StratifiedCounts, confidence: float = 0.95, groups: GroupedClasses | None = None
) -> Interval:
    """Confidence interval of :func:`mantel_haenszel`, symmetric in the logarithm.

    Convention:
        ``nan`` where the ratio is nan or 0, and with groups below :data:`.FEWEST_GROUPS` of them with or without the
        factor.

    Args:
        counts: the counts.
        confidence: probability that the interval covers.
        groups: the same counts by group; None: images are independent.

    Returns:
        Both ends per factor; (f), float64.
    """
    ratio, error = mantel_haenszel(counts), mantel_haenszel_log_error(counts, groups)
    reach = normal_quantile(confidence) * error if groups is None else groups.reach(confidence, error)
    spread = torch.where(ratio > 0, reach, torch.nan).exp()
    return Interval(ratio / spread, ratio * spread)


def mantel_haenszel_difference(counts: StratifiedCounts) -> Tensor:
    """Error rate with each factor minus the error rate without it, pooled over the classes after Mantel and Haenszel.

    Convention:
        In [-1, 1]: 0: the factor does not matter within a class. ``nan``: no class holds images with and without it.

    Returns:
        One difference per factor; (f), float64.

    Example:
        >>> wrong, target = torch.tensor([1, 0, 0, 0, 1, 1]), torch.tensor([0, 0, 0, 0, 1, 1])
        >>> counts = count_by_class(wrong, torch.tensor([[1], [1], [0], [0], [1], [1]]), target, 2)
        >>> mantel_haenszel_difference(counts)  # of class 0; class 1 says nothing
        tensor([0.5000], dtype=torch.float64)
    """
    a, n_F, c, n_C, _, n = _strata(counts)
    weight = (n_F * n_C / n).sum(1)
    return torch.where(weight > 0, ((a * n_C - c * n_F) / n).sum(1) / weight, torch.nan)


def mantel_haenszel_difference_interval(
    counts: StratifiedCounts, confidence: float = 0.95, groups: GroupedClasses | None = None
) -> Interval:
    """Confidence interval of :func:`mantel_haenszel_difference`.

    With the variance of Sato, Biometrics 45 (1989), which holds for few large classes and for many small ones. With
    groups, from what each adds beyond the error rates that the difference and all errors of a class give.

    Convention:
        Inside [-1, 1]. ``nan`` where the difference is, and with groups below :data:`.FEWEST_GROUPS` of them with or
        without the factor. Where all images with the factor, or all others, are right or all wrong, it is not exact.

    Args:
        counts: the counts.
        confidence: probability that the interval covers.
        groups: the same counts by group; None: images are independent.

    Returns:
        Both ends per factor; (f), float64.
    """
    a, n_F, c, n_C, E, n = _strata(counts)
    difference, weight = mantel_haenszel_difference(counts), (n_F * n_C / n).sum(1)
    if groups is None:
        slope = (n_F.square() * c - n_C.square() * a + n_F * n_C * (n_C - n_F) / 2) / n.square()
        level = (a * (n_C - c) + c * (n_F - a)) / (2 * n)
        error = (difference * slope.sum(1) + level.sum(1)).clamp(min=0).sqrt() / weight
    else:
        usual = (E - difference[:, None] * n_F) / n  # error rate without the factor
        error = groups.error(counts, usual + difference[:, None], usual, torch.ones_like(difference)) / weight
    reach = normal_quantile(confidence) * error if groups is None else groups.reach(confidence, error)
    return Interval((difference - reach).clamp(-1, 1), (difference + reach).clamp(-1, 1))


def cochran_mantel_haenszel(counts: StratifiedCounts, groups: GroupedClasses | None = None) -> Tensor:
    """Probability of so uneven errors with and without each factor, if it did not matter within any class.

    The chi-squared test of Cochran, Mantel and Haenszel, with their continuity correction of one half; with groups
    :func:`.group_p_value` of what each adds to the same sum.

    Convention:
        From 0 to 1. ``nan``: no class holds images with and without the factor, and both right and wrong ones; or a
        single group does.

    Args:
        counts: the counts.
        groups: the same counts by group; None: images are independent.

    Returns:
        One p-value per factor, not adjusted for their number; (f), float64.
    """
    a, n_F, _, n_C, E, n = _strata(counts)
    excess = (a - n_F * E / n).sum(1).abs()
    variance = (n_F * n_C * E * (n - E) / (n**2 * (n - 1).clamp(min=1))).sum(1)
    if groups is None:
        p = torch.special.erfc((excess - 0.5).clamp(min=0) / variance.sqrt() / 2**0.5)
    else:
        error, share = (E / n), (n_F / n).T
        each, at = groups.counts, groups.classes
        carried = each.wrong - error[at][:, None] * each.seen
        overall = each.all_wrong - error[at] * each.all_seen
        p = group_p_value(groups.add_up(carried - share[at] * overall[:, None]), groups.freedom)
    return torch.where(variance > 0, p, torch.nan)
