"""What is true of a run, and whether the findings of the run say so."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from lightning_failures import Finding
from lightning_failures.records import MONITOR_ERROR, SEVERITIES

__all__ = ["HEALTHY", "Judgement", "Truth", "findings_of", "judge", "said", "told"]


class Truth(NamedTuple):
    """What may be said of a run; :data:`HEALTHY` where nothing is wrong."""

    causes: tuple[str, ...] = ()  # any of these is right
    kinds: tuple[str, ...] = ()  # kinds that say by themselves what is wrong, and need no cause beside them
    subjects: tuple[str, ...] = ()  # what a finding of these kinds must be about; empty: anything
    least: str = "warning"  # the mildest severity that does justice to it
    also: tuple[str, ...] = ()  # causes that are true as well, and neither needed nor wrong

    @property
    def failing(self) -> bool:
        """Whether the run holds a planted failure."""
        return bool(self.causes or self.kinds)

    @property
    def name(self) -> str:
        """The one name of what is planted; empty where nothing is."""
        return next(iter((*self.causes, *self.kinds)), "")


HEALTHY = Truth()

#: What a finding of these kinds claims where no cause was proven.
CLAIMS = {
    "one_dimensional_predictions": "shortcut",
    "simple_cue_reliance": "shortcut",
    "single_band_reliance": "shortcut",
    "not_finite": "not_finite",
}


class Judgement(NamedTuple):
    """What the findings of one run are worth; epoch, step and lead are those of the first one that is right."""

    detected: bool  # a warning or a failure stands at the end of the run
    cause_right: bool  # a standing one names what is true, and none that stands names something else
    severity_right: bool  # the one that names it is as severe as it must be
    epoch: int | None
    step: int | None
    lead: int | None  # epochs before the validation metric turned
    alarms: tuple[str, ...]  # standing findings that are false, in words
    passing: tuple[str, ...]  # false ones that were cleared before the end, in words


def findings_of(record: Mapping[str, Any]) -> list[Finding]:
    """The findings that a record of a run holds."""
    return [Finding.from_dict(each) for each in record["findings"]]


def said(finding: Finding) -> str:
    """Kind, subject and cause in a few words."""
    return f"{finding.kind} {finding.subject}".strip() + (f" because of {finding.cause}" if finding.cause else "")


def told(truth: Truth, finding: Finding) -> str:
    """The one name that a finding gives to what is wrong; empty where it is a symptom that names nothing.

    What is true has one name, its first cause, or its first kind where there is none, whichever way it is named.

    Example:
        >>> scaled = Truth(causes=("input_mismatch",))
        >>> fields = {"subject": "", "epoch": 1, "step": 42, "evidence": {"gap": 0.5}, "message": "It fails."}
        >>> told(scaled, Finding(kind="generalisation_gap", cause="overfitting", **fields))
        'overfitting'
        >>> told(Truth((), ("training_fault",)), Finding(kind="training_fault", **fields))
        'training_fault'
        >>> told(scaled, Finding(kind="class_collapse", **fields))
        ''
    """
    if _right(truth, finding):
        return truth.name
    named = finding.cause or CLAIMS.get(finding.kind)
    if named is None and finding.kind in truth.kinds:
        return f"{finding.kind} of something else"
    return named or ""


def judge(truth: Truth, findings: Sequence[Finding]) -> Judgement:
    """Compare what was said with what is true.

    Findings that are worth watching only are neither detections nor alarms. A monitor that stepped aside says nothing
    of the run, and counts as a false alarm everywhere.

    Example:
        >>> scaled = Truth(causes=("input_mismatch",), least="failure")
        >>> finding = Finding(
        ...     kind="generalisation_gap",
        ...     subject="",
        ...     epoch=1,
        ...     step=42,
        ...     severity="failure",
        ...     evidence={"validation": 0.2},
        ...     message="Validation is far below training.",
        ...     cause="input_mismatch",
        ... )
        >>> judge(scaled, [finding])[:4]
        (True, True, True, 1)
        >>> judge(HEALTHY, [finding]).alarms
        ('generalisation_gap because of input_mismatch',)
    """
    heard = [each for each in findings if each.severity != "watch"]
    standing = [each for each in heard if each.standing]
    false = [each for each in heard if _false(truth, each)]
    right = [each for each in standing if _right(truth, each)]
    first = min(right, key=lambda each: each.step, default=None)
    severe = any(SEVERITIES.index(each.severity) >= SEVERITIES.index(truth.least) for each in right)
    alarms = tuple(said(each) for each in false if each.standing)
    return Judgement(
        detected=any(each.kind != MONITOR_ERROR for each in standing),
        cause_right=bool(right) and not alarms,
        severity_right=severe if truth.failing else not alarms,
        epoch=None if first is None else first.epoch,
        step=None if first is None else first.step,
        lead=None if first is None else first.lead,
        alarms=alarms,
        passing=tuple(said(each) for each in false if not each.standing),
    )


def _right(truth: Truth, finding: Finding) -> bool:
    """Whether it names what is true."""
    named = finding.cause or CLAIMS.get(finding.kind)
    if named is not None:
        return named in truth.causes
    return finding.kind in truth.kinds and finding.subject in (truth.subjects or (finding.subject,))


def _false(truth: Truth, finding: Finding) -> bool:
    """Whether it names what is not true; in a failing run a symptom without a cause names nothing."""
    named = finding.cause or CLAIMS.get(finding.kind)
    if finding.kind == MONITOR_ERROR:
        return True
    if named is not None:
        return named not in (*truth.causes, *truth.also)
    if finding.kind in truth.kinds:
        return not _right(truth, finding)
    return not truth.failing
