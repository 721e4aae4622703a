"""A run's main figures: tiles with their course over the run, and the same figures of several runs side by side."""

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

from lightning_failures.records.numbers import number
from lightning_failures.records.run_record import RunRecord, factor_rows
from lightning_failures.reporting.sentences import REFERENCE_KEY, accuracy_key, reference

__all__ = ["Tile", "comparison", "sparkline", "tiles"]

_SIMPLICITY, _COLLAPSE = "failures/simplicity/", "failures/collapse/"


class Tile(NamedTuple):
    """One figure in large type."""

    name: str
    value: str
    note: str
    course: str  # points of a polyline in a box of 100 by 28, empty where there is no course


def tiles(record: RunRecord) -> list[Tile]:
    """The figures that describe a run at a glance, those that it logged."""
    found = []
    key = accuracy_key(record)
    if key:
        best = reference(record)
        note = "validation images" if math.isnan(best) else f"linear model {best:.2f}"
        found.append(Tile("Accuracy", f"{record.last(key):.2f}", note, sparkline(record.series(key)[1])))
    own = record.last(_SIMPLICITY + "own/1")
    if math.isfinite(own):
        course = sparkline(record.series(_SIMPLICITY + "own/1")[1])
        found.append(Tile("One direction decides", f"{own:.2f}", "of image pairs", course))
    rows = [row for row in factor_rows(record.last_values()) if math.isfinite(row.ratio)]
    if rows:
        course = sparkline(record.series(f"failures/factors/error_ratio/{rows[0].name}")[1])
        found.append(Tile("Worst error ratio", f"{rows[0].ratio:.2f}", rows[0].name, course))
    for layer, rank in list(record.matching(_COLLAPSE + "effective_rank/*").items())[-1:]:
        course = sparkline(record.series(f"{_COLLAPSE}effective_rank/{layer}")[1])
        found.append(Tile("Effective rank", number(rank), layer, course))
    if record.monitor_share is not None:
        found.append(Tile("Time for monitoring", f"{record.monitor_share:.1%}", "of the training", ""))
    return found


def comparison(records: Sequence[RunRecord]) -> list[tuple[str, list[str]]]:
    """Rows of a table with one column a run; a row that no run can fill is left out."""

    def factor(record: RunRecord) -> str:
        rows = [row for row in factor_rows(record.last_values()) if math.isfinite(row.ratio)]
        return f"{rows[0].ratio:.2f} ({rows[0].name})" if rows else ""

    def accuracy(record: RunRecord) -> str:
        key = accuracy_key(record)
        return f"{record.last(key):.3f}" if key else ""

    def last(key: str, digits: int = 3) -> Callable[[RunRecord], str]:
        def value(record: RunRecord) -> str:
            figure = record.last(key)
            return "" if math.isnan(figure) else f"{figure:.{digits}f}"

        return value

    def duration(record: RunRecord) -> str:
        return "" if record.seconds is None else f"{record.seconds:,.0f} s"

    def monitoring(record: RunRecord) -> str:
        return "" if record.monitor_share is None else f"{record.monitor_share:.1%}"

    columns: list[tuple[str, Callable[[RunRecord], str]]] = [
        ("Accuracy", accuracy),
        ("Linear reference", last(REFERENCE_KEY)),
        ("One direction decides", last(_SIMPLICITY + "own/1")),
        ("The rest decides", last(_SIMPLICITY + "donor/1")),
        ("Worst error ratio", factor),
        ("Effective predicted classes", last(_COLLAPSE + "effective_classes", 1)),
        ("Effective rank of the logits", last(_COLLAPSE + "logit_effective_rank", 1)),
        ("Failures standing", lambda record: str(sum(f.severity == "failure" for f in record.standing))),
        ("Warnings standing", lambda record: str(sum(f.severity == "warning" for f in record.standing))),
        ("Epochs", lambda record: str(record.epochs)),
        ("Duration", duration),
        ("Of it for monitoring", monitoring),
    ]
    table = [(name, [value(record) for record in records]) for name, value in columns]
    return [(name, [cell or "not logged" for cell in cells]) for name, cells in table if any(cells)]


def sparkline(values: Sequence[float]) -> str:
    """Points of a polyline through the values, in a box of 100 by 28; empty for fewer than two.

    Example:
        >>> sparkline([0.0, 1.0])
        '1.0,26.0 99.0,2.0'
    """
    known = [(place, value) for place, value in enumerate(values) if math.isfinite(value)]
    if len(known) < 2:
        return ""
    low, high = min(value for _, value in known), max(value for _, value in known)
    width, height, floor = len(values) - 1, (high - low) or 1.0, 26 if high > low else 14
    return " ".join(f"{1 + 98 * x / width:.1f},{floor - 24 * (y - low) / height:.1f}" for x, y in known)
