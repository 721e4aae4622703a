"""Slices as the report shows them."""

from lightning_failures.callbacks.slices.rules import RULES
from lightning_failures.callbacks.slices.terms import TERMS
from lightning_failures.records.keys import unescape
from lightning_failures.records.run_record import RunRecord
from lightning_failures.reporting.column import Column, Medium, Proof
from lightning_failures.reporting.proof import Trace, traces

__all__ = ["SLICES"]


def _hardest(record: RunRecord) -> str:
    """The slice with the largest difference at the last evaluation."""
    found = [
        (value, unescape(key.partition("/")[2]))
        for key, value in record.statistics("slices").items()
        if key.startswith("difference/") and value == value
    ]
    return f"{max(found)[0]:+.0%} ({max(found)[1]})" if found else ""


_ERRORS = traces(
    "error rate",
    "Share of the images that are alike, {subject}, on which the network is wrong, and of all others. The images were "
    "found on one half of the evaluation and counted on the other.",
    Trace("alike", "failures/slices/error/*"),
    Trace("others", "failures/slices/error_others/*"),
)

SLICES = Column(
    "slices",
    TERMS,
    RULES,
    title="Images that are alike",
    proofs=(Proof(("slice_failure",), _ERRORS, images=True),),
    rows=(("Hardest slice", _hardest),),
    media=(
        Medium("contact_sheet", "picture", "Images of the hardest slice"),
        Medium("table", "table", "Hard slices, one row for each"),
    ),
)
