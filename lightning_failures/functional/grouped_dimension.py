"""How many dimensions the features of each group of images fill: a class, or the images that carry a factor."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from einops import rearrange
from torch import Tensor

from lightning_failures.functional.collapse import participation_ratio_unbiased
from lightning_failures.functional.moments import PowerSums, finite_double_rows
from lightning_failures.functional.projection import unproject_participation_ratio

__all__ = ["GroupSums", "group_dimensions", "group_statistics", "group_sums"]

_ROWS = 512  # at a time, which bounds the memory that their products take


class GroupSums(NamedTuple):
    """Power sums of the rows of each group, of all rows last; adds up across batches and across ranks."""

    counts: Tensor  # (g+1) int64, finite rows
    totals: Tensor  # (g+1 d) float64, sum x
    outers: Tensor  # (g+1 d d) float64, sum x x'
    squares: Tensor  # (g+1) float64, sum |x|^2
    cubes: Tensor  # (g+1 d) float64, sum |x|^2 x
    fourths: Tensor  # (g+1) float64, sum |x|^4
    non_finite: Tensor  # () int64, rows left out

    @classmethod
    def zero(cls, groups: int, num_features: int) -> "GroupSums":
        """The sums of no rows."""
        counts, totals, outers, squares, cubes, fourths = (
            torch.stack([value] * (groups + 1)) for value in PowerSums.zero(num_features)
        )
        return cls(counts, totals, outers, squares, cubes, fourths, torch.zeros((), dtype=torch.int64))


def group_sums(features: Tensor, members: Tensor, groups: int) -> GroupSums:
    """Sums of one batch of rows by group; rows that hold NaN or infinity are left out and counted.

    Args:
        features: one row per image; (n d), any float.
        members: the group of each row, (n) int64, where another than 0 to g - 1 is none; or whether each row belongs
            to each group, (n g), bool or 0 and 1.
        groups: number of groups g.
    """
    rows, keep = finite_double_rows(features)
    members, counted = members.to(rows.device), keep.to(rows)[:, None]
    lengths = rows.square().sum(1, keepdim=True)
    thin = torch.cat([counted, rows, lengths, lengths * rows, lengths.square()], 1)
    d = rows.shape[1]
    counts, totals, squares, cubes, fourths = _by_group(thin, members, groups).split([1, d, 1, d, 1], 1)
    outers = rows.new_zeros(groups + 1, d * d)
    for part, belongs in zip(rows.split(_ROWS), members.split(_ROWS), strict=True):
        products = rearrange(part[:, :, None] * part[:, None, :], "n i j -> n (i j)")
        outers += _by_group(products, belongs, groups)
    return GroupSums(
        counts[:, 0].long(),
        totals,
        rearrange(outers, "g (i j) -> g i j", i=d),
        squares[:, 0],
        cubes,
        fourths[:, 0],
        (~keep).sum(),
    )


def group_dimensions(sums: GroupSums, width: int | None = None) -> Tensor:
    """Unbiased participation ratio of each group, and of all rows last; (g+1), float64.

    Convention:
        A number of dimensions; 0 for constant features; nan for a group of fewer than four rows, and where a
        projection is too narrow to tell.

    Args:
        sums: sums by group.
        width: dimensions that the features were projected to, None where they were not.

    Example:
        >>> rows = torch.tensor([[1.0, 0.0], [-1.0, 0.0], [2.0, 0.0], [0.0, 0.0]])
        >>> dimensions = group_dimensions(group_sums(rows, torch.tensor([0, 0, 0, 0]), groups=2))
        >>> [round(value, 9) for value in dimensions.tolist()]
        [1.0, nan, 1.0]
    """
    ratios = torch.stack([participation_ratio_unbiased(PowerSums(*parts)) for parts in zip(*sums[:6], strict=True)])
    return ratios if width is None else unproject_participation_ratio(ratios, width)


def group_statistics(sums: GroupSums, names: Sequence[str], width: int | None = None) -> dict[str, Tensor]:
    """``dimension/<group>``, ``images/<group>``, both for ``all`` too, and ``dimension/smallest``; scalars."""
    dimensions = group_dimensions(sums, width)
    everything = [*names, "all"]
    smallest = dimensions[:-1].nan_to_num(torch.inf, torch.inf).amin()
    return {
        **{f"dimension/{name}": value for name, value in zip(everything, dimensions, strict=True)},
        "dimension/smallest": torch.where(smallest.isfinite(), smallest, torch.nan),
        **{f"images/{name}": value for name, value in zip(everything, sums.counts, strict=True)},
        "non_finite": sums.non_finite,
    }


def _by_group(values: Tensor, members: Tensor, groups: int) -> Tensor:
    """Sum of the values of each group's rows, and of all rows last; (g+1 v)."""
    everything = values.sum(0, keepdim=True)
    if members.ndim == 2:
        return torch.cat([(members > 0).to(values).T @ values, everything])
    member = (members >= 0) & (members < groups)
    sums = values.new_zeros(groups + 1, values.shape[1])
    sums.index_add_(0, torch.where(member, members, groups), values)
    return torch.cat([sums[:-1], everything])
