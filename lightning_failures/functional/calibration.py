"""Whether confidence can be trusted, by factor: expected calibration error in bins of equal width (Naeini et al. 2015).

Confidences are summed as whole multiples of 2^-32, so that the sums do not depend on the order of the images.

The interval is that of mean confidence minus accuracy. The expected calibration error has none here: few images raise
it, and near 0 it does not scatter about its truth (Kumar, Liang and Ma, "Verified uncertainty calibration", 2019).
The true error is at least the true distance of mean confidence from accuracy, so an interval of that distance that does
not hold 0 also shows that the calibration error is not 0.
"""

from typing import NamedTuple

import torch
from einops import rearrange
from torch import Tensor

from lightning_failures.functional.clusters import FEWEST_GROUPS, clustered_rate, degrees_of_freedom, student_quantiles
from lightning_failures.functional.proportions import Interval, difference_interval, normal_quantile, wilson

__all__ = [
    "CalibrationCounts",
    "CalibrationOfGroups",
    "calibration_error",
    "calibration_of_images",
    "count_calibration",
    "overconfidence",
    "overconfidence_interval",
]

#: Confidences are counted in this unit; int64 holds the sum of 2^31 of them.
UNIT = 2.0**-32


class CalibrationCounts(NamedTuple):
    """Confidence and accuracy of each bin; adds up across batches and across ranks."""

    right: Tensor  # (f+1 b) int64, images that are classified correctly; by factor, the last row: all images
    confidence: Tensor  # (f+1 b) int64, sum of confidences in units of 2^-32
    seen: Tensor  # (f+1 b) int64, images
    squared: Tensor  # (f+1 b) int64, sum of squared confidences in units of 2^-32
    confidence_right: Tensor  # (f+1 b) int64, sum of confidences in right predictions in units of 2^-32

    @classmethod
    def zero(cls, num_factors: int, num_bins: int) -> "CalibrationCounts":
        """The counts of no images."""
        zeros = (torch.zeros(num_factors + 1, num_bins, dtype=torch.int64) for _ in cls._fields)
        return cls(*zeros)


class CalibrationOfGroups(NamedTuple):
    """Confidence and accuracy, whatever the bin: what :func:`overconfidence_interval` asks of each group of images."""

    right: Tensor  # (f+1) int64; with a leading axis (n) or (g) where they are of each image or of each group
    confidence: Tensor  # (f+1) int64, in units of 2^-32
    seen: Tensor  # (f+1) int64

    @classmethod
    def zero(cls, num_factors: int) -> "CalibrationOfGroups":
        """The sums of no images."""
        return cls(*(torch.zeros(num_factors + 1, dtype=torch.int64) for _ in cls._fields))


def count_calibration(wrong: Tensor, confidence: Tensor, factors: Tensor, num_bins: int = 15) -> CalibrationCounts:
    """Count a batch.

    Args:
        wrong: which images are misclassified; (n), bool.
        confidence: probability given to the prediction; (n), float, in [0, 1]. ``nan``: left out.
        factors: which factors each image carries; (n f), bool or int of 0 and 1.
        num_bins: number of bins b; a confidence on an edge belongs to the bin below it.
    """
    known = ~confidence.isnan()
    confidence = _clean(confidence)
    edges = (torch.arange(1, num_bins, dtype=torch.float64) / num_bins).to(confidence)
    carried = torch.cat([factors.bool(), torch.ones_like(known)[:, None]], 1) & known[:, None]
    right, units = (~wrong.bool()).long(), _units(confidence)
    squares = _units(confidence.square())
    weights = torch.stack([right, units, torch.ones_like(right), squares, units * right])
    zero = torch.zeros(num_bins, carried.shape[1], len(weights), dtype=torch.int64, device=carried.device)
    sums = zero.index_add_(0, torch.bucketize(confidence, edges), carried[:, :, None] * weights.T[:, None, :])
    return CalibrationCounts(*rearrange(sums, "b f sums -> sums f b"))


def calibration_of_images(wrong: Tensor, confidence: Tensor, factors: Tensor) -> CalibrationOfGroups:
    """What each image adds to the confidence and accuracy of its group.

    Args:
        wrong: which images are misclassified; (n), bool.
        confidence: probability given to the prediction; (n), float, in [0, 1]. ``nan``: left out.
        factors: which factors each image carries; (n f), bool or int of 0 and 1.

    Returns:
        The sums of each image; (n f+1) each, int64.

    Example:
        >>> wrong, confidence = torch.tensor([False, True]), torch.tensor([0.5, torch.nan])
        >>> calibration_of_images(wrong, confidence, torch.tensor([[1], [1]])).right
        tensor([[1, 1],
                [0, 0]])
    """
    known = ~confidence.isnan()
    carried = (torch.cat([factors.bool(), torch.ones_like(known)[:, None]], 1) & known[:, None]).long()
    right, units = (~wrong.bool()).long(), _units(_clean(confidence))
    return CalibrationOfGroups(carried * right[:, None], carried * units[:, None], carried)


def _clean(confidence: Tensor) -> Tensor:
    confidence = confidence.nan_to_num(nan=0.0).contiguous()
    # float64 is binned as it is: rounding could carry it over an edge
    return confidence if confidence.dtype == torch.float64 else confidence.float()


def _units(values: Tensor) -> Tensor:
    return (values / UNIT).round().long()


def calibration_error(counts: CalibrationCounts) -> Tensor:
    """Expected calibration error: the mean distance of accuracy from confidence over the bins, weighted by images.

    Convention:
        0: confidence is as good as its word; at most 1. Few images alone raise it: compare factors of like size.
        ``nan``: no image.

    Returns:
        One error per factor and that over all images; (f+1), float64.

    Example:
        >>> wrong, confidence = torch.tensor([0, 1, 0, 1]), torch.tensor([0.9, 0.9, 0.4, 0.6])
        >>> calibration_error(count_calibration(wrong, confidence, torch.tensor([[1], [1], [0], [0]])))
        tensor([0.4000, 0.5000], dtype=torch.float64)
    """
    gap = (counts.right.double() - UNIT * counts.confidence.double()).abs()
    return gap.sum(1) / counts.seen.sum(1).double()


def overconfidence(counts: CalibrationCounts) -> Tensor:
    """Mean confidence minus accuracy.

    Convention:
        From -1 to 1; above 0 the network is surer than it is right. ``nan``: no image.

    Returns:
        One difference per factor and that over all images; (f+1), float64.
    """
    surplus = UNIT * counts.confidence.sum(1).double() - counts.right.sum(1).double()
    return surplus / counts.seen.sum(1).double()


def overconfidence_interval(
    counts: CalibrationCounts, confidence: float = 0.95, by_group: CalibrationOfGroups | None = None
) -> Interval:
    """Interval of mean confidence minus accuracy.

    Wilson's limits of the accuracy and normal ones of the mean confidence are put together as Newcombe's method 10 puts
    those of two proportions together, with the correlation of being sure with being right. It stays sensible where all
    images are right or all are wrong. With groups the variances and the correlation are those between groups, and the
    limits reach as far as Student's quantile for the number of groups; see :mod:`.clusters`.

    Convention:
        From -1 to 1. Above 0 the network is surer than it is right, beyond chance. ``nan`` with fewer than 2 images;
        with groups below :data:`.FEWEST_GROUPS` groups that hold such images, or where one of them holds most.

    Args:
        counts: of all images.
        confidence: probability that the interval covers.
        by_group: sums of each group with a leading axis (g); None: images are independent.

    Returns:
        Both ends for each factor and for all images; (f+1), float64.

    Example:
        >>> wrong, sure = torch.tensor([True, False] * 50), torch.full((100,), 0.8)
        >>> low, high = overconfidence_interval(count_calibration(wrong, sure, torch.zeros(100, 0)))
        >>> [round(float(end), 3) for end in (low, high)]
        [0.204, 0.396]
    """
    right, units, seen, squared, both = (count.sum(1) for count in counts)
    n = seen.double()
    accuracy, sure = right.double() / n, UNIT * units.double() / n
    spread = (UNIT * squared.double() / n - sure.square()).clamp(min=0)
    variance = spread / (n - 1)
    variance = torch.where(seen > 1, variance, torch.nan)
    if by_group is None:
        limits = wilson(right, seen, confidence)
        scale = (spread * accuracy * (1 - accuracy)).sqrt()
        product = UNIT * both.double() / n - sure * accuracy
        reach = normal_quantile(confidence)
    else:
        rate = clustered_rate(by_group.right, by_group.seen, confidence)
        limits = Interval(rate.low, rate.high)
        held = (by_group.seen > 0).sum(0)
        residuals = (UNIT * by_group.confidence.double() - sure * by_group.seen.double()) / n
        between = residuals.square().sum(0)
        variance = variance.maximum(between * held / (held - 1))
        scale = (between * rate.residuals.square().sum(0)).sqrt()
        product = (residuals * rate.residuals).sum(0)
        freedom = degrees_of_freedom(by_group.seen)
        reach = student_quantiles(confidence, freedom)
        variance = torch.where((held >= FEWEST_GROUPS) & (freedom > 0), variance, torch.nan)
    # below the unit of the sums a spread is rounding
    together = torch.where(scale > UNIT / n, product / scale, 0.0).clamp(-1, 1)
    half = reach * variance.sqrt()
    low, high = difference_interval(sure, (sure - half, sure + half), accuracy, limits, together)
    return Interval(low.clamp(-1, 1), high.clamp(-1, 1))
