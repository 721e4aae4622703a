"""Data as the report shows them."""

from lightning_failures.callbacks.data.rules import LABEL_RULES, RULES
from lightning_failures.callbacks.data.terms import LABEL_TERMS, TERMS
from lightning_failures.reporting.column import Column, Medium, last_figure

__all__ = ["DATA"]


DATA = Column(
    "data",
    (*TERMS, *LABEL_TERMS),
    (*RULES, *LABEL_RULES),
    media=(Medium("label_noise", "table", "Training images whose label looks wrong, the likeliest first"),),
    rows=(("Validation images trained on", last_figure("failures/data/leakage", ".1%")),),
)
