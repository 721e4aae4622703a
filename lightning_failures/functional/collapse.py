"""Collapse of features: sums of feature rows, and what they say.

Unbiased participation ratio: Himeno and Yamada 2014; Chun et al. 2026 (arXiv 2509.26560).
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor

from lightning_failures.functional.moments import (
    Moments,
    Numerics,
    PowerSums,
    covariance,
    finite_double_rows,
    mean,
    numerics,
    power_sums,
    rounding,
    spectrum,
)
from lightning_failures.functional.projection import unproject_participation_ratio
from lightning_failures.functional.spectra import (
    alpha,
    effective_rank,
    marchenko_pastur_rank,
    participation_ratio,
    rankme,
    stable_rank,
    top1_share,
)

__all__ = [
    "FeatureSums",
    "feature_eigenvalues",
    "feature_spread",
    "feature_statistics",
    "feature_sums",
    "mean_cosine",
    "participation_ratio_unbiased",
]


class FeatureSums(NamedTuple):
    """All that :func:`feature_statistics` needs; adds up across batches and across ranks."""

    count: Tensor  # type: ignore[assignment]  # () int64, finite rows; hides tuple.count
    total: Tensor  # (d) float64, sum x
    outer: Tensor  # (d d) float64, sum x x'
    squares: Tensor  # () float64, sum |x|^2
    cubes: Tensor  # (d) float64, sum |x|^2 x
    fourths: Tensor  # () float64, sum |x|^4
    directed: Tensor  # () int64, rows of non-zero length
    directions: Tensor  # (d) float64, sum x / |x|
    non_finite: Tensor  # () int64, rows left out

    @classmethod
    def zero(cls, num_features: int) -> "FeatureSums":
        """The sums of no rows."""
        none = torch.zeros((), dtype=torch.int64)
        return cls(*PowerSums.zero(num_features), none, torch.zeros(num_features, dtype=torch.float64), none)


def feature_sums(features: Tensor, projection: Tensor | None = None, how: Numerics | None = None) -> FeatureSums:
    """Sums of one batch of feature rows; rows that hold NaN or infinity are left out and counted.

    Args:
        features: one row per image; (n d), any float.
        projection: matrix to multiply the rows by first; (d k), float64.
        how: how products are formed; by default as :func:`.numerics` says.
    """
    rows, keep = finite_double_rows(features)
    rows = rows if projection is None else rows @ projection
    powers = power_sums(rows, keep, how or numerics(features.device))
    lengths = rows.norm(dim=1, keepdim=True)
    directed = lengths > 0
    directions = torch.where(directed, rows / lengths, 0.0).sum(0)
    return FeatureSums(*powers, directed.sum(), directions, (~keep).sum())


def participation_ratio_unbiased(sums: PowerSums, cov: Tensor | None = None) -> Tensor:
    """Participation ratio whose numerator and denominator are unbiased, however few the rows; ().

    Convention:
        A number of dimensions, at least about 1, that may exceed the number of rows; 0 for constant features; nan with
        fewer than four rows.

    Args:
        sums: power sums of the rows.
        cov: their covariance, where it is known already; (d d).

    Example:
        >>> rows = torch.tensor([[1.0, 0.0], [-1.0, 0.0], [0.0, 1.0], [0.0, -1.0]])
        >>> round(participation_ratio_unbiased(power_sums(rows)).item(), 9)
        3.0
    """
    n = sums.count.double()
    moments = Moments.of(sums)
    mu, cov = mean(moments), covariance(moments) if cov is None else cov
    length = mu @ mu  # |mu|^2
    trace, frobenius = cov.trace(), cov.flatten() @ cov.flatten()
    quartic = (
        sums.fourths
        + 4 * (mu @ sums.outer @ mu)
        + n * length.square()
        - 4 * (mu @ sums.cubes)
        + 2 * length * sums.squares
        - 4 * length * (mu @ sums.total)
    ) / (n - 1)
    squared_trace = 2 * frobenius + (n.square() - 3 * n + 1) * trace.square() - n * quartic
    trace_of_square = (n - 1) * (n - 2) * frobenius + trace.square() - n * quartic
    ratio = torch.where(trace > 0, squared_trace / trace_of_square, 0.0)
    return torch.where((n >= 4) & ~trace.isnan(), ratio, torch.nan)


def mean_cosine(directed: Tensor, directions: Tensor) -> Tensor:
    """Mean cosine between two different rows; ().

    Convention:
        In [-1, 1]; 1 where all rows point one way, about 0 for directions spread evenly. Rows of length zero have no
        direction and are left out; nan with fewer than two others.

    Args:
        directed: number of rows of non-zero length; ().
        directions: sum of the rows, each divided by its length; (d).

    Example:
        >>> mean_cosine(torch.tensor(2), torch.tensor([1.0, 1.0], dtype=torch.float64))
        tensor(0., dtype=torch.float64)
    """
    pairs = directed * (directed - 1)
    return torch.where(pairs > 0, (directions @ directions - directed) / pairs, torch.nan)


def feature_spread(covariance: Tensor) -> Tensor:
    """Root of the mean variance of a feature; ().

    Convention:
        In the units of the features; 0 for constant features.

    Args:
        covariance: covariance of the features; (d d).

    Example:
        >>> feature_spread(torch.diag(torch.tensor([1.0, 7.0], dtype=torch.float64)))
        tensor(2., dtype=torch.float64)
    """
    return covariance.diagonal().mean().clamp(min=0).sqrt()


def feature_eigenvalues(sums: FeatureSums, how: Numerics = "float64") -> Tensor:
    """Eigenvalues of the covariance of the rows in descending order; (d), float64; nan with fewer than two rows.

    Args:
        sums: sums of the rows.
        how: how products were formed, which tells what rounding explains.

    Example:
        >>> feature_eigenvalues(feature_sums(torch.tensor([[2.0, 0.0], [-2.0, 0.0], [0.0, 0.0]])))
        tensor([4., 0.], dtype=torch.float64)
    """
    moments = Moments.of(sums)
    return spectrum(covariance(moments), rounding(moments, how))


def feature_statistics(
    sums: FeatureSums,
    num_features: int | None = None,
    how: Numerics = "float64",
    eigenvalues: Tensor | None = None,
) -> dict[str, Tensor]:
    """Every statistic of feature rows, by name; scalars, each as its own function says.

    Args:
        sums: sums of the rows.
        num_features: number of features d before a Gaussian projection, None where there was none. The participation
            ratios and the spread are those before it, as well as it tells; all else is of the projected features.
        how: how products were formed, which tells what rounding explains.
        eigenvalues: what :func:`feature_eigenvalues` gives, where it is known already; (d).
    """
    powers = PowerSums.of(sums)
    cov = covariance(Moments.of(powers))
    n = powers.count
    noise = rounding(Moments.of(powers), how)
    values = spectrum(cov, noise) if eigenvalues is None else eigenvalues
    uncentred = spectrum(powers.outer, noise.nan_to_num() * (n - 1))
    exponent, fit = alpha(values)
    ratio, unbiased, spread = (
        participation_ratio(values),
        participation_ratio_unbiased(powers, cov),
        feature_spread(cov),
    )
    if num_features is not None:
        ratio, unbiased = (unproject_participation_ratio(value, len(values)) for value in (ratio, unbiased))
        spread = spread * math.sqrt(len(values) / num_features)
    return {
        "rankme": torch.where(n > 0, rankme(uncentred), torch.nan),
        "effective_rank": effective_rank(values),
        "participation_ratio": ratio,
        "participation_ratio_unbiased": unbiased,
        "stable_rank": stable_rank(values),
        "top1_share": top1_share(values),
        "marchenko_pastur_rank": marchenko_pastur_rank(values, n),
        "alpha": exponent,
        "alpha_r2": fit,
        "mean_cosine": mean_cosine(sums.directed, sums.directions),
        "feature_spread": spread,
        "images": n,
        "images_per_feature": n.double() / (num_features or len(values)),
        "non_finite": sums.non_finite,
    }
