"""How alike representations are: across layers, between evaluations, and between two views.

Linear centred kernel alignment: Kornblith et al. 2019 (arXiv 1905.00414). LiDAR: Thilak et al. 2023 (arXiv 2312.04000).
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from lightning_failures.functional.moments import (
    Moments,
    Numerics,
    covariance,
    eigen,
    finite_rows,
    moments,
    rounding,
    spectrum,
)
from lightning_failures.functional.spectra import effective_rank

__all__ = [
    "RowSums",
    "ViewSums",
    "centred_kernel_alignment",
    "leading_directions",
    "lidar",
    "overlap_since",
    "row_sums",
    "subspace_overlap",
    "view_sums",
]


class RowSums(NamedTuple):
    """Moments of feature rows, and how many were left out; adds up across batches and across ranks."""

    count: Tensor  # type: ignore[assignment]  # () int64, finite rows; hides tuple.count
    total: Tensor  # (d) float64, sum x
    outer: Tensor  # (d d) float64, sum x x'
    non_finite: Tensor  # () int64, rows left out

    @classmethod
    def zero(cls, num_features: int) -> "RowSums":
        """The sums of no rows."""
        return cls(*Moments.zero(num_features), torch.zeros((), dtype=torch.int64))


class ViewSums(NamedTuple):
    """Moments of two views of each image; adds up across batches and across ranks."""

    count: Tensor  # type: ignore[assignment]  # () int64, images with two finite views; hides tuple.count
    total: Tensor  # (d) float64, sum of the views' means
    outer: Tensor  # (d d) float64, sum of the outer products of the views' means
    within: Tensor  # (d d) float64, sum over the views of the outer products about their mean
    non_finite: Tensor  # () int64, images left out

    @classmethod
    def zero(cls, num_features: int) -> "ViewSums":
        """The sums of no images."""
        moments = Moments.zero(num_features)
        return cls(*moments, moments.outer, moments.count)


def row_sums(features: Tensor, how: Numerics | None = None) -> RowSums:
    """Sums of one batch of rows; rows that hold NaN or infinity are left out and counted.

    Args:
        features: one row per image; (n d), any float.
        how: how products are formed; by default as :func:`.numerics` says.
    """
    keep = finite_rows(features)
    return RowSums(*moments(features, keep, how), (~keep).sum())


def view_sums(first: Tensor, second: Tensor, how: Numerics | None = None) -> ViewSums:
    """Sums of one batch of two views of each image; images with NaN or infinity are left out and counted.

    Args:
        first: features of one view, one row per image; (n d), any float.
        second: features of the other view of the same images; (n d), any float.
        how: how products are formed; by default as :func:`.numerics` says.
    """
    keep = finite_rows(first) & finite_rows(second)
    first, second = (view.cpu().double() if view.device.type == "mps" else view.double() for view in (first, second))
    means = moments((first + second) / 2, keep, how)
    return ViewSums(*means, moments(first - second, keep, how).outer / 2, (~keep).sum())


def centred_kernel_alignment(sums: Moments, sizes: Sequence[int]) -> Tensor:
    """Linear CKA between all pairs of layers; (l l), float64.

    Convention:
        In [0, 1], symmetric, with 1 on the diagonal; 1 where one layer is a rotation and scaling of the other. It does
        not fall to 0 for unrelated layers with few rows: two of d independent features over n rows read about
        1 / (1 + n/d). nan for a layer with constant features, and with fewer than two rows.

    Args:
        sums: moments of the layers' rows side by side; of d = sum(sizes) features.
        sizes: number of features of each layer.

    Example:
        >>> x = torch.tensor([[1.0, 2.0], [3.0, 1.0], [2.0, 5.0]])
        >>> centred_kernel_alignment(moments(torch.cat([x, -2 * x], 1)), [2, 2]).round(decimals=9)
        tensor([[1., 1.],
                [1., 1.]], dtype=torch.float64)
    """
    parts = torch.arange(len(sums.total), device=sums.total.device).split(list(sizes))
    joint = covariance(sums)
    own = [covariance(Moments(sums.count, sums.total[a], sums.outer[a][:, a])).square().sum().sqrt() for a in parts]
    rows = [
        torch.stack([joint[a][:, b].square().sum() / (x * y) for b, y in zip(parts, own, strict=True)])
        for a, x in zip(parts, own, strict=True)
    ]
    alignment = torch.stack(rows)
    size = torch.stack(own)
    return torch.where((size[:, None] > 0) & (size > 0), alignment, torch.nan)


def leading_directions(sums: Moments, k: int) -> Tensor | None:
    """The first k principal directions as columns; (d k), float64; None where fewer than k dimensions vary."""
    cov = covariance(sums)
    if bool(cov.isnan().any()):
        return None
    values, vectors = eigen(cov)
    return vectors[:, :k] if bool(values[k - 1] > rounding(sums)) else None


def subspace_overlap(directions: Tensor, others: Tensor) -> Tensor:
    """Overlap of two subspaces of equal dimension, ``|U'V|_F^2 / k``; ().

    Convention:
        In [0, 1]; 1 for the same subspace, k/d on average for two random ones.

    Args:
        directions: orthonormal columns U; (d k).
        others: orthonormal columns V; (d k).

    Example:
        >>> subspace_overlap(torch.eye(4)[:, :2], torch.eye(4)[:, 1:3])
        tensor(0.5000)
    """
    return (directions.T @ others).square().sum() / directions.shape[1]


def overlap_since(sums: Moments, k: int, previous: Tensor | None) -> tuple[Tensor, Tensor | None]:
    """Overlap of the first k principal directions with those of an evaluation before; (), and these, for the next one.

    Convention:
        As :func:`subspace_overlap`; ``nan`` without an evaluation before, or where fewer than k dimensions vary.

    Args:
        sums: moments of the rows; of d features.
        k: dimensions of the subspace.
        previous: the directions of the evaluation before; (d k); None: there is none.

    Example:
        >>> rows = torch.tensor([[-1.0], [1.0]])
        >>> _, before = overlap_since(moments(rows * torch.tensor([1.0, 0.0])), k=1, previous=None)
        >>> overlap_since(moments(rows * torch.tensor([1.0, 1.0])), k=1, previous=before)[0].round(decimals=9)
        tensor(0.5000, dtype=torch.float64)
    """
    now = leading_directions(sums, k)
    if now is None or previous is None:
        return torch.full_like(sums.total[0], torch.nan), now
    return subspace_overlap(now, previous.to(now)), now


def lidar(sums: ViewSums, delta: float = 1e-4) -> Tensor:
    """LiDAR: effective rank of the images' means, whitened by the variance between views; ().

    Convention:
        A number of dimensions in [1, d]; 0 where all images have one mean; nan with fewer than two images.

    Args:
        sums: moments of two views of each image.
        delta: added to the variance between views in every direction.

    Example:
        >>> views = torch.eye(3)
        >>> round(lidar(view_sums(views, views)).item(), 9)
        2.0
    """
    between = covariance(Moments(sums.count, sums.total, sums.outer))
    if bool(between.isnan().any()):
        return torch.full_like(between[0, 0], torch.nan)
    within = sums.within / sums.count + delta * torch.eye(len(between), dtype=torch.float64, device=between.device)
    values, vectors = eigen(within)
    whiten = vectors / values.clamp(min=delta / 2).sqrt()  # no value is below delta but by rounding
    noise = rounding(Moments(sums.count, sums.total, sums.outer)) / values.amin().clamp(min=delta / 2)
    return effective_rank(spectrum(whiten.T @ between @ whiten, noise))
