"""The contact sheet of a slice: its images that are wrong, and others of the same classes that are right."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

from torch import Tensor

from lightning_failures.functional.slices import Slice
from lightning_failures.reporting.contact_sheet import Tile, sheet_of

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["SheetImages", "slice_sheet", "slice_sheet_images"]

WRONG, OTHERS = 12, 4  # pictures of the slice, and of others beside it


class SheetImages(NamedTuple):
    """Which images a contact sheet shows, by their rows of the sample."""

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
    rows: Tensor | None = None,
    channels: Sequence[int] | None = None,
) -> "Figure | None":
    """At most twelve images of a slice that are wrong, with given and predicted class; below them, others.

    All pictures share one scale, so that a slice that is dark is seen to be; see :func:`.sheet_of`.

    Args:
        one: the slice.
        shown: of :func:`slice_sheet_images`.
        pictures: row of the sample -> (b h w), of one channel or three.
        preds: predicted classes; (n), int64.
        target: the true classes; (n), int64.
        class_names: of all classes; None: numbers.
        rows: of the dataset, in which each image is found again; (n), int64. None: not known.
        channels: which three of many channels the pictures hold; None: all that there are.

    Returns:
        None where no picture of the slice is there.
    """
    if not any(row in pictures for row in shown.wrong):
        return None

    def tile(row: int, right: bool) -> Tile:
        given, said = (_called(int(each[row]), class_names) for each in (target, preds))
        found = [] if rows is None else [f"row {int(rows[row]):,}"]
        return Tile(
            pictures[row].float().nan_to_num(), (*found, f"given {given}", *([] if right else [f"as {said}"])), right
        )

    tiles = [
        tile(row, right) for each, right in zip(shown, (False, True), strict=True) for row in each if row in pictures
    ]
    title = (
        f"Slice: {one.name}. {one.error:.0%} of {one.images} images are wrong, against {one.error_others:.0%} of others"
        " of the same classes"
    )
    notes = "Orange: wrong, and in the slice, the most typical first." + (
        " Green: right, of the same classes, and not in the slice." if any(each.right for each in tiles) else ""
    )
    return sheet_of(tiles, title, notes, shown=channels)


def _called(number: int, class_names: Sequence[str] | None) -> str:
    if number < 0:
        return "nothing"
    return str(class_names[number] if class_names and number < len(class_names) else number)
