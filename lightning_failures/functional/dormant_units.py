"""Units of a layer that hardly ever fire: Sokar et al. 2023 (arXiv 2302.12902)."""

from typing import NamedTuple

import torch
from torch import Tensor

from lightning_failures.functional.moments import finite_double_rows

__all__ = ["ActivationSums", "activation_sums", "dormant_statistics", "dormant_units"]


class ActivationSums(NamedTuple):
    """All that :func:`dormant_units` needs; adds up across batches and across ranks."""

    count: Tensor  # type: ignore[assignment]  # () int64, finite rows; hides tuple.count
    sizes: Tensor  # (d) float64, sum |x|
    non_finite: Tensor  # () int64, rows left out

    @classmethod
    def zero(cls, num_features: int) -> "ActivationSums":
        """The sums of no rows."""
        none = torch.zeros((), dtype=torch.int64)
        return cls(none, torch.zeros(num_features, dtype=torch.float64), none)


def activation_sums(features: Tensor) -> ActivationSums:
    """Sums of one batch of rows; rows that hold NaN or infinity are left out and counted.

    Args:
        features: activations, one row per image; (n d), any float.
    """
    rows, keep = finite_double_rows(features)
    return ActivationSums(keep.sum(), rows.abs().sum(0), (~keep).sum())


def dormant_units(sums: ActivationSums, tau: float = 0.025) -> Tensor:
    """Whether each unit's mean size is at most ``tau`` of the layer's; (d), bool.

    Convention:
        All units of a layer that is 0 throughout are dormant; so are all of no rows.

    Args:
        sums: sums of the activations.
        tau: share of the layer's mean size, at least 0; 0 finds units that never fire.

    Example:
        >>> dormant_units(activation_sums(torch.tensor([[1.0, -2.0, 0.0], [3.0, 2.0, 0.01]])))
        tensor([False, False,  True])
    """
    return sums.sizes <= tau * sums.sizes.mean()


def dormant_statistics(sums: ActivationSums, tau: float = 0.025) -> dict[str, Tensor]:
    """Number and share of dormant units; scalars.

    Convention:
        ``dormant_share`` is in [0, 1]; nan without rows.
    """
    dormant = dormant_units(sums, tau)
    return {
        "dormant_share": torch.where(sums.count > 0, dormant.double().mean(), torch.nan),
        "dormant_units": torch.where(sums.count > 0, dormant.sum().double(), torch.nan),
        "images": sums.count,
        "non_finite": sums.non_finite,
    }
