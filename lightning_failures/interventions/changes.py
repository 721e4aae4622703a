"""What can be taken from an image, or given to it, as plain functions of images; some need raw units."""

from collections.abc import Callable, Sequence
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
    "Denormalize",
    "RawUnits",
    "Transplant",
    "grey_level_swap",
    "raw_images",
    "raw_units",
    "retention_changes",
    "total_absorbance_swap",
]

#: Images to changed images; (n b h w).
Change = Callable[[Tensor], Tensor]
#: A number, or one for each channel.
Statistic = float | Sequence[float] | Tensor
#: How raw units follow from inputs: mean and deviation that standardised them, or a callable that undoes it.
Denormalize = tuple[Statistic, Statistic] | Change
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


def raw_units(denormalize: Denormalize | None, images: Tensor, where: str = "raw_units") -> RawUnits:
    """The raw units behind a model's inputs.

    Args:
        denormalize: from inputs to raw units, one scale and shift for each channel. ``(mean, std)``: what standardised
            them, each a number or one for each channel, as ``torchvision.transforms.Normalize`` takes them. Or a
            callable of images, such as ``lambda x: x * std + mean``; where it cannot take (n b h w), it is given the
            channels last, so that a plain (b) broadcasts. None: the inputs are raw.
        images: inputs on which that is checked; (n b h w).
        where: the public name to put into an error.

    Raises:
        InputError: ``denormalize`` is not one scale, other than 0, and shift for each channel.

    Example:
        >>> images = torch.rand(2, 3, 8, 8)
        >>> mean, std = torch.tensor([0.5, 0.4, 0.3]), torch.tensor([0.2, 0.2, 0.1])
        >>> raw_units((mean, std), images).shift
        tensor([0.5000, 0.4000, 0.3000])
        >>> raw_units(lambda x: x * std + mean, images).scale
        tensor([0.2000, 0.2000, 0.1000])
    """
    channels = torch.ones(images.shape[1], dtype=images.dtype, device=images.device)
    if denormalize is None:
        return RawUnits(channels, torch.zeros_like(channels))
    if not callable(denormalize):
        return _of_statistics(denormalize, images, where)
    images = at_least_one(images)
    for change in _both_ways(denormalize):
        given = _shape_kept(change, images)
        if isinstance(given, str):
            continue
        black, white = change(torch.zeros_like(images[:1])), change(torch.ones_like(images[:1]))
        shift, unit = (rearrange(raw, "n b ... -> b (n ...)").mean(1) for raw in (black, white))
        scale = unit - shift
        units = RawUnits(scale, shift)
        close = (given - units.to_raw(images)).abs() <= 1e-3 * given.abs().max()
        if bool(close.all()) and bool((scale != 0).all()):
            return units
    raise InputError(where, _NO_SCALE, _made(denormalize, images), _FIX)


def raw_images(denormalize: Denormalize | None, images: Tensor, where: str = "raw_images") -> Tensor:
    """Images in raw units, by any function of them; (n b h w).

    Args:
        denormalize: as for :func:`raw_units`, but a callable may be more than a scale and a shift.
        images: inputs; (n b h w).
        where: the public name to put into an error.

    Raises:
        InputError: ``denormalize`` gives images of another shape, or statistics that do not fit the channels.

    Example:
        >>> raw_images(torch.exp, torch.zeros(1, 3, 2, 2)).mean()
        tensor(1.)
    """
    if denormalize is None:
        return images
    if not callable(denormalize):
        return _of_statistics(denormalize, images, where).to_raw(images)
    for change in _both_ways(denormalize):
        given = _shape_kept(change, images)
        if isinstance(given, Tensor):
            return given
    raise InputError(where, "denormalize gives images of another shape", _made(denormalize, images), _FIX)


_NO_SCALE = "denormalize is not one scale and shift for each channel"
_FIX = "Pass what standardised them, denormalize=(mean, std), each a number or one for each channel."


def _of_statistics(statistics: tuple[Statistic, Statistic], images: Tensor, where: str) -> RawUnits:
    """Units from mean and deviation."""
    if len(statistics) != 2:
        raise InputError(where, _NO_SCALE, f"{len(statistics)} values", _FIX)
    b = images.shape[1]
    values = [torch.as_tensor(each, dtype=images.dtype, device=images.device).flatten() for each in statistics]
    if any(each.numel() not in (1, b) for each in values):
        given = f"mean and std of {values[0].numel()} and {values[1].numel()} values for {b} channels"
        raise InputError(where, _NO_SCALE, given, _FIX)
    shift, scale = (each.expand(b).clone() for each in values)
    if not bool((scale != 0).all()):
        raise InputError(where, _NO_SCALE, "a std of 0", _FIX)
    return RawUnits(scale, shift)


def _both_ways(change: Change) -> tuple[Change, Change]:
    """A function of images as it is, and given the channels last, where a plain (b) broadcasts."""
    return change, lambda images: change(images.movedim(1, -1)).movedim(-1, 1)


def _shape_kept(change: Change, images: Tensor) -> Tensor | str:
    """What a function makes of images; in words where that has another shape, or cannot be made."""
    try:
        given = change(images)
    except RuntimeError as error:  # what torch says where shapes do not broadcast
        return str(error)
    return given if given.shape == images.shape else str(tuple(given.shape))


def _made(change: Change, images: Tensor) -> str:
    """What a function makes of images, for an error."""
    made = _shape_kept(change, images)
    return f"inputs {tuple(images.shape)} to {tuple(made.shape) if isinstance(made, Tensor) else made}"


def total_absorbance_swap(units: RawUnits) -> Transplant:
    """The cue swap that scales per donor, in raw units, to the receiver's total absorbance."""
    return _level_swap(units, total_absorbance)


def grey_level_swap(units: RawUnits) -> Transplant:
    """The cue swap that scales a donor of three channels, in raw units, to the receiver's grey level."""
    return _level_swap(units, grey_level)


def _level_swap(units: RawUnits, level: Callable[[Tensor], Tensor]) -> Transplant:
    def swap(receivers: Tensor, donors: Tensor) -> Tensor:
        own, theirs = units.to_raw(receivers), units.to_raw(donors)
        return units.to_inputs(rescale_to(theirs, level(own), level(theirs)))

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
