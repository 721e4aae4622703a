"""Whether confidence can be trusted, by factor: expected calibration error in bins of equal width (Naeini et al. 2015).

Confidences are summed as whole multiples of 2^-32, so that the sums do not depend on the order of the images.
"""

from typing import NamedTuple

import torch
from einops import rearrange
from torch import Tensor

__all__ = ["CalibrationCounts", "calibration_error", "count_calibration", "overconfidence"]

#: Confidences are counted in this unit; int64 holds the sum of 2^31 of them.
UNIT = 2.0**-32


class CalibrationCounts(NamedTuple):
    """Confidence and accuracy of each bin; adds up across batches and across ranks."""

    right: Tensor  # (f+1 b) int64, images that are classified correctly; by factor, the last row: all images
    confidence: Tensor  # (f+1 b) int64, sum of confidences in units of 2^-32
    seen: Tensor  # (f+1 b) int64, images

    @classmethod
    def zero(cls, num_factors: int, num_bins: int) -> "CalibrationCounts":
        """The counts of no images."""
        zeros = (torch.zeros(num_factors + 1, num_bins, dtype=torch.int64) for _ in range(3))
        return cls(*zeros)


def count_calibration(wrong: Tensor, confidence: Tensor, factors: Tensor, num_bins: int = 15) -> CalibrationCounts:
    """Count a batch.

    Args:
        wrong: which images are misclassified; (n), bool.
        confidence: probability given to the prediction; (n), float, in [0, 1]. ``nan``: left out.
        factors: which factors each image carries; (n f), bool or int of 0 and 1.
        num_bins: number of bins b; a confidence on an edge belongs to the bin below it.
    """
    known = ~confidence.isnan()
    confidence = confidence.nan_to_num(nan=0.0).contiguous()
    if confidence.dtype != torch.float64:  # which is binned as it is: rounding could carry it over an edge
        confidence = confidence.float()
    edges = (torch.arange(1, num_bins, dtype=torch.float64) / num_bins).to(confidence)
    carried = torch.cat([factors.bool(), torch.ones_like(known)[:, None]], 1) & known[:, None]
    weights = torch.stack([(~wrong.bool()).long(), (confidence / UNIT).round().long(), torch.ones_like(known).long()])
    zero = torch.zeros(num_bins, carried.shape[1], 3, dtype=torch.int64, device=carried.device)
    sums = zero.index_add_(0, torch.bucketize(confidence, edges), carried[:, :, None] * weights.T[:, None, :])
    return CalibrationCounts(*rearrange(sums, "b f sums -> sums f b"))


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
