"""Collapse as the report shows it."""

import math
from collections.abc import Callable

from lightning_failures.callbacks.collapse.rules import RULES
from lightning_failures.callbacks.collapse.terms import TERMS
from lightning_failures.records.numbers import number
from lightning_failures.records.run_record import RunRecord
from lightning_failures.reporting.column import Column, Tile

__all__ = ["COLLAPSE"]

KEY = "failures/collapse/"


def _tiles(record: RunRecord) -> list[Tile]:
    """Effective rank of the last layer."""
    layers = record.matching(f"{KEY}effective_rank/*")
    return [
        Tile("Effective rank", number(rank), layer, record.series(f"{KEY}effective_rank/{layer}")[1])
        for layer, rank in list(layers.items())[-1:]
    ]


def _last(statistic: str) -> Callable[[RunRecord], str]:
    """The last value of a statistic in figures; nothing where it was not logged."""

    def told(record: RunRecord) -> str:
        value = record.last(KEY + statistic)
        return "" if math.isnan(value) else f"{value:.1f}"

    return told


COLLAPSE = Column(
    "collapse",
    TERMS,
    RULES,
    tiles=_tiles,
    rows=(
        ("Effective predicted classes", _last("effective_classes")),
        ("Effective rank of the logits", _last("logit_effective_rank")),
    ),
)
