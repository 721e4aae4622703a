"""Conditions on logged values, written as text: ``failures/factors/error_ratio/worst <= 1.5``."""

import math
import operator
import re
from collections.abc import Mapping
from dataclasses import dataclass

from lightning_failures.errors import InputError

__all__ = ["Condition"]

_COMPARISONS = {"<=": operator.le, ">=": operator.ge, "<": operator.lt, ">": operator.gt}
_OPERATORS = re.compile(r"[<>=]+|!=+")
_BOUND = re.compile(r"(?P<key>.+?)(?:\s+(?P<sign>[+-])\s+(?P<offset>\S+))?")
_FORM = "Write KEY <= BOUND with one of <, <=, >, >=; a bound is a number, a key, or a key + or - a number."


@dataclass(frozen=True)
class Condition:
    """One comparison of a logged value with a number, or with another logged value plus or minus a number.

    A ``*`` in the key stands for any one name and is the condition's subject, for example a factor; a ``*`` in the
    bound stands for the same name. A value that is missing or nan never fulfils a condition.

    Example:
        >>> condition = Condition.parse("failures/factors/low/* > 1.5")
        >>> values = {"failures/factors/low/dark": 1.7, "failures/factors/low/bright": 0.9}
        >>> condition.subjects(values), condition.holds(values, "dark"), condition.holds(values, "bright")
        (['dark', 'bright'], True, False)
        >>> Condition.parse("accuracy > chance + 0.1").holds({"accuracy": 0.5, "chance": 0.3})
        True
    """

    key: str
    comparison: str
    bound_key: str | None
    bound: float

    @classmethod
    def parse(cls, text: str, where: str = "Condition") -> "Condition":
        """Read a condition.

        Args:
            text: ``KEY <= BOUND``.
            where: the public name that was called, for the error.

        Raises:
            InputError: it cannot be read; the error says at which position, counted from 1, and what the form is.
        """

        def refuse(wrong: str, position: int) -> InputError:
            return InputError(where, f"{wrong} at position {position + 1}", repr(text), _FORM)

        if not isinstance(text, str):
            raise InputError(where, f"a condition is a text, not a {type(text).__name__}", repr(text), _FORM)
        found = list(_OPERATORS.finditer(text))
        for operators in found:
            if operators[0] not in _COMPARISONS:
                raise refuse(f"{operators[0]!r} is no comparison", operators.start())
        if not found:
            raise refuse("no comparison", len(text.rstrip()))
        if len(found) > 1:
            raise refuse(f"a second comparison {found[1][0]!r}", found[1].start())
        (comparison,) = found
        key, bound = text[: comparison.start()].strip(), text[comparison.end() :].strip()
        if not key:
            raise refuse("no key", comparison.start())
        if _number(key) is not None:
            raise refuse(f"a number, {key}, where the key belongs,", text.index(key))
        if not bound:
            raise refuse("no bound", len(text))
        at = text.index(bound, comparison.end())
        number = _number(bound)
        if number is not None and not math.isfinite(number):
            raise refuse(f"a bound that is not finite, {bound},", at)
        if number is not None:
            return cls(key, comparison[0], None, number)
        parts = _BOUND.fullmatch(bound)
        assert parts is not None
        offset = _number(parts["offset"]) if parts["offset"] else 0.0
        if offset is None or not math.isfinite(offset):
            raise refuse(f"an offset that is no number, {parts['offset']},", at + parts.start("offset"))
        return cls(key, comparison[0], parts["key"], -offset if parts["sign"] == "-" else offset)

    def __str__(self) -> str:
        if self.bound_key is None:
            return f"{self.key} {self.comparison} {self.bound:g}"
        offset = f" {'-' if self.bound < 0 else '+'} {abs(self.bound):g}" if self.bound else ""
        return f"{self.key} {self.comparison} {self.bound_key}{offset}"

    def subjects(self, values: Mapping[str, float]) -> list[str]:
        """The names that the star of the key stands for among these values; none without a star."""
        if "*" not in self.key:
            return []
        before, after = self.key.split("*", 1)
        form = re.compile(re.escape(before) + "([^/]+)" + re.escape(after) + "$")
        return [found[1] for found in map(form.match, values) if found]

    def value(self, values: Mapping[str, float], subject: str = "") -> float:
        """The value that is compared; nan where it is missing."""
        return values.get(self.key.replace("*", subject), math.nan)

    def limit(self, values: Mapping[str, float], subject: str = "") -> float:
        """The bound; nan where it is missing."""
        if self.bound_key is None:
            return self.bound
        return values.get(self.bound_key.replace("*", subject), math.nan) + self.bound

    def keys(self, subject: str = "") -> list[str]:
        """The logged keys that it looks at."""
        return [key.replace("*", subject) for key in (self.key, self.bound_key) if key is not None]

    def compare(self, value: float, limit: float) -> bool:
        """Whether a value and a bound compare so; never where one is nan."""
        return bool(_COMPARISONS[self.comparison](value, limit))

    def holds(self, values: Mapping[str, float], subject: str = "") -> bool:
        """Whether the value and the bound are there and compare so."""
        return self.compare(self.value(values, subject), self.limit(values, subject))


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None
