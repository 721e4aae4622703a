"""Collapse as the report shows it."""

from lightning_failures.callbacks.collapse.rules import RULES
from lightning_failures.callbacks.collapse.terms import TERMS
from lightning_failures.reporting.column import Column

__all__ = ["COLLAPSE"]

COLLAPSE = Column("collapse", TERMS, RULES)
