"""How far the optimizer's steps move each weight, in comparison with the weight: sums that add up over steps."""

from typing import NamedTuple

import torch
from torch import Tensor

__all__ = ["UpdateSums", "distances", "update_ratios", "update_sums"]


class UpdateSums(NamedTuple):
    """All that :func:`update_ratios` needs; adds up over the steps that were looked at."""

    ratio: Tensor  # (t) sum over steps, rms of the update over rms of the weight
    steps: Tensor  # (t) steps in which the weight was neither zero nor infinite

    @classmethod
    def zero(cls, tensors: int, device: torch.device) -> "UpdateSums":
        """The sums of no step."""
        none = torch.zeros(tensors, device=device)
        return cls(none, none)

    def plus(self, other: "UpdateSums") -> "UpdateSums":
        """The sums of both."""
        return UpdateSums(self.ratio + other.ratio, self.steps + other.steps)


def update_sums(before: Tensor, after: Tensor) -> UpdateSums:
    """The sums of one step.

    Args:
        before: some numbers of each weight before the step; (t s).
        after: the same ones after it; (t s).
    """
    ratio = distances(before, after)
    known = ratio.isfinite()
    return UpdateSums(torch.where(known, ratio, 0.0), known.float())


def distances(before: Tensor, after: Tensor) -> Tensor:
    """Root mean square of the difference of each row over that of the row before; (t).

    Convention:
        0: it is what it was, 1: it has moved by its own size; nan or infinite where the row before is zero.

    Example:
        >>> distances(torch.tensor([[3.0, 4.0], [0.0, 0.0]]), torch.tensor([[3.0, 4.5], [0.0, 0.0]]))
        tensor([0.1000,    nan])
    """
    moved: Tensor = torch.linalg.vector_norm(after - before, dim=1)
    return moved / torch.linalg.vector_norm(before, dim=1)


def update_ratios(sums: UpdateSums) -> Tensor:
    """Mean over steps of each weight's update over the weight; (t).

    Convention:
        At least 0; about 1e-3 is ordinary, 1e-1 is far: the weight is another one after ten steps. nan: in no step that
        was looked at the weight was other than zero.

    Example:
        >>> before = torch.tensor([[3.0, 4.0], [0.0, 0.0]])
        >>> update_ratios(update_sums(before, before + torch.tensor([0.0, 0.5])))
        tensor([0.1000,    nan])
    """
    return sums.ratio / sums.steps
