"""Errors by group as the report shows them."""

import math

from lightning_failures.callbacks.groups.rules import RULES
from lightning_failures.callbacks.groups.terms import TERMS
from lightning_failures.records.run_record import RunRecord
from lightning_failures.reporting.column import Column, Proof
from lightning_failures.reporting.proof import Trace, traces

__all__ = ["GROUPS_COLUMN"]


def _hardest(record: RunRecord) -> str:
    """The group with the largest difference."""
    found = [
        (value, key.partition("/")[2])
        for key, value in record.statistics("groups").items()
        if key.startswith("difference/") and value == value
    ]
    return f"{max(found)[0]:+.0%} ({max(found)[1]})" if found else ""


def _read(record: RunRecord) -> str:
    """How well the group, and beside it the class, is read from the features."""
    of = record.statistics("groups")
    read, chance, label = (of.get(key, math.nan) for key in ("group_read", "group_chance", "label_read"))
    if math.isnan(read) or math.isnan(chance):
        return ""
    return f"{read:.0%}, by chance {chance:.0%}" + ("" if math.isnan(label) else f"; the class {label:.0%}")


_ERRORS = traces(
    "error rate",
    "Share of the images of the group {subject} on which the network is wrong, and of all others.",
    Trace("{subject}", "failures/groups/error/*"),
    Trace("others", "failures/groups/error_without/*"),
)

GROUPS_COLUMN = Column(
    "groups",
    TERMS,
    RULES,
    title="Groups of images",
    proofs=(Proof(("group_shift",), _ERRORS),),
    rows=(("Hardest group", _hardest), ("Group read from the features", _read)),
)
