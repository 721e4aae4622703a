"""Channels as the report shows them."""

from lightning_failures.callbacks.channels.rules import RULES
from lightning_failures.callbacks.channels.terms import TERMS
from lightning_failures.reporting.column import Column

__all__ = ["CHANNELS"]

CHANNELS = Column("channels", TERMS, RULES)
