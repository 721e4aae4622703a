"""The axis of a spectrum: nm, um or cm-1, and the names of its channels."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from lightning_failures.errors import InputError, UnknownNameError

__all__ = ["Axis", "axis_label", "channel_names", "convert", "name_of_place", "spectral_axis", "unit_of"]

UNITS = {
    "nm": "nm",
    "um": "um",
    "µm": "um",
    "μm": "um",
    "cm-1": "cm-1",
    "cm^-1": "cm-1",
    "cm⁻¹": "cm-1",
    "1/cm": "cm-1",
}


_WRITTEN: dict[str | None, str] = {"um": "µm", "cm-1": "cm⁻¹"}  # in pictures


class Axis(NamedTuple):
    """Where each channel lies on the spectrum."""

    values: Tensor  # (C) float64, strictly monotone
    unit: str | None  # "nm", "um", "cm-1", or None where it was not said

    @property
    def descending(self) -> bool:
        """Whether pictures draw it from right to left, as is the custom for wavenumbers."""
        return self.unit == "cm-1"


def convert(values: Tensor, unit: str, to: str) -> Tensor:
    """Convert between nm, um and cm-1; float64, of the same shape.

    Example:
        >>> convert(torch.tensor([1000.0]), "cm-1", "um")
        tensor([10.], dtype=torch.float64)
    """
    unit, to = unit_of(unit), unit_of(to)
    given = values.double()
    nanometres = 1e7 / given if unit == "cm-1" else given * (1e3 if unit == "um" else 1.0)
    return 1e7 / nanometres if to == "cm-1" else nanometres / (1e3 if to == "um" else 1.0)


def spectral_axis(
    wavelengths: Any,
    unit: str | None = None,
    num_channels: int | None = None,
    shape: Sequence[int] = (),
    where: str = "spectral_axis",
) -> Axis:
    """The axis of the channels, checked.

    Args:
        wavelengths: place of each channel, strictly monotone; (C), any sequence of numbers.
        unit: ``"nm"``, ``"um"`` or ``"cm-1"``.
        num_channels: number of channels that the inputs have.
        shape: shape of the inputs, for the error.
        where: the public name to put into an error.

    Raises:
        InputError: no numbers, not one per channel, or not strictly monotone.
    """
    try:
        values = torch.as_tensor(wavelengths, dtype=torch.float64).detach().cpu()
    except (TypeError, ValueError) as error:
        fix = "Give one number per channel; name channels with bands={'red': [0], ...}."
        raise InputError(where, "wavelengths are not numbers", repr(wavelengths)[:60], fix) from error
    if values.ndim != 1 or (num_channels is not None and len(values) != num_channels):
        seen = [axis for axis, size in enumerate(shape) if axis and size == values.numel()]
        hint = f"Axis {seen[0]} has that many: pass channel_axis={seen[0]}." if seen else "Give one number per channel."
        raise InputError(
            where,
            "wavelengths and channels differ in number",
            f"{values.numel()} wavelengths, {num_channels} channels in inputs {tuple(shape)}",
            hint,
        )
    steps = values.diff()
    if not bool(values.isfinite().all() & ((steps > 0).all() | (steps < 0).all())):
        wrong = int(((steps * steps.sum().sign()) <= 0).nonzero()[:1].sum()) if bool(values.isfinite().all()) else 0
        raise InputError(
            where,
            "wavelengths are not strictly monotone",
            f"{values[wrong]:g} then {values[min(wrong + 1, len(values) - 1)]:g} at channel {wrong}",
            "Sort the channels along the axis, and leave out repeated ones.",
        )
    return Axis(values, None if unit is None else unit_of(unit, where))


def channel_names(num_channels: int, axis: Axis | None = None) -> tuple[str, ...]:
    """A name for each channel: its place on the axis, or its number."""
    if axis is None:
        return tuple(f"channel {channel}" for channel in range(num_channels))
    for digits in (6, 9, 17):
        names = tuple(f"{value:.{digits}g}" for value in axis.values.tolist())
        if len(set(names)) == num_channels:
            break
    return tuple(f"{name} {axis.unit}" if axis.unit else name for name in names)


def axis_label(unit: str | None) -> str:
    """What stands beneath an axis of wavelengths or wavenumbers.

    Example:
        >>> axis_label("cm-1"), axis_label(None)
        ('wavenumber (cm⁻¹)', 'wavelength or wavenumber')
    """
    if unit is None:
        return "wavelength or wavenumber"
    return f"{'wavenumber' if unit == 'cm-1' else 'wavelength'} ({_WRITTEN.get(unit, unit)})"


def name_of_place(place: float, unit: str | None) -> str:
    """What a channel is called in a picture, to four digits.

    Example:
        >>> name_of_place(2171.6, "nm"), name_of_place(0.4, "um")
        ('2,172 nm', '0.4 µm')
    """
    return f"{place:,.4g} {_WRITTEN.get(unit, unit) or ''}".strip()


def unit_of(unit: str, where: str = "unit_of") -> str:
    """The unit by its usual spelling: ``"nm"``, ``"um"`` or ``"cm-1"``."""
    if unit not in UNITS:
        raise UnknownNameError(where, "no such unit", repr(unit), "Choose from 'nm', 'um' and 'cm-1'.")
    return UNITS[unit]
