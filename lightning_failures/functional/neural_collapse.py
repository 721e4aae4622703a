"""Neural collapse of features onto their class means, in one pass.

NC1 to NC3: Papyan, Han and Donoho 2020 (arXiv 2008.08186). Class-distance normalised variance: Galanti, György and
Hutter 2022 (arXiv 2112.15121).
"""

from typing import NamedTuple

import torch
from torch import Tensor

from lightning_failures.functional.moments import EPSILON, ClassMoments, Numerics, class_moments, eigen, finite_rows

__all__ = [
    "NeuralSums",
    "class_means",
    "distance_variance",
    "head_alignment",
    "mean_geometry",
    "neural_statistics",
    "neural_sums",
    "within_between",
]


class NeuralSums(NamedTuple):
    """All that :func:`neural_statistics` needs; adds up across batches and across ranks."""

    counts: Tensor  # (c) int64, rows of each class
    totals: Tensor  # (c d) float64, sum x by class
    squares: Tensor  # (c) float64, sum |x|^2 by class
    outer: Tensor  # (d d) float64, sum x x' over all classes
    unlabelled: Tensor  # () int64, finite rows without a class in [0, c), left out
    non_finite: Tensor  # () int64, rows that hold NaN or infinity, left out

    @classmethod
    def zero(cls, num_classes: int, num_features: int) -> "NeuralSums":
        """The sums of no rows."""
        none = torch.zeros((), dtype=torch.int64)
        return cls(*ClassMoments.zero(num_classes, num_features), none, none)

    @property
    def moments(self) -> ClassMoments:
        """The moments by class alone."""
        return ClassMoments(*self[:4])


def neural_sums(features: Tensor, target: Tensor, num_classes: int, how: Numerics | None = None) -> NeuralSums:
    """Sums of one batch of feature rows and their classes.

    Args:
        features: one row per image; (n d), any float.
        target: class of each row; a class outside [0, c) marks a row without a label; (n), int64.
        num_classes: number of classes c.
        how: how products are formed; by default as :func:`.numerics` says.
    """
    finite, target = finite_rows(features), target.to(features.device)
    labelled = (target >= 0) & (target < num_classes)
    moments = class_moments(features, target.long(), num_classes, finite & labelled, how)
    return NeuralSums(*moments, (finite & ~labelled).sum(), (~finite).sum())


def class_means(sums: ClassMoments) -> tuple[Tensor, Tensor]:
    """Which classes have rows (c), and their means about the mean of those means (c d); 0 for the others.

    Means that differ by no more than rounding are one.
    """
    seen = sums.counts > 0
    means = torch.where(seen[:, None], sums.totals / sums.counts[:, None], 0.0)
    centred = torch.where(seen[:, None], means - means.sum(0) / seen.sum(), 0.0)
    return seen, torch.where(centred.norm() > _rounding(sums) * means.norm(), centred, 0.0)


def within_between(sums: ClassMoments) -> Tensor:
    """NC1: variance within the classes against that between their means, tr(Sw pinv(Sb)) / C; ().

    Sw is the mean covariance of the rows about their class mean, Sb that of the class means about their own mean. The
    pseudo-inverse goes through the C x C Gram matrix of the means, which has the same value as the d x d one.

    Convention:
        At least 0; 0 is complete collapse onto the class means. nan where fewer than two classes have rows or where
        all class means are one.

    Example:
        >>> rows = torch.tensor([[1.0, 1.0], [1.0, -1.0], [-1.0, 1.0], [-1.0, -1.0]])
        >>> round(within_between(class_moments(rows, torch.tensor([0, 1, 1, 0]), 2)).item(), 4)
        nan
    """
    _, centred = class_means(sums)
    scale = sums.counts.clamp(min=1).double().rsqrt()[:, None] * sums.totals
    within = (sums.outer - scale.T @ scale) / sums.counts.sum()
    gram = centred @ centred.T
    if not bool(gram.isfinite().all()) or not bool(gram.trace() > 0):
        return torch.full_like(gram[0, 0], torch.nan)
    values, vectors = eigen(gram)
    used = values > EPSILON * max(centred.shape) * values[0]
    inverse = centred.T @ (vectors[:, used] / values[used])  # M (M'M)^+ on the range of M
    return (inverse * (within @ inverse)).sum().clamp(min=0)


def mean_geometry(sums: ClassMoments) -> tuple[Tensor, Tensor]:
    """NC2: how far the centred class means are from equal lengths and equal angles; (), ().

    Convention:
        The coefficient of variation of the lengths, and the mean distance of the cosines of two different means from
        -1/(C - 1), where C is the number of classes that have rows. At least 0; 0 and 0 is a simplex. nan where
        fewer than two classes have rows; the angles are nan too where a class mean is the mean of all.

    Example:
        >>> norms, angles = mean_geometry(class_moments(torch.tensor([[2.0], [0.0], [-2.0]]), torch.arange(3), 3))
        >>> round(norms.item(), 4), angles.isnan().item()
        (0.7071, True)
    """
    seen, centred = class_means(sums)
    number = seen.sum()
    lengths = centred.norm(dim=1)
    typical = lengths.sum() / number
    spread = (torch.where(seen, lengths - typical, 0.0).square().sum() / number).sqrt() / typical
    unit = centred / torch.where(seen, lengths, 1.0)[:, None]
    pairs = seen[:, None] & seen & ~torch.eye(len(seen), dtype=torch.bool, device=seen.device)
    off = torch.where(pairs, (unit @ unit.T + 1 / (number.double() - 1)).abs(), 0.0).sum() / pairs.sum()
    enough = number > 1
    return torch.where(enough, spread, torch.nan), torch.where(enough, off, torch.nan)


def head_alignment(sums: ClassMoments, head: Tensor) -> Tensor:
    """NC3: distance between the classifier's rows and the centred class means, each of Frobenius norm 1; ().

    Convention:
        In [0, 2]; 0 is the same up to scale. Classes without rows are left out of both. nan where the head or all
        centred means are 0.

    Args:
        sums: moments of the features that the head takes.
        head: weight of the last linear layer; (c d).

    Example:
        >>> sums = class_moments(torch.eye(2), torch.arange(2), 2)
        >>> round(head_alignment(sums, torch.tensor([[3.0, -3.0], [-3.0, 3.0]])).item(), 9)
        0.0
    """
    seen, centred = class_means(sums)
    weight = torch.where(seen[:, None], head.detach().to(centred), 0.0)
    difference: Tensor = weight / weight.norm() - centred / centred.norm()
    return difference.square().sum().sqrt()


def distance_variance(sums: ClassMoments) -> Tensor:
    """Class-distance normalised variance, the mean over pairs of classes; ().

    Convention:
        (variance of the one + of the other) / (2 |difference of their means|^2), variances summed over the features. At
        least 0; 0 is complete collapse onto the class means, and classes are hard to tell apart well above 1. nan
        where fewer than two classes have rows or where two class means are one.

    Example:
        >>> rows = torch.tensor([[1.0], [3.0], [11.0], [13.0]])
        >>> distance_variance(class_moments(rows, torch.tensor([0, 0, 1, 1]), 2))
        tensor(0.0100, dtype=torch.float64)
    """
    counts, (seen, centred) = sums.counts, class_means(sums)
    means, rounding = sums.totals / counts[:, None], _rounding(sums)
    lengths = sums.squares / counts
    variance = lengths - means.square().sum(1)
    variance = torch.where(variance > rounding * lengths, variance, 0.0)
    apart: Tensor = torch.cdist(centred, centred, compute_mode="donot_use_mm_for_euclid_dist")  # exact near 0
    apart = apart.square()
    apart = torch.where(apart > (rounding.square() * lengths).nan_to_num().max(), apart, torch.nan)
    pairs = seen[:, None] & seen & ~torch.eye(len(seen), dtype=torch.bool, device=seen.device)
    ratio = torch.where(pairs, (variance[:, None] + variance) / (2 * apart), 0.0)
    return ratio.sum() / pairs.sum()


def neural_statistics(sums: NeuralSums, head: Tensor | None = None) -> dict[str, Tensor]:
    """Every statistic of neural collapse, by name; scalars, each as its own function says.

    Args:
        sums: sums of the features that the last linear layer takes.
        head: weight of that layer (c d); without it ``nc3`` is nan.
    """
    moments = sums.moments
    norms, angles = mean_geometry(moments)
    return {
        "nc1": within_between(moments),
        "nc2_norms": norms,
        "nc2_angles": angles,
        "nc3": torch.full_like(norms, torch.nan) if head is None else head_alignment(moments, head),
        "cdnv": distance_variance(moments),
        "classes": (sums.counts > 0).sum(),
        "images": sums.counts.sum(),
        "unlabelled": sums.unlabelled,
        "non_finite": sums.non_finite,
    }


def _rounding(sums: ClassMoments) -> Tensor:
    """Relative size below which a difference of two means may be rounding; ()."""
    return EPSILON * (64 + sums.counts.sum().double().sqrt())
