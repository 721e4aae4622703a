"""Errors by group as the report shows them."""

from lightning_failures.callbacks.groups.rules import RULES
from lightning_failures.callbacks.groups.terms import TERMS
from lightning_failures.records.run_record import RunRecord
from lightning_failures.reporting.column import Column

__all__ = ["GROUPS_COLUMN"]


def _hardest(record: RunRecord) -> str:
    """The group with the largest difference."""
    found = [
        (value, key.partition("/")[2])
        for key, value in record.statistics("groups").items()
        if key.startswith("difference/") and value == value
    ]
    return f"{max(found)[0]:+.0%} ({max(found)[1]})" if found else ""


GROUPS_COLUMN = Column("groups", TERMS, RULES, rows=(("Hardest group", _hardest),))
