"""Mean error of the images with each factor over that of all, where an image has a number for an error."""

from typing import NamedTuple

import torch
from torch import Tensor

from lightning_failures.functional.clusters import (
    FEWEST_GROUPS,
    clustered_error,
    degrees_of_freedom,
    student_p_value,
    student_quantiles,
)
from lightning_failures.functional.proportions import normal_quantile

__all__ = [
    "MeanErrorSums",
    "mean_error_interval",
    "mean_error_p_value",
    "mean_error_ratio",
    "mean_error_sums",
    "mean_errors_of_images",
]


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


def mean_errors_of_images(errors: Tensor, factors: Tensor) -> MeanErrorSums:
    """What each image adds to :func:`mean_error_sums`, so that it can be added up by group; (n f) and (n).

    Args:
        errors: error of each image, at least 0; (n), float.
        factors: which factors each image carries; (n f), bool or int of 0 and 1.
    """
    finite = errors.isfinite()
    error = torch.where(finite, errors, 0).double()
    carried = factors.bool() & finite[:, None]
    squares = error.square()
    return MeanErrorSums(
        error[:, None] * carried, squares[:, None] * carried, carried.long(), error, squares, finite.long()
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


def mean_error_interval(
    sums: MeanErrorSums, confidence: float = 0.95, by_group: MeanErrorSums | None = None
) -> tuple[Tensor, Tensor]:
    """Interval of :func:`mean_error_ratio`; two of (f), float64.

    By the delta method on the logarithm of the ratio of two means that share images: the variance of the sum over
    images of f (e - m_f) / (n_f m_f) - (e - m) / (n m), for errors e, their means m, and those with the factor m_f;
    with groups that of the sums over each group, and Student's quantile, see :mod:`.clusters`.

    Convention:
        ``nan`` where the ratio is, or where fewer than two images, or groups below :data:`.FEWEST_GROUPS`, carry the
        factor; a ratio of 0 has the interval 0 to nan.

    Args:
        sums: of the images.
        confidence: probability that the interval covers.
        by_group: the same sums of each group of images that belong together; (g f) and (g). None: images are
            independent.
    """
    n, n_f = sums.all_seen.double(), sums.seen.double()
    m, m_f = sums.all_error / n, sums.error / n_f
    ratio = mean_error_ratio(sums)
    if by_group is None:
        within, overall = sums.squares - n_f * m_f.square(), sums.all_squares - n * m.square()
        of_factor, of_all = (n_f * m_f).square(), (n * m).square()
        variance = within / of_factor + overall / of_all - 2 * within / (n_f * m_f * n * m)
        width = (normal_quantile(confidence) * variance.clamp(min=0).sqrt()).exp()
        width = torch.where(n_f > 1, width, torch.nan)
    else:
        inside = (by_group.error - m_f * by_group.seen) / (n_f * m_f)
        outside = (by_group.all_error - m * by_group.all_seen) / (n * m)
        reach = student_quantiles(confidence, degrees_of_freedom(by_group.seen))
        width = (reach * clustered_error(inside - outside[:, None])).exp()
        width = torch.where((by_group.seen > 0).sum(0) >= FEWEST_GROUPS, width, torch.nan)
    return ratio / width, ratio * width


def mean_error_p_value(sums: MeanErrorSums, by_group: MeanErrorSums | None = None) -> Tensor:
    """Probability of mean errors so far apart, with and without each factor, if they were equal; (f), float64.

    Welch's t-test (1947), two-sided, which lets the two spreads differ; its degrees of freedom are rounded down. With
    groups, Student's test of what each group adds to the difference, see :mod:`.clusters`.

    Convention:
        From 0 to 1; not adjusted for the number of factors. 1 where the means are equal. ``nan`` where fewer than two
        images, or groups below :data:`.FEWEST_GROUPS`, are with or without the factor.

    Args:
        sums: of the images.
        by_group: the same sums of each group of images that belong together; (g f) and (g). None: images are
            independent.

    Example:
        >>> errors, factors = torch.tensor([1.0, 2.0, 3.0, 7.0, 8.0]), torch.tensor([[0], [0], [0], [1], [1]])
        >>> mean_error_p_value(mean_error_sums(errors, factors))
        tensor([0.0187], dtype=torch.float64)
    """
    n, n_f = sums.all_seen.double(), sums.seen.double()
    rest = n - n_f
    m, m_rest = sums.error / n_f, (sums.all_error - sums.error) / rest
    difference = m - m_rest
    if by_group is None:
        within = (sums.squares - n_f * m.square()).clamp(min=0) / (n_f * (n_f - 1))
        without = (sums.all_squares - sums.squares - rest * m_rest.square()).clamp(min=0) / (rest * (rest - 1))
        error = (within + without).sqrt()
        freedom = (within + without).square() / (within.square() / (n_f - 1) + without.square() / (rest - 1))
        freedom = torch.where(error > 0, freedom, n - 2)  # no spread on either side
        told = (n_f > 1) & (rest > 1)
    else:
        inside = (by_group.error - m * by_group.seen) / n_f
        others = by_group.all_seen[:, None] - by_group.seen
        outside = (by_group.all_error[:, None] - by_group.error - m_rest * others) / rest
        error = clustered_error(inside - outside)
        with_it, without_it = (by_group.seen > 0).sum(0), (others > 0).sum(0)
        freedom = torch.minimum(degrees_of_freedom(by_group.seen), degrees_of_freedom(others)).double()
        told = (with_it >= FEWEST_GROUPS) & (without_it >= FEWEST_GROUPS)
    deviate = torch.where(difference == 0, 0.0, difference / error)
    found = student_p_value(deviate, freedom.nan_to_num().floor().long())
    return torch.where(told, found, torch.nan)
