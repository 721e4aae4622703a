"""Factors as the report, the progress bar and the comparison of runs show them."""

import math
from collections.abc import Mapping, Sequence

from lightning_failures.callbacks.factors.factor_rows import FactorRow, factor_rows
from lightning_failures.callbacks.factors.figures import factor_figure
from lightning_failures.callbacks.factors.rules import RULES
from lightning_failures.callbacks.factors.terms import PERTURBED, TERMS
from lightning_failures.records.keys import escape
from lightning_failures.records.numbers import number, p_value
from lightning_failures.records.run_record import RunRecord
from lightning_failures.reporting.column import Column, Medium, ProgressNote, Proof, Row, Section, Table, Tile
from lightning_failures.reporting.proof import Trace, traces

__all__ = ["FACTORS"]

_NOUN = "factors"
_NOTHING = "\u2013"


def _hardest(statistics: Mapping[str, float]) -> FactorRow | None:
    """The factor of the highest error ratio; None where none has any."""
    rows = factor_rows(statistics)
    return rows[0] if rows and math.isfinite(rows[0].ratio) else None


def _tiles(record: RunRecord) -> list[Tile]:
    hardest = _hardest(record.statistics(_NOUN))
    if hardest is None:
        return []
    course = record.series(f"failures/{_NOUN}/error_ratio/{escape(hardest.name)}")[1]
    return [Tile("Worst error ratio", f"{hardest.ratio:.2f}", hardest.name, course)]


def _compared(record: RunRecord) -> str:
    hardest = _hardest(record.statistics(_NOUN))
    return "" if hardest is None else f"{hardest.ratio:.2f} ({hardest.name})"


def _progress(values: Mapping[str, float]) -> ProgressNote | None:
    hardest = _hardest(values)
    return None if hardest is None else ProgressNote("worst", hardest.name, f"{hardest.ratio:.2f}")


def _label(records: Sequence[RunRecord]) -> str:
    said = []
    for record in records:
        first = factor_rows(record.statistics(_NOUN))[0]
        said.append(f"{record.name}: worst {first.name}, error ratio {number(first.ratio)}")
    return f"Error ratios of the factors with 95% intervals. {'; '.join(said)}."


def _table(record: RunRecord) -> Table | None:
    rows = factor_rows(record.statistics(_NOUN))
    if not rows:
        return None
    heads = ("factor", "error ratio", "95% interval", "p", "errors", "images")
    return Table(heads, tuple(Row(_cells(row), row.differs) for row in rows))


def _cells(row: FactorRow) -> tuple[str, ...]:
    return (
        row.name,
        "undefined" if math.isnan(row.ratio) else f"{row.ratio:.2f}",
        _NOTHING if math.isnan(row.low) else f"{row.low:.2f} to {row.high:.2f}",
        _NOTHING if math.isnan(row.p_value) else p_value(row.p_value),
        *(_NOTHING if math.isnan(count) else number(count) for count in (row.errors, row.images)),
    )


_ERRORS = traces(
    "error rate",
    "Share of the images marked {subject} on which the network is wrong, and of all others.",
    Trace("{subject}", "failures/factors/error/*"),
    Trace("others", "failures/factors/error_without/*"),
)

FACTORS = Column(
    _NOUN,
    (*TERMS, *PERTURBED),
    RULES,
    title="Kinds of image",
    proofs=(Proof(("factor_failure", "factor_spillover"), _ERRORS),),
    tiles=_tiles,
    rows=(("Worst error ratio", _compared),),
    sections=(
        Section(
            name=_NOUN,
            title="Errors by kind of image",
            caption=(
                "Error ratio of each factor with its 95% interval, on a logarithmic axis. Filled: the interval "
                "excludes 1."
            ),
            label=_label,
            draw=lambda records: factor_figure(*records),
            note="bold: interval excludes 1",
            table=_table,
        ),
    ),
    progress=_progress,
    media=(
        Medium("error_ratios", "picture", "Error ratio of each factor, with its interval"),
        Medium("table", "table", "Errors by factor, one row for each"),
        Medium("classes", "table", "The worst classes, one row for each"),
    ),
)
