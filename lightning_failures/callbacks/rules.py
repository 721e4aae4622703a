"""Rules over logged values: what counts as a failure, from when on, and in which words it is said."""

import string
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from lightning_failures.callbacks.conditions import Condition
from lightning_failures.errors import InputError
from lightning_failures.reporting.findings import FINDING_KINDS, SEVERITIES

__all__ = ["Rule"]


@dataclass(frozen=True)
class Rule:
    """One kind of finding, as data.

    It is raised when every condition of ``when`` has held at ``persistence`` evaluations in a row, none of them before
    the epoch ``warmup``; and cleared when every condition of ``clear`` has held as often. Between the two it stays as
    it is, so that a value at the edge does not flicker.

    Args:
        kind: one of :data:`~lightning_failures.reporting.findings.FINDING_KINDS`.
        when: conditions, such as ``"failures/factors/low/* > 1.5"``; a star is the finding's subject.
        clear: conditions that end it; empty: as soon as ``when`` no longer holds.
        evidence: name -> logged key; the names stand in ``message`` as in :meth:`str.format`, beside ``{subject}``.
        message: what is wrong, in plain words with the figures.
        advice: what to try next.
        severity: ``"warning"`` or ``"failure"``.
        warmup: first epoch, counted from 0, whose evaluations count.
        persistence: evaluations in a row.
        source: where the thresholds come from.

    Raises:
        InputError: an unknown kind or severity, a condition that cannot be read, or a message with an unknown name.
    """

    kind: str
    when: Sequence[str]
    evidence: Mapping[str, str]
    message: str
    advice: str = ""
    clear: Sequence[str] = ()
    severity: str = "failure"
    warmup: int = 2
    persistence: int = 3
    source: str = ""
    conditions: tuple[Condition, ...] = field(init=False, repr=False)
    endings: tuple[Condition, ...] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        for what, given, known in (("kind", self.kind, FINDING_KINDS), ("severity", self.severity, SEVERITIES)):
            if given not in known:
                raise InputError("Rule", f"there is no {what} {given!r}", given, f"Use one of {', '.join(known)}.")
        names = {name for _, name, _, _ in string.Formatter().parse(self.message) if name}
        unknown = names - {*self.evidence, "subject"}
        if unknown:
            raise InputError(
                f"Rule({self.kind})",
                f"the message names {', '.join(sorted(unknown))}",
                f"evidence {', '.join(self.evidence)}",
                "Name evidence, or {subject}.",
            )
        object.__setattr__(self, "conditions", tuple(map(Condition.parse, self.when)))
        object.__setattr__(self, "endings", tuple(map(Condition.parse, self.clear)))

    def subjects(self, values: Mapping[str, float]) -> list[str]:
        """What the stars of the conditions stand for among these values; one empty subject without a star."""
        starred = [condition for condition in self.conditions if "*" in condition.key]
        if not starred:
            return [""]
        return list(dict.fromkeys(subject for condition in starred for subject in condition.subjects(values)))

    def speaks(self, values: Mapping[str, float], subject: str) -> bool:
        """Whether every value that the rule looks at is there."""
        return all(
            condition.value(values, subject) == condition.value(values, subject)
            and condition.limit(values, subject) == condition.limit(values, subject)
            for condition in self.conditions
        )

    def holds(self, values: Mapping[str, float], subject: str) -> bool:
        """Whether every condition holds."""
        return all(condition.holds(values, subject) for condition in self.conditions)

    def ends(self, values: Mapping[str, float], subject: str) -> bool:
        """Whether the conditions that end a finding hold."""
        if not self.endings:
            return not self.holds(values, subject)
        return all(condition.holds(values, subject) for condition in self.endings)

    def figures(self, values: Mapping[str, float], subject: str) -> dict[str, float]:
        """The evidence: name -> value, those that were logged."""
        keys = {name: key.replace("*", subject) for name, key in self.evidence.items()}
        return {name: values[key] for name, key in keys.items() if key in values}
