"""The plain words for findings, figures and runs that the console and the report share."""

import math
from collections.abc import Mapping, Sequence
from textwrap import shorten
from typing import NamedTuple

from lightning_failures.records.finding import Finding
from lightning_failures.records.kind import KINDS, MONITOR_ERROR, OWN_RULE
from lightning_failures.records.run_record import RunRecord
from lightning_failures.records.validation_keys import measured_accuracy, users_accuracy
from lightning_failures.reporting.column import Column, views
from lightning_failures.reporting.explanation import passages

__all__ = [
    "Compared",
    "accuracy_key",
    "alert",
    "headline",
    "lead",
    "reference",
    "status",
    "tally",
    "title",
    "when",
]


class Compared(NamedTuple):
    """What the accuracy of a run is compared with, at the last evaluation."""

    name: str
    value: float


def title(finding: Finding) -> str:
    """What fails, with its subject."""
    name = finding.rule if finding.kind == OWN_RULE and finding.rule else KINDS[finding.kind].title
    return f"{name}: {finding.subject}" if finding.subject else name


def when(finding: Finding) -> str:
    """When a finding was raised, whether it still stands, and how long before the validation metric turned."""
    since = f"epoch {finding.epoch} (step {finding.step:,})"
    spans = f"since {since}" if finding.standing else f"from {since}, cleared at epoch {finding.cleared}"
    return f"{spans}, {lead(finding)}" if finding.metric else spans


def lead(finding: Finding) -> str:
    """How long it was raised before the run's own validation metric turned; empty where there is no such metric."""
    if not finding.metric:
        return ""
    if finding.lead is None:
        return f"{finding.metric} has not turned"
    epochs = _count(abs(finding.lead), "epoch")
    if finding.lead == 0:
        return f"at the epoch at which {finding.metric} turned"
    return f"{epochs} {'before' if finding.lead > 0 else 'after'} {finding.metric} turned"


def alert(finding: Finding) -> str:
    """A finding for somebody who does not see the terminal: when, what, why, and what to try."""
    message = " ".join(finding.message.split())
    said = [f"{label}: {text}" for label, text in passages(finding)]
    return " ".join([f"Epoch {finding.epoch}, step {finding.step:,}.", message, *said])


def accuracy_key(record: RunRecord) -> str | None:
    """The logged key that holds the run's validation accuracy, a monitor's before the user's; None without one."""
    logged = record.last_values()
    return measured_accuracy(logged) or users_accuracy(logged)


def headline(record: RunRecord, columns: Sequence[Column]) -> str:
    """The run in one sentence: its accuracy, beside that of a reference where there is one; on which images."""
    if not record.evaluations:
        return "Nothing was evaluated, so nothing can be said about this run."
    after = f"after {record.epochs} epoch{'s' * (record.epochs != 1)}"
    key = accuracy_key(record)
    if record.no_validation:
        return f"From training batches, since {record.no_validation}: evaluated {after}, which says no accuracy."
    if key is None:
        return f"Evaluated {after}; no accuracy was logged."
    sentence = f"Accuracy {record.last(key):.2f} {after}"
    best = reference(record, columns)
    if best is None:
        return sentence + "."
    return f"{sentence}, against {best.value:.2f} of a {best.name} on the same images."


def reference(record: RunRecord, columns: Sequence[Column]) -> Compared | None:
    """What the accuracy is compared with, as a column declares it; None where no such accuracy was logged."""
    for column in columns:
        if column.reference is not None:
            for _, (view,) in views(column, [record]):
                value = view.last(f"failures/{column.noun}/{column.reference.statistic}")
                if not math.isnan(value):
                    return Compared(column.reference.name, value)
    return None


def tally(record: RunRecord) -> str:
    """How many findings stand, and what was not examined, in one sentence."""
    aside = [f for f in record.standing if f.kind == MONITOR_ERROR]
    found = [f for f in record.standing if f.kind != MONITOR_ERROR]
    failures = sum(finding.severity == "failure" for finding in found)
    cleared = sum(not finding.standing for finding in record.findings)
    if not record.evaluations and not found:
        return "No verdict."
    counts = [_count(n, noun) for n, noun in ((failures, "failure"), (len(found) - failures, "warning")) if n]
    where = f"in {_count(len(record.evaluations), 'evaluation')}"
    sentence = f"{' and '.join(counts)} stand{'s' * (len(found) == 1)}" if found else f"No failure was found {where}"
    if cleared:
        sentence += f"; {_count(cleared, 'finding')} raised earlier {'was' if cleared == 1 else 'were'} cleared"
    if record.not_watched:
        sentence += f"; not examined: {_not_examined(record.not_watched)}"
    elif aside:
        sentence += f"; {_count(len(aside), 'monitor')} stepped aside, so not all was watched"
    return sentence + "."


def _not_examined(not_watched: Mapping[str, str]) -> str:
    """What was not examined, with the clause of each reason that says what is wrong."""
    reasons: dict[str, list[str]] = {}
    for what, why in not_watched.items():
        clause = why.partition("; given ")[0]
        short = shorten((clause.partition(": ")[2] or clause).rstrip("."), 100, placeholder=" …")
        reasons.setdefault(short, []).append(what)
    return "; ".join(f"{', '.join(named)} ({why})" for why, named in reasons.items())


def status(record: RunRecord) -> str:
    """``failing``, ``warned``, ``clear``, or ``unknown`` where nothing was evaluated."""
    severities = {finding.severity for finding in record.standing}
    if severities:
        return "failing" if "failure" in severities else "warned"
    return "clear" if record.evaluations else "unknown"


def _count(n: int, noun: str) -> str:
    return f"{n} {noun}{'s' * (n != 1)}"
