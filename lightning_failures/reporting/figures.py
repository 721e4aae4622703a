"""Figures of a run for papers, loggers and the report: its accuracy and its interchange, epoch by epoch."""

import math
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple

from lightning_failures.errors import InputError
from lightning_failures.records.finding import Finding
from lightning_failures.records.kind import KINDS, MONITOR_ERROR
from lightning_failures.records.run_record import RunRecord
from lightning_failures.reporting.figure_style import COLOURS, canvas, short
from lightning_failures.reporting.sentences import accuracy_key

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["accuracy_figure", "accuracy_limits", "interchange_figure"]

_SIMPLICITY = "failures/simplicity/"
REFERENCE_KEY = _SIMPLICITY + "reference_accuracy"
_CHANCE = _SIMPLICITY + "chance"
_FEW = 30  # evaluations up to which each one gets its own mark


def accuracy_limits(records: Sequence[RunRecord]) -> tuple[float, float]:
    """Limits of the accuracy axis that suit all of some runs, so that their figures can be compared."""
    keys = {accuracy_key(record) for record in records} | {REFERENCE_KEY}
    values = [value for record in records for key in keys if key for value in record.series(key)[1]]
    finite = [value for value in values if math.isfinite(value)] or [0.0, 1.0]
    low, high = min(finite), max(finite)
    chance = min((value for record in records for value in record.series(_CHANCE)[1]), default=math.nan)
    if low - chance < high - low:  # near enough to be shown without pressing the rest together
        low = min(low, chance)
    margin = max(0.02, 0.1 * (high - low))
    return max(0.0, math.floor((low - margin) * 20) / 20), min(1.0, math.ceil((high + margin) * 20) / 20)


def accuracy_figure(record: RunRecord, limits: tuple[float, float] | None = None) -> "Figure":
    """Validation accuracy of the network by epoch, against the closed-form linear reference on the same images.

    The bars (a band, where there are many evaluations) are the paired 95% interval of the difference, drawn around the
    network: where they stay clear of the reference, the difference is more than chance.

    Args:
        record: the run.
        limits: of the accuracy axis; those of this run by default.

    Raises:
        InputError: no accuracy was logged.
    """
    key = accuracy_key(record)
    if key is None:
        raise InputError("accuracy_figure", "no accuracy was logged", f"run {record.name!r}", "Log val_acc.")
    low, high = _around_network(record, key)
    lines = [
        _Line("network", key, "first", "o", "-", low, high),
        _Line("linear reference", REFERENCE_KEY, "second", "D", "--"),
        _Line("chance", _CHANCE, "soft", "", ":"),
    ]
    bottom, top = limits or accuracy_limits([record])
    return _by_epoch(record, [line for line in lines if line.key in record.last_values()], (bottom, top), "accuracy")


def interchange_figure(record: RunRecord) -> "Figure":
    """By epoch, whose prediction comes out when a donor image takes the receiver's one main coordinate.

    Near 1 for the receiver: one number an image decides. Near 1 for the donor: the rest of the image decides.

    Raises:
        InputError: no interchange was logged.
    """
    own, donor = _SIMPLICITY + "own/1", _SIMPLICITY + "donor/1"
    if own not in record.last_values():
        raise InputError(
            "interchange_figure", "no interchange was logged", f"run {record.name!r}", "Add a SimplicityBiasMonitor."
        )
    interval = [dict(zip(*_series(record, f"{_SIMPLICITY}own_{end}/1"), strict=True)) for end in ("low", "high")]
    lines = [
        _Line("one direction decides", own, "second", "o", "-", *interval),
        _Line("the rest decides", donor, "first", "D", "--"),
    ]
    return _by_epoch(
        record, [line for line in lines if line.key in record.last_values()], (0.0, 1.0), "share of image pairs"
    )


class _Line(NamedTuple):
    """One line of a figure by epoch."""

    label: str
    key: str
    colour: str
    marker: str
    style: str
    low: Mapping[int, float] = MappingProxyType({})  # by position on the x axis
    high: Mapping[int, float] = MappingProxyType({})


def _by_epoch(record: RunRecord, lines: Sequence[_Line], limits: tuple[float, float], label: str) -> "Figure":
    from matplotlib.ticker import MaxNLocator

    notes, marks = _finding_marks(record)
    with canvas(4.7, 2.6 + 0.16 * len(notes)) as figure:
        axes = figure.add_subplot()
        every = [position for line in lines for position in _series(record, line.key)[0]]
        first, last = min(every), max(every)
        margin = max(0.5 if first == last else 0.0, 0.03 * (last - first))
        axes.set(xlim=(first - margin, last + margin), ylim=limits)
        ends = []
        for line in lines:
            x, y = _series(record, line.key)
            y = [value if limits[0] <= value <= limits[1] else math.nan for value in y]
            colour, few = COLOURS[line.colour], len(x) <= _FEW
            alone = sum(map(math.isfinite, y)) == 1 and not line.marker
            axes.plot(
                x, y, line.style, color=colour, marker=("_" if alone else line.marker) if few else "",
                markerfacecolor=colour if line.style == "-" else COLOURS["paper"], clip_on=False, zorder=3,
            )  # fmt: skip
            low = [line.low.get(position, math.nan) for position in x]
            high = [line.high.get(position, math.nan) for position in x]
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
        axes.set(xlabel=_position(record), ylabel=label)
        if notes:
            figure.supxlabel("\n".join(notes), x=0.01, ha="left", fontsize=8, linespacing=1.4)
    return figure


def _position(record: RunRecord) -> str:
    """What the x axis counts: epochs, or steps where an epoch has several evaluations."""
    epochs = [evaluation.epoch for evaluation in record.evaluations]
    return "epoch" if len(set(epochs)) == len(epochs) else "step"


def _series(record: RunRecord, key: str) -> tuple[list[int], list[float]]:
    position = _position(record)
    found = [e for e in record.evaluations if key in e.values]
    return [getattr(e, position) for e in found], [e.values[key] for e in found]


def _around_network(record: RunRecord, key: str) -> tuple[dict[int, float], dict[int, float]]:
    """The interval of the paired difference, whichever way it was taken, around the network's accuracy."""
    position, low, high = _position(record), {}, {}
    names = [REFERENCE_KEY, *(_SIMPLICITY + name for name in ("difference", "low", "high"))]
    for evaluation in record.evaluations:
        network, best, difference, lower, upper = (evaluation.values.get(name, math.nan) for name in (key, *names))
        half = (difference - lower, upper - difference)
        down, up = half if abs(network - best - difference) < abs(best - network - difference) else half[::-1]
        where = getattr(evaluation, position)
        low[where], high[where] = network - down, network + up
    return low, high


def _finding_marks(record: RunRecord) -> tuple[list[str], list[tuple[int, int, bool]]]:
    """One note a kind of finding, in the order of time; and the number, position and standing of each."""
    position, notes, marks = _position(record), [], []
    kinds: dict[str, list[Finding]] = {}
    for finding in sorted(record.findings, key=lambda f: f.step):
        if finding.kind != MONITOR_ERROR:
            kinds.setdefault(finding.kind, []).append(finding)
    for index, (kind, found) in enumerate(kinds.items(), start=1):
        where, standing = getattr(found[0], position), any(f.standing for f in found)
        subjects = [short(subject, 24) for subject in dict.fromkeys(f.subject for f in found) if subject]
        about = f" ({', '.join(subjects[:2])}{f' and {len(subjects) - 2} more' * (len(subjects) > 2)})"
        end = "" if standing else f", cleared at epoch {max(f.cleared or 0 for f in found)}"
        notes.append(f"{index}  {KINDS[kind].title}{about * bool(subjects)}, {position} {where}{end}")
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
