"""Along which principal directions data vary, and along which of them the labels can be told.

Label information along principal directions: Pillai, "Some new test criteria in multivariate analysis", Annals of
Mathematical Statistics 26 (1955); its trace is the sum of the correlation ratios along the principal directions, so
that each direction has a share of it. Directions of small variance are learned last: Saxe, McClelland and Ganguli,
"Exact solutions to the nonlinear dynamics of learning in deep linear networks" (arXiv 1312.6120).
"""

from typing import NamedTuple

import torch
from torch import Tensor

from lightning_failures.functional.ladder import label_share
from lightning_failures.functional.moments import ClassMoments, covariance, eigen, rounding, spectrum

__all__ = ["LabelDirections", "directions_for_variance", "half_slowdown", "label_directions"]

_SIGMAS = 3.0  # by which Pillai's trace must exceed that of shuffled labels


class LabelDirections(NamedTuple):
    """What :func:`label_directions` gives."""

    variance: Tensor  # (d) eigenvalues of the covariance, descending
    directions: Tensor  # (d d) unit eigenvectors, columns
    label: Tensor  # (d) share of the variance along each that lies between the classes, less its null
    collected: Tensor  # (d) share of all label information in the first 1, 2, ... directions
    null: Tensor  # () mean of that share where labels are shuffled
    null_high: Tensor  # () its 95% quantile, for one direction


def label_directions(sums: ClassMoments) -> LabelDirections:
    """Variance and label information along each principal direction of the rows.

    Convention:
        ``label`` is the correlation ratio of each direction minus ``null``, (classes - 1) / (rows - 1), which is its
        exact mean over all orders of the labels: about 0 for a direction that says nothing, at most 1. Its sum is
        Pillai's trace above chance, at most classes - 1. ``collected`` is its cumulated share, from the direction of
        largest variance on; ``nan`` where the trace is less than three standard deviations above that of shuffled
        labels. Directions without variance carry nothing. All is ``nan`` with fewer than two rows or classes.

    Args:
        sums: moments of rows by class.

    Example:
        >>> from lightning_failures.functional.moments import class_moments
        >>> rows = torch.tensor([[9.0, 0.0], [-9.0, 0.1], [9.0, 1.0], [-9.0, 1.1]]).repeat(20, 1)
        >>> label_directions(class_moments(rows, torch.tensor([0, 0, 1, 1]).repeat(20), 2)).collected
        tensor([-0.0130,  1.0000], dtype=torch.float64)
    """
    matrix = covariance(sums.all)
    rows, classes = sums.counts.sum().double(), (sums.counts > 0).sum()
    if not bool(matrix.isfinite().all() & (classes > 1)):
        nothing, lost = torch.full_like(sums.totals[0], torch.nan), torch.full_like(rows, torch.nan)
        return LabelDirections(nothing, torch.full_like(matrix, torch.nan), nothing, nothing, lost, lost)
    values, directions = eigen(matrix)
    values = torch.minimum(values, spectrum(matrix, rounding(sums.all))).clamp(min=0)  # zero what rounding explains
    freedom = (classes - 1).double()
    null = freedom / (rows - 1)
    # a chi-square variable's quantile, Wilson and Hilferty
    quantile = freedom * (1 - 2 / (9 * freedom) + 1.645 * (2 / (9 * freedom)).sqrt()) ** 3
    varies = values > 0
    label = torch.where(varies, label_share(sums, directions).nan_to_num() - null, 0.0)
    spread = (2 * freedom * varies.sum()).sqrt() / (rows - 1)
    total = label.sum()
    collected = torch.where(total > _SIGMAS * spread, label.cumsum(0) / total, torch.nan)
    return LabelDirections(values, directions, label, collected, null, quantile / (rows - 1))


def directions_for_variance(info: LabelDirections, share: float = 0.95) -> int:
    """How many of the first directions hold this share of the variance; 0 without variance."""
    cumulated = info.variance.cumsum(0)
    if not bool(cumulated[-1] > 0):
        return 0
    return int((cumulated < share * cumulated[-1]).sum()) + 1


def half_slowdown(info: LabelDirections) -> Tensor:
    """Largest variance over that of the direction at which half of the label information is collected.

    Convention:
        At least 1. Plain gradient descent learns a direction at a pace proportional to its variance: 1,000 says that
        half of what a linear model uses is learned 1,000 times as slowly as the main direction. Between two directions
        it is interpolated. ``nan`` where no label information is found.

    Args:
        info: what :func:`label_directions` gave.

    Returns:
        A ratio; ().
    """
    if not bool(info.collected.isfinite().all()):
        return torch.full_like(info.null, torch.nan)
    place = int((info.collected < 0.5).long().cumprod(0).sum())
    before = info.collected.new_zeros(()) if place == 0 else info.collected[place - 1]
    step = (0.5 - before) / (info.collected[place] - before)
    speeds = info.variance.log()
    return (speeds[0] - torch.lerp(speeds[max(place - 1, 0)], speeds[place], step)).exp()
