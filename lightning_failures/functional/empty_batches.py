"""The one rule for a batch of nothing: an operation that a library may refuse on it is done on one row of zeros.

An empty shard, a batch that was all padding, a class without images: sums and indices take them as they are. Fourier
transforms, pools, interpolation, convolutions and a whole network do not on every processor (oneMKL says "Inconsistent
configuration parameters"), and a smallest value of nothing exists nowhere. What such an operation gives for no rows is
what it gives for one, cut to none, so that shape and dtype are the operation's own.
"""

from collections.abc import Callable
from functools import wraps
from typing import Concatenate, ParamSpec

import torch
from torch import Tensor

__all__ = ["at_least_one", "never_empty"]

P = ParamSpec("P")


def at_least_one(rows: Tensor) -> Tensor:
    """The rows, or one of zeros where there are none; joined to them, so that a gradient finds its way; (n ...).

    Example:
        >>> at_least_one(torch.zeros(0, 3)).shape, at_least_one(torch.ones(2, 3)).shape
        (torch.Size([1, 3]), torch.Size([2, 3]))
    """
    return rows if len(rows) else torch.cat([rows, rows.new_zeros(1, *rows.shape[1:])])


def never_empty(operation: Callable[Concatenate[Tensor, P], Tensor]) -> Callable[Concatenate[Tensor, P], Tensor]:
    """The operation, for any number of rows; none are never handed to it.

    Args:
        operation: takes rows (n ...), by position, and gives rows; none for none.

    Example:
        >>> never_empty(torch.fft.fft2)(torch.zeros(0, 3, 8, 8)).shape
        torch.Size([0, 3, 8, 8])
    """

    @wraps(operation, updated=())  # a network's tables stay its own
    def run(rows: Tensor, /, *args: P.args, **kwargs: P.kwargs) -> Tensor:
        found = operation(at_least_one(rows), *args, **kwargs)
        return found if len(rows) else found[:0]

    return run
