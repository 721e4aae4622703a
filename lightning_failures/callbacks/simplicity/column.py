"""Simplicity as the report shows it."""

from lightning_failures.callbacks.simplicity.rules import RULES
from lightning_failures.callbacks.simplicity.terms import TERMS
from lightning_failures.reporting.column import Column

__all__ = ["SIMPLICITY"]

SIMPLICITY = Column("simplicity", TERMS, RULES)
