"""Rules over logged values: what counts as a failure, from when on, and in which words it is said."""

import math
import re
import string
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from lightning_failures.errors import InputError
from lightning_failures.records.condition import Condition
from lightning_failures.records.finding import SEVERITIES
from lightning_failures.records.kind import FINDING_KINDS

__all__ = ["Rule"]


@dataclass(frozen=True, kw_only=True)
class Rule:
    """One kind of finding, as data.

    It is raised when every condition of ``when`` has held at ``persistence`` evaluations in a row, none of them before
    the epoch ``warmup``; and cleared when every condition of ``clear`` has held as often. Between the two it stays as
    it is, so that a value at the edge does not flicker.

    Args:
        kind: one of :data:`.FINDING_KINDS`; ``"own_rule"`` for yours.
        when: conditions, such as ``"failures/factors/low/* > 1.5"``; a star is the finding's subject.
        message: what is wrong, in plain words with the figures.
        name: what the rule is called, so that it can be changed or silenced; empty: as its kind.
        clear: conditions that end it; empty: as soon as ``when`` no longer holds.
        evidence: name -> logged key; the names stand in ``message`` as in :meth:`str.format`, beside ``{subject}``;
            empty: the keys of ``when``, each named by its last word that is no star.
        advice: what to try next.
        severity: ``"warning"`` or ``"failure"``.
        warmup: first epoch, counted from 0, whose evaluations count.
        persistence: evaluations in a row.
        source: where the thresholds come from.
        action: ``"stop"``: a finding of this rule ends the run.

    Raises:
        InputError: an unknown kind, severity or action, no condition or one that cannot be read, a message that names
            what is no evidence or cannot be formatted, a persistence below 1.
    """

    kind: str
    when: str | Sequence[str]
    message: str
    name: str = ""
    clear: str | Sequence[str] = ()
    evidence: Mapping[str, str] = field(default_factory=dict)
    advice: str = ""
    severity: str = "failure"
    warmup: int = 2
    persistence: int = 3
    source: str = ""
    action: Literal["report", "stop"] = "report"
    conditions: tuple[Condition, ...] = field(init=False, repr=False)
    endings: tuple[Condition, ...] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        for what, given, known in (
            ("kind", self.kind, FINDING_KINDS),
            ("severity", self.severity, SEVERITIES),
            ("action", self.action, ("report", "stop")),
        ):
            if given not in known:
                raise InputError("Rule", f"there is no {what} {given!r}", given, f"Use one of {', '.join(known)}.")
        object.__setattr__(self, "name", self.name or self.kind)
        where = f"Rule({self.name})"
        if self.persistence < 1:
            raise InputError(where, "a persistence below 1", str(self.persistence), "Count evaluations in a row.")
        for given_as, texts, to in (("when", self.when, "conditions"), ("clear", self.clear, "endings")):
            each = (texts,) if isinstance(texts, str) else tuple(texts)
            object.__setattr__(self, given_as, each)
            object.__setattr__(self, to, tuple(Condition.parse(text, where) for text in each))
        if not self.conditions:
            raise InputError(where, "no condition", "when=[]", "Pass one such as 'failures/factors/low/* > 1.5'.")
        if not self.evidence:
            keys = (key for condition in self.conditions for key in condition.keys("*"))
            object.__setattr__(self, "evidence", {_last_word(key): key for key in keys})
        unknown = self._named - {*self.evidence, "subject"}
        if unknown:
            raise InputError(
                where,
                f"the message names {', '.join(sorted(unknown))}",
                f"evidence {', '.join(self.evidence)}",
                "Name evidence, or {subject}.",
            )
        try:
            self.message.format(subject="", **dict.fromkeys(self.evidence, 1.0))
        except (ValueError, IndexError, KeyError) as error:
            given = f"{self.message!r}: {error}"
            raise InputError(where, "the message cannot be formatted", given, "Write it as for str.format.") from error

    @property
    def _named(self) -> set[str]:
        """The evidence that the message names."""
        return {name for _, name, _, _ in string.Formatter().parse(self.message) if name}

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

    def lacking(self, values: Mapping[str, float], subject: str) -> list[str]:
        """Keys of the evidence that the message names and that were not logged."""
        keys = (self.evidence[name].replace("*", subject) for name in self._named - {"subject"})
        return sorted(key for key in keys if key not in values)

    def criterion(self, values: Mapping[str, float], subject: str) -> str:
        """What holds, with its figures: the indicator, its value and what it was compared with."""
        said = []
        for condition in self.conditions:
            key, bound = condition.key.replace("*", subject), str(condition).removeprefix(condition.key).strip()
            limit = condition.limit(values, subject)
            now = "" if condition.bound_key is None or math.isnan(limit) else f" (now {limit:.4g})"
            said.append(f"{key} = {condition.value(values, subject):.4g} {bound.replace('*', subject)}{now}")
        times = f"{self.persistence} evaluations in a row" if self.persistence > 1 else "1 evaluation"
        return f"{', '.join(said)}, at {times}"


def _last_word(key: str) -> str:
    """The last part of a key that is no star, as a name that a message can hold."""
    word = [part for part in key.split("/") if part != "*"][-1]
    return re.sub(r"\W", "_", word)
