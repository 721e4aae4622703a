"""On how many bands a profile is concentrated, and where on the axis.

Effective numbers: Hill, "Diversity and evenness" (Ecology, 1973).
"""

from typing import NamedTuple

import torch
from torch import Tensor

__all__ = [
    "Concentration",
    "centroid",
    "concentration",
    "effective_channels",
    "entropy_channels",
    "gini",
    "largest_share",
]


class Concentration(NamedTuple):
    """Summaries of one profile, each a float64 scalar; see the functions of the same names."""

    effective_channels: Tensor
    entropy_channels: Tensor
    gini: Tensor
    largest_share: Tensor
    centroid: Tensor


def concentration(share: Tensor, positions: Tensor | None = None) -> Concentration:
    """All summaries of a profile.

    Args:
        share: shares that sum to 1; (g), float64.
        positions: place of each band on the axis; (g), any float; without, the centroid is nan.
    """
    where = torch.tensor(torch.nan, dtype=torch.float64) if positions is None else centroid(share, positions)
    return Concentration(effective_channels(share), entropy_channels(share), gini(share), largest_share(share), where)


def effective_channels(share: Tensor) -> Tensor:
    """Number of equal bands that would be as concentrated, 1 over the sum of p^2; (), float64.

    Convention:
        From 1 (one band has it all) to g (all are equal); ``nan`` for a blank profile. A collapse does not look
        concentrated: read it beside the absolute change.

    Args:
        share: shares that sum to 1; (g), any float.

    Example:
        >>> effective_channels(torch.tensor([0.5, 0.5, 0.0]))
        tensor(2., dtype=torch.float64)
    """
    return 1 / share.double().square().sum()


def entropy_channels(share: Tensor) -> Tensor:
    """Number of equal bands of the same Shannon entropy, exp H(p); (), float64; from 1 to g; nan for a blank profile.

    Args:
        share: shares that sum to 1; (g), any float.
    """
    p = share.double()
    entropy: Tensor = -torch.special.xlogy(p, p).sum()
    return entropy.exp()


def gini(share: Tensor) -> Tensor:
    """Gini coefficient of the shares; (), float64: 0 all are equal, (g - 1)/g one has it all; nan for a blank profile.

    Args:
        share: shares that sum to 1; (g), any float.

    Example:
        >>> gini(torch.tensor([0.0, 0.0, 0.0, 1.0]))
        tensor(0.7500, dtype=torch.float64)
    """
    p = share.double().sort().values
    g = len(p)
    rank = torch.arange(1, g + 1, dtype=torch.float64, device=p.device)
    return torch.dot(2 * rank - g - 1, p) / (g * p.sum())


def largest_share(share: Tensor) -> Tensor:
    """Share of the largest band; (), float64, in [1/g, 1]; nan for a blank profile."""
    return share.double().max()


def centroid(share: Tensor, positions: Tensor) -> Tensor:
    """Mean position of the profile on its axis, sum of p v; (), float64, in the unit of the axis; nan if blank.

    Args:
        share: shares that sum to 1; (g), any float.
        positions: place of each band on the axis; (g), any float.
    """
    return share.double() @ positions.to(share.device).double()
