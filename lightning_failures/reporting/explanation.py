"""A finding in plain words: what held then and now, its cause with what undoing it gave, and what was excluded."""

import math
import re
from collections.abc import Mapping
from typing import NamedTuple, TypeGuard

from lightning_failures.records.cause import CAUSES
from lightning_failures.records.finding import Evidence, Finding
from lightning_failures.records.numbers import number

__all__ = ["Passage", "because", "excluded", "message", "passages", "why"]

#: What the sentence on an experiment says; all else that it measured is listed.
_TOLD = ("before", "before_low", "before_high", "after", "after_low", "after_high", "share", "said")


#: By how much a figure moves until what was said of it when it was raised is worth repeating: as a share, and at least.
NOTABLE, LEAST = 0.1, 0.005

_NUMBER = re.compile(r"\d[\d,]*(?:\.\d+)?(?:e[+-]?\d+)?%?")


class Passage(NamedTuple):
    """A part of what is said of a finding, behind a word or two that say what it tells."""

    label: str
    text: str


def passages(finding: Finding) -> list[Passage]:
    """What is said of a finding below :func:`message`, those parts that there are.

    They are: what held when it was raised, where its figures have moved since; why; what was excluded; and, while it
    stands, what to try.

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
    parts = (
        Passage("When raised", finding.message * moved),
        Passage("Why", why(finding)),
        Passage("Tested and excluded", excluded(finding)),
        Passage("Try", finding.advice * finding.standing),
    )
    return [part for part in parts if part.text]


def message(finding: Finding) -> str:
    """What happens, with the figures of the last evaluation at which the finding stood."""
    return finding.latest or finding.message


def because(finding: Finding) -> str:
    """The cause, to be said behind a title; empty where none is known."""
    if finding.cause is None:
        return ""
    title = CAUSES[finding.cause].title
    return f", because {title[0].lower()}{title[1:]}"


def why(finding: Finding) -> str:
    """The cause and what undoing it gave; that no tested cause explains it; empty where none was tested."""
    if finding.cause is None:
        return "None of the tested causes explains it." if finding.excluded else ""
    cause = CAUSES[finding.cause]
    return f"{cause.title}. {_experiment(cause.experiment, finding.experiment)}".strip()


def excluded(finding: Finding) -> str:
    """The causes that were tested and do not explain it; empty where there are none."""
    named = "; ".join(CAUSES[name].excluded for name in finding.excluded)
    return named and f"{named}."


def _experiment(sentence: str, figures: Mapping[str, Evidence]) -> str:
    """What an experiment gave: in the words of the cause's own test where it has any; else its figures."""
    if figures.get("said"):
        return str(figures["said"])
    before, after = figures.get("before"), figures.get("after")
    if _known(before) and _known(after):
        return sentence.format(
            before=f"{before:.2f}",
            before_within=_within(before, figures.get("before_low"), figures.get("before_high")),
            after=f"{after:.2f}",
            after_within=_within(after, figures.get("after_low"), figures.get("after_high")),
            share=_share(figures.get("share")),
        )
    figures = {name: value for name, value in figures.items() if name not in _TOLD and value is not None}
    named = ", ".join(f"{name.replace('_', ' ')} {number(value)}" for name, value in figures.items())
    return named and f"Measured: {named}."


def _within(value: float, low: Evidence, high: Evidence) -> str:
    """An accuracy with its 95% interval, where that is known."""
    return f"{value:.2f} (95% interval {low:.2f} to {high:.2f})" if _known(low) and _known(high) else f"{value:.2f}"


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


def _share(share: Evidence) -> str:
    """The share of the gap that was closed, where it is known; more than all is all."""
    if not _known(share):
        return ""
    return ", all of the gap" if share >= 0.995 else f", {share:.0%} of the gap"


def _known(value: Evidence) -> TypeGuard[float]:
    return isinstance(value, float | int) and math.isfinite(value)
