"""How the channels of some inputs lie on an axis, and in which bands they are watched."""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

from lightning_failures.errors import InputError
from lightning_failures.spectrum.axes import Axis, spectral_axis
from lightning_failures.spectrum.bands import Bands, BandsLike, resolve_bands, tiles, windows

__all__ = ["FEW_BANDS", "Layout", "channel_layout"]

#: Bands by default: more say little one by one, since neighbours stand in for each other.
FEW_BANDS = 20


class Layout(NamedTuple):
    """Bands of channels, their axis, and names that fit into a logged key."""

    bands: Bands
    axis: Axis | None
    names: tuple[str, ...]  # (g), without a slash
    named: bool  # whether somebody gave the names, so that they are worth writing into a picture

    @property
    def num_channels(self) -> int:
        """Number of channels C."""
        return self.bands.members.shape[1]

    @property
    def members(self) -> list[list[int]]:
        """Channels of each band."""
        return [row.nonzero().flatten().tolist() for row in self.bands.members]


def channel_layout(
    bands: BandsLike,
    num_channels: int,
    wavelengths: Any = None,
    unit: str | None = None,
    *,
    around: int | None = None,
    shape: Sequence[int] = (),
    where: str = "channel_layout",
) -> Layout:
    """Lay out channels.

    Args:
        bands: see :func:`.resolve_bands`; None: neighbours in at most 20 bands of equally
            many, each channel by itself where there are no more than 20.
        num_channels: number of channels C.
        wavelengths: place of each channel on the axis; (C).
        unit: ``"nm"``, ``"um"`` or ``"cm-1"``.
        around: width of one window around each channel, in place of bands, where none or a width is given as bands.
        shape: shape of the inputs, for an error.
        where: the public name to put into an error.

    Example:
        >>> channel_layout(None, 200).names[:2], len(channel_layout(None, 3).names)
        (('channels 0-9', 'channels 10-19'), 3)
    """
    axis = None if wavelengths is None else spectral_axis(wavelengths, unit, num_channels, shape, where)
    if around is not None and (bands is None or isinstance(bands, int)):
        found = windows(num_channels, min(around, num_channels) if bands is None else bands, axis, where)
    elif bands is None and num_channels > FEW_BANDS:
        found = tiles(num_channels, math.ceil(num_channels / FEW_BANDS), axis, where)
    else:
        found = resolve_bands(bands, num_channels, axis, where)
    names = tuple(name.replace("/", "-") for name in found.names)
    if len(set(names)) < len(names) or found.members.shape[1] != num_channels:
        raise InputError(
            where,
            "bands cannot be told apart, or are of other channels",
            f"{', '.join(names[:8])} of {found.members.shape[1]} channels, inputs of {num_channels}",
            "Give each band a name of its own, and bands of these inputs.",
        )
    return Layout(found, axis, names, bands is not None and not isinstance(bands, int))
