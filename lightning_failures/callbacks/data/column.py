"""Data as the report shows them."""

import math

from lightning_failures.callbacks.data.rules import LABEL_RULES, RULES
from lightning_failures.callbacks.data.terms import LABEL_TERMS, TERMS
from lightning_failures.records.run_record import RunRecord
from lightning_failures.reporting.column import Column

__all__ = ["DATA"]


def _leakage(record: RunRecord) -> str:
    value = record.last("failures/data/leakage")
    return "" if math.isnan(value) else f"{value:.1%}"


DATA = Column(
    "data", (*TERMS, *LABEL_TERMS), (*RULES, *LABEL_RULES), rows=(("Validation images trained on", _leakage),)
)
