"""Conditions on logged values, written as text: ``failures/factors/error_ratio/worst <= 1.5``."""

import math
import operator
import re
from collections.abc import Mapping
from dataclasses import dataclass

from lightning_failures.errors import InputError

__all__ = ["Condition"]

_COMPARISONS = {"<=": operator.le, ">=": operator.ge, "<": operator.lt, ">": operator.gt}
_FORM = re.compile(r"^\s*(?P<key>[^<>=\s][^<>=]*?)\s*(?P<comparison><=|>=|<|>)\s*(?P<bound>[^<>=]+?)\s*$")
_BOUND = re.compile(r"^(?P<key>.+?)(?:\s+(?P<sign>[+-])\s+(?P<offset>\S+))?$")


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
    def parse(cls, text: str) -> "Condition":
        """Read a condition; an error says what its form is."""
        found = _FORM.match(text)
        if found is None:
            raise InputError(
                "Condition",
                "this is not a condition",
                repr(text),
                "Write KEY < BOUND with one of <, <=, >, >=; a bound is a number, a key, or a key + or - a number.",
            )
        bound = _BOUND.match(found["bound"])
        assert bound is not None
        number = _number(found["bound"])
        if number is not None:
            return cls(found["key"], found["comparison"], None, number)
        offset = _number(bound["offset"]) if bound["offset"] else 0.0
        if offset is None:
            raise InputError(
                "Condition", f"the bound's offset {bound['offset']!r} is not a number", repr(text), "Write KEY + 0.1."
            )
        return cls(found["key"], found["comparison"], bound["key"], -offset if bound["sign"] == "-" else offset)

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

    def holds(self, values: Mapping[str, float], subject: str = "") -> bool:
        """Whether the value and the bound are there and compare so."""
        compare = _COMPARISONS[self.comparison]
        return bool(compare(self.value(values, subject), self.limit(values, subject)))


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None
