"""Fewer features by a fixed random projection, and what that does to the participation ratio."""

import math

import torch
from torch import Tensor

__all__ = ["gaussian_projection", "unproject_participation_ratio"]


def gaussian_projection(num_features: int, width: int, seed: int = 0) -> Tensor:
    """Independent Gaussian entries of variance 1 / k; (d k), float64.

    The same on every rank and in every run; draws nothing from the global generators.

    Args:
        num_features: number of features d.
        width: number of columns k.
        seed: another seed gives another projection.
    """
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(num_features, width, generator=generator, dtype=torch.float64) / math.sqrt(width)


def unproject_participation_ratio(ratio: Tensor, width: int) -> Tensor:
    """The participation ratio before a Gaussian projection, from the one after it.

    A projection to k dimensions turns the expectations of tr(cov^2) and tr(cov)^2 into
    (1 + 1/k) tr(cov^2) + tr(cov)^2 / k and tr(cov)^2 + 2/k tr(cov^2); this solves them for the ratio of the latter. For
    large k it is the rule 1/PR = 1/PR_k - 1/k; unlike that it is exact at one dimension.

    Convention:
        A number of dimensions in [1, inf); nan where the projected ratio reaches k: there is no telling how many
        dimensions there were. 0 stays 0.

    Args:
        ratio: participation ratios after the projection; any shape.
        width: dimensions k after the projection.

    Example:
        >>> unproject_participation_ratio(torch.tensor([1.0, 5.0], dtype=torch.float64), width=64)
        tensor([1.0000, 5.4746], dtype=torch.float64)
    """
    k = width
    inverse = (1 / ratio - 1 / k) / (1 + (1 - 2 / ratio) / k)
    return torch.where(ratio == 0, 0.0, torch.where(inverse > 0, 1 / inverse, torch.nan))
