"""The figure of a metric's values: one panel for each statistic, with its interval where the metric gives one."""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from torch import Tensor

from lightning_failures.errors import InputError, MissingPackageError, UnknownNameError, few
from lightning_failures.records.numbers import number
from lightning_failures.records.term import Term, find_term

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["plot_values"]

ACROSS = 3  # panels in a row of the figure
_COLOURS = ("#0072b2", "#d55e00", "#00805f", "#cc79a7", "#56b4e9", "#e69f00", "#5b636d")  # Okabe and Ito


class _Panel(NamedTuple):
    """What is drawn together: statistics of one range, or one statistic by name."""

    title: str
    label: str  # of the axis of values
    rows: list[tuple[str, str, str, str]]  # name in the figure, key, keys of the interval's ends or ""


def plot_values(
    where: str,
    values: Mapping[str, Tensor] | Sequence[Mapping[str, Tensor]],
    terms: Iterable[Term],
    ax: "Axes | None" = None,
    statistic: str | None = None,
) -> "tuple[Figure | None, Any]":
    """Draw what a metric computed.

    Args:
        where: the public name to put into an error.
        values: key -> (), what ``compute`` returned; or several of these, which are drawn as lines over their number.
        terms: of the keys.
        ax: axes to draw on; they hold one panel, the first by default. None: a figure is made.
        statistic: the only one to draw, the part of the keys before the slash; None: all.

    Returns:
        The figure, None where ``ax`` was given; and its axes, an array of them where there are several panels.

    Raises:
        InputError: there is nothing to draw.
        UnknownNameError: there is no such statistic.
        MissingPackageError: matplotlib is not installed.
    """
    course = [values] if isinstance(values, Mapping) else list(values)
    panels = _panels(course[0] if course else {}, list(terms))
    if not panels:
        given = "no values" if course else "an empty sequence"
        raise InputError(where, "there is nothing to draw", given, "Pass what compute() returned, or a list of these.")
    if statistic is not None:
        known = list(dict.fromkeys(key.split("/")[0] for panel in panels for _, key, _, _ in panel.rows))
        panels = [
            panel._replace(rows=rows)
            for panel in panels
            if (rows := [row for row in panel.rows if row[1].split("/")[0] == statistic])
        ]
        if not panels:
            raise UnknownNameError(where, "no such statistic", repr(statistic), f"Use one of {few(known, 12, 300)}.")
    try:
        from matplotlib import pyplot
    except ImportError as error:
        fix = "Run pip install matplotlib."
        raise MissingPackageError(where, "figures need matplotlib", "no matplotlib", fix) from error
    if ax is not None:
        _draw(ax, panels[0], course)
        return None, ax
    across = min(ACROSS, len(panels))
    down = math.ceil(len(panels) / across)
    tallest = max(len(panel.rows) for panel in panels) if len(course) == 1 else 8
    figure, axes = pyplot.subplots(
        down, across, figsize=(4.4 * across, down * (1.0 + 0.26 * max(tallest, 2))), squeeze=False, layout="constrained"
    )
    for place, each in enumerate(axes.flat):
        if place < len(panels):
            _draw(each, panels[place], course)
        else:
            each.set_visible(False)
    return figure, axes[0, 0] if len(panels) == 1 else axes


def _panels(values: Mapping[str, Tensor], terms: Sequence[Term]) -> list[_Panel]:
    """Statistics in the order of the terms; what has names has a panel of its own, the others one for each range."""
    order = list(dict.fromkeys(term.key.split("/")[0] for term in terms))
    lows = {order[place - 1]: each for place, each in enumerate(order) if place and _ends(each, "low")}
    after = {owner: "".join(order[order.index(low) + 1 :][:1]) for owner, low in lows.items()}
    highs = {owner: each for owner, each in after.items() if _ends(each, "high")}
    bounds = {*lows.values(), *highs.values()}
    panels: dict[tuple[str, str], _Panel] = {}
    for key in sorted(values, key=lambda key: order.index(key.split("/")[0]) if key.split("/")[0] in order else -1):
        statistic, _, name = key.partition("/")
        term = find_term(terms, key)
        if statistic in bounds or term is None or values[key].numel() != 1:
            continue
        ends = [f"{end[statistic]}/{name}".rstrip("/") if statistic in end else "" for end in (lows, highs)]
        row = (name or term.name, key, *(end if end in values else "" for end in ends))
        if name:
            whole = find_term(terms, f"{statistic}/*") or term
            panel, at = _Panel(whole.name, _label(whole), []), (statistic, "")
        else:
            panel, at = _Panel("", _label(term), []), ("", _label(term))
        panels.setdefault(at, panel).rows.append((row[0], row[1], row[2], row[3]))
    return list(panels.values())


def _label(term: Term) -> str:
    return term.unit or term.range.split(",")[0]


def _ends(statistic: str, word: str) -> bool:
    return statistic == word or statistic.endswith(f"_{word}")


def _draw(axes: "Axes", panel: _Panel, course: Sequence[Mapping[str, Tensor]]) -> None:
    axes.set_title(panel.title, fontsize=10)
    axes.grid(alpha=0.4)
    axes.set_axisbelow(True)
    if len(course) > 1:
        from matplotlib.ticker import MaxNLocator

        for place, (name, key, _, _) in enumerate(panel.rows):
            line = [float(values[key]) if key in values else math.nan for values in course]
            axes.plot(line, marker="o", markersize=4, label=name, color=_COLOURS[place % len(_COLOURS)])
        axes.set(xlabel="number of the value", ylabel=panel.label)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.legend(fontsize=8)
        return
    (values,) = course
    for place, (_, key, low, high) in enumerate(panel.rows):
        value = float(values[key])
        start, end = (float(values[end]) if end else value for end in (low, high))  # some have one end
        if low and math.isfinite(start) and math.isfinite(end):
            axes.hlines(place, start, end, color=_COLOURS[0], linewidth=1.5)
        if math.isfinite(value):
            axes.plot(value, place, "o", color=_COLOURS[0])
        axes.annotate(
            number(value), (1, place), xycoords=axes.get_yaxis_transform(), xytext=(4, 0), textcoords="offset points",
            va="center", fontsize=8, annotation_clip=False,
        )  # fmt: skip
    axes.set_yticks(range(len(panel.rows)), [name for name, *_ in panel.rows])
    axes.set(ylim=(len(panel.rows) - 0.5, -0.5), xlabel=panel.label)
    if panel.label == "0 to 1":
        axes.set_xlim(-0.03, 1.03)
