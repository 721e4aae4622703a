"""The forest plot of factors: each error ratio with its interval, for one run or for several beside each other."""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from lightning_failures.callbacks.factors.factor_rows import FactorRow, factor_rows
from lightning_failures.errors import InputError
from lightning_failures.records.numbers import number
from lightning_failures.records.run_record import RunRecord
from lightning_failures.reporting.figure_style import COLOURS, canvas, short

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["factor_figure"]

_ARMS = (("first", "o"), ("second", "s"), ("third", "D"))
_TICKS = ((0.5, 0.7, 1, 1.5, 2), (0.125, 0.25, 0.5, 1, 2, 4, 8, 16), (0.1, 0.3, 1, 3, 10))


def factor_figure(*arms: RunRecord | Sequence[FactorRow], names: Sequence[str] = ()) -> "Figure":
    """Forest plot: the error ratio of each factor with its 95% interval, highest first, on a logarithmic axis.

    Args:
        arms: one to three runs, or their factor rows, drawn beside each other.
        names: what the legend calls the arms; the runs' own names by default.

    Convention:
        A filled mark has an interval that excludes 1, a hollow one does not. An arrow leaves the axis; a factor
        without images or errors has no mark.

    Raises:
        InputError: no factor was logged, or there are more than three arms.

    Example:
        >>> row = FactorRow("dark", 2.0, 1.5, 2.6, 1e-4, 120, 40)
        >>> factor_figure([row]).axes[0].get_xscale()
        'log'
    """
    tables = [factor_rows(arm.statistics("factors")) if isinstance(arm, RunRecord) else list(arm) for arm in arms]
    titles = list(names) or [arm.name if isinstance(arm, RunRecord) else "" for arm in arms]
    rows = [row for table in tables for row in table]
    if not rows or len(tables) > len(_ARMS):
        given = f"{len(tables)} arms with {len(rows)} factors"
        raise InputError("factor_figure", "nothing that can be drawn", given, "Pass one to three runs with factors.")
    order = list(dict.fromkeys(row.name for row in sorted(rows, key=lambda r: (math.isnan(r.ratio), -r.ratio, r.name))))
    low, high = _ratio_limits(rows)
    band = 0.24 + 0.09 * (len(tables) - 1)
    with canvas(5.2, 1.05 + 0.2 * (len(tables) > 1) + band * len(order)) as figure:
        figure.suptitle("How often each kind of image is wrong", x=0.01, ha="left", fontsize=8.5)
        axes = figure.add_subplot()
        axes.set_xscale("log")
        axes.set(xlim=(low, high), ylim=(len(order) - 0.4, -0.6))
        axes.axvline(1, color=COLOURS["soft"], linewidth=1, zorder=1)
        for arm, table in enumerate(tables):
            offset = (arm - (len(tables) - 1) / 2) * 0.32
            for row in table:
                _forest_mark(axes, row, order.index(row.name) + offset, *_ARMS[arm])
        for place in {order.index(row.name) for row in rows if math.isnan(row.ratio)}:
            axes.text(1, place, " undefined", va="center", style="italic", color=COLOURS["soft"])
        _count_column(axes, [next(row for row in rows if row.name == name) for name in order], errors=len(tables) == 1)
        axes.set_yticks(range(len(order)), [short(name, 28) for name in order])
        axes.tick_params(axis="y", length=0)
        axes.spines["left"].set_visible(False)
        spread = high / low
        scale = _TICKS[0] if spread < 6 else _TICKS[1] if spread < 60 else _TICKS[2]
        ticks = [tick for tick in scale if low <= tick <= high]
        axes.set_xticks(ticks, [number(tick) for tick in ticks])
        axes.set_xticks([], minor=True)
        axes.grid(axis="x")
        axes.set_xlabel("error ratio (1: as many errors as on all images)")
        if len(tables) > 1:
            _legend(axes, titles)
    return figure


def _ratio_limits(rows: Sequence[FactorRow]) -> tuple[float, float]:
    seen = [v for row in rows for v in (row.ratio, row.low, row.high) if math.isfinite(v) and v > 0]
    return max(0.06, min([0.5, *seen]) / 1.1), min(18.0, max([2.0, *seen]) * 1.1)


def _forest_mark(axes: "Axes", row: FactorRow, place: float, colour: str, marker: str) -> None:
    low, high = axes.get_xlim()
    ink = COLOURS[colour]
    if math.isnan(row.ratio):
        return
    if math.isfinite(row.low):
        start, end = max(row.low, low), min(row.high, high)
        axes.hlines(place, start, end, color=ink, linewidth=1.4, zorder=2)
        for edge, outside, arrow in ((low, row.low < low, "<"), (high, row.high > high, ">")):
            if outside:
                axes.plot(edge, place, arrow, color=ink, markersize=4, clip_on=False, zorder=3)
    face = ink if row.differs else COLOURS["paper"]
    shape, size = (marker, 5.0) if low <= row.ratio <= high else ("<" if row.ratio < low else ">", 7.0)
    axes.plot(
        min(max(row.ratio, low), high), place, shape, markerfacecolor=face, color=ink, markersize=size, clip_on=False,
        zorder=4,
    )  # fmt: skip


def _count_column(axes: "Axes", rows: Sequence[FactorRow], *, errors: bool) -> None:
    """The number of images of each factor at the right, with the errors among them where there is room."""
    if all(math.isnan(row.images) for row in rows):
        return
    errors = errors and not any(math.isnan(row.errors) for row in rows)
    cells: list[tuple[str, float, str]] = [("errors / " * errors + "images", -0.85, "soft")]
    for place, row in enumerate(rows):
        cells.append((f"{number(row.errors)} / " * errors + number(row.images), place, "ink"))
    width = 4.7 * max(len(text) for text, _, _ in cells)
    for text, y, colour in cells:
        axes.annotate(
            text, (1, y), xycoords=axes.get_yaxis_transform(), xytext=(6 + width, 0), textcoords="offset points",
            ha="right", va="center", color=COLOURS[colour], annotation_clip=False,
        )  # fmt: skip


def _legend(axes: "Axes", titles: Sequence[str]) -> None:
    from matplotlib.lines import Line2D

    handles = [Line2D([], [], color=COLOURS[colour], marker=marker) for colour, marker in _ARMS[: len(titles)]]
    labels = [" " + short(name, 30) for name in titles]  # the space keeps a name with a leading underscore
    axes.legend(
        handles, labels, loc="lower left", bbox_to_anchor=(0, 1), ncols=3, frameon=False, borderaxespad=0.1
    )  # fmt: skip
