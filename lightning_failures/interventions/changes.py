"""What can be taken from an image, or given to it, as plain functions of images; some need raw units."""

from collections.abc import Callable
from typing import NamedTuple

import torch
from einops import rearrange
from torch import Tensor

from lightning_failures.errors import InputError
from lightning_failures.functional.cues import grey_level, rescale_to, total_absorbance
from lightning_failures.functional.empty_batches import at_least_one
from lightning_failures.functional.retention import (
    keep_intensity,
    keep_mean_spectrum,
    shuffle_pixels,
    unit_total,
)

__all__ = [
    "Change",
    "RawUnits",
    "Transplant",
    "grey_level_swap",
    "raw_units",
    "retention_changes",
    "total_absorbance_swap",
]

#: Images to changed images; (n b h w).
Change = Callable[[Tensor], Tensor]
#: Receivers and donors to donors with something of the receivers'; (n b h w).
Transplant = Callable[[Tensor, Tensor], Tensor]


class RawUnits(NamedTuple):
    """How raw units follow from a model's inputs, channel by channel: ``raw = inputs * scale + shift``."""

    scale: Tensor  # (b)
    shift: Tensor  # (b)

    def to_raw(self, inputs: Tensor) -> Tensor:
        """Inputs in raw units; (n b h w)."""
        return inputs * _along(self.scale, inputs) + _along(self.shift, inputs)

    def to_inputs(self, raw: Tensor) -> Tensor:
        """Raw units as the model takes them; (n b h w)."""
        return (raw - _along(self.shift, raw)) / _along(self.scale, raw)


def raw_units(denormalize: Change | None, images: Tensor, where: str = "raw_units") -> RawUnits:
    """The raw units behind a model's inputs.

    Args:
        denormalize: from inputs to raw units, one scale and shift a channel; None: the inputs are raw.
        images: inputs on which that is checked; (n b h w).
        where: the public name to put into an error.

    Raises:
        InputError: ``denormalize`` is not one scale, other than 0, and shift a channel.

    Example:
        >>> raw_units(lambda x: 2 * x + 1, torch.rand(2, 1, 3, 3)).shift
        tensor([1.])
    """
    channels = torch.ones(images.shape[1], dtype=images.dtype, device=images.device)
    if denormalize is None:
        return RawUnits(channels, torch.zeros_like(channels))
    images = at_least_one(images)
    given = denormalize(images)
    if given.shape == images.shape:
        black, white = denormalize(torch.zeros_like(images[:1])), denormalize(torch.ones_like(images[:1]))
        shift, unit = (rearrange(raw, "n b ... -> b (n ...)").mean(1) for raw in (black, white))
        scale = unit - shift
        units = RawUnits(scale, shift)
        close = (given - units.to_raw(images)).abs() <= 1e-3 * given.abs().max()
        if bool(close.all()) and bool((scale != 0).all()):
            return units
    raise InputError(
        where,
        "denormalize is not one scale and shift a channel",
        f"inputs {tuple(images.shape)} to {tuple(given.shape)}",
        "Pass the inverse of the standardisation: lambda x: x * std + mean.",
    )


def total_absorbance_swap(units: RawUnits) -> Transplant:
    """The cue swap that scales a donor, in raw units, to the receiver's total absorbance."""

    def swap(receivers: Tensor, donors: Tensor) -> Tensor:
        own, theirs = units.to_raw(receivers), units.to_raw(donors)
        return units.to_inputs(rescale_to(theirs, total_absorbance(own), total_absorbance(theirs)))

    return swap


def grey_level_swap(units: RawUnits) -> Transplant:
    """The cue swap that scales a donor of three channels, in raw units, to the receiver's grey level."""

    def swap(receivers: Tensor, donors: Tensor) -> Tensor:
        own, theirs = units.to_raw(receivers), units.to_raw(donors)
        return units.to_inputs(rescale_to(theirs, grey_level(own), grey_level(theirs)))

    return swap


def retention_changes(units: RawUnits | None = None, level: float | None = None, seed: int = 0) -> dict[str, Change]:
    """The retention tests: ``shuffled_pixels``, ``mean_spectrum``, and in raw units ``mean_shape`` and ``unit_total``.

    See :mod:`lightning_failures.functional.retention`; ``mean_shape`` keeps each pixel's intensity.

    Args:
        units: raw units of the inputs; None leaves the two out that need them.
        level: the total over the channels that ``unit_total`` gives every pixel; None: the mean of each batch.
        seed: of the order of pixels.
    """
    changes: dict[str, Change] = {
        "shuffled_pixels": lambda images: shuffle_pixels(images, torch.Generator().manual_seed(seed)),
        "mean_spectrum": keep_mean_spectrum,
    }
    if units is not None:

        def same_total(images: Tensor) -> Tensor:
            raw = units.to_raw(images)
            return units.to_inputs(unit_total(raw, raw.sum(1).mean() if level is None else level))

        changes["mean_shape"] = lambda images: units.to_inputs(keep_intensity(units.to_raw(images)))
        changes["unit_total"] = same_total
    return changes


def _along(values: Tensor, images: Tensor) -> Tensor:
    return values.to(images).reshape(-1, *[1] * (images.ndim - 2))
