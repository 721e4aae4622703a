"""Two sets of predictions of the same images: whose error ratios differ by more than chance, image by image.

The delta method on the counts of images that one, the other or both get wrong; McNemar's exact test beside it, since a
ratio rises too when the errors on a factor fall by less than all errors do. Where images come in groups, variances and
tests are those of :mod:`.clusters`.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from lightning_failures.functional.clusters import (
    FEWEST_GROUPS,
    clustered_error,
    degrees_of_freedom,
    group_p_value,
    student_p_value,
    student_quantiles,
)
from lightning_failures.functional.factors import FactorCounts, error_ratio
from lightning_failures.functional.intervals import holm
from lightning_failures.functional.paired_accuracy import exact_mcnemar
from lightning_failures.functional.proportions import Interval, normal_quantile

__all__ = [
    "PairedCounts",
    "count_paired_errors",
    "count_setbacks",
    "mcnemar",
    "others_ratio",
    "paired_errors_of_images",
    "paired_interval",
    "paired_log_error",
    "paired_p_value",
    "paired_ratio",
    "risk_ratio",
    "risk_ratio_interval",
    "setback",
    "setbacks_of_images",
    "spillover",
]


class PairedCounts(NamedTuple):
    """Errors of two predictions of the same images; adds up across batches and across ranks."""

    own: Tensor  # (f) int64, images with each factor that are misclassified
    reference: Tensor  # (f) int64, that the reference misclassifies
    both: Tensor  # (f) int64, that both misclassify
    seen: Tensor  # (f) int64, images with each factor
    all_own: Tensor  # () int64, the same over all images
    all_reference: Tensor  # () int64
    all_both: Tensor  # () int64
    all_seen: Tensor  # () int64

    @classmethod
    def zero(cls, num_factors: int) -> "PairedCounts":
        """The counts of no images."""
        each, total = torch.zeros(num_factors, dtype=torch.int64), torch.zeros((), dtype=torch.int64)
        return cls(each, each, each, each, total, total, total, total)

    @property
    def own_factors(self) -> FactorCounts:
        """The counts of one's own predictions alone."""
        return FactorCounts(self.own, self.seen, self.all_own, self.all_seen)

    @property
    def reference_factors(self) -> FactorCounts:
        """The counts of the reference alone."""
        return FactorCounts(self.reference, self.seen, self.all_reference, self.all_seen)

    @property
    def everything(self) -> "PairedCounts":
        """All images as one factor that each of them carries."""
        own, reference, both, seen = self[4:]
        each = [count[..., None] for count in (own, reference, both, seen)]
        return PairedCounts(each[0], each[1], each[2], each[3], own, reference, both, seen)


def count_paired_errors(own: Tensor, reference: Tensor, factors: Tensor, known: Tensor | None = None) -> PairedCounts:
    """Count a batch.

    Args:
        own: which images are misclassified; (n), bool.
        reference: which images the reference misclassifies; (n), bool.
        factors: which factors each image carries; (n f), bool or int of 0 and 1.
        known: which images have a label; the others count nowhere; (n), bool; None: all have one.
    """
    return PairedCounts(*(count.sum(0) for count in paired_errors_of_images(own, reference, factors, known)))


def paired_errors_of_images(
    own: Tensor, reference: Tensor, factors: Tensor, known: Tensor | None = None
) -> PairedCounts:
    """What each image adds to :func:`count_paired_errors`, so that it can be added up by group; (n f) and (n), int64.

    Args:
        own: which images are misclassified; (n), bool.
        reference: which images the reference misclassifies; (n), bool.
        factors: which factors each image carries; (n f), bool or int of 0 and 1.
        known: which images have a label; the others count nowhere; (n), bool; None: all have one.
    """
    known = torch.ones_like(own.bool()) if known is None else known
    carried, own, reference = factors.bool() & known[:, None], own.bool() & known, reference.bool() & known
    both = own & reference
    by_factor = (carried & one[:, None] for one in (own, reference, both, known))
    return PairedCounts(*(one.long() for one in (*by_factor, own, reference, both, known)))


def setbacks_of_images(own: Tensor, references: Tensor, factors: Tensor) -> PairedCounts:
    """What each image adds to :func:`count_setbacks`, so that it can be added up by group; (n f), int64.

    Args:
        own: which images are misclassified; (n), bool.
        references: which images the reference of each factor misclassifies; (n f), bool.
        factors: which factors each image carries; (n f), bool or int of 0 and 1.
    """
    carried, references = factors.bool(), references.bool()
    own = own.bool()[:, None].expand_as(carried)
    overall = (own, references, own & references, torch.ones_like(carried))
    return PairedCounts(*((carried & one).long() for one in overall), *(one.long() for one in overall))


def count_setbacks(own: Tensor, references: Tensor, factors: Tensor) -> PairedCounts:
    """Count a batch against a reference of each factor's own, such as the epoch at which it had fewest errors.

    Args:
        own: which images are misclassified; (n), bool.
        references: which images the reference of each factor misclassifies, with the factor and without; (n f), bool.
        factors: which factors each image carries; (n f), bool or int of 0 and 1.

    Returns:
        The counts, of which those over all images are one per factor too; (f) each.
    """
    return PairedCounts(*(count.sum(0) for count in setbacks_of_images(own, references, factors)))


def setback(counts: PairedCounts, level: float = 0.05, by_group: PairedCounts | None = None) -> Tensor:
    """Whether a factor lost what it had while the network got better on the other images.

    Unlike :func:`spillover` it asks for more errors on the factor itself, and for fewer on the images without it, not
    on all: where the factor loses much, all errors become more.

    Convention:
        1 where the factor has more errors than its reference, Holm's adjustment of :func:`mcnemar` is below ``level``,
        and the images without it have fewer; else 0. ``nan``: no image carries the factor.

    Args:
        counts: of :func:`count_setbacks`, or of one reference.
        level: chance of calling any factor though none lost anything.
        by_group: the same counts of each group of images that belong together, with a leading axis (g). None: images
            are independent.

    Returns:
        One flag per factor; (f), float64.

    Example:
        >>> dark, before = torch.arange(40) < 20, torch.arange(40) >= 20
        >>> setback(count_setbacks(dark, before[:, None], dark[:, None]))
        tensor([1.], dtype=torch.float64)
    """
    p = holm(mcnemar(counts, by_group))
    others, others_before = counts.all_own - counts.own, counts.all_reference - counts.reference
    lost = (p < level) & (counts.own > counts.reference) & (others < others_before)
    return torch.where(p.isnan(), torch.nan, lost.double())


def others_ratio(counts: PairedCounts) -> Tensor:
    """Errors on the images without each factor over those of the reference.

    Convention:
        1: as many errors as the reference; dimensionless, at least 0. ``nan``: the reference has none.

    Returns:
        One ratio per factor; (f), float64.
    """
    now, before = (counts.all_own - counts.own).double(), (counts.all_reference - counts.reference).double()
    return torch.where(before > 0, now / before, torch.nan)


def paired_ratio(counts: PairedCounts) -> Tensor:
    """Error ratio of one's own predictions over that of the reference.

    Convention:
        1: as hard as to the reference, compared with all images; dimensionless, at least 0. ``nan`` where either error
        ratio is, or that of the reference is 0.

    Returns:
        One ratio per factor; (f), float64.
    """
    before = error_ratio(counts.reference_factors)
    return torch.where(before > 0, error_ratio(counts.own_factors) / before, torch.nan)


def paired_log_error(counts: PairedCounts, by_group: PairedCounts | None = None) -> Tensor:
    """Standard error of the logarithm of :func:`paired_ratio`, by the delta method.

    Convention:
        At least 0; ``nan`` where the ratio is nan or 0.

    Args:
        counts: the counts.
        by_group: the same counts of each group of images that belong together, with a leading axis (g). None: images
            are independent.

    Returns:
        One standard error per factor; (f), float64.
    """
    a_A, a_B, a_AB, _, E_A, E_B, E_AB, _ = (count.double() for count in counts)
    if by_group is not None:
        of_factor = by_group.own / a_A - by_group.reference / a_B
        of_all = by_group.all_own / E_A - by_group.all_reference / E_B
        error = clustered_error(of_factor - of_all.reshape(len(of_factor), -1))
        return torch.where(paired_ratio(counts) > 0, error, torch.nan)
    own = 1 / a_A + 1 / a_B - 1 / E_A - 1 / E_B
    shared = -2 * a_AB / (a_A * a_B) + 2 * a_AB / (a_A * E_B) + 2 * a_AB / (a_B * E_A) - 2 * E_AB / (E_A * E_B)
    return torch.where(paired_ratio(counts) > 0, (own + shared).clamp(min=0).sqrt(), torch.nan)


def paired_interval(counts: PairedCounts, confidence: float = 0.95, by_group: PairedCounts | None = None) -> Interval:
    """Confidence interval of :func:`paired_ratio`, symmetric in the logarithm.

    Convention:
        ``nan`` where the ratio is nan or 0, and below :data:`.FEWEST_GROUPS` groups with the factor.

    Args:
        counts: the counts.
        confidence: probability that the interval covers.
        by_group: the same counts of each group of images that belong together, with a leading axis (g). None: images
            are independent.

    Returns:
        Both ends per factor; (f), float64.
    """
    ratio, error = paired_ratio(counts), paired_log_error(counts, by_group)
    spread = (_reach(confidence, by_group) * error).exp()
    return Interval(ratio / spread, ratio * spread)


def _reach(confidence: float, by_group: PairedCounts | None) -> Tensor:
    """Standard errors to each side; nan below the fewest groups that an interval is given of."""
    if by_group is None:
        return normal_quantile(confidence)
    held = (by_group.seen > 0).sum(0)
    return torch.where(
        held >= FEWEST_GROUPS, student_quantiles(confidence, degrees_of_freedom(by_group.seen)), torch.nan
    )


def paired_p_value(counts: PairedCounts, by_group: PairedCounts | None = None) -> Tensor:
    """Probability of so different a ratio, if the factor were as hard to both; two-sided, by :func:`paired_log_error`.

    Convention:
        From 0 to 1; 1 where the two do not differ. ``nan`` where the ratio is nan or 0.

    Args:
        counts: the counts.
        by_group: the same counts of each group of images that belong together, with a leading axis (g). None: images
            are independent.

    Returns:
        One p-value per factor, not adjusted for their number; (f), float64.
    """
    difference, error = paired_ratio(counts).log().abs(), paired_log_error(counts, by_group)
    if by_group is None:
        p = torch.special.erfc(difference / error / 2**0.5)
    else:
        p = student_p_value(difference / error, degrees_of_freedom(by_group.seen))
    return torch.where((error == 0) & (difference < 1e-12), 1.0, torch.where(error.isnan(), torch.nan, p))


def mcnemar(counts: PairedCounts, by_group: PairedCounts | None = None) -> Tensor:
    """Probability of so unequal numbers of images that only one of both gets wrong, if both were equally good.

    See :func:`.exact_mcnemar`, on the errors with each factor: not relative to all images. Of images in groups
    :func:`.group_p_value`, after Obuchowski, "On the comparison of correlated proportions for clustered data",
    Statistics in Medicine 17 (1998): what each group adds to the difference.

    Convention:
        From 0 to 1; 1 where the two never differ. ``nan``: no image carries the factor, or a single group does.

    Args:
        counts: the counts.
        by_group: the same counts of each group of images that belong together, with a leading axis (g). None: images
            are independent.

    Returns:
        One p-value per factor, not adjusted for their number; (f), float64.
    """
    if by_group is None:
        p = exact_mcnemar(counts.own - counts.both, counts.reference - counts.both)
    else:
        p = group_p_value((by_group.own - by_group.reference).double(), degrees_of_freedom(by_group.seen))
    return torch.where(counts.seen > 0, p, torch.nan)


def spillover(counts: PairedCounts, level: float = 0.05, by_group: PairedCounts | None = None) -> Tensor:
    """Whether a factor fell behind while the network got better: its ratio rose, though all errors became fewer.

    Convention:
        1 where the ratio is above 1, Holm's adjustment of :func:`paired_p_value` is below ``level``, and all errors
        became fewer; else 0. ``nan`` where the p-value is.

    Args:
        counts: the counts.
        level: chance of calling any factor though none fell behind.
        by_group: the same counts of each group of images that belong together, with a leading axis (g). None: images
            are independent.

    Returns:
        One flag per factor; (f), float64.
    """
    p = holm(paired_p_value(counts, by_group))
    behind = (p < level) & (paired_ratio(counts) > 1) & (counts.all_own < counts.all_reference)
    return torch.where(p.isnan(), torch.nan, behind.double())


def risk_ratio(counts: PairedCounts) -> Tensor:
    """Errors on the images with each factor over those of the reference, such as perturbed over clean images.

    Convention:
        1: as many errors as the reference; dimensionless, at least 0. ``nan``: the reference has none.

    Returns:
        One ratio per factor; (f), float64.
    """
    return torch.where(counts.reference > 0, counts.own.double() / counts.reference.double(), torch.nan)


def risk_ratio_interval(
    counts: PairedCounts, confidence: float = 0.95, by_group: PairedCounts | None = None
) -> Interval:
    """Confidence interval of :func:`risk_ratio`, symmetric in the logarithm.

    Convention:
        ``nan`` where the ratio is nan or 0, and below :data:`.FEWEST_GROUPS` groups with the factor.

    Args:
        counts: the counts.
        confidence: probability that the interval covers.
        by_group: the same counts of each group of images that belong together, with a leading axis (g). None: images
            are independent.

    Returns:
        Both ends per factor; (f), float64.
    """
    ratio = risk_ratio(counts)
    if by_group is None:
        differing = (counts.own + counts.reference - 2 * counts.both).double()
        error = (differing / (counts.own.double() * counts.reference.double())).sqrt()
    else:
        error = clustered_error(by_group.own / counts.own.double() - by_group.reference / counts.reference.double())
    spread = torch.where(ratio > 0, _reach(confidence, by_group) * error, torch.nan).exp()
    return Interval(ratio / spread, ratio * spread)
