"""How much one patch of an image moves a model's output.

Vasudeva et al., "Simplicity bias of transformers to learn low sensitivity functions" (2024).
"""

from typing import NamedTuple

import torch
from torch import Tensor

from lightning_failures.functional.empty_batches import never_empty
from lightning_failures.functional.moments import finite_images

__all__ = ["Sensitivity", "SensitivitySums", "noisy_patch", "patch_sensitivity", "sensitivity_sums"]


class SensitivitySums(NamedTuple):
    """Changes of the output when one patch is noise; adds up across batches and across ranks."""

    moved: Tensor  # () float64, sum of total variation distances
    flipped: Tensor  # () int64, predictions that changed
    tried: Tensor  # () int64, outputs compared

    @classmethod
    def zero(cls) -> "SensitivitySums":
        """The sums of no images."""
        count = torch.zeros((), dtype=torch.int64)
        return cls(torch.zeros((), dtype=torch.float64), count, count)


class Sensitivity(NamedTuple):
    """What :func:`patch_sensitivity` gives; each (), float64."""

    sensitivity: Tensor
    flipped: Tensor


@never_empty
def noisy_patch(images: Tensor, patch: int, grid: int = 4, generator: torch.Generator | None = None) -> Tensor:
    """Images with one cell of a grid replaced by noise of each channel's own mean and deviation.

    Args:
        images: (n b h w), float; mean and deviation are those of this batch, without images that hold NaN or infinity.
        patch: which cell, row by row, in [0, grid * grid).
        grid: cells along each side.
        generator: on the CPU; None: torch's own.

    Returns:
        As the images; (n b h w).
    """
    h, w = images.shape[-2:]
    row, column = divmod(patch, grid)
    rows = slice(row * h // grid, (row + 1) * h // grid)
    columns = slice(column * w // grid, (column + 1) * w // grid)
    finite = finite_images(images)
    usable = images if bool(finite.all()) or not bool(finite.any()) else images[finite]
    mean, deviation = usable.mean((0, 2, 3), keepdim=True), usable.std((0, 2, 3), keepdim=True)
    shape = images[..., rows, columns].shape
    changed = images.clone()
    changed[..., rows, columns] = mean + deviation * torch.randn(shape, generator=generator).to(images)
    return changed


def sensitivity_sums(logits: Tensor, changed_logits: Tensor) -> SensitivitySums:
    """Compare the outputs of one batch before and after; images whose logits hold NaN or infinity are left out.

    Args:
        logits: (n c) or (n c h w); one logit, c = 1, is a binary one.
        changed_logits: for images with one patch as noise, one patch a column; (n c m) or (n c h w m).
    """
    before, after = _probabilities(logits).unsqueeze(-1), _probabilities(changed_logits)
    moved = (after - before).abs().sum(1) / 2
    flipped = after.argmax(1) != before.argmax(1)
    known = moved.isfinite()
    return SensitivitySums(torch.where(known, moved, 0.0).sum(), (flipped & known).sum(), known.sum())


def patch_sensitivity(sums: SensitivitySums) -> Sensitivity:
    """Mean change of the predicted probabilities when one patch is noise, and the share of predictions that change.

    Convention:
        ``sensitivity`` is the total variation distance between the class probabilities, in [0, 1]: 0 where no single
        patch matters. ``flipped`` in [0, 1]. ``nan`` without images.

    Example:
        >>> patch_sensitivity(sensitivity_sums(torch.tensor([[9.0, -9.0]]), torch.tensor([[[-9.0], [9.0]]]))).flipped
        tensor(1., dtype=torch.float64)
    """
    return Sensitivity(sums.moved / sums.tried, sums.flipped / sums.tried.double())


def _probabilities(logits: Tensor) -> Tensor:
    values = logits.detach().double()
    if values.shape[1] == 1:  # logit z and its other class at 0
        values = torch.cat([torch.zeros_like(values), values], 1)
    return values.softmax(1)
