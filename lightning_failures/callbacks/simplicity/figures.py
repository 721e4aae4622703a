"""Pictures of what a model leans on: the ladder, the decision dimension, and its worst cue."""

import math
import textwrap
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from lightning_failures.callbacks.simplicity.course import SimplicityCourse
from lightning_failures.reporting.figure_style import COLOURS, canvas, short
from lightning_failures.spectrum.axes import axis_label

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = [
    "FIGURES",
    "cue_figure",
    "dimension_figure",
    "ladder_figure",
]

WORDS = {
    "total_absorbance": "total absorbance",
    "pixel_intensity": "pixel intensity",
    "first_component": "first principal component",
    "best_channel": "best single channel",
    "mean_spectrum": "linear in the mean spectrum",
    "mean_color": "linear in the mean colour",
    "grey_level": "grey level",
    "low_frequencies": "low spatial frequencies",
}
SHADES = ("first", "second", "third")
TELLING = 0.1  # share of the predictions that a cue decides at least, where a picture of it says something
ENOUGH = 0.9  # share of the pairs, or of the network, from which on a thing decides or explains it
NEAR = 0.5  # levels of the ladder nearer than this would have their names printed over each other


def ladder_figure(course: SimplicityCourse) -> "Figure | None":
    """What each rung reaches on the labels beside the network, and how much of the network it explains.

    Lowest rung below. None before there is a ladder.
    """
    if not course.names:
        return None
    names, places = course.names, range(len(course.names))
    with canvas(4.8, 1.3 + 0.25 * len(names)) as figure:
        figure.suptitle(
            "What simple models reach, and how much of the network each explains", x=0.01, ha="left", fontsize=8.5
        )
        left, right = figure.subplots(1, 2, sharey=True)
        reached = [course.get(f"reach/{name}") for name in names]
        left.barh(places, reached, height=0.62, color=COLOURS["second"], alpha=0.85)
        network, chance = course.get("model_accuracy"), course.get("chance")
        _level(left, network, "network", "-")
        _level(left, chance, "chance in training", ":", line=abs(network - chance) < NEAR)
        explained = [max(course.get(f"explained_adjusted/{name}"), 0.0) for name in names]
        right.barh(places, explained, height=0.62, color=COLOURS["first"], alpha=0.85)
        _level(right, ENOUGH, "explains it", "--")
        left.set_yticks(places, [short(WORDS.get(name, name), 28) for name in names], fontsize=7.5)
        right.tick_params(axis="y", length=0)
        for axes, values, label in (
            (left, reached, "accuracy on the labels"),
            (right, explained, "share of the network explained"),
        ):
            axes.set(xlim=(0, 1), xticks=(0, 0.5, 1))
            axes.set_xlabel(label, fontsize=7.5)
            axes.grid(axis="x")
            for place, value in zip(places, values, strict=True):
                _figure(axes, place, value, "undefined" if math.isnan(value) else f"{value:.2f}", 0.16)
    return figure


def dimension_figure(course: SimplicityCourse) -> "Figure | None":
    """Share of pairs decided by the first r principal directions, and these directions over the channels.

    None before any interchange, and of images of one channel, which have one direction.
    """
    ranks, own = course.by_rank("own")
    if not ranks or (course.directions and len(course.directions[0]) == 1):
        return None
    with canvas(4.8, 5.0) as figure:
        left, right = figure.subplots(2, 1)
        for key, label, colour, marker in (
            ("own", "one spectrum per image", "second", "o"),
            ("pixel_own", "every pixel's spectrum", "first", "D"),
        ):
            ranks, own = course.by_rank(key)
            if not ranks:
                continue
            left.plot(range(len(ranks)), own, "-", marker=marker, color=COLOURS[colour], label=label, clip_on=False)
            low, high = (course.by_rank(f"{key}_{end}")[1] for end in ("low", "high"))
            if len(low) == len(high) == len(ranks):
                left.vlines(range(len(ranks)), low, high, color=COLOURS[colour], linewidth=1.1)
            left.set_xticks(range(len(ranks)), [str(rank) for rank in ranks])
        left.axhline(ENOUGH, linestyle=":", color=COLOURS["soft"], linewidth=1)
        left.text(
            1.01, ENOUGH, "decide", transform=left.get_yaxis_transform(), va="center", fontsize=7, color=COLOURS["soft"]
        )
        left.set(ylim=(0, 1), xlabel="directions exchanged", ylabel="share of pairs")
        left.margins(x=0.08)
        left.set_title("Pairs predicted as the image that gave its main directions", loc="left", fontsize=8.5, pad=20)
        left.legend(frameon=False, fontsize=7, loc="lower left", bbox_to_anchor=(0, 0.99), ncols=2, borderaxespad=0.1)
        left.grid(axis="y")
        _directions(right, course)
    return figure


def _directions(axes: "Axes", course: SimplicityCourse) -> None:
    from matplotlib.ticker import MaxNLocator

    channels = len(course.directions[0]) if course.directions else 0
    known = course.wavelengths is not None and len(course.wavelengths) == channels
    x = course.wavelengths if known and course.wavelengths is not None else list(range(channels))
    styles = (("second", "-", 1.8), ("first", "-", 1.1), ("third", "--", 1.0), ("soft", ":", 1.0))
    rows = zip(course.directions, styles, strict=False)
    axes.axhline(0, color=COLOURS["line"], linewidth=0.8)
    for number, (row, (colour, style, width)) in enumerate(rows, start=1):
        axes.plot(x, row, style, color=COLOURS[colour], linewidth=width, label=f"{number}.", zorder=5 - number)
    axes.set(xlabel=axis_label(course.unit) if known else "channel", ylabel="weight")
    axes.set_title("The main directions of the decision", loc="left", fontsize=8.5, pad=20)
    if not known:
        axes.xaxis.set_major_locator(MaxNLocator(nbins=8, integer=True))
    if known and course.unit == "cm-1":  # as is the custom for wavenumbers
        axes.invert_xaxis()
    axes.legend(frameon=False, fontsize=7, loc="lower left", bbox_to_anchor=(0, 0.99), ncols=4, borderaxespad=0.1)


def cue_figure(course: SimplicityCourse) -> "Figure | None":
    """The centred logits that vary most over the cue on which predictions rest most.

    None without points, and where less than a tenth rests on it.
    """
    cue = course.worst_cue
    if cue is None or not course.points or course.get(f"reliance/{cue}") < TELLING:
        return None
    values, rows = course.points["cue"], course.points["logits"]
    centred = [[z - sum(row) / len(row) for z in row] for row in rows] if len(rows[0]) > 1 else rows
    columns = list(zip(*centred, strict=True))
    widest = sorted(range(len(columns)), key=lambda c: -_spread(columns[c]))[: len(SHADES)]
    with canvas(4.8, 2.9) as figure:
        axes = figure.add_subplot()
        for place, c in enumerate(sorted(widest)):
            axes.plot(
                values, columns[c], "o", color=COLOURS[SHADES[place]], markersize=2.4, alpha=0.55, markeredgewidth=0,
                label=_called(course, c),
            )  # fmt: skip
        axes.set_title("\n".join(textwrap.wrap(_of_cue(course, cue), 64)), fontsize=8, loc="left")
        axes.set(xlabel=WORDS.get(cue, cue), ylabel="logit, less the mean of all classes")
        axes.legend(frameon=False, fontsize=7, loc="center left", bbox_to_anchor=(1.0, 0.5), markerscale=2)
        axes.grid()
    return figure


def _called(course: SimplicityCourse, number: int) -> str:
    names = course.class_names
    return short(names[number], 16) if names and number < len(names) else f"class {number}"


def _of_cue(course: SimplicityCourse, cue: str) -> str:
    """What is known of a cue, in words: whose prediction follows it, or what of the logits goes with it."""
    follows, goes, within = (course.get(f"{key}/{cue}") for key in ("transplant", "eta2", "eta2_within"))
    if not math.isnan(follows):
        return f"Given the {WORDS.get(cue, cue)} of another image, {follows:.0%} are predicted as that one"
    said = "" if math.isnan(goes) else f"{goes:.0%} of the logits' variance goes with it"
    return said if math.isnan(within) else f"{said}, {within:.0%} within a class".removeprefix(", ")


#: By the last part of their logged key.
FIGURES: dict[str, Callable[[SimplicityCourse], "Figure | None"]] = {
    "ladder": ladder_figure,
    "decision_dimension_figure": dimension_figure,
    "worst_cue": cue_figure,
}


def _level(axes: "Axes", value: float, name: str, style: str, line: int = 0) -> None:
    """A line across with its name above, so many lines higher."""
    if not math.isnan(value):
        axes.axvline(value, linestyle=style, color=COLOURS["ink"], linewidth=1)
        axes.annotate(
            name, (value, 1), xycoords=axes.get_xaxis_transform(), xytext=(0, 3 + 8 * line), textcoords="offset points",
            ha="center", fontsize=7, color=COLOURS["soft"],
        )  # fmt: skip


def _figure(axes: "Axes", place: int, value: float, text: str, room: float) -> None:
    """A figure at the foot of its bar, or beside a bar that is too short for it."""
    inside = value > room
    beside = 0.0 if math.isnan(value) or inside else max(value, 0.0)
    colour = COLOURS["paper" if inside else "ink"]
    back = None if inside else {"facecolor": COLOURS["paper"], "edgecolor": "none", "pad": 0.8}  # over a level's line
    axes.text(beside + 0.015, place, text, va="center", fontsize=7, color=colour, zorder=4, bbox=back)


def _spread(values: Sequence[float]) -> float:
    finite = [value for value in values if math.isfinite(value)]
    mean = sum(finite) / max(len(finite), 1)
    return sum((value - mean) ** 2 for value in finite)
