"""What the logger gets of the findings: how many stand, a table of what became of each, and the verdict."""

from typing import Literal

from lightning_failures.records.finding import Evidence, Finding
from lightning_failures.records.term import Term
from lightning_failures.reporting.column import Medium
from lightning_failures.reporting.explanation import message
from lightning_failures.reporting.sentences import title

__all__ = ["COUNT", "HEAD", "SUMMARY", "TABLE", "Event", "table_row"]

#: What became of a finding.
Event = Literal["raised", "worse", "explained", "cleared"]

#: How many findings stand, under its whole key.
COUNT = Term(
    "failures/findings",
    "Findings that stand",
    "How many warnings and failures stand after an evaluation; what is worth watching is not counted.",
    "0 upwards",
    "lower is better",
    "findings",
    headline=True,
)
#: The table: one row whenever a finding is raised, becomes more severe, is explained, or is cleared.
TABLE = Medium("table", "table", "What was found, and when")
HEAD = ("epoch", "event", "severity", "finding", "message", "cause", "advice")
#: What the summary of a run says, by key.
SUMMARY = {"failures/verdict": "Verdict on the run", "failures/found": "Findings that stand at the end"}


def table_row(finding: Finding, event: Event, epoch: int) -> list[Evidence]:
    """One row of the table.

    Args:
        finding: as it is now.
        event: what became of it.
        epoch: Lightning's epoch at which it did.
    """
    said = (event, finding.severity, title(finding), message(finding), finding.cause or "", finding.advice)
    return [epoch, *said]
