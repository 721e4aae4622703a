"""Pictures of transplants: images whose prediction moved with one content of another, and where that content lies."""

import math
import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor

from lightning_failures.functional.moments import finite_images
from lightning_failures.reporting.contact_sheet import draw_picture, shown_channels, to_pictures
from lightning_failures.reporting.figure_style import COLOURS, canvas, short

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["Bounds", "contact_sheet", "region_map"]

MOST, ACROSS = 12, 2  # triples on a sheet, and triples side by side
TELLING = 0.1  # largest share of a region from which on a map of them says something
NEARLY = 0.9  # of the largest share, that the region in the title has at least

#: Content -> its words in the title, and in the heads of the columns: "gives its ...", "with ...".
WORDS = {
    "level": ("mean level", "mean level", "that mean level"),
    "channel_statistics": ("mean and deviation of each channel", "means and deviations", "these"),
    "low_frequencies": ("low frequencies", "low frequencies", "these"),
}

#: First row, end of the rows, first column, end of the columns of a region; the ends are outside, as in a slice.
Bounds = tuple[int, int, int, int]


def contact_sheet(
    receivers: Tensor,
    donors: Tensor,
    transplanted: Tensor,
    own: Tensor,
    donor: Tensor,
    preds: Tensor,
    content: str,
    class_names: Sequence[str] | None = None,
) -> "Figure | None":
    """At most twelve images that are predicted as another one as soon as they have one content of that.

    Three pictures each: the image, the one that gives its content, and the image with that content; below each one
    what is predicted for it. They are chosen evenly over the classes of the donors. The three share one scale, from
    the darkest to the brightest of them but for some stray values, so that a change of level is seen. One channel is
    grey, three are red, green and blue; of other numbers three channels are shown in false colour, among them one that
    the exchange changed.

    Args:
        receivers: images, in raw units where they are known; (n b h w).
        donors: one per receiver; (n b h w).
        transplanted: the receivers with the content of the donors; (n b h w).
        own: class that is predicted for each receiver, negative where there is none; (n), int64.
        donor: for each donor; (n), int64.
        preds: for each receiver with the content of its donor; (n), int64.
        content: what was exchanged, such as ``"colour"`` or ``"channel 7"``.
        class_names: of all classes; a class without a name is shown by its number.

    Returns:
        None where the inputs are no images, where an image has several predictions, and where no prediction moved. Only
        pairs that are predicted otherwise count, and of these the title tells.
    """
    if receivers.ndim != 4 or receivers.shape[1:].numel() == 0 or own.ndim != 1:
        return None
    receivers, donors, transplanted = (images.detach().cpu().float() for images in (receivers, donors, transplanted))
    own, donor, preds = (answers.detach().cpu() for answers in (own, donor, preds))
    pairs = (own >= 0) & (donor >= 0) & (own != donor)
    moved = pairs & (preds == donor)
    seen = moved & finite_images(receivers) & finite_images(donors) & finite_images(transplanted)
    rows = _evenly(seen.nonzero()[:, 0].tolist(), donor.tolist(), MOST)
    if not rows:
        return None
    change = (transplanted[rows] - receivers[rows]).abs().mean((0, 2, 3))
    shown = shown_channels(receivers.shape[1], change)
    answers = torch.stack([own, donor, preds], 1)[rows].tolist()
    false_colour = receivers.shape[1] not in (1, 3)
    triples = [
        to_pictures([images[row, shown] for images in (receivers, donors, transplanted)], together=not false_colour)
        for row in rows
    ]
    words, brief, back = WORDS.get(content, _in_words(content))
    called = words if content.startswith("channel ") else f"the {words}"
    title = (
        f"Given only {called} of another image, {int(moved.sum()):,} of {int(pairs.sum()):,} "
        f"{'is' if int(pairs.sum()) == 1 else 'are'} predicted as that image"
    )
    heads = ["image", f"gives its {brief}", f"with {back}"]
    notes = "Below each image: the class that is predicted for it. The three pictures of a case share one scale."
    if false_colour:
        notes += f" False colour: red, green and blue are channels {shown[0]}, {shown[1]} and {shown[2]}."
    layout = _Layout.of(len(rows), receivers.shape[2] / receivers.shape[3], title, heads, notes)
    with canvas(layout.width, layout.height) as figure:
        figure.set_layout_engine("none")
        layout.write(figure, title, heads, notes)
        for case, (pictures, classes) in enumerate(zip(triples, answers, strict=True)):
            for place, (picture, number) in enumerate(zip(pictures, classes, strict=True)):
                axes = figure.add_axes(layout.box(case, place))
                name = str(class_names[number] if class_names and number < len(class_names) else number)
                draw_picture(
                    axes, picture, short(name, layout.letters - 2), COLOURS["first" if place == 0 else "second"]
                )
    return figure


def region_map(
    shares: Sequence[tuple[Bounds, float]], rows: int, columns: int, mean_image: Tensor | None = None
) -> "Figure | None":
    """Where on the image the content lies that decides: the donor share of each region, each alone.

    Args:
        shares: regions, and the share of pairs that are predicted as the donor once it is exchanged, coarse regions
            first; where regions overlap, the later one is seen.
        rows: of the images h.
        columns: of the images w.
        mean_image: drawn beneath in grey; (b h w) or (h w).

    Returns:
        None without a region that has a share, and where no region alone decides a tenth of the pairs.
    """
    known = [(bounds, share) for bounds, share in shares if not math.isnan(share)]
    if not known or max(share for _, share in known) < TELLING:
        return None
    finest = torch.full((rows, columns), torch.nan)
    for (top, bottom, left, right), share in known:
        finest[top:bottom, left:right] = share
    most = max(share for _, share in known)
    bounds, share = min(
        ((bounds, share) for bounds, share in known if share >= NEARLY * most),
        key=lambda pair: (_size(pair[0]), -pair[1]),
    )
    title = f"Given only {_called(bounds)} of another image, {share:.0%} of pairs are predicted as that image"
    width, height = (max(3.0 * length / max(rows, columns), 1.2) for length in (columns, rows))
    lines = textwrap.wrap(title, 48)
    with canvas(width + 1.3, height + 0.6 + 0.17 * len(lines)) as figure:
        from matplotlib.cm import ScalarMappable
        from matplotlib.colors import LinearSegmentedColormap, Normalize

        axes = figure.add_subplot()
        extent, shades = (0, columns, rows, 0), LinearSegmentedColormap.from_list("share", _SHADES)
        axes.set_facecolor(COLOURS["line"])  # never exchanged
        whole: dict[str, Any] = {"extent": extent, "interpolation": "nearest", "vmin": 0.0, "vmax": 1.0}
        if mean_image is not None:
            flat = mean_image.detach().cpu().float()
            [below] = to_pictures([flat.reshape(-1, *flat.shape[-2:]).nanmean(0, keepdim=True)])
            axes.imshow((_PALEST + (1 - _PALEST) * below[0]).numpy(), cmap="gray", **whole)
        # over the mean image a region is as opaque as its share, so that one that carries nothing shows it
        opaque = 1.0 if mean_image is None else finest.nan_to_num().clamp(0, 1).numpy()
        axes.imshow(finest.numpy(), cmap=shades, alpha=opaque, **whole)
        for place, (region, value) in enumerate(known):
            finer = any(_overlap(other, region) for other, _ in known[place + 1 :])
            if region == bounds:
                _outline(axes, region, (COLOURS["ink"], 2.0))
                _say(axes, region, f"{value:.2f}" + " as a whole" * finer, (rows, columns), above=finer)
            else:
                _outline(axes, region, (COLOURS["soft"], 0.7))
                _say(axes, region, "" if finer else f"{value:.2f}", (rows, columns))
        axes.set(xlim=(0, columns), ylim=(rows, 0), xlabel="column of pixels", ylabel="row of pixels", aspect="equal")
        axes.set_xticks((0, columns // 2, columns))
        axes.set_yticks((0, rows // 2, rows))
        bar = figure.colorbar(ScalarMappable(Normalize(0, 1), shades), ax=axes, shrink=0.9, pad=0.03)
        bar.set_label("share of pairs predicted as the other image", fontsize=7.5)
        bar.ax.tick_params(labelsize=7)
        figure.suptitle("\n".join(lines), x=0.02, ha="left", fontsize=9)
    return figure


class _Layout(NamedTuple):
    """Where the pictures of a sheet stand, in inches."""

    width: float
    height: float
    picture: tuple[float, float]  # width and height of one
    pitch: float  # from one picture to the next
    across: int  # triples side by side
    top: float  # of the first picture, from above
    down: float  # from one row of triples to the next
    letters: int  # beneath one picture

    @classmethod
    def of(cls, cases: int, ratio: float, title: str, heads: Sequence[str], notes: str) -> "_Layout":
        """Of so many triples of pictures that are ``ratio`` times as high as wide."""
        ratio = min(max(ratio, 0.25), 4.0)
        high, wide = (_SIDE, _SIDE / ratio) if ratio > 1 else (_SIDE * ratio, _SIDE)
        pitch = max(wide, _SIDE) + 0.07
        across = min(ACROSS, cases)
        width = max(0.3 + across * (3 * pitch + _GAP) - _GAP, 4.0)
        letters = int(pitch / 0.06)
        head = max(len(_wrapped(text, letters)) for text in heads)
        top = 0.14 + 0.19 * len(_wrapped(title, _letters(width, 0.074))) + 0.15 * head + 0.06
        down = high + 0.27
        below = 0.06 + 0.14 * len(_wrapped(notes, _letters(width, 0.0535)))
        return cls(width, top + down * -(-cases // across) + below, (wide, high), pitch, across, top, down, letters)

    def left(self, column: int, place: int) -> float:
        return 0.15 + column * (3 * self.pitch + _GAP) + place * self.pitch

    def box(self, case: int, place: int) -> tuple[float, float, float, float]:
        """Of one picture, in parts of the figure: left, bottom, width, height."""
        row, column = divmod(case, self.across)
        wide, high = self.picture
        left = self.left(column, place) + (self.pitch - wide) / 2
        bottom = self.height - self.top - row * self.down - high
        return left / self.width, bottom / self.height, wide / self.width, high / self.height

    def write(self, figure: "Figure", title: str, heads: Sequence[str], notes: str) -> None:
        """Title above, the heads of the columns, and notes beneath."""
        edge = 0.15 / self.width
        lines = _wrapped(title, _letters(self.width, 0.074))
        figure.text(edge, 1 - 0.1 / self.height, "\n".join(lines), fontsize=9.5, va="top")
        for column in range(self.across):
            for place, text in enumerate(heads):
                figure.text(
                    (self.left(column, place) + self.pitch / 2) / self.width, 1 - (self.top - 0.05) / self.height,
                    "\n".join(_wrapped(text, self.letters)), fontsize=7.2, ha="center", va="bottom",
                    color=COLOURS["soft"],
                )  # fmt: skip
        said = "\n".join(_wrapped(notes, _letters(self.width, 0.0535)))
        figure.text(edge, 0.07 / self.height, said, fontsize=7.2, va="bottom", color=COLOURS["soft"])


_SHADES = [COLOURS["paper"], COLOURS["second"]]  # of a share of 0 and of 1
_PALEST = 0.45  # grey of the darkest pixel of the mean image, on which figures can be read
_SIDE = 0.78  # inches, the longer side of a picture
_GAP = 0.24  # inches between triples side by side


def _letters(width: float, each: float) -> int:
    return int((width - 0.3) / each)


def _wrapped(text: str, letters: int) -> list[str]:
    return textwrap.wrap(text, letters) or [""]


def _in_words(content: str) -> tuple[str, str, str]:
    """As :data:`WORDS` has it: in the heads a region stands without its bounds, and a channel has its name once."""
    words = content.replace("_", " ")
    brief = words.split(" (")[0]
    return words, brief, "that channel" if words.startswith("channel ") else f"that {brief}"


def _evenly(rows: Sequence[int], classes: Sequence[int], most: int) -> list[int]:
    """At most so many rows, as many of each class as can be, in the order of the classes."""
    rounds: list[list[int]] = []
    taken: dict[int, int] = {}
    for row in sorted(rows, key=lambda row: classes[row]):
        place = taken.get(classes[row], 0)
        taken[classes[row]] = place + 1
        if place == len(rounds):
            rounds.append([])
        rounds[place].append(row)
    chosen: list[int] = []
    for some in rounds:
        room = min(most - len(chosen), len(some))
        chosen += [some[place * len(some) // room] for place in range(room)]
    return sorted(chosen, key=lambda row: (classes[row], row))


def _outline(axes: "Axes", bounds: Bounds, line: tuple[str, float]) -> None:
    """The edge of a region, in a colour and a width."""
    from matplotlib.patches import Rectangle

    top, bottom, left, right = bounds
    colour, width = line
    edge = Rectangle((left, top), right - left, bottom - top, fill=False, edgecolor=colour, linewidth=width)
    edge.set(clip_on=False, zorder=2 + width)
    axes.add_patch(edge)


def _say(axes: "Axes", bounds: Bounds, text: str, size: tuple[int, int], above: bool = False) -> None:
    """The share of a region in its middle where there is room, or at its upper edge, over the shares of its parts."""
    top, bottom, left, right = bounds
    if not above and ((right - left) < 0.1 * max(size) or (bottom - top) < 0.06 * max(size)):
        return
    box = {
        "boxstyle": "round,pad=0.2",
        "facecolor": COLOURS["paper"],
        "edgecolor": "none",
        "alpha": 1.0 if above else 0.75,
    }
    axes.text(
        (left + right) / 2, top if above else (top + bottom) / 2, text, ha="center", va="center", fontsize=7,
        fontweight="bold" if above else "normal", color=COLOURS["ink"], bbox=box, zorder=6,
    )  # fmt: skip


def _called(bounds: Bounds) -> str:
    top, bottom, left, right = bounds
    rows = f"row {top}" if bottom - top == 1 else f"rows {top}-{bottom - 1}"
    return f"{rows}, column {left}" if right - left == 1 else f"{rows}, columns {left}-{right - 1}"


def _size(bounds: Bounds) -> int:
    top, bottom, left, right = bounds
    return (bottom - top) * (right - left)


def _overlap(one: Bounds, other: Bounds) -> bool:
    return one[0] < other[1] and one[1] > other[0] and one[2] < other[3] and one[3] > other[2]
