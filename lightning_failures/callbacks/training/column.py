"""The training step as the report shows it."""

import math

from lightning_failures.callbacks.training.rules import RULES
from lightning_failures.callbacks.training.terms import TERMS
from lightning_failures.records.run_record import RunRecord
from lightning_failures.reporting.column import Column

__all__ = ["TRAINING"]


def _loss(record: RunRecord) -> str:
    """The last training loss in figures; nothing where it was not logged."""
    value = record.last("failures/training/loss")
    return "" if math.isnan(value) else f"{value:.3g}"


TRAINING = Column("training", TERMS, RULES, rows=(("Training loss", _loss),))
