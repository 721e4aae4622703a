"""Slices as the report shows them."""

from lightning_failures.callbacks.slices.rules import RULES
from lightning_failures.callbacks.slices.terms import TERMS
from lightning_failures.records.keys import unescape
from lightning_failures.records.run_record import RunRecord
from lightning_failures.reporting.column import Column, Medium

__all__ = ["SLICES"]


def _hardest(record: RunRecord) -> str:
    """The slice with the largest difference at the last evaluation."""
    found = [
        (value, unescape(key.partition("/")[2]))
        for key, value in record.statistics("slices").items()
        if key.startswith("difference/") and value == value
    ]
    return f"{max(found)[0]:+.0%} ({max(found)[1]})" if found else ""


SLICES = Column(
    "slices",
    TERMS,
    RULES,
    rows=(("Hardest slice", _hardest),),
    media=(
        Medium("contact_sheet", "picture", "Images of the hardest slice"),
        Medium("table", "table", "Hard slices, one row for each"),
    ),
)
