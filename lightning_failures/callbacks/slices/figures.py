"""The contact sheet of a slice: its images that are wrong, and others of the same classes that are right."""

import math
import textwrap
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor

from lightning_failures.functional.slices import Slice
from lightning_failures.reporting.figure_style import COLOURS, canvas, short

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["SheetImages", "slice_sheet", "slice_sheet_images"]

ACROSS, WRONG, OTHERS = 4, 12, 4  # pictures side by side; of the slice, and of others beside it
_EDGE = 0.005  # share of the values at either end that may lie beyond the scale
_PITCH, _HIGH, _SIDE = 0.95, 1.24, 0.86  # inches: across, down, and of a picture


class SheetImages(NamedTuple):
    """Which images a contact sheet shows, by their rows."""

    wrong: list[int]  # of the slice, the most typical first
    others: list[int]  # of the same classes, beside the slice, and right


def slice_sheet_images(one: Slice, preds: Tensor, target: Tensor) -> SheetImages:
    """The images that are most of all in a slice and wrong, and as many right ones of the same classes beside it.

    Args:
        one: the slice.
        preds: predicted classes; (n), int64.
        target: the true classes; (n), int64.
    """
    wrong = (one.members & (preds != target)).nonzero()[:, 0]
    wrong = wrong[one.typical[wrong].argsort(descending=True, stable=True)][:WRONG]
    others: list[int] = []
    for place, number in enumerate(target[wrong].tolist()):
        right = (~one.members & (preds == target) & (target == number)).nonzero()[:, 0].tolist()
        fresh = [row for row in right if row not in others]
        if fresh and len(others) < OTHERS:
            others.append(fresh[place % len(fresh)])
    return SheetImages(wrong.tolist(), others)


def slice_sheet(
    one: Slice,
    shown: SheetImages,
    pictures: Mapping[int, Tensor],
    preds: Tensor,
    target: Tensor,
    class_names: Sequence[str] | None = None,
) -> "Figure | None":
    """At most twelve images of a slice that are wrong, with given and predicted class; below them, others.

    All pictures share one scale, from the darkest to the brightest of them but for some stray values, so that a slice
    that is dark is seen to be. Of more than three channels three are shown in false colour, each on its own scale.

    Args:
        one: the slice.
        shown: of :func:`slice_sheet_images`.
        pictures: row -> (b h w), of one channel or three.
        preds: predicted classes; (n), int64.
        target: the true classes; (n), int64.
        class_names: of all classes; None: numbers.

    Returns:
        None where no picture of the slice is there.
    """
    rows = [[row for row in each if row in pictures] for each in shown]
    if not rows[0]:
        return None
    scaled = dict(zip(rows[0] + rows[1], _scaled([pictures[row] for row in rows[0] + rows[1]]), strict=True))
    title = (
        f"Slice: {one.name}. {one.error:.0%} of {one.images} images are wrong, against {one.error_others:.0%} of others"
        " of the same classes"
    )
    heads = ["Wrong, in the slice:", "Right, of the same classes, not in the slice:"]
    blocks = [(head, block) for head, block in zip(heads, rows, strict=True) if block]
    lines = textwrap.wrap(title, 52)
    head, down = 0.16 + 0.17 * len(lines), sum(0.26 + _HIGH * math.ceil(len(block) / ACROSS) for _, block in blocks)
    width, height = 0.2 + _PITCH * ACROSS, head + down
    with canvas(width, height) as figure:
        figure.set_layout_engine("none")
        figure.text(0.1 / width, 1 - 0.08 / height, "\n".join(lines), fontsize=9, va="top")
        top = head
        for place, (words, block) in enumerate(blocks):
            figure.text(0.1 / width, 1 - (top + 0.1) / height, words, fontsize=8, va="top", color=COLOURS["soft"])
            top += 0.26
            for k, row in enumerate(block):
                line, column = divmod(k, ACROSS)
                left, bottom = 0.1 + column * _PITCH, height - top - line * _HIGH - _SIDE
                axes = figure.add_axes((left / width, bottom / height, _SIDE / width, _SIDE / height))
                picture = scaled[row]
                grey: dict[str, Any] = {"cmap": "gray", "vmin": 0.0, "vmax": 1.0} if len(picture) == 1 else {}
                axes.imshow((picture[0] if grey else picture.movedim(0, 2)).numpy(), interpolation="nearest", **grey)
                axes.set_xticks([])
                axes.set_yticks([])
                colour = COLOURS["second" if place == 0 else "first"]
                for spine in axes.spines.values():
                    spine.set(visible=True, color=colour, linewidth=1.2)
                given, said = (_called(int(each[row]), class_names) for each in (target, preds))
                text = f"given {given}" + (f"\nsaid {said}" if place == 0 else "")
                axes.set_xlabel(text, fontsize=6.5, color=colour, labelpad=2)
            top += _HIGH * math.ceil(len(block) / ACROSS)
    return figure


def _called(number: int, class_names: Sequence[str] | None) -> str:
    if number < 0:
        return "nothing"
    return short(str(class_names[number] if class_names and number < len(class_names) else number), 11)


def _scaled(pictures: Sequence[Tensor]) -> list[Tensor]:
    """Pictures in [0, 1] on one scale."""
    values = torch.stack([picture.float() for picture in pictures]).nan_to_num()
    ordered = values.flatten().sort().values
    stray = int(_EDGE * len(ordered))
    low, high = ordered[stray], ordered[-1 - stray]
    span = high - low if high > low else torch.ones(())
    return list(((values - low) / span).clamp(0, 1))
