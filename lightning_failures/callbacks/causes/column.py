"""Causes as the report shows them."""

from lightning_failures.callbacks.causes.rules import RULES
from lightning_failures.callbacks.causes.terms import TERMS
from lightning_failures.reporting.column import Column, last_figure

__all__ = ["CAUSES_COLUMN"]


CAUSES_COLUMN = Column(
    "causes",
    TERMS,
    RULES,
    rows=(
        ("Accuracy on training images", last_figure("failures/causes/training_accuracy", ".3f")),
        ("Gap between training and validation", last_figure("failures/causes/gap", ".3f")),
    ),
)
