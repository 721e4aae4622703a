"""Error ratios adjusted for class: a factor can look hard only because it occurs in hard classes.

Indirect standardisation (observed over expected errors), the risk ratio of Mantel and Haenszel with the variance of
Greenland and Robins (1985), and the test of Cochran, Mantel and Haenszel; the classes are the strata.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from lightning_failures.functional.factors import FactorCounts
from lightning_failures.functional.proportions import Interval, normal_quantile

__all__ = [
    "StratifiedCounts",
    "cochran_mantel_haenszel",
    "count_by_class",
    "mantel_haenszel",
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


def count_by_class(wrong: Tensor, factors: Tensor, target: Tensor, num_classes: int) -> StratifiedCounts:
    """Count a batch.

    Args:
        wrong: which images are misclassified; (n), bool.
        factors: which factors each image carries; (n f), bool or int of 0 and 1.
        target: the true class of each image; (n), int64, in [0, c).
        num_classes: number of classes c.
    """
    wrong = wrong.bool()
    rows = torch.cat([factors.bool(), torch.ones_like(wrong)[:, None]], 1)  # the last column: all images
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


def mantel_haenszel_log_error(counts: StratifiedCounts) -> Tensor:
    """Standard error of the logarithm of :func:`mantel_haenszel`, after Greenland and Robins.

    Convention:
        At least 0; infinite where the ratio is 0, ``nan`` where it is nan.

    Returns:
        One standard error per factor; (f), float64.
    """
    a, n_F, c, n_C, E, n = _strata(counts)
    R, S = (a * n_C / n).sum(1), (c * n_F / n).sum(1)
    variance = ((E * n_F * n_C - a * c * n) / n**2).sum(1) / (R * S)
    return torch.where(S > 0, torch.where(R > 0, variance.sqrt(), torch.inf), torch.nan)


def mantel_haenszel_interval(counts: StratifiedCounts, confidence: float = 0.95) -> Interval:
    """Confidence interval of :func:`mantel_haenszel`, symmetric in the logarithm.

    Convention:
        ``nan`` where the ratio is nan or 0.

    Args:
        counts: the counts.
        confidence: probability that the interval covers.

    Returns:
        Both ends per factor; (f), float64.
    """
    ratio, reach = mantel_haenszel(counts), normal_quantile(confidence) * mantel_haenszel_log_error(counts)
    spread = torch.where(ratio > 0, reach, torch.nan).exp()
    return Interval(ratio / spread, ratio * spread)


def cochran_mantel_haenszel(counts: StratifiedCounts) -> Tensor:
    """Probability of so uneven errors with and without each factor, if it did not matter within any class.

    The chi-squared test of Cochran, Mantel and Haenszel, with their continuity correction of one half.

    Convention:
        From 0 to 1. ``nan``: no class holds images with and without the factor, and both right and wrong ones.

    Returns:
        One p-value per factor, not adjusted for their number; (f), float64.
    """
    a, n_F, _, n_C, E, n = _strata(counts)
    excess = (a - n_F * E / n).sum(1).abs()
    variance = (n_F * n_C * E * (n - E) / (n**2 * (n - 1).clamp(min=1))).sum(1)
    deviate = (excess - 0.5).clamp(min=0) / variance.sqrt()
    return torch.where(variance > 0, torch.special.erfc(deviate / 2**0.5), torch.nan)
