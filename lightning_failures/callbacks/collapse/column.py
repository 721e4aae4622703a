"""Collapse as the report shows it."""

import math
from collections.abc import Callable

from lightning_failures.callbacks.collapse.rules import RULES
from lightning_failures.callbacks.collapse.terms import TERMS
from lightning_failures.records.numbers import number
from lightning_failures.records.run_record import RunRecord
from lightning_failures.reporting.column import Column, Tile

__all__ = ["COLLAPSE"]

_RANK = "failures/collapse/effective_rank/"


def _tiles(record: RunRecord) -> list[Tile]:
    deepest = list(record.matching(_RANK + "*").items())[-1:]
    return [Tile("Effective rank", number(rank), layer, record.series(_RANK + layer)[1]) for layer, rank in deepest]


def _last(statistic: str) -> Callable[[RunRecord], str]:
    def value(record: RunRecord) -> str:
        figure = record.last(f"failures/collapse/{statistic}")
        return "" if math.isnan(figure) else f"{figure:.1f}"

    return value


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
