"""What a layer kept of its best: how many of its dimensions, and how much of the angles between its features."""

from typing import NamedTuple

import torch
from torch import Tensor

__all__ = ["Best", "Kept", "angular_spread", "better", "kept", "kept_onwards"]


class Best(NamedTuple):
    """The most that each layer had so far; nan where nothing was seen."""

    dimensions: Tensor  # (l) float64, effective rank
    spread: Tensor  # (l) float64, see angular_spread

    @classmethod
    def nothing(cls, layers: int) -> "Best":
        """Before the first evaluation."""
        return cls(*torch.full((2, layers), torch.nan, dtype=torch.float64))


class Kept(NamedTuple):
    """What :func:`kept` gives; each in [0, 1], nan where there is nothing to compare with."""

    dimensions: Tensor  # (l) float64
    spread: Tensor  # (l) float64
    kept: Tensor  # (l) float64, the smaller of both


def angular_spread(effective_rank: Tensor, mean_cosine: Tensor) -> Tensor:
    """How far the features of different images point in different directions: 1 minus their mean cosine.

    Convention:
        Dimensionless, in [0, 2]: 0 where all point one way, about 1 where they are spread evenly; 0 too for features
        that are 0 throughout, which have no direction. ``nan`` where the cosine is.

    Args:
        effective_rank: of each layer's features; (l), float64.
        mean_cosine: of each layer's features, not centred; (l), float64.

    Example:
        >>> angular_spread(torch.tensor([3.0, 0.0]), torch.tensor([0.25, torch.nan]))
        tensor([0.7500, 0.0000])
    """
    spread = (1 - mean_cosine).clamp(min=0)
    return torch.where((effective_rank == 0) & spread.isnan(), 0.0, spread)


def better(best: Best, effective_rank: Tensor, mean_cosine: Tensor) -> Best:
    """The most that each layer had, with one more evaluation; what is nan there changes nothing.

    Args:
        best: of the evaluations before.
        effective_rank: of each layer's features; (l), float64.
        mean_cosine: of each layer's features; (l), float64.

    Example:
        >>> better(Best(torch.tensor([2.0]), torch.tensor([0.75])), torch.tensor([5.0]), torch.tensor([0.5]))
        Best(dimensions=tensor([5.]), spread=tensor([0.7500]))
    """
    spread = angular_spread(effective_rank, mean_cosine)
    return Best(torch.fmax(best.dimensions, effective_rank), torch.fmax(best.spread, spread))


def kept(effective_rank: Tensor, mean_cosine: Tensor, best: Best, label_rank: float = torch.nan) -> Kept:
    """Effective rank and angular spread of each layer, over the most that it had, and the smaller of both.

    A good classifier may give up all dimensions that the labels do not need (neural collapse), so that with labels no
    layer has to keep more than their effective rank. Neither share changes with the scale of the features.

    Convention:
        In [0, 1]: 1 keeps all, near 0 the representation collapsed. A share is ``nan`` where the layer's figure or its
        best is, or where its best is 0; ``kept`` is the other share then, and ``nan`` where both are.

    Args:
        effective_rank: of each layer's features; (l), float64.
        mean_cosine: of each layer's features, not centred; (l), float64.
        best: the most that each layer had.
        label_rank: effective rank of the labels; ``nan`` or 0 without labels.

    Example:
        >>> best = Best(torch.tensor([8.0]), torch.tensor([0.8]))
        >>> kept(torch.tensor([2.0]), torch.tensor([0.6]), best).kept
        tensor([0.2500])
        >>> kept(torch.tensor([2.0]), torch.tensor([0.6]), best, label_rank=3.0).kept
        tensor([0.5000])
    """
    needed = best.dimensions.clamp(max=label_rank) if label_rank > 0 else best.dimensions
    dimensions = _share(effective_rank, needed)
    spread = _share(angular_spread(effective_rank, mean_cosine), best.spread)
    return Kept(dimensions, spread, torch.fmin(dimensions, spread))


def kept_onwards(shares: Tensor) -> Tensor:
    """What each layer and those after it kept at most: what a layer lost but a later one still has was not lost.

    Rectified maps crowd into a narrow cone in healthy networks too.

    Convention:
        In [0, 1]; ``nan`` stays.

    Args:
        shares: what each layer kept, in the order of the network; (l).

    Example:
        >>> kept_onwards(torch.tensor([0.2, torch.nan, 0.9, 0.4]))
        tensor([0.9000,    nan, 0.9000, 0.4000])
    """
    if not len(shares):
        return shares
    later = shares.nan_to_num(nan=0.0).flip(0).cummax(0).values.flip(0)
    return torch.where(shares.isnan(), shares, later)


def _share(value: Tensor, most: Tensor) -> Tensor:
    return torch.where(most > 0, (value / most).clamp(max=1), torch.nan)
