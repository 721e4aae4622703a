"""What a layer kept of its best: how many of its dimensions, and how much of the angles between its features.

An effective rank is never below 1, so dimensions are counted above the first: features on a line have none.
"""

from typing import NamedTuple

import torch
from torch import Tensor

__all__ = ["Best", "Kept", "angular_spread", "better", "filled", "kept", "kept_onwards"]

#: Dimensions above the first, and angular spread, that features of two views fill at least in a network that learns.
#: Measured on the 16 x 16 digits: a backbone that learned has a spread of 0.05 to 0.12 at every evaluation, one that
#: collapsed of 0.004 to 0.009. Projectors behind batch norm that collapsed had an effective rank of 1.06 to 1.63 of 64.
FILLED_DIMENSIONS, FILLED_SPREAD = 5.0, 0.05


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
    kept: Tensor  # (l) float64, the geometric mean of both


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
    """Dimensions above the first and angular spread of each layer, over the most that it had, and their mean.

    One alone is no collapse as long as some of it is left: rectified maps crowd into a narrow cone in healthy networks
    too, so the geometric mean counts, which is small where both are, or where nearly nothing is left of one. A good
    classifier may give up all dimensions that the labels do not need (neural collapse), so that with labels no
    layer has to keep more than their effective rank. Neither share changes with the scale of the features.

    Convention:
        In [0, 1]: 1 keeps all, near 0 the representation collapsed. Where no dimension above the first is needed, the
        share of dimensions is 1, and 0 for features that do not vary. A share is ``nan`` where the layer's figure or
        its best is, or where its best is 0; ``kept`` is the other share then, and ``nan`` where both are.

    Args:
        effective_rank: of each layer's features; (l), float64.
        mean_cosine: of each layer's features, not centred; (l), float64.
        best: the most that each layer had.
        label_rank: effective rank of the labels; ``nan`` or 0 without labels.

    Example:
        >>> best = Best(torch.tensor([9.0]), torch.tensor([0.8]))
        >>> kept(torch.tensor([2.0]), torch.tensor([0.6]), best)
        Kept(dimensions=tensor([0.1250]), spread=tensor([0.5000]), kept=tensor([0.2500]))
        >>> kept(torch.tensor([2.0]), torch.tensor([0.6]), best, label_rank=3.0).dimensions
        tensor([0.5000])
    """
    needed = best.dimensions.clamp(max=label_rank) if label_rank > 0 else best.dimensions
    above, asked = (effective_rank - 1).clamp(min=0), (needed - 1).clamp(min=0)
    on_a_line = torch.where(effective_rank.isnan() | ~(needed > 0), torch.nan, (effective_rank > 0).to(above))
    dimensions = torch.where(asked > 0, (above / asked).clamp(max=1), on_a_line)
    spread = _share(angular_spread(effective_rank, mean_cosine), best.spread)
    both = (dimensions * spread).sqrt()
    return Kept(dimensions, spread, torch.where(both.isnan(), torch.fmin(dimensions, spread), both))


def filled(effective_rank: Tensor, mean_cosine: Tensor, width: Tensor) -> Tensor:
    """What the features of two views fill of what a network that learns fills at least, whatever they had before.

    A network that begins collapsed keeps all that it had. Of labels this says nothing: a good classifier of two classes
    needs one dimension, and a regression one direction.

    Convention:
        In [0, 1]: the smaller of the dimensions above the first over 5, or over the features less one where these are
        fewer, and of the angular spread over 0.05. Near 0: features on a line, or all in one direction. ``nan`` where
        the rank is, or where the cosine is and the features vary.

    Args:
        effective_rank: of each layer's features; (l), float64.
        mean_cosine: of each layer's features, not centred; (l), float64.
        width: features of each layer; (l), any number.

    Example:
        >>> filled(torch.tensor([1.5, 9.0, 9.0]), torch.tensor([0.0, 0.5, 0.995]), torch.tensor([64, 64, 64]))
        tensor([0.1000, 1.0000, 0.1000])
    """
    dimensions = (effective_rank - 1).clamp(min=0) / (width.to(effective_rank) - 1).clamp(1, FILLED_DIMENSIONS)
    return torch.minimum(dimensions, angular_spread(effective_rank, mean_cosine) / FILLED_SPREAD).clamp(max=1)


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
