"""Units of a layer that compute the same: pairs of rows of its weight that point the same way."""

import torch
from torch import Tensor

__all__ = ["duplicate_units"]


def duplicate_units(weight: Tensor, cosine: float = 0.99) -> Tensor:
    """Share of the pairs of units whose weights have a cosine above a bound; scalar.

    Convention:
        In [0, 1], 0 at random from some 30 inputs on; 1: all units are one. A unit whose weights are all 0, or not
        finite, is in no pair; nan without a pair.

    Args:
        weight: a row per unit, further axes its inputs; (d ...).
        cosine: bound, at most 1.

    Example:
        >>> duplicate_units(torch.tensor([[1.0, 0.0], [2.0, 0.0], [0.0, 1.0]]))
        tensor(0.3333)
    """
    rows = weight.detach().flatten(1).float()
    size = rows.norm(dim=1)
    rows = rows[(size > 0) & size.isfinite()]
    rows = rows / rows.norm(dim=1, keepdim=True)
    pairs = len(rows) * (len(rows) - 1) / 2
    if not pairs:
        return torch.tensor(torch.nan)
    alike: Tensor = ((rows @ rows.T).triu(1) > cosine).sum()
    return alike / pairs
