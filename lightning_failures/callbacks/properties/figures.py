"""How much more often images of each property are wrong, for one run or for two beside each other."""

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from lightning_failures.errors import InputError
from lightning_failures.records.run_record import RunRecord
from lightning_failures.reporting.figure_style import COLOURS, canvas, short

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["property_figure", "property_rows"]

_ARMS = (("first", "o"), ("second", "s"))


def property_rows(statistics: Mapping[str, float]) -> list[tuple[str, dict[str, float]]]:
    """Each property with its figures by name, the hardest first; those without a difference are left out.

    Args:
        statistics: by the part of the logged keys behind ``failures/properties/``.

    Example:
        >>> property_rows({"difference/dark": 0.2, "images/dark": 30.0, "difference/sharp": 0.3})[0][0]
        'sharp'
    """
    found: dict[str, dict[str, float]] = {}
    for key, value in statistics.items():
        statistic, _, name = key.partition("/")
        if name:
            found.setdefault(name, {})[statistic] = value
    known = [(name, row) for name, row in found.items() if math.isfinite(row.get("difference", math.nan))]
    return sorted(known, key=lambda one: (-one[1]["difference"], one[0]))


def property_figure(*runs: RunRecord) -> "Figure":
    """Difference of the error rate from that of other images of the same classes, with its interval; hardest first.

    Args:
        runs: one or two.

    Convention:
        A filled mark has an interval that excludes 0, a hollow one does not.

    Raises:
        InputError: no property was logged, or there are more than two runs.
    """
    tables = [property_rows(run.statistics("properties")) for run in runs]
    order = list(dict.fromkeys(name for table in tables for name, _ in table))
    if not order or len(tables) > len(_ARMS):
        given = f"{len(tables)} runs with {len(order)} properties"
        raise InputError("property_figure", "nothing that can be drawn", given, "Pass one or two runs with properties.")
    with canvas(5.2, 1.0 + 0.2 * (len(tables) > 1) + 0.26 * len(order)) as figure:
        figure.suptitle("How often images of each property are wrong", x=0.01, ha="left", fontsize=8.5)
        axes = figure.add_subplot()
        axes.axvline(0, color=COLOURS["soft"], linewidth=1, zorder=1)
        for arm, (run, table) in enumerate(zip(runs, tables, strict=True)):
            (colour, marker), offset = _ARMS[arm], (arm - (len(tables) - 1) / 2) * 0.32
            for name, row in table:
                place, low, high = order.index(name) + offset, row.get("difference_low"), row.get("difference_high")
                beyond = low is not None and high is not None and (low > 0 or high < 0)
                if low is not None and high is not None and math.isfinite(low):
                    axes.hlines(place, low, high, color=COLOURS[colour], linewidth=1.4, zorder=2)
                face = COLOURS[colour] if beyond else COLOURS["paper"]
                label = run.name if name == table[0][0] else None
                at, ink = row["difference"], COLOURS[colour]
                axes.plot(at, place, marker, color=ink, markerfacecolor=face, markersize=5, zorder=3, label=label)
        axes.set_yticks(range(len(order)), [short(name, 28) for name in order])
        axes.set_ylim(len(order) - 0.4, -0.6)
        axes.tick_params(axis="y", length=0)
        axes.spines["left"].set_visible(False)
        axes.grid(axis="x")
        axes.xaxis.set_major_formatter(lambda value, _: f"{value:+.0%}" if value else "0")
        axes.set_xlabel("errors beyond those on other images of the same classes")
        if len(tables) > 1:
            axes.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=2, frameon=False, borderaxespad=0.1)
    return figure


def said(records: Sequence[RunRecord]) -> str:
    """What a screen reader says of the picture."""
    told = []
    for record in records:
        name, row = property_rows(record.statistics("properties"))[0]
        told.append(f"{record.name}: most on images that count as {name}, {row['difference']:+.0%}")
    return f"Errors by property of the image with 95% intervals. {'; '.join(told)}."
