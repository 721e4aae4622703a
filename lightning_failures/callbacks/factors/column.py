"""Factors as the report shows them."""

from lightning_failures.callbacks.factors.rules import RULES
from lightning_failures.callbacks.factors.terms import TERMS
from lightning_failures.reporting.column import Column

__all__ = ["FACTORS"]

FACTORS = Column("factors", TERMS, RULES)
