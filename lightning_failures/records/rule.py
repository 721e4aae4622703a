"""Rules over logged values: what counts as a failure, from when on, and in which words it is said."""

import math
import re
import string
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from lightning_failures.errors import InputError
from lightning_failures.records.condition import Condition
from lightning_failures.records.finding import SEVERITIES
from lightning_failures.records.keys import fill_key, parse_key, subject_in_words, unescape, write_key
from lightning_failures.records.kind import FINDING_KINDS
from lightning_failures.records.numbers import p_value, share

__all__ = ["STEPS_TO_LEARN", "Rule"]

#: Steps before which the standard rules, but that on features, count no evaluation: an epoch may be of 3 steps.
#: Measured on the 8 x 8 digits, each run's figures judged again with other warm-ups. Of 15 healthy runs with 3, 5 and 8
#: steps per epoch (small transformers, and networks with batch norm; final accuracy 0.80 to 0.99) a warm-up of 2 epochs
#: alone called 9 collapsed, and 40 steps still 2, in which predictions were on few classes up to step 48; 50 and more
#: none. Of 24 findings in planted runs with 19 or 21 steps per epoch, 50 steps delay none, 60 delay 2 by an evaluation
#: each, 80 delay 17 by up to three and lose 1, 100 lose 2. So 60 is the longest that costs one evaluation at most.
#: By arithmetic: behind a warm-up of 2 epochs, an epoch of 20 steps and more is not delayed at all, since its third
#: evaluation is at step 60 or later.
STEPS_TO_LEARN = 60

_TEXTS = ("kind", "name", "message", "advice", "severity", "source", "action")
_TYPES = {
    type(None): "nothing",
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    str: "a text",
    list: "a list",
    dict: "a mapping",
}
_STAR = "Put the star into a condition of when too, or leave it out: a star elsewhere stands for the same name."


@dataclass(frozen=True, kw_only=True)
class Rule:
    """One kind of finding, as data.

    It is raised when every condition of ``when`` has held at ``persistence`` evaluations in a row, none of them before
    the epoch ``warmup`` or the step ``warmup_steps``; and cleared when every condition of ``clear`` has held as often.
    Between the two it stays as it is, so that a value at the edge does not flicker. The plainer the case, the fewer
    evaluations it needs: one at which every condition of ``plain_when`` holds as well is enough.

    Args:
        kind: one of :data:`.FINDING_KINDS`; ``"own_rule"`` for yours.
        when: conditions, such as ``"failures/factors/low/* > 1.5"``; a star is the finding's subject, several stars are
            it together.
        message: what is wrong, in plain words with the figures; ``{figure:share}`` says a share as "all", "62% of" or
            "none of", ``{figure:p_value}`` a p-value as "< 0.001" or "0.042".
        name: what the rule is called, so that it can be changed or silenced; empty: as its kind.
        clear: conditions that end it; empty: as soon as ``when`` no longer holds.
        evidence: name -> logged key; the names stand in ``message`` as in :meth:`str.format`, beside ``{subject}``;
            empty: the keys of ``when``, each named by its last word that is no star.
        advice: what to try next.
        severity: ``"watch"``, ``"warning"`` or ``"failure"``; see :class:`.Finding`.
        severe_when: a worse severity -> the conditions that give it to the finding, such as
            ``{"failure": "val_loss > 9"}``; a star stands for the same name as in ``when``. It has the worst severity
            whose conditions have held at ``persistence`` evaluations in a row, or hold at one that is plain, and loses
            it when they have failed at ``persistence`` in a row.
        warmup: first epoch, counted from 0, whose evaluations count.
        warmup_steps: optimizer steps, as the Trainer's ``global_step`` counts them, before which no evaluation counts
            either; for a rule on figures that an untrained network has too, where an epoch may be three steps long.
        persistence: evaluations in a row.
        plain_when: conditions of a plain case, such as the near end of the figure's interval far beyond the threshold,
            ``"failures/factors/odds_low/* > 4"``; empty: every case takes ``persistence`` evaluations.
        last_when: conditions of a case that chance does not give, such as a p-value below 0.00001. What holds at the
            last evaluation of a run alone is worth watching, since no later one confirms it; where these hold too, it
            has its own severity.
        source: where the thresholds come from.
        action: ``"stop"``: a finding of this rule ends the run.

    Raises:
        InputError: a field of another type, an unknown kind, severity or action, no condition, one that cannot be read
            or can never hold, a star in ``clear``, ``plain_when``, ``last_when``, ``severe_when`` or ``evidence``
            alone, a severity in ``severe_when`` that is no worse, a message that names what is no evidence or cannot be
            formatted, a persistence below 1, a warm-up below 0.

    Example:
        >>> rule = Rule(kind="own_rule", when="val_loss > 2", message="{val_loss:.1f}", warmup=2, warmup_steps=60)
        >>> [rule.counts(epoch, step) for epoch, step in [(1, 500), (2, 59), (2, 60)]]
        [False, False, True]
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
    warmup_steps: int = 0
    severe_when: Mapping[str, str | Sequence[str]] = field(default_factory=dict)
    plain_when: str | Sequence[str] = ()
    last_when: str | Sequence[str] = ()
    conditions: tuple[Condition, ...] = field(init=False, repr=False)
    endings: tuple[Condition, ...] = field(init=False, repr=False)
    plain_conditions: tuple[Condition, ...] = field(init=False, repr=False)
    last_conditions: tuple[Condition, ...] = field(init=False, repr=False)
    evidence_keys: Mapping[str, str] = field(init=False, repr=False)
    worse: Mapping[str, tuple[Condition, ...]] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self._check_types()
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
        if self.warmup < 0:
            raise InputError(where, "a warm-up below 0", str(self.warmup), "Count epochs from 0.")
        if self.warmup_steps < 0:
            raise InputError(where, "a warm-up below 0", f"{self.warmup_steps} steps", "Count steps from 0.")
        for given_as, texts, to in (
            ("when", self.when, "conditions"),
            ("clear", self.clear, "endings"),
            ("plain_when", self.plain_when, "plain_conditions"),
            ("last_when", self.last_when, "last_conditions"),
        ):
            each = (texts,) if isinstance(texts, str) else tuple(texts)
            object.__setattr__(self, given_as, each)
            object.__setattr__(self, to, tuple(Condition.parse(text, f"{where}.{given_as}") for text in each))
        if not self.conditions:
            raise InputError(where, "no condition", "when=[]", "Pass one such as 'failures/factors/low/* > 1.5'.")
        for given_as, further in (
            ("clear", self.endings),
            ("plain_when", self.plain_conditions),
            ("last_when", self.last_conditions),
        ):
            for condition in further:
                if condition.stars > self.stars:
                    raise InputError(f"{where}.{given_as}", "more stars than in when", f"'{condition}'", _STAR)
        self._read_severities(where)
        self._read_evidence(where)
        self._check_message(where)

    def _check_types(self) -> None:
        """Refuse what a file or a dict can hold under a field and no rule can use."""
        name = self.name or self.kind
        where = f"Rule({name})" if isinstance(name, str) and name else "Rule"

        def refuse(at: str, given: object, wanted: str, fix: str) -> InputError:
            return InputError(f"{where}.{at}", f"{wanted} is needed, not {_type(given)}", repr(given), fix)

        for text in _TEXTS:
            if not isinstance(given := getattr(self, text), str):
                raise refuse(text, given, "a text", "Write it in quotes, or leave the field out.")
        for conditions in ("when", "clear", "plain_when", "last_when"):
            if not isinstance(given := getattr(self, conditions), str | list | tuple):
                raise refuse(conditions, given, "a condition or a list of them", "Write one such as 'val_loss > 2'.")
        if not isinstance(self.evidence, Mapping):
            fix = "Write the name of each, then its key: {loss: val_loss}."
            raise refuse("evidence", self.evidence, "a mapping of names to keys", fix)
        if not isinstance(self.severe_when, Mapping):
            fix = "Write the severity, then its conditions: {failure: val_loss > 9}."
            raise refuse("severe_when", self.severe_when, "a mapping of severities to conditions", fix)
        for severity, given in self.severe_when.items():
            if not isinstance(given, str | list | tuple):
                fix = "Write one such as 'val_loss > 2'."
                raise refuse(f"severe_when[{severity!r}]", given, "a condition or a list of them", fix)
        for key, given in self.evidence.items():
            if not (isinstance(key, str) and isinstance(given, str)):
                raise refuse(f"evidence[{key!r}]", given, "a name with a key", "Write both as texts: {loss: val_loss}.")
        for number, fix in (
            ("warmup", "the first epoch that counts, such as 2"),
            ("warmup_steps", "the first step that counts, such as 60"),
            ("persistence", "how often, such as 3"),
        ):
            given = getattr(self, number)
            if not isinstance(given, int) or isinstance(given, bool):
                raise refuse(number, given, "a whole number", f"Write {fix}.")

    def _read_severities(self, where: str) -> None:
        """Read the conditions of worse severities, mildest first."""
        possible = SEVERITIES[SEVERITIES.index(self.severity) + 1 :]
        for severity in self.severe_when:
            if severity not in possible:
                fix = f"Use {' or '.join(possible)}." if possible else "Leave it out, or make the severity milder."
                raise InputError(f"{where}.severe_when", f"no worse severity than {self.severity}", severity, fix)
        found, read = {}, {}
        for severity in (each for each in possible if each in self.severe_when):
            texts, at = self.severe_when[severity], f"{where}.severe_when[{severity!r}]"
            found[severity] = (texts,) if isinstance(texts, str) else tuple(texts)
            read[severity] = tuple(Condition.parse(text, at) for text in found[severity])
            if not read[severity]:
                raise InputError(at, "no condition", "[]", "Write one such as 'val_loss > 2'.")
            for condition, text in zip(read[severity], found[severity], strict=True):
                if condition.stars > self.stars:
                    raise InputError(at, "more stars than in when", f"'{text}'", _STAR)
        object.__setattr__(self, "severe_when", found)
        object.__setattr__(self, "worse", read)

    def _read_evidence(self, where: str) -> None:
        """Read the keys of the evidence; without any, take those of the conditions."""
        if not self.evidence:
            keys = (key for condition in self.conditions for key in condition.keys(""))
            object.__setattr__(self, "evidence", {_last_word(key): write_key(key) for key in keys})
        if "subject" in self.evidence:
            given, fix = f"subject: {self.evidence['subject']}", "Call it something else: {subject} is the rule's own."
            raise InputError(f"{where}.evidence", "evidence called subject", given, fix)
        read = {name: parse_key(key, f"{where}.evidence") for name, key in self.evidence.items()}
        for name, key in read.items():
            if key.count("*") > self.stars:
                raise InputError(f"{where}.evidence", "more stars than in when", f"{name}: {write_key(key)}", _STAR)
        object.__setattr__(self, "evidence_keys", read)

    def _check_message(self, where: str) -> None:
        """Refuse a message that could not be said at the evaluation where the rule holds."""
        try:
            unknown = self._named - {*self.evidence, "subject"}
            if not unknown:
                self.message.format(subject="", **dict.fromkeys(self.evidence, _Figure(1.0)))
        except (ValueError, LookupError, AttributeError, TypeError) as error:
            given = f"{self.message!r}: {error}"
            raise InputError(where, "the message cannot be formatted", given, "Write it as for str.format.") from error
        if unknown:
            raise InputError(
                where,
                f"the message names {', '.join(sorted(unknown))}",
                f"evidence {', '.join(self.evidence)}",
                "Name evidence, or {subject}.",
            )

    @property
    def _named(self) -> set[str]:
        """The evidence that the message names."""
        return set(_named(self.message))

    @property
    def stars(self) -> int:
        """How many names a subject of it has."""
        return max(condition.stars for condition in self.conditions)

    @property
    def keys(self) -> list[str]:
        """The logged keys that it looks at, with their stars: those of its conditions, then of its evidence."""
        severe = [condition for conditions in self.worse.values() for condition in conditions]
        every = (*self.conditions, *self.endings, *self.plain_conditions, *self.last_conditions, *severe)
        conditions = [key for condition in every for key in condition.keys("")]
        return list(dict.fromkeys([*conditions, *self.evidence_keys.values()]))

    def counts(self, epoch: int, step: int) -> bool:
        """Whether its warm-up is over, in epochs and in steps both."""
        return epoch >= self.warmup and step >= self.warmup_steps

    def subjects(self, values: Mapping[str, float]) -> list[str]:
        """What the stars of the conditions stand for among these values, as it is logged: ``"dark"``.

        One empty subject without a star; :func:`.subject_in_words` writes a subject for people.
        """
        if not self.stars:
            return [""]
        starred = [condition for condition in self.conditions if condition.stars == self.stars]
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

    def is_plain(self, values: Mapping[str, float], subject: str) -> bool:
        """Whether the case is so plain that this evaluation is enough."""
        plain = bool(self.plain_conditions) and self.holds(values, subject)
        return plain and all(condition.holds(values, subject) for condition in self.plain_conditions)

    def is_sure_at_the_last(self, values: Mapping[str, float], subject: str) -> bool:
        """Whether the case needs no confirmation where no later evaluation can give one."""
        sure = bool(self.last_conditions) and all(each.holds(values, subject) for each in self.last_conditions)
        return sure or self.is_plain(values, subject)

    def needs(self, values: Mapping[str, float], subject: str) -> int:
        """Evaluations in a row that it takes to raise a finding, as the case looks at this one."""
        return 1 if self.is_plain(values, subject) else self.persistence

    def ends(self, values: Mapping[str, float], subject: str) -> bool:
        """Whether the conditions that end a finding hold."""
        if not self.endings:
            return not self.holds(values, subject)
        return all(condition.holds(values, subject) for condition in self.endings)

    def holds_severely(self, severity: str, values: Mapping[str, float], subject: str) -> bool:
        """Whether every condition of one of the worse severities of ``severe_when`` holds."""
        return all(condition.holds(values, subject) for condition in self.worse[severity])

    def figures(self, values: Mapping[str, float], subject: str) -> dict[str, float]:
        """The evidence: name -> value, those that were logged."""
        keys = {name: fill_key(key, subject) for name, key in self.evidence_keys.items()}
        return {name: values[key] for name, key in keys.items() if key in values}

    def lacking(self, values: Mapping[str, float], subject: str) -> list[str]:
        """Keys of the evidence that the message names and that were not logged."""
        keys = (fill_key(self.evidence_keys[name], subject) for name in self._named - {"subject"})
        return sorted(key for key in keys if key not in values)

    def sentence(self, figures: Mapping[str, float], subject: str) -> str:
        """The message with its figures, which :attr:`lacking` lacks none of; one that is nan is "not known"."""
        known = {name: _Figure(value) for name, value in figures.items()}
        return self.message.format(subject=subject_in_words(subject), **known)

    def criterion(self, values: Mapping[str, float], subject: str, severity: str = "") -> str:
        """What holds, with its figures: the indicator, its value and what it was compared with.

        Args:
            values: of the evaluation.
            subject: of the finding, as it is logged.
            severity: of the finding, whose conditions are said too.
        """

        def said(conditions: Sequence[Condition]) -> str:
            return ", ".join(_compared(condition, values, subject) for condition in conditions)

        times = self.needs(values, subject)
        held = said((*self.conditions, *self.worse.get(severity, ())))
        text = f"{held}, at {f'{times} evaluations in a row' if times > 1 else '1 evaluation'}"
        if times == self.persistence:
            return text
        return f"{text}, which is enough where {said(self.plain_conditions)}"


def _compared(condition: Condition, values: Mapping[str, float], subject: str) -> str:
    """A condition with its figures."""
    filled, limit = condition.of(subject), condition.limit(values, subject)
    now = "" if condition.bound_key is None or math.isnan(limit) else f" (now {limit:.4g})"
    return f"{write_key(filled.key)} = {condition.value(values, subject):.4g} {filled.bound_text}{now}"


class _Figure(float):
    """A figure as a message says it: also as a share or a p-value in words, and a nan as not known."""

    def __format__(self, form: str) -> str:
        if math.isnan(self):
            return "not known"
        in_words = {"share": share, "p_value": p_value}.get(form)
        return format(float(self), form) if in_words is None else in_words(self)


def _named(message: str) -> Iterator[str]:
    """What the fields of a message name."""
    for _, name, form, _ in string.Formatter().parse(message):
        if "{" in (form or ""):  # a nan there would be found out at the evaluation
            raise ValueError("a format that depends on a figure")
        if name:
            yield name


def _last_word(key: str) -> str:
    """The last part of a key that is no star, as a name that a message can hold."""
    words = [part for part in key.split("/") if part != "*"] or ["value"]
    word = re.sub(r"\W", "_", unescape(words[-1]))
    return "subject_" if word == "subject" else word


def _type(value: Any) -> str:
    """What a value is, for people who write YAML."""
    return _TYPES.get(type(value), f"a {type(value).__name__}")
