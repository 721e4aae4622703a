"""Errors by group as the report shows them."""

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
    rows=(("Hardest group", _hardest),),
)
