"""Causes as the report shows them."""

import math
from collections.abc import Callable

from lightning_failures.callbacks.causes.rules import RULES
from lightning_failures.callbacks.causes.terms import TERMS
from lightning_failures.records.run_record import RunRecord
from lightning_failures.reporting.column import Column

__all__ = ["CAUSES_COLUMN"]


def _last(statistic: str) -> Callable[[RunRecord], str]:
    def told(record: RunRecord) -> str:
        value = record.last(f"failures/causes/{statistic}")
        return "" if math.isnan(value) else f"{value:.3f}"

    return told


CAUSES_COLUMN = Column(
    "causes",
    TERMS,
    RULES,
    rows=(
        ("Accuracy on training images", _last("training_accuracy")),
        ("Gap between training and validation", _last("gap")),
    ),
)
