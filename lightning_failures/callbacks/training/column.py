"""The training step as the report shows it."""

from lightning_failures.callbacks.training.rules import RULES
from lightning_failures.callbacks.training.terms import TERMS
from lightning_failures.reporting.column import Column, last_figure

__all__ = ["TRAINING"]


TRAINING = Column("training", TERMS, RULES, rows=(("Training loss", last_figure("failures/training/loss", ".3g")),))
