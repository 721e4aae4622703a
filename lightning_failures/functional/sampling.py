"""A bounded sample of rows that adds up: drawn by a hash of each row, without random numbers.

Every row falls into one of many slots, by a hash of its own values, and a slot keeps the sum and the number of its
rows. A slot with one row holds that row exactly. Slots come in levels, each met by a quarter as many rows as the one
before, so that some level has rows that lie alone whatever the number of rows: sparse recovery, as in l0 sampling
(Cormode and Firmani 2014).
"""

from typing import NamedTuple

import torch
from torch import Tensor

__all__ = ["LEVELS", "RowSample", "drawn_rows", "sample_rows"]

LEVELS = 8  # of 512 slots each, some rows lie alone up to tens of millions of rows


class RowSample(NamedTuple):
    """A sample of rows; adds up across batches and across ranks."""

    taken: Tensor  # (s) int64, rows in each slot
    slots: Tensor  # (s d) float64, sum of the rows in each slot

    @classmethod
    def zero(cls, slots: int, width: int) -> "RowSample":
        """The sample of no rows, with ``slots`` slots a level."""
        size = slots * LEVELS
        return cls(torch.zeros(size, dtype=torch.int64), torch.zeros(size, width, dtype=torch.float64))


def sample_rows(rows: Tensor, keep: Tensor, slots: int, seed: int = 0) -> RowSample:
    """The sample of one batch of rows.

    Args:
        rows: finite rows; (n d), float64.
        keep: rows that may be drawn; (n), bool.
        slots: slots a level; about as many rows are drawn, once there are that many.
        seed: another seed draws other rows.
    """
    keys = _hash(rows, seed)
    level = torch.zeros_like(keys)
    for step in range(1, LEVELS):
        level += (keys & (4**step - 1)) == 0
    slot = level * slots + _shifted(keys, 2 * LEVELS) % slots
    zero = rows.new_zeros(LEVELS * slots, rows.shape[1])
    taken = torch.zeros_like(zero[:, 0], dtype=torch.int64)
    return RowSample(
        taken.index_add_(0, slot, keep.long()), zero.index_add_(0, slot, torch.where(keep[:, None], rows, 0.0))
    )


def drawn_rows(sample: RowSample) -> Tensor:
    """The rows that lie alone in their slot; (m d), float64.

    Convention:
        The same rows, in the same order, however the data were cut into batches and ranks. Rows are equally likely to
        be drawn, but for those that occur more than once, which are never drawn.

    Example:
        >>> rows = torch.tensor([[1.0, 2.0], [3.0, 4.0]], dtype=torch.float64)
        >>> drawn_rows(sample_rows(rows, torch.tensor([True, False]), slots=4))
        tensor([[1., 2.]], dtype=torch.float64)
    """
    return sample.slots[sample.taken == 1]


def _hash(rows: Tensor, seed: int) -> Tensor:
    """A hash of each row's bits; (n), int64."""
    bits = (rows + 0.0).view(torch.int64)  # + 0.0: minus zero is zero
    columns = torch.arange(1, rows.shape[1] + 1, device=rows.device)
    return _mix(_mix(bits + _mix(columns + (seed << 32))).sum(1))


def _mix(keys: Tensor) -> Tensor:
    """The finaliser of SplitMix64; int64 products wrap."""
    keys = keys + _signed(0x9E3779B97F4A7C15)
    keys = (keys ^ _shifted(keys, 30)) * _signed(0xBF58476D1CE4E5B9)
    keys = (keys ^ _shifted(keys, 27)) * _signed(0x94D049BB133111EB)
    return keys ^ _shifted(keys, 31)


def _shifted(keys: Tensor, by: int) -> Tensor:
    """Shift right with zeros coming in: int64 would bring the sign in."""
    return (keys >> by) & ((1 << (64 - by)) - 1)


def _signed(constant: int) -> int:
    return constant - (1 << 64) if constant >> 63 else constant
