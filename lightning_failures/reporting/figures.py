"""Figures of a run by epoch, with its findings marked where they were raised."""

import math
import textwrap
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple

from lightning_failures.records.finding import Finding
from lightning_failures.records.kind import KINDS, MONITOR_ERROR
from lightning_failures.records.run_record import RunRecord
from lightning_failures.reporting.figure_style import COLOURS, canvas, short

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["Line", "by_epoch", "points", "position"]

_FEW = 30  # evaluations up to which each one gets its own mark
WIDE = 76  # characters of a line of notes, which end at the edge of the figure


class Line(NamedTuple):
    """One line of a figure by epoch.

    Args:
        label: of the line, which stands at its right end with the last value.
        key: that it draws.
        colour: a name of :data:`.COLOURS`.
        marker: of each evaluation, where there are few; empty: none.
        style: of the line, as matplotlib knows it.
        low: lower end of an interval, by position on the x axis; none where there is none.
        high: upper end of it.
    """

    label: str
    key: str
    colour: str
    marker: str
    style: str
    low: Mapping[int, float] = MappingProxyType({})
    high: Mapping[int, float] = MappingProxyType({})


def by_epoch(record: RunRecord, lines: Sequence[Line], limits: tuple[float, float], label: str) -> "Figure":
    """Lines over the course of a run; each kind of finding is marked where it was first raised.

    Intervals are bars, or a band where there are many evaluations.

    Args:
        record: the run.
        lines: those that it logged, at least one.
        limits: of the y axis.
        label: of the y axis.
    """
    from matplotlib.ticker import MaxNLocator

    notes, marks = _finding_marks(record)
    with canvas(4.7, 2.6 + 0.16 * len(notes)) as figure:
        axes = figure.add_subplot()
        every = [where for line in lines for where in points(record, line.key)[0]]
        first, last = min(every), max(every)
        margin = max(0.5 if first == last else 0.0, 0.03 * (last - first))
        axes.set(xlim=(first - margin, last + margin), ylim=limits)
        ends = []
        for line in lines:
            x, y = points(record, line.key)
            y = [value if limits[0] <= value <= limits[1] else math.nan for value in y]
            colour, few = COLOURS[line.colour], len(x) <= _FEW
            alone = sum(map(math.isfinite, y)) == 1 and not line.marker
            axes.plot(
                x, y, line.style, color=colour, marker=("_" if alone else line.marker) if few else "",
                markerfacecolor=colour if line.style == "-" else COLOURS["paper"], clip_on=False, zorder=3,
            )  # fmt: skip
            low = [line.low.get(where, math.nan) for where in x]
            high = [line.high.get(where, math.nan) for where in x]
            if few:
                axes.vlines(x, low, high, color=colour, linewidth=1.1)
            elif line.low:
                axes.fill_between(x, low, high, color=colour, alpha=0.18, linewidth=0)
            finite = [value for value in y if math.isfinite(value)]
            if finite:
                ends.append((finite[-1], f"{line.label} {finite[-1]:.2f}", colour))
        _end_labels(axes, ends, limits)
        _draw_marks(
            axes, [(index, min(max(where, first), last), stands) for index, where, stands in marks], last - first
        )
        axes.xaxis.set_major_locator(MaxNLocator(nbins=8, integer=True, min_n_ticks=1, steps=[1, 2, 5, 10]))
        axes.yaxis.set_major_locator(MaxNLocator(nbins=6, steps=[1, 2, 5, 10]))
        axes.grid(axis="y")
        axes.set(xlabel=position(record), ylabel=label)
        if notes:
            figure.supxlabel("\n".join(notes), x=0.01, ha="left", fontsize=8, linespacing=1.4)
    return figure


def position(record: RunRecord) -> str:
    """What the x axis counts: ``"epoch"``, or ``"step"`` where an epoch has several evaluations."""
    epochs = [evaluation.epoch for evaluation in record.evaluations]
    return "epoch" if len(set(epochs)) == len(epochs) else "step"


def points(record: RunRecord, key: str) -> tuple[list[int], list[float]]:
    """Positions on the x axis of the evaluations that logged a key, and its values."""
    where = position(record)
    found = [e for e in record.evaluations if key in e.values]
    return [getattr(e, where) for e in found], [e.values[key] for e in found]


def _finding_marks(record: RunRecord) -> tuple[list[str], list[tuple[int, int, bool]]]:
    """One note a kind of finding, in lines, in the order of time; and the number, position and standing of each."""
    counted, notes, marks = position(record), [], []
    kinds: dict[str, list[Finding]] = {}
    for finding in sorted(record.findings, key=lambda f: f.step):
        if finding.kind != MONITOR_ERROR:
            kinds.setdefault(finding.kind, []).append(finding)
    for index, (kind, found) in enumerate(kinds.items(), start=1):
        where, standing = getattr(found[0], counted), any(f.standing for f in found)
        subjects = [short(subject, 24) for subject in dict.fromkeys(f.subject for f in found) if subject]
        about = f" ({', '.join(subjects[:2])}{f' and {len(subjects) - 2} more' * (len(subjects) > 2)})"
        end = "" if standing else f", cleared at epoch\u00a0{max(f.cleared or 0 for f in found)}"
        mild = ", worth watching" * all(f.severity == "watch" for f in found)
        note = f"{index}  {KINDS[kind].title}{about * bool(subjects)}, {counted}\u00a0{where}{mild}{end}"
        notes += [line.replace("\u00a0", " ") for line in textwrap.wrap(note, WIDE, subsequent_indent="    ")]
        marks.append((index, where, standing))
    return notes, marks


def _draw_marks(axes: "Axes", marks: list[tuple[int, int, bool]], span: int) -> None:
    """A dotted line where a kind was first raised, its number above; filled while it stands."""
    clusters: list[list[tuple[int, int, bool]]] = []
    for mark in marks:
        if clusters and mark[1] - clusters[-1][-1][1] <= 0.05 * span:
            clusters[-1].append(mark)
        else:
            clusters.append([mark])
    above = axes.get_xaxis_transform()
    for cluster in clusters:
        standing = any(stands for _, _, stands in cluster)
        box = {
            "boxstyle": "round,pad=0.25",
            "edgecolor": COLOURS["soft"],
            "facecolor": COLOURS["soft" if standing else "paper"],
            "linewidth": 0.8,
        }
        middle = sum(where for _, where, _ in cluster) / len(cluster)
        axes.annotate(
            ", ".join(str(index) for index, _, _ in cluster), (middle, 1), xycoords=above, xytext=(0, 10),
            textcoords="offset points", ha="center", va="center", fontsize=7, annotation_clip=False, bbox=box,
            color=COLOURS["paper" if standing else "ink"],
        )  # fmt: skip
        for _, where, _ in cluster:
            axes.plot([where, where], [0, 1], ":", color=COLOURS["soft"], linewidth=1, transform=above, zorder=1)


def _end_labels(axes: "Axes", ends: list[tuple[float, str, str]], limits: tuple[float, float]) -> None:
    """Names at the right end of the lines, kept apart."""
    gap, previous = 0.085 * (limits[1] - limits[0]), -math.inf
    beside = axes.get_yaxis_transform()
    for value, text, colour in sorted(ends):
        previous = max(value, previous + gap)
        axes.text(1.02, previous, text, transform=beside, va="center", color=colour)
