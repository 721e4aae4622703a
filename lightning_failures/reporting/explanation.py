"""A finding in plain words: what held then and now, its cause with what undoing it gave, and what was excluded."""

import math
import re
from collections.abc import Sequence
from typing import NamedTuple

from lightning_failures.records.cause import CAUSES, Cause
from lightning_failures.records.finding import Evidence, Finding
from lightning_failures.records.kind import OWN_RULE
from lightning_failures.reporting.intervals import Interval

__all__ = ["Bar", "Experiment", "Passage", "because", "experiment", "in_short", "message", "passages", "why"]

#: By how much a figure moves until what was said of it when it was raised is worth repeating: as a share, and at least.
NOTABLE, LEAST = 0.25, 0.01

_NUMBER = re.compile(r"\d[\d,]*(?:\.\d+)?(?:e[+-]?\d+)?%?")


class Passage(NamedTuple):
    """A part of what is said of a finding, behind a word or two that say what it tells."""

    label: str
    text: str

    @property
    def aside(self) -> bool:
        """Whether somebody in a hurry may skip it."""
        return self.label in ("When raised", "Tested and excluded", "Still open")


def passages(finding: Finding, before: Sequence[Finding] = ()) -> list[Passage]:
    """What is said of a finding below :func:`message`, those parts that there are.

    They are: what held when it was raised, where its figures have moved since; why; what was excluded, and what could
    not be tested; and, while it stands, what to try. Where all this was told of a finding before, that one is named in
    place of the last ones.

    Args:
        finding: of which it is said.
        before: findings that stand above it.

    Example:
        >>> finding = Finding(
        ...     kind="class_collapse",
        ...     subject="",
        ...     epoch=2,
        ...     step=90,
        ...     evidence={"accuracy": 0.17},
        ...     message="Predictions fall on 1.2 effective classes.",
        ...     advice="Divide by the training set's deviation in the validation transform too.",
        ...     cause="input_mismatch",
        ...     excluded=["not_finite"],
        ... )
        >>> for label, text in passages(finding):
        ...     print(f"{label}: {text}")
        Why: Validation inputs are not prepared as those of training.
        Tested and excluded: numbers that are not finite.
        Try: Divide by the training set's deviation in the validation transform too.
    """
    moved = bool(finding.latest) and _moved(finding.message, finding.latest)
    raised = Passage("When raised", finding.message * moved)
    if finding.cause is not None and any(_same_cause(finding, other) for other in before):
        title = CAUSES[finding.cause].title
        return [part for part in (raised, Passage("Why", f"As above, {title[0].lower()}{title[1:]}.")) if part.text]
    alike = [other for other in before if _as_open(finding, other)]
    same = next((other for other in alike if other.advice == finding.advice), None)
    if same is not None:
        parts = [raised, Passage("Why, and what to try", f"{_as_for(same)}.")]
    elif alike:
        said = why(finding)
        parts = [
            raised,
            Passage("Why", f"{_as_for(alike[0])}, {said[0].lower()}{said[1:]}"),
            Passage("Try", finding.advice),
        ]
    else:
        parts = [
            raised,
            Passage("Why", why(finding)),
            Passage("Tested and excluded", _listed(finding.excluded)),
            Passage("Still open", _listed(finding.untested if finding.excluded else ())),
            Passage("Try", finding.advice * finding.standing),
        ]
    return [part for part in parts if part.text]


def message(finding: Finding) -> str:
    """What happens, with the figures of the last evaluation at which the finding stood."""
    return finding.latest or finding.message


class Bar(NamedTuple):
    """One accuracy of an experiment, with its 95% interval."""

    name: str
    value: float
    interval: Interval
    tone: str


class Experiment(NamedTuple):
    """What undoing a cause gave: accuracies to be drawn beneath each other, and other figures."""

    caption: str
    bars: list[Bar]
    figures: list[tuple[str, Evidence]]


def experiment(finding: Finding) -> Experiment:
    """The experiment on a finding's cause; without bars where no accuracy before and after is known.

    Example:
        >>> finding = Finding(
        ...     kind="class_collapse",
        ...     subject="",
        ...     epoch=2,
        ...     step=90,
        ...     evidence={"accuracy": 0.17},
        ...     message="Predictions fall on 1.2 effective classes.",
        ...     cause="input_mismatch",
        ...     experiment={"before": 0.2, "after": 0.9, "after_low": 0.8, "after_high": 0.95, "share": 0.9},
        ... )
        >>> made = experiment(finding)
        >>> made.caption, [(bar.name, bar.value) for bar in made.bars]
        ('Accuracy, with 95% intervals. Undoing the cause closes 90% of the gap.', [('as it is', 0.2), ('undone', 0.9)])
    """
    made = {name: float(value) for name, value in finding.experiment.items() if isinstance(value, int | float)}
    before, after = CAUSES[finding.cause].compared if finding.cause else Cause("", "", "").compared
    named = ((before, "before", "with"), (after, "after", "without"), ("others", "others", ""))
    bars = [
        Bar(said, made[key], Interval(*(made.get(f"{key}_{end}", math.nan) for end in ("low", "high"))), tone)
        for said, key, tone in named
        if "before" in made and math.isfinite(made.get(key, math.nan))
    ]
    shown = {f"{key}{end}" for key in ("before", "after", "others") for end in ("", "_low", "_high")} | {"share"}
    figures = [(name, value) for name, value in finding.experiment.items() if not bars or name not in shown]
    caption = "Accuracy, with 95% intervals." if any(bar.interval.known for bar in bars) else "Accuracy."
    if math.isfinite(share := made.get("share", math.nan)):
        caption += f" Undoing the cause closes {'all' if share >= 0.995 else f'{share:.0%}'} of the gap."
    return Experiment(caption, bars, figures)


def in_short(finding: Finding) -> str:
    """What happens and why, in one sentence without the figures behind a colon.

    Example:
        >>> finding = Finding(
        ...     kind="untapped_information",
        ...     subject="",
        ...     epoch=2,
        ...     step=90,
        ...     evidence={"accuracy": 0.41},
        ...     message="The network does worse than a linear model: its accuracy is 0.412. The linear model has 0.84.",
        ...     cause="learning_rate_low",
        ... )
        >>> in_short(finding)
        'The network does worse than a linear model, because the learning rate is too small.'
    """
    said, subject = " ".join(message(finding).split()), finding.subject
    whole = said.replace(subject, "\0") if subject else said  # a name may hold a colon or a full stop
    ends = r"\.(?= [A-Z\0])" if finding.kind == OWN_RULE else r"[.](?= [A-Z\0])|:(?= )| \(95% interval"
    first = re.split(ends, whole, maxsplit=1)[0].rstrip(".")
    return f"{first}{because(finding)}.".replace("\0", subject)


def because(finding: Finding) -> str:
    """The cause, to be said behind a title; empty where none is known."""
    if finding.cause is None:
        return ""
    title = _title(finding.cause, finding)
    return f", because {title[0].lower()}{title[1:]}"


def why(finding: Finding) -> str:
    """The cause and what its test gave; that none is known; empty where none was tested."""
    if finding.cause is None:
        tested = len(finding.excluded)
        if tested == 1:
            return "The one cause that was tested does not explain it."
        return f"None of the {tested} causes that were tested explains it." if tested else ""
    return f"{_title(finding.cause, finding)}. {finding.why}".strip()


def _title(name: str, finding: Finding) -> str:
    """What a cause is called; in another way where its experiment held the images of the subject against the others."""
    cause = CAUSES[name]
    return cause.of_images if cause.of_images and "others" in finding.experiment else cause.title


def _same_cause(one: Finding, other: Finding) -> bool:
    """Whether two findings that stand are explained alike."""
    return other.standing and (one.cause, one.why, one.advice) == (other.cause, other.why, other.advice)


def _as_open(one: Finding, other: Finding) -> bool:
    """Whether of two findings that stand no cause is known, after the same tests."""
    unexplained = all(each.cause is None and each.standing and each.excluded for each in (one, other))
    return unexplained and (one.excluded, one.untested) == (other.excluded, other.untested)


def _as_for(finding: Finding) -> str:
    """Where something was told already."""
    return f"As for {finding.subject}" if finding.subject else "As above"


def _listed(causes: Sequence[str]) -> str:
    """Causes, in words; empty where there are none."""
    named = ", ".join(CAUSES[name].excluded for name in causes)
    return named and f"{named}."


def _moved(then: str, now: str) -> bool:
    """Whether two messages of one rule differ in more than figures that have hardly moved.

    Example:
        >>> _moved("accuracy 0.482, p 1e-09", "accuracy 0.479, p 1e-12")
        False
        >>> _moved("accuracy 0.482, p 1e-09", "accuracy 0.330, p 1e-12")
        True
    """
    if _NUMBER.split(then) != _NUMBER.split(now):
        return True
    pairs = zip(map(_figure, _NUMBER.findall(then)), map(_figure, _NUMBER.findall(now)), strict=True)
    return any(abs(a - b) > max(NOTABLE * max(a, b), LEAST) for a, b in pairs)


def _figure(text: str) -> float:
    value = float(text.rstrip("%").replace(",", ""))
    return value / 100 if text.endswith("%") else value
