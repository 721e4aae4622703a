"""Constraints on logged values: read from text, checked against each other, and measured at an evaluation."""

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from itertools import combinations
from typing import Literal, NamedTuple

from lightning_failures.errors import InputError
from lightning_failures.records.condition import Condition
from lightning_failures.records.keys import covers_key, write_key

__all__ = ["Outcome", "measure", "read_constraints"]

#: Best first; what is not there counts as worse than any violation, since nothing is known.
STATES = ("holds", "violated", "undefined", "stale", "missing")


class Outcome(NamedTuple):
    """One constraint at one evaluation; under a star that of the name that keeps it least."""

    key: str  # what was compared, as it is logged
    bound: str  # as it was written: "<= 1.5"
    value: float  # nan where there is none
    limit: float  # the bound at this evaluation
    excess: float  # by how much it is violated; below 0: what is left; inf where there is nothing to compare
    state: Literal["holds", "violated", "undefined", "stale", "missing"]

    @property
    def relative(self) -> float:
        """The excess as a share of the bound, so that constraints of different units add up; the excess at a bound 0.

        Example:
            >>> Outcome("loss", "<= 2", 2.5, 2.0, 0.5, "violated").relative
            0.25
        """
        return self.excess / abs(self.limit) if self.limit and math.isfinite(self.limit) else self.excess

    @property
    def said(self) -> str:
        """What was compared, as it is written in a condition, and its value.

        Example:
            >>> Outcome("high/CD8+%2FCD4-", "<= 2", 2.5, 2.0, 0.5, "violated").said
            'high/"CD8+/CD4-" = 2.5'
        """
        return f"{write_key(self.key)} = {self.value:.4g}"

    @property
    def why(self) -> str:
        """Why it does not hold, and by how much; empty where it holds.

        Example:
            >>> Outcome("loss", "<= 2", 2.5, 2.0, 0.5, "violated").why
            'loss = 2.5 violates <= 2 by 0.5'
        """
        match self.state:
            case "holds":
                return ""
            case "violated":
                named = "" if self.bound.split()[-1] == f"{self.limit:g}" else f" (now {self.limit:.4g})"
                beyond = f"by {self.excess:.3g}" if self.excess else "by equality"
                return f"{self.said} violates {self.bound}{named} {beyond}"
            case "undefined":
                return f"{write_key(self.key)} is nan"
            case "stale":
                return f"{write_key(self.key)} was not logged at this evaluation"
            case "missing":
                return f"{write_key(self.key)} has not been logged"


def read_constraints(where: str, constraints: str | Iterable[str]) -> tuple[Condition, ...]:
    """Read constraints, and refuse those that no value can keep together.

    Args:
        where: the public name that was called, for the error.
        constraints: for example ``["failures/factors/high/dark <= 2", "val_acc >= failures/collapse/chance + 0.1"]``; a
            star stands for every name: ``failures/factors/high/* <= 2`` asks it of all factors, and quotes, double or
            single, hold a name as it is: ``failures/factors/high/"CD8+/CD4-" <= 2``; see :mod:`.keys`.

    Raises:
        InputError: there is none, one cannot be read, or two contradict each other.

    Example:
        >>> [str(each) for each in read_constraints("report", "val_acc >= 0.5")]
        ['val_acc >= 0.5']
    """
    if not isinstance(constraints, Iterable):
        given = f"{constraints!r} of type {type(constraints).__name__}"
        raise InputError(where, "these are no constraints", given, "Pass one such as 'val_loss <= 2', or a list.")
    texts = [constraints] if isinstance(constraints, str) else list(constraints)
    read = tuple(Condition.parse(text, where) for text in texts)
    if not read:
        raise InputError(
            where, "no constraint", "none", "Pass one such as 'failures/factors/error_ratio/worst <= 1.5'."
        )
    for one, other in combinations(read, 2):
        if _contradict(one, other):
            raise InputError(
                where, "no value can keep both constraints", f"'{one}' and '{other}'", "Mend or leave out one of them."
            )
    for one in read:
        if one.bound_key == one.key and not one.compare(0.0, one.bound):
            raise InputError(where, "no value can keep the constraint", f"'{one}'", "Mend it or leave it out.")
    return read


def measure(
    constraints: Sequence[Condition], values: Mapping[str, float], fresh: Collection[str] | None = None
) -> list[Outcome]:
    """Measure every constraint.

    Args:
        constraints: of :func:`read_constraints`.
        values: by logged key, stale ones included.
        fresh: the keys that were logged at this evaluation; None: all.

    Example:
        >>> (outcome,) = measure(read_constraints("report", "loss <= 2"), {"loss": 2.5})
        >>> outcome.state, outcome.excess
        ('violated', 0.5)
    """
    now = values if fresh is None else fresh
    outcomes = []
    for constraint in constraints:
        subjects = constraint.subjects(values) if constraint.stars else [""]
        each = [_measure(constraint, values, now, subject) for subject in subjects]
        missing = Outcome(constraint.key, constraint.bound_text, math.nan, math.nan, math.inf, "missing")
        outcomes.append(max(each, key=_badness, default=missing))
    return outcomes


def _measure(constraint: Condition, values: Mapping[str, float], fresh: Collection[str], subject: str) -> Outcome:
    keys, bound = constraint.keys(subject), constraint.bound_text
    value, limit = constraint.value(values, subject), constraint.limit(values, subject)
    for state, absent in (
        ("missing", [key for key in keys if key not in values]),
        ("stale", [key for key in keys if key not in fresh]),
        ("undefined", [key for key in keys if math.isnan(values.get(key, math.nan))]),
    ):
        if absent:
            return Outcome(absent[0], bound, value, limit, math.inf, state)  # type: ignore[arg-type]
    beyond = value - limit if constraint.comparison.startswith("<") else limit - value
    beyond = 0.0 if math.isnan(beyond) else beyond  # both infinite
    if constraint.compare(value, limit):
        return Outcome(keys[0], bound, value, limit, min(beyond, 0.0), "holds")
    return Outcome(keys[0], bound, value, limit, max(beyond, 0.0), "violated")


def _badness(outcome: Outcome) -> tuple[int, float]:
    return STATES.index(outcome.state), outcome.excess


def _contradict(one: Condition, other: Condition) -> bool:
    """Whether the two bound the same quantity from both sides, with nothing between."""
    other = _turned(other) if (other.key, other.bound_key) == (one.bound_key, one.key) else other
    if not (_meet(one.key, other.key) and one.bound_key == other.bound_key):
        return False
    upper, lower = (one, other) if one.comparison.startswith("<") else (other, one)
    if not (upper.comparison.startswith("<") and lower.comparison.startswith(">")):
        return False
    if upper.bound == lower.bound:
        return "=" not in upper.comparison or "=" not in lower.comparison
    return upper.bound < lower.bound


def _turned(condition: Condition) -> Condition:
    """The same condition with both keys exchanged: a < b + 1 as b > a - 1."""
    assert condition.bound_key is not None
    comparison = condition.comparison.translate(str.maketrans("<>", "><"))
    return Condition(condition.bound_key, comparison, condition.key, -condition.bound)


def _meet(one: str, other: str) -> bool:
    """Whether every key of one, with a star or without, is one of the other too."""
    return covers_key(one, other) or covers_key(other, one)
