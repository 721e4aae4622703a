"""Sums of powers that add up across batches and ranks, and the mean, covariance and spectrum that they give."""

from typing import NamedTuple

import torch
from torch import Tensor

__all__ = ["ClassMoments", "Moments", "class_moments", "covariance", "mean", "moments", "spectrum"]


class Moments(NamedTuple):
    """First and second moments of feature rows; adds up across batches and across ranks."""

    count: Tensor  # () int64, rows n
    total: Tensor  # (d) float64, sum x
    outer: Tensor  # (d d) float64, sum x x'

    @classmethod
    def zero(cls, num_features: int) -> "Moments":
        """The moments of no rows."""
        return cls(
            torch.zeros((), dtype=torch.int64),
            torch.zeros(num_features, dtype=torch.float64),
            torch.zeros(num_features, num_features, dtype=torch.float64),
        )


class ClassMoments(NamedTuple):
    """Moments of feature rows with their sums by class; adds up across batches and across ranks."""

    counts: Tensor  # (c) int64, rows of each class
    totals: Tensor  # (c d) float64, sum x by class
    squares: Tensor  # (c) float64, sum |x|^2 by class
    outer: Tensor  # (d d) float64, sum x x' over all classes

    @classmethod
    def zero(cls, num_classes: int, num_features: int) -> "ClassMoments":
        """The moments of no rows."""
        return cls(
            torch.zeros(num_classes, dtype=torch.int64),
            torch.zeros(num_classes, num_features, dtype=torch.float64),
            torch.zeros(num_classes, dtype=torch.float64),
            torch.zeros(num_features, num_features, dtype=torch.float64),
        )

    @property
    def all(self) -> Moments:
        """The same rows without their classes."""
        return Moments(self.counts.sum(), self.totals.sum(0), self.outer)


def moments(features: Tensor) -> Moments:
    """Moments of one batch of rows.

    Args:
        features: one row an image; (n d), any float.
    """
    rows = features.detach().double()
    return Moments(torch.tensor(len(rows), device=rows.device), rows.sum(0), rows.T @ rows)


def class_moments(features: Tensor, target: Tensor, num_classes: int) -> ClassMoments:
    """Moments of one batch of rows, by class.

    Args:
        features: one row an image; (n d), any float.
        target: class of each row; (n), int64, in [0, num_classes).
        num_classes: number of classes c.
    """
    rows = features.detach().double()
    zero = ClassMoments.zero(num_classes, rows.shape[1])
    return ClassMoments(
        zero.counts.to(rows.device).index_add_(0, target, torch.ones_like(target)),
        zero.totals.to(rows.device).index_add_(0, target, rows),
        zero.squares.to(rows.device).index_add_(0, target, rows.square().sum(1)),
        rows.T @ rows,
    )


def mean(sums: Moments) -> Tensor:
    """Mean of the rows; (d), float64; nan without rows."""
    return sums.total / sums.count


def covariance(sums: Moments) -> Tensor:
    """Covariance of the rows, with n - 1 below; (d d), float64; nan with fewer than two rows."""
    centred = sums.outer - torch.outer(sums.total, sums.total) / sums.count
    return torch.where(sums.count > 1, centred / (sums.count - 1), torch.nan)


def spectrum(matrix: Tensor) -> Tensor:
    """Eigenvalues of a covariance in descending order, rounding below zero clamped; (d), float64; nan in, nan out.

    Example:
        >>> spectrum(torch.diag(torch.tensor([1.0, 3.0], dtype=torch.float64)))
        tensor([3., 1.], dtype=torch.float64)
    """
    if not bool(matrix.isfinite().all()):
        return torch.full(matrix.shape[:1], torch.nan, dtype=torch.float64, device=matrix.device)
    return torch.linalg.eigvalsh(matrix.double()).flip(0).clamp(min=0)
