"""Bands of a spectrum: named sets with their sources, windows and tiles of channels.

Infrared bands of tissue: Barth, "Infrared spectroscopy of proteins" (BBA, 2007); Movasaghi, Rehman and ur Rehman,
"Fourier transform infrared spectroscopy of biological tissues" (Applied Spectroscopy Reviews, 2008); Baker et al.,
"Using Fourier transform IR spectroscopy to analyze biological materials" (Nature Protocols, 2014). Visible and
short-wave infrared: the bands of Landsat's Thematic Mapper; red edge: Horler, Dockray and Barber (1983); water: Curran,
"Remote sensing of foliar chemistry" (1989).
"""

import math
import warnings
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, TypeAlias

import torch
from torch import Tensor

from lightning_failures.errors import FailuresWarning, InputError, UnknownNameError
from lightning_failures.spectrum.axes import Axis, channel_names, convert

__all__ = ["BAND_SETS", "BandSet", "Bands", "BandsLike", "resolve_bands", "tiles", "windows"]

#: What may be passed as ``bands``; see :func:`resolve_bands`.
BandsLike: TypeAlias = "Bands | Mapping[str, Any] | str | Sequence[Any] | int | None"


class BandSet(NamedTuple):
    """Named ranges, and where they come from."""

    unit: str
    ranges: dict[str, tuple[float, float]]
    source: str


class Bands(NamedTuple):
    """Groups of channels."""

    names: tuple[str, ...]  # (g)
    members: Tensor  # (g C) bool
    positions: Tensor | None  # (g) float64, mean place on the axis


BAND_SETS: dict[str, BandSet] = {
    "infrared pathology": BandSet(
        "cm-1",
        {
            "Glycogen": (1000.0, 1060.0),
            "Phosphate (symmetric)": (1060.0, 1100.0),
            "Phosphate (antisymmetric)": (1200.0, 1260.0),
            "Amide III": (1260.0, 1340.0),
            "Amide II": (1480.0, 1590.0),
            "Amide I": (1600.0, 1700.0),
            "Ester C=O": (1715.0, 1765.0),
            "CH stretch": (2800.0, 3020.0),
        },
        "Barth 2007 (amides); Movasaghi et al. 2008 and Baker et al. 2014 (phosphate, glycogen, ester, CH stretch)",
    ),
    "visible and short-wave infrared": BandSet(
        "nm",
        {
            "Blue": (450.0, 520.0),
            "Green": (520.0, 600.0),
            "Red": (630.0, 690.0),
            "Red edge": (690.0, 740.0),
            "Near infrared": (760.0, 900.0),
            "Water 970": (930.0, 1010.0),
            "Water 1200": (1150.0, 1250.0),
            "Water 1400": (1350.0, 1480.0),
            "SWIR 1": (1550.0, 1750.0),
            "Water 1940": (1850.0, 2000.0),
            "SWIR 2": (2080.0, 2350.0),
        },
        "Landsat Thematic Mapper bands 1-5 and 7; Horler et al. 1983 (red edge); Curran 1989 (water)",
    ),
}


def resolve_bands(bands: BandsLike, num_channels: int, axis: Axis | None = None, where: str = "resolve_bands") -> Bands:
    """Turn what a user calls bands into groups of channels.

    Args:
        bands: None: each channel by itself. A whole number: neighbours in tiles of that many. A mapping from names to a
            pair of limits on the axis, both included, or to a channel index or a list of them. The name of a set of
            :data:`BAND_SETS`, or a list of names of bands of these sets. A list of lists of indices. Bands, which are
            returned.
        num_channels: number of channels C.
        axis: where the channels lie; needed for limits and for named sets.
        where: the public name to put into an error.

    Raises:
        InputError: limits without an axis, an index that is not a channel, no band with a channel.
        UnknownNameError: no such set or band.

    Warns:
        FailuresWarning: bands without a channel, which are left out; bands that overlap.

    Example:
        >>> axis = Axis(torch.tensor([5.0, 10.0, 15.0, 20.0], dtype=torch.float64), "nm")
        >>> bands = resolve_bands({"low": (0, 10), "high": [3]}, 4, axis)
        >>> bands.members.int().tolist()
        [[1, 1, 0, 0], [0, 0, 0, 1]]
    """
    if isinstance(bands, Bands):
        return bands
    if bands is None:
        return _bands(channel_names(num_channels, axis), torch.eye(num_channels, dtype=torch.bool), axis)
    if isinstance(bands, int):
        return tiles(num_channels, bands, axis, where)
    named = _named(bands, axis, where)
    members = torch.stack([_members(name, value, num_channels, axis, where) for name, value in named.items()])
    names = tuple(named)
    filled = members.any(1)
    if not bool(filled.any()):
        raise InputError(
            where, "no band has a channel", f"{_list(names)}; {_extent(num_channels, axis)}", "Give bands on this axis."
        )
    if not bool(filled.all()):
        empty = [name for name, some in zip(names, filled.tolist(), strict=True) if not some]
        _say(f"{where}: bands without a channel are left out: {_list(empty)}; {_extent(num_channels, axis)}.")
        names, members = tuple(n for n in names if n not in empty), members[filled]
    shared = members.int() @ members.int().T
    pairs = [(names[i], names[j]) for i, j in shared.triu(1).nonzero().tolist()]
    if pairs:
        said = ", ".join(f"{first} and {second}" for first, second in pairs[:5])
        _say(f"{where}: bands overlap and share what they explain: {said}{' and more' if pairs[5:] else ''}.")
    return _bands(names, members, axis)


def tiles(num_channels: int, width: int, axis: Axis | None = None, where: str = "tiles") -> Bands:
    """Neighbouring channels in groups of ``width``, the last one shorter; each channel in one group."""
    _check_width(width, num_channels, where)
    owner = torch.arange(num_channels) // width
    members = owner == torch.arange(int(owner[-1]) + 1)[:, None]
    return _bands(_range_names(members, axis), members, axis)


def windows(num_channels: int, width: int, axis: Axis | None = None, where: str = "windows") -> Bands:
    """One window around each channel, of ``width`` channels, shorter at the ends; named by its channel."""
    _check_width(width, num_channels, where)
    place = torch.arange(num_channels)
    first = place - (width - 1) // 2
    members = (place >= first[:, None]) & (place < first[:, None] + width)
    return Bands(channel_names(num_channels, axis), members, None if axis is None else axis.values)


def _bands(names: tuple[str, ...], members: Tensor, axis: Axis | None) -> Bands:
    if axis is None:
        return Bands(names, members, None)
    weights = members.double()
    return Bands(names, members, weights @ axis.values / weights.sum(1))


def _named(bands: Any, axis: Axis | None, where: str) -> dict[str, Any]:
    if isinstance(bands, Mapping):
        return {str(name): [value] if isinstance(value, int | float) else value for name, value in bands.items()}
    if isinstance(bands, str):
        if bands not in BAND_SETS:
            raise UnknownNameError(where, "no such set of bands", repr(bands), f"Choose from {_list(BAND_SETS)}.")
        return _on_axis(BAND_SETS[bands].ranges, BAND_SETS[bands].unit, axis, where)
    if isinstance(bands, Sequence) and bands and all(isinstance(name, str) for name in bands):
        known = {name: entry for entry in BAND_SETS.values() for name in entry.ranges}
        unknown = [name for name in bands if name not in known]
        if unknown:
            raise UnknownNameError(where, "no such bands", _list(unknown), f"Choose from {_list(known)}.")
        found: dict[str, Any] = {}
        for name in bands:
            found |= _on_axis({name: known[name].ranges[name]}, known[name].unit, axis, where)
        return found
    if isinstance(bands, Sequence) and bands:
        return {f"channels {_span(list(group))}": list(group) for group in bands}
    raise InputError(
        where, "bands are of no known kind", repr(bands), "Give a mapping of names, a set's name, a width, or None."
    )


def _on_axis(
    ranges: Mapping[str, tuple[float, float]], unit: str, axis: Axis | None, where: str
) -> dict[str, tuple[float, float]]:
    if axis is None or axis.unit is None:
        raise InputError(
            where,
            "named bands need an axis with a unit",
            "no wavelengths" if axis is None else "wavelengths without a unit",
            "Pass wavelengths=... and unit='nm', 'um' or 'cm-1'.",
        )
    return {
        name: tuple(sorted(convert(torch.tensor(limits), unit, axis.unit).tolist())) for name, limits in ranges.items()
    }


def _members(name: str, value: Any, num_channels: int, axis: Axis | None, where: str) -> Tensor:
    members = torch.zeros(num_channels, dtype=torch.bool)
    if isinstance(value, slice):
        members[value] = True
        return members
    entries = [float(entry) for entry in value]
    indices = all(entry.is_integer() and 0 <= entry < num_channels for entry in entries)
    if isinstance(value, tuple) or (axis is not None and len(entries) == 2 and not indices):  # YAML has no tuples
        if axis is None or len(entries) != 2:
            raise InputError(
                where,
                f"the band {name!r} is not a pair of limits on an axis",
                f"{value!r}, {'no wavelengths' if axis is None else 'wavelengths'}",
                "Give two limits and wavelengths=..., or channel indices as a list.",
            )
        slack = 1e-6 * max(map(abs, entries))  # a limit that is a channel's place holds it, however it was rounded
        return (axis.values >= min(entries) - slack) & (axis.values <= max(entries) + slack)
    if not indices:
        raise InputError(
            where,
            f"the band {name!r} names channels that are not there",
            f"{_list(value)}; {num_channels} channels",
            "Give indices from 0, or two limits on the axis and wavelengths=....",
        )
    members[torch.tensor(entries, dtype=torch.int64)] = True
    return members


def _range_names(members: Tensor, axis: Axis | None) -> tuple[str, ...]:
    if axis is None:
        return tuple(f"channels {_span(row.nonzero().flatten().tolist())}" for row in members)
    ends = [(float(axis.values[row].min()), float(axis.values[row].max())) for row in members]
    unit = f" {axis.unit}" if axis.unit else ""
    steps = torch.tensor(ends).flatten().sort().values.diff()
    step = min(steps[steps > 0].tolist(), default=1.0)
    digits = max(0, math.ceil(-math.log10(step)))  # what tells the ends apart, and no more
    return tuple((f"{a:.{digits}f}" if a == b else f"{a:.{digits}f}-{b:.{digits}f}") + unit for a, b in ends)


def _check_width(width: int, num_channels: int, where: str) -> None:
    if not 1 <= width <= num_channels:
        raise InputError(
            where, "a band is wider than the spectrum", f"{width} of {num_channels} channels", "Give a width from 1 up."
        )


def _span(channels: list[int]) -> str:
    first, last = min(channels, default=0), max(channels, default=0)
    whole = sorted(channels) == list(range(first, last + 1))
    return str(first) if first == last else f"{first}-{last}" if whole else ", ".join(map(str, channels))


def _extent(num_channels: int, axis: Axis | None) -> str:
    if axis is None:
        return f"{num_channels} channels"
    unit = f" {axis.unit}" if axis.unit else ""
    return f"the axis covers {float(axis.values.min()):g} to {float(axis.values.max()):g}{unit}"


def _list(names: Any) -> str:
    return ", ".join(str(name) for name in names)


def _say(text: str) -> None:
    warnings.warn(text, FailuresWarning, stacklevel=4)
