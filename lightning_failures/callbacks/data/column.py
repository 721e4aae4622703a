"""Data as the report shows them."""

import math

from lightning_failures.callbacks.data.rules import RULES
from lightning_failures.callbacks.data.terms import TERMS
from lightning_failures.records.run_record import RunRecord
from lightning_failures.reporting.column import Column

__all__ = ["DATA"]


def _leakage(record: RunRecord) -> str:
    value = record.last("failures/data/leakage")
    return "" if math.isnan(value) else f"{value:.1%}"


DATA = Column("data", TERMS, RULES, rows=(("Validation images trained on", _leakage),))
