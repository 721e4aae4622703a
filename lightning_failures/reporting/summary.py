"""A run's main figures: tiles with their course over the run, and the same figures of several runs side by side."""

import math
from collections.abc import Callable, Sequence
from datetime import datetime

from lightning_failures.records.run_record import RunRecord
from lightning_failures.reporting.column import Column, Tile, views
from lightning_failures.reporting.sentences import accuracy_key, reference

__all__ = ["comparison", "provenance", "sparkline", "tiles"]

_MONTHS = (
    *("January", "February", "March", "April", "May", "June"),
    *("July", "August", "September", "October", "November", "December"),
)


def tiles(record: RunRecord, columns: Sequence[Column]) -> list[Tile]:
    """The figures that describe a run at a glance, those that it logged."""
    found = []
    key = accuracy_key(record)
    if key:
        best = reference(record, columns)
        note = f"{record.evaluated or 'validation'} images" if best is None else f"{best.name} {best.value:.2f}"
        found.append(Tile("Accuracy", f"{record.last(key):.2f}", note, record.series(key)[1]))
    for column in columns:
        for name, (view,) in views(column, [record]):
            found += [tile._replace(name=_titled(tile.name, name)) for tile in column.tiles(view)]
    if record.monitor_share is not None:
        found.append(Tile("Time for monitoring", f"{record.monitor_share:.1%}", "of the training's own time"))
    return found


def comparison(records: Sequence[RunRecord], columns: Sequence[Column]) -> list[tuple[str, list[str]]]:
    """Rows of a table with one column per run; a row that no run can fill is left out."""

    def accuracy(record: RunRecord) -> str:
        key = accuracy_key(record)
        return f"{record.last(key):.3f}" if key else ""

    def duration(record: RunRecord) -> str:
        return "" if record.seconds is None else f"{record.seconds:,.0f} s"

    def monitoring(record: RunRecord) -> str:
        return "" if record.monitor_share is None else f"{record.monitor_share:.1%}"

    first: list[tuple[str, Callable[[RunRecord], str]]] = [("Accuracy", accuracy)]
    last: list[tuple[str, Callable[[RunRecord], str]]] = [
        ("Failures standing", lambda record: str(sum(f.severity == "failure" for f in record.standing))),
        ("Warnings standing", lambda record: str(sum(f.severity == "warning" for f in record.standing))),
        ("Worth watching", lambda record: str(sum(f.severity == "watch" for f in record.standing))),
        ("Epochs", lambda record: str(record.epochs)),
        ("Duration", duration),
        ("Of it for monitoring", monitoring),
    ]
    table = [(label, [value(record) for record in records]) for label, value in first]
    for column in columns:
        for name, seen in views(column, records):
            table += [(_titled(label, name), [value(view) for view in seen]) for label, value in column.rows]
    table += [(label, [value(record) for record in records]) for label, value in last]
    return [(label, [cell or "not logged" for cell in cells]) for label, cells in table if any(cells)]


def _titled(title: str, name: str) -> str:
    return f"{title}, {name}" if name else title


def provenance(record: RunRecord) -> str:
    """Where a run comes from, in one line: when it began, its seed, commit, versions and time; those that are known.

    Example:
        >>> run = RunRecord("run", started="2026-11-27T09:41:07+01:00", seed=3, commit="1a2b3c4d5e6f-dirty", seconds=74)
        >>> provenance(run)
        '27 November 2026, 09:41 (+01:00). Seed 3. Commit 1a2b3c4d5e6f, with changes. 74 s.'
    """
    said = []
    if record.started:
        began = datetime.fromisoformat(record.started)
        zone = f" ({began.isoformat()[19:]})" if began.tzinfo else ""
        said.append(f"{began.day} {_MONTHS[began.month - 1]} {began.year}, {began:%H:%M}{zone}")
    if record.seed is not None:
        said.append(f"Seed {record.seed}")
    if record.commit:
        clean = record.commit.removesuffix("-dirty")
        said.append(f"Commit {clean}" + ", with changes" * (clean != record.commit))
    if record.versions:
        said.append(", ".join(f"{name} {version}" for name, version in record.versions.items()))
    if record.seconds is not None:
        share = "" if record.monitor_seconds is None else f", {record.monitor_seconds:.1f} s of it for monitoring"
        said.append(f"{record.seconds:,.0f} s{share}")
    return " ".join(f"{each}." for each in said)


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
