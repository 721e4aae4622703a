"""The plain words for findings, figures and runs that the console and the report share."""

import math
from collections.abc import Mapping, Sequence
from textwrap import shorten
from typing import NamedTuple

from lightning_failures.records.finding import SEVERITIES, Finding
from lightning_failures.records.kind import KINDS, MONITOR_ERROR, OWN_RULE
from lightning_failures.records.rule import STEPS_TO_LEARN
from lightning_failures.records.run_record import RunRecord
from lightning_failures.records.validation_keys import measured_accuracy, users_accuracy
from lightning_failures.reporting.column import Column, views
from lightning_failures.reporting.explanation import in_short, passages
from lightning_failures.reporting.shortfall import shortfall

__all__ = [
    "Compared",
    "accuracy_key",
    "alert",
    "beside_verdict",
    "cost",
    "headline",
    "lead",
    "on_which",
    "reference",
    "status",
    "tally",
    "title",
    "verdict",
    "when",
]

#: What is said of a run without an evaluation.
NO_VERDICT = "No verdict."

#: Characters of a reason for which something was not examined that are said; its first sentence has hardly more.
MOST_OF_A_REASON = 300

#: Share of a run below which a monitor is not named among those that took time.
LEAST_SHARE = 0.0005

#: Seconds of a run from which on its budget is a share of its time.
A_MINUTE = 60.0


class Compared(NamedTuple):
    """What the accuracy of a run is compared with, at the last evaluation."""

    name: str
    value: float
    sees: str = ""  # what the model of that name sees, to be said behind it


def title(finding: Finding) -> str:
    """What fails, with its subject."""
    name = finding.rule if finding.kind == OWN_RULE and finding.rule else KINDS[finding.kind].title
    return f"{name}: {finding.subject}" if finding.subject else name


def on_which(record: RunRecord) -> str:
    """On which images a model was evaluated that was not trained by this run; empty for a training.

    Example:
        >>> on_which(RunRecord("run", evaluated="test"))
        'on the test images'
    """
    return f"on the {record.evaluated} images" if record.evaluated else ""


def when(finding: Finding, record: RunRecord) -> str:
    """When a finding of a run was raised, whether it still stands, and how long before the validation metric got worse.

    Without a training, on which images it was found.
    """
    if record.evaluated:
        return on_which(record)
    since = f"epoch {finding.epoch} (step {finding.step:,})"
    spans = f"since {since}" if finding.standing else f"from {since}, cleared at epoch {finding.cleared}"
    return f"{spans}, {lead(finding)}" if finding.metric else spans


def lead(finding: Finding) -> str:
    """How long it was raised before the run's own validation metric got worse; empty where there is no such metric."""
    if not finding.metric:
        return ""
    if finding.lead is None:
        return f"{finding.metric} has not got worse"
    epochs = _count(abs(finding.lead), "epoch")
    if finding.lead == 0:
        return f"as {finding.metric} got worse"
    return f"{epochs} {'before' if finding.lead > 0 else 'after'} {finding.metric} got worse"


def alert(finding: Finding) -> str:
    """A finding for somebody who does not see the terminal: when, what, why, and what to try."""
    message = " ".join(finding.message.split())
    said = [f"{label}: {text}" for label, text in passages(finding)]
    return " ".join([f"Epoch {finding.epoch}, step {finding.step:,}.", message, *said])


def accuracy_key(record: RunRecord) -> str | None:
    """The logged key that holds the run's validation accuracy, a monitor's before the user's; None without one.

    One whose last value is known comes before one that is nan, as that beside a linear model is where no training was
    seen.
    """
    logged = record.last_values()
    known = [key for key, value in logged.items() if not math.isnan(value)]
    return next(
        (key for each in (known, logged) for key in (measured_accuracy(each), users_accuracy(each)) if key), None
    )


def verdict(record: RunRecord) -> str:
    """What is to be said first: the worst finding and its cause in one sentence; that nothing was found."""
    found = [finding for finding in record.standing if finding.kind != MONITOR_ERROR]
    if found:
        return in_short(found[0])
    return f"{_silence(record)}." if record.evaluations else NO_VERDICT


def headline(record: RunRecord, columns: Sequence[Column]) -> str:
    """The run in one sentence: its accuracy, beside that of a reference where there is one; on which images."""
    if not record.evaluations:
        return "Nothing was evaluated, so nothing can be said about this run."
    after = on_which(record) or f"after {_count(record.epochs, 'epoch')}"
    key = accuracy_key(record)
    if record.no_validation:
        return f"From training batches, since {record.no_validation}: evaluated {after}, which says no accuracy."
    if key is None:
        return f"Evaluated {after}; no accuracy was logged."
    accuracy, short = f"{record.last(key):.2f}", shortfall(record)
    if short is not None:
        return f"The accuracy, {accuracy} {after}, is {short.figures}."
    best = reference(record, columns)
    if best is None:
        return f"Accuracy {accuracy} {after}."
    model = " ".join(filter(None, (best.name, best.sees)))
    return f"Accuracy {accuracy} {after}, against {best.value:.2f} of a {model} on the same images."


def reference(record: RunRecord, columns: Sequence[Column]) -> Compared | None:
    """What the accuracy is compared with, as a column declares it; None where no such accuracy was logged."""
    for column in columns:
        if column.reference is not None:
            for _, (view,) in views(column, [record]):
                value = view.last(f"failures/{column.noun}/{column.reference.statistic}")
                if not math.isnan(value):
                    return Compared(column.reference.name, value, column.reference.sees)
    return None


def cost(record: RunRecord) -> str:
    """What the monitors took of the run, in all and by monitor, in one sentence; empty where that is not known.

    Example:
        >>> print(cost(RunRecord("raw", seconds=102.5, monitor_seconds=2.5, seconds_by_monitor={"CauseMonitor": 2.5})))
        Monitoring took 2.5 s, 2.5% of the run's own 100 s: CauseMonitor 2.5%.
        >>> print(cost(RunRecord("raw", seconds=102.5, monitor_seconds=2.5, budget=0.03)))
        Monitoring took 2.5 s, 2.5% of the run's own 100 s, of which the budget allows 3%.
        >>> not_watched = {"why it fails": "not yet examined: the budget of 3% of 100 s was spent"}
        >>> print(cost(RunRecord("raw", seconds=103.0, monitor_seconds=3.0, budget=0.03, not_watched=not_watched))[61:])
        the budget allows 3%. With budget=0.1 more is examined.
        >>> print(cost(RunRecord("raw", seconds=4.0, monitor_seconds=2.0, budget=0.03)))
        Monitoring took 2.0 s, 100.0% of the run's own 2 s, which is too short for its budget of 3%.
    """
    if record.monitor_share is None or record.monitor_seconds is None:
        return ""
    each = ", ".join(f"{name} {share:.1%}" for name, share in record.shares_by_monitor.items() if share >= LEAST_SHARE)
    long = record.own_seconds is not None and record.own_seconds >= A_MINUTE
    held = "of which the budget allows" if long else "which is too short for its budget of"
    allowed = "" if record.budget is None else f", {held} {100 * record.budget:.3g}%"
    own = f"{record.monitor_share:.1%} of the run's own {record.own_seconds:,.0f} s"
    text = f"Monitoring took {record.monitor_seconds:.1f} s, {own}{allowed}"
    spent = record.budget is not None and any("was spent" in why for why in record.not_watched.values())
    more = f" With budget={max(0.1, 2 * (record.budget or 0)):.2g} more is examined."
    return (f"{text}: {each}." if each else f"{text}.") + (more if spent else "")


def tally(record: RunRecord) -> str:
    """How many findings are open, and what was not examined, in one sentence."""
    return "; ".join(parts) + "." if (parts := _tally(record)) else NO_VERDICT


def beside_verdict(record: RunRecord) -> str:
    """What :func:`tally` says beyond :func:`verdict`; empty where that is nothing.

    Example:
        >>> from lightning_failures.records.run_record import Evaluation
        >>> healthy = RunRecord("run", [Evaluation(0, 100, {"val_acc": 0.9})])
        >>> verdict(healthy), tally(healthy), beside_verdict(healthy)
        ('No failure was found in 1 evaluation.', 'No failure was found in 1 evaluation.', '')
    """
    found = any(finding.kind != MONITOR_ERROR for finding in record.standing)
    said = "; ".join(_tally(record)[0 if found else 1 :])
    return f"{said[:1].upper()}{said[1:]}." if said else ""


def _tally(record: RunRecord) -> list[str]:
    """The parts of a tally, what was found or that nothing was first; none where nothing was evaluated."""
    aside = [f for f in record.standing if f.kind == MONITOR_ERROR]
    found = [f for f in record.standing if f.kind != MONITOR_ERROR]
    cleared = sum(not finding.standing for finding in record.findings)
    if not record.evaluations and not found:
        return []
    number = {severity: sum(finding.severity == severity for finding in found) for severity in SEVERITIES}
    counts = [_count(number[noun], f"open {noun}") for noun in ("failure", "warning") if number[noun]]
    parts = [" and ".join(counts) or _silence(record)]
    if number["watch"]:
        parts.append(f"{_count(number['watch'], 'thing')} {'is' if number['watch'] == 1 else 'are'} worth watching")
    if cleared:
        parts.append(f"{_count(cleared, 'finding')} raised earlier {'was' if cleared == 1 else 'were'} cleared")
    if record.not_watched:
        parts.append(f"not examined: {_not_examined(record.not_watched)}")
    elif aside:
        parts.append(f"{_count(len(aside), 'monitor')} stepped aside, so not all was watched")
    return parts


def _silence(record: RunRecord) -> str:
    """What is said where no rule found a failure: no good word on an accuracy that falls short."""
    where, short = f"in {_count(len(record.evaluations), 'evaluation')}", shortfall(record)
    if short is None:
        steps = record.evaluations[-1].step if record.evaluations and not on_which(record) else STEPS_TO_LEARN
        early = f", but most rules wait for {STEPS_TO_LEARN} training steps, and this run had {steps}"
        return f"No failure was found {where}{early if steps < STEPS_TO_LEARN else ''}"
    return f"No rule found a failure {where}, but the accuracy is {short.than}"


def _not_examined(not_watched: Mapping[str, str]) -> str:
    """What was not examined, with the whole sentence of each reason that says what is wrong."""
    reasons: dict[str, list[str]] = {}
    for what, why in not_watched.items():
        clause = " ".join(why.partition("; given ")[0].split())
        sentence = (clause.partition(": ")[2] or clause).partition(". ")[0].rstrip(".")
        short = shorten(sentence, MOST_OF_A_REASON, placeholder=" …")
        reasons.setdefault(short, []).append(what)
    return "; ".join(f"{', '.join(named)} ({why})" for why, named in reasons.items())


def status(record: RunRecord) -> str:
    """``failing``, ``warned``, ``watch``, ``clear``, or ``unknown`` where nothing was evaluated.

    An accuracy that falls short of chance or of a simple model is worth watching, so that such a run is never clear.
    """
    if record.standing:
        return {"failure": "failing", "warning": "warned", "watch": "watch"}[record.standing[0].severity]
    if shortfall(record) is not None:
        return "watch"
    return "clear" if record.evaluations else "unknown"


def _count(n: int, noun: str) -> str:
    return f"{n} {noun}{'s' * (n != 1)}"
