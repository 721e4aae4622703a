"""Errors by property of the image, as the report and the progress bar show them."""

import math
from collections.abc import Mapping

from lightning_failures.callbacks.properties.figures import property_figure, property_rows, said
from lightning_failures.callbacks.properties.rules import RULES
from lightning_failures.callbacks.properties.terms import TERMS
from lightning_failures.records.numbers import number
from lightning_failures.records.run_record import RunRecord
from lightning_failures.reporting.column import Column, Proof, Row, Section, Table
from lightning_failures.reporting.proof import from_section

__all__ = ["PROPERTIES_COLUMN"]

_NOUN = "properties"
_NOTHING = "\u2013"


def _told(record: RunRecord) -> str:
    rows = property_rows(record.statistics(_NOUN))
    return f"{rows[0][1]['difference']:+.0%} ({rows[0][0]})" if rows else ""


def _table(record: RunRecord) -> Table | None:
    rows = property_rows(record.statistics(_NOUN))
    if not rows:
        return None
    heads = ("count as", "error", "above others", "95% interval", "images")
    return Table(heads, tuple(Row((name, *_cells(row)), row.get("difference_low", math.nan) > 0) for name, row in rows))


def _cells(row: Mapping[str, float]) -> tuple[str, ...]:
    low, high, images = (row.get(name, math.nan) for name in ("difference_low", "difference_high", "images"))
    return (
        f"{row.get('error', math.nan):.1%}",
        f"{row['difference']:+.0%}",
        _NOTHING if math.isnan(low) else f"{low:+.0%} to {high:+.0%}",
        _NOTHING if math.isnan(images) else number(images),
    )


_ERRORS = Section(
    name=_NOUN,
    title="Errors by property of the image",
    caption=(
        "Error rate of images that count as dark, say, as a tenth of the training images do, above that of "
        "others of the same classes."
    ),
    label=said,
    draw=lambda records: property_figure(*records),
    note="bold: the interval lies above 0",
    table=_table,
)

PROPERTIES_COLUMN = Column(
    _NOUN,
    TERMS,
    RULES,
    title="Properties of the image",
    proofs=(Proof(("property_failure",), from_section(_ERRORS)),),
    rows=(("Hardest property", _told),),
    sections=(_ERRORS,),
)
