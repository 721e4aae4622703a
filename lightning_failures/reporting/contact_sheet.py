"""Images as something to look at: channels and range of a picture, small pictures with labels, and a sheet of them."""

import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from einops import rearrange
from torch import Tensor
from torch.nn import functional as F

from lightning_failures.reporting.figure_style import COLOURS, canvas, short

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["Places", "Tile", "draw_picture", "sheet_of", "shown_channels", "to_pictures"]

FINEST = 160  # pixels a side that a small picture can show
EDGE = 0.005  # share of an image's values at either end that may lie beyond the scale
ACROSS = 4  # pictures side by side on a sheet
PITCH = 1.12  # inches from one of them to the next
SMALL = 7.2  # points of the letters beneath


class Tile(NamedTuple):
    """One image of a sheet.

    Args:
        image: finite; (b h w).
        lines: beneath it, such as its row and file, and its classes.
        right: whether it is one that the model gets right, which gets a colour of its own.
    """

    image: Tensor
    lines: tuple[str, ...]
    right: bool = False


class Places(NamedTuple):
    """Where the channels lie, for the axis of their spectra.

    Args:
        values: strictly monotone; (b).
        label: of the axis, with its unit, such as ``"wavelength (nm)"``.
        descending: whether the axis runs from right to left, as is the custom for wavenumbers.
    """

    values: Sequence[float]
    label: str
    descending: bool = False


def shown_channels(channels: int, changed: Tensor | None = None) -> list[int]:
    """The channels that are shown: all of one or three, else the middles of three thirds, as red, green and blue.

    Args:
        channels: how many an image has.
        changed: how much each was changed, where that is to be seen: if none of the three was, the one that was
            changed most takes the place of its neighbour; (b).

    Example:
        >>> shown_channels(3), shown_channels(12)
        ([0, 1, 2], [10, 6, 2])
    """
    if channels in (1, 3):
        return list(range(channels))
    spread = [channels * part // 6 for part in (5, 3, 1)]
    if changed is not None and bool(changed.any()) and not bool(changed[spread].any()):
        most = int(changed.argmax())
        nearest = min(range(3), key=lambda place: abs(spread[place] - most))
        spread[nearest] = most
    return spread


def to_pictures(images: Sequence[Tensor], together: bool = True) -> list[Tensor]:
    """Images in [0, 1] on one scale but for some stray values, no larger than a small picture shows; (c h w) each.

    Args:
        images: some, of one shape.
        together: whether all channels have one scale, as red, green and blue do; else each has its own.
    """
    height, width = (min(FINEST, side) for side in images[0].shape[1:])
    small = torch.stack([F.adaptive_avg_pool2d(image, (height, width)) for image in images])
    groups = rearrange(small, "k c h w -> 1 k (c h w)" if together else "k c h w -> c k (h w)").sort(2).values
    stray = int(EDGE * groups.shape[2])
    low, high = groups[..., stray].amin(1), groups[..., -1 - stray].amax(1)
    flat = high <= low
    low, high = torch.where(flat, groups.amin((1, 2)), low), torch.where(flat, groups.amax((1, 2)), high)
    span = torch.where(high > low, high - low, 1.0)
    return list(((small - low[:, None, None]) / span[:, None, None]).clamp(0, 1))


def draw_picture(axes: "Axes", picture: Tensor, label: str, colour: str) -> None:
    """A picture of :func:`to_pictures` in a frame, with a label beneath; one channel is grey, three are colours."""
    grey: dict[str, Any] = {"cmap": "gray", "vmin": 0.0, "vmax": 1.0} if picture.shape[0] == 1 else {}
    pixels = picture[0] if grey else rearrange(picture, "c h w -> h w c")
    axes.imshow(pixels.numpy(), aspect="auto", interpolation="nearest", **grey)
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set(visible=True, color=colour, linewidth=1.2)
    axes.set_xlabel(label, fontsize=SMALL, color=colour, labelpad=2)


def sheet_of(
    tiles: Sequence[Tile],
    title: str,
    notes: str = "",
    channel_names: Sequence[str] | None = None,
    places: Places | None = None,
    shown: Sequence[int] | None = None,
) -> "Figure | None":
    """Images on one sheet, four side by side, with labels beneath; of more than three channels their spectra too.

    All images share one scale, from the darkest to the brightest of them but for some stray values. One channel is
    grey, three are red, green and blue; of other numbers the middles of three thirds are shown in false colour, each on
    a scale of its own, and the sheet says which channels they are.

    Args:
        tiles: the images, of one shape; first those that are wrong, then those that are right.
        title: what is seen.
        notes: what else is to be known; stands beneath.
        channel_names: such as ``"1,200 nm"``, one a channel; None, or another number of them: channels by number.
        places: of the channels, for the axis of the spectra; None, or of another number of channels: by number.
        shown: which three channels the images hold, where they were cut to these; they have no spectra then.

    Returns:
        None without an image of one pixel or more.
    """
    if not tiles or tiles[0].image.ndim != 3 or tiles[0].image.numel() == 0:
        return None
    images = [tile.image.detach().cpu().float() for tile in tiles]
    channels, height, width = images[0].shape
    held = shown_channels(channels)
    false_colour = channels not in (1, 3) or shown is not None
    pictures = to_pictures([image[held] for image in images], together=not false_colour)
    shown = held if shown is None else shown
    if false_colour:
        known = channel_names is not None and len(channel_names) == channels
        named = [channel_names[place] if known and channel_names else f"channel {place}" for place in shown]
        notes = f"{notes} False colour: red, green and blue are {named[0]}, {named[1]} and {named[2]}.".strip()
    ratio = min(max(height / width, 0.25), 4.0)
    high, wide = (1.0, 1.0 / ratio) if ratio > 1 else (ratio, 1.0)
    lines = max(len(tile.lines) for tile in tiles)
    rows = [part[first : first + ACROSS] for part in _parts(tiles) for first in range(0, len(part), ACROSS)]
    down = high + 0.13 * lines + 0.14
    spectra = 1.75 if channels > 3 else 0.0
    figure_width = 0.16 + ACROSS * PITCH
    head = textwrap.wrap(title, int(figure_width / 0.074))
    foot = textwrap.wrap(notes, int(figure_width / 0.054))
    top, below = 0.14 + 0.17 * len(head), 0.06 + 0.14 * len(foot)
    total = top + down * len(rows) + spectra + below
    with canvas(figure_width, total) as figure:
        figure.set_layout_engine("none")
        edge = 0.1 / figure_width
        figure.text(edge, 1 - 0.08 / total, "\n".join(head), fontsize=9.5, va="top")
        number = 0
        for row, part in enumerate(rows):
            for column, tile in enumerate(part):
                left = 0.08 + column * PITCH + (PITCH - wide) / 2
                bottom = total - top - row * down - high
                axes = figure.add_axes((left / figure_width, bottom / total, wide / figure_width, high / total))
                label = "\n".join(_fitting(line) for line in tile.lines)
                draw_picture(axes, pictures[number], label, COLOURS["third" if tile.right else "second"])
                number += 1
        if spectra:
            box = (0.55 / figure_width, (below + 0.42) / total, 1 - 0.75 / figure_width, (spectra - 0.62) / total)
            _draw_spectra(figure.add_axes(box), tiles, images, shown, places)
        if foot:
            figure.text(edge, 0.06 / total, "\n".join(foot), fontsize=7, va="bottom", color=COLOURS["soft"])
    return figure


def _fitting(line: str) -> str:
    """A line that ends before its neighbour begins, with its middle left out where it is too long."""
    from matplotlib.textpath import TextPath

    fitting = short(line, 40)
    while len(fitting) > 3 and TextPath((0, 0), fitting, size=SMALL).get_extents().width > 72 * (PITCH - 0.08):
        fitting = short(line, len(fitting) - 1)
    return fitting


def _parts(tiles: Sequence[Tile]) -> list[list[Tile]]:
    """Those that are wrong and those that are right, which begin a row of their own."""
    return [part for right in (False, True) if (part := [tile for tile in tiles if tile.right is right])]


def _draw_spectra(
    axes: "Axes", tiles: Sequence[Tile], images: Sequence[Tensor], shown: Sequence[int], places: Places | None
) -> None:
    """The mean over pixels of each channel: each image thin, the mean of wrong and of right ones thick."""
    means = torch.stack([image.mean((1, 2)) for image in images])
    if places is None or len(places.values) != means.shape[1]:
        places = Places(range(means.shape[1]), "channel")
    x = places.values
    for right, colour, name in ((False, "second", "wrong"), (True, "third", "right")):
        mine = means[[tile.right is right for tile in tiles]]
        for spectrum in mine:
            axes.plot(x, spectrum.numpy(), color=COLOURS[colour], linewidth=0.5, alpha=0.45)
        if len(mine):
            axes.plot(x, mine.mean(0).numpy(), color=COLOURS[colour], linewidth=1.8, label=name)
    for channel in shown:
        axes.axvline(x[channel], color=COLOURS["soft"], linewidth=0.8, linestyle=":", zorder=0)
    if places.descending:
        axes.invert_xaxis()
    axes.set_xlabel(f"{places.label} (dotted: shown as red, green and blue)", fontsize=7)
    axes.set_ylabel("mean of the image", fontsize=7)
    axes.tick_params(labelsize=7)
    axes.legend(fontsize=7, frameon=False, loc="best")
