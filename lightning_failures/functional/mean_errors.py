"""Mean error of the images with each factor over that of all, where an image has a number for an error."""

from typing import NamedTuple

import torch
from torch import Tensor

__all__ = ["MeanErrorSums", "mean_error_interval", "mean_error_ratio", "mean_error_sums"]


class MeanErrorSums(NamedTuple):
    """All that :func:`mean_error_ratio` needs; adds up across batches and across ranks."""

    error: Tensor  # (f) float64, sum of the errors of the images that carry each factor
    squares: Tensor  # (f) float64, sum of their squares
    seen: Tensor  # (f) int64, images that carry each factor
    all_error: Tensor  # () float64, of all images
    all_squares: Tensor  # () float64
    all_seen: Tensor  # () int64

    @classmethod
    def zero(cls, num_factors: int) -> "MeanErrorSums":
        """The sums of no images."""
        return mean_error_sums(torch.zeros(0), torch.zeros(0, num_factors))


def mean_error_sums(errors: Tensor, factors: Tensor) -> MeanErrorSums:
    """Sum up a batch; images whose error is not finite are left out.

    Args:
        errors: error of each image, at least 0; (n), float.
        factors: which factors each image carries; (n f), bool or int of 0 and 1.

    Example:
        >>> mean_error_sums(torch.tensor([1.0, 3.0]), torch.tensor([[1], [0]])).all_error
        tensor(4., dtype=torch.float64)
    """
    finite = errors.isfinite()
    error = torch.where(finite, errors, 0).double()
    carried = (factors.bool() & finite[:, None]).double()
    return MeanErrorSums(
        error @ carried,
        error.square() @ carried,
        carried.sum(0).long(),
        error.sum(),
        error.square().sum(),
        finite.sum(),
    )


def mean_error_ratio(sums: MeanErrorSums) -> Tensor:
    """Mean error of the images with each factor over the mean error of all images; (f), float64.

    Convention:
        At least 0: 1 is typical, 2 is twice the error. ``nan`` where no image carries the factor or all errors are 0.
        Of errors that are 0 or 1 it is the error ratio of ImageNet-X (Idrissi et al. 2022, arXiv:2211.01866).

    Example:
        >>> mean_error_ratio(mean_error_sums(torch.tensor([1.0, 3.0]), torch.tensor([[1], [0]])))
        tensor([0.5000], dtype=torch.float64)
    """
    return (sums.error / sums.seen) / (sums.all_error / sums.all_seen)


def mean_error_interval(sums: MeanErrorSums, confidence: float = 0.95) -> tuple[Tensor, Tensor]:
    """Interval of :func:`mean_error_ratio`; two of (f), float64.

    By the delta method on the logarithm of the ratio of two means that share images: the variance of the sum over
    images of f (e - m_f) / (n_f m_f) - (e - m) / (n m), for errors e, their means m, and those with the factor m_f.

    Convention:
        ``nan`` where the ratio is, or where fewer than two images carry the factor; a ratio of 0 has the interval 0 to
        nan.

    Args:
        sums: of the images.
        confidence: probability that the interval covers.
    """
    n, n_f = sums.all_seen.double(), sums.seen.double()
    m, m_f = sums.all_error / n, sums.error / n_f
    within, overall = sums.squares - n_f * m_f.square(), sums.all_squares - n * m.square()
    of_factor, of_all = (n_f * m_f).square(), (n * m).square()
    variance = within / of_factor + overall / of_all - 2 * within / (n_f * m_f * n * m)
    z = torch.special.ndtri(torch.tensor(0.5 + confidence / 2, dtype=torch.float64))
    width = (z * variance.clamp(min=0).sqrt()).exp()
    ratio = mean_error_ratio(sums)
    width = torch.where(n_f > 1, width, torch.nan)
    return ratio / width, ratio * width
