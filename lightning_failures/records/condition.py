"""Conditions on logged values, written as text: ``failures/factors/error_ratio/worst <= 1.5``."""

import math
import operator
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace

from lightning_failures.errors import InputError
from lightning_failures.records.keys import fill_key, match_key, parse_key, without_names, write_key

__all__ = ["Condition"]

_COMPARISONS = {"<=": operator.le, ">=": operator.ge, "<": operator.lt, ">": operator.gt}
_OPERATORS = re.compile(r"[<>=]+|!=+")
_STANDING_ALONE = re.compile(rf"(?:^|(?<=\s))(?:{_OPERATORS.pattern})(?=\s|$)")
_BOUND = re.compile(r"(?P<key>.+?)(?:\s+(?P<sign>[+-])\s+(?P<offset>\S+(?:\s*%)?))?", re.DOTALL)
_PERCENTAGE = re.compile(r"([+-]?\d+(?:\.\d*)?)\s*%")
_COMMA = re.compile(r"([+-]?\d*),(\d+)")
_NO_KEY = re.compile(r"[-+.,\d]|(?:true|false|none|null)$|[^\w*]+$", re.IGNORECASE)
_FORM = "Write KEY <= BOUND with one of <, <=, >, >=; a bound is a number, a key, or a key + or - a number."
_SPACES = "Put white space on both sides of the one that compares, or quotes around the name: KEY/'size<16' <= BOUND."
_QUOTES = "Put quotes around the name that holds a comparison: KEY/'size < 16' <= BOUND."
_STARS = "Put a star into the key for each: a star of the bound stands for the same name as that of the key."


@dataclass(frozen=True)
class Condition:
    """One comparison of a logged value with a number, or with another logged value plus or minus a number.

    A ``*`` in the key stands for any one name and is the condition's subject, for example a factor; a ``*`` in the
    bound stands for the same name. Several stars stand for one name each, in order, and the subject is all of them,
    joined by slashes. A value that is missing or nan never fulfils a condition. :mod:`.keys` says how keys are written.

    Args:
        key: what is compared, as it is logged; may hold stars.
        comparison: one of ``<``, ``<=``, ``>``, ``>=``.
        bound_key: what it is compared with, as it is logged; None: a number.
        bound: the number, or what is added to the value of ``bound_key``.

    Example:
        >>> condition = Condition.parse("failures/factors/low/* > 1.5")
        >>> values = {"failures/factors/low/dark": 1.7, "failures/factors/low/bright": 0.9}
        >>> condition.subjects(values), condition.holds(values, "dark"), condition.holds(values, "bright")
        (['dark', 'bright'], True, False)
        >>> Condition.parse("accuracy > chance + 0.1").holds({"accuracy": 0.5, "chance": 0.3})
        True
        >>> Condition.parse('high/"CD8+/CD4-" <= 2').holds({"high/CD8+%2FCD4-": 1.5})
        True
    """

    key: str
    comparison: str
    bound_key: str | None
    bound: float

    @classmethod
    def parse(cls, text: str, where: str = "Condition") -> "Condition":
        """Read a condition.

        The comparison is the one with white space on both sides, so that names may hold ``<``, ``=`` and ``>``; only
        where there is none may it stand without: ``val_acc>=0.5``. What is in quotes or behind a backslash is no
        comparison, see :mod:`.keys`: ``high/"size < 16" <= 2``, ``high/'size<16'<2``.

        Args:
            text: ``KEY <= BOUND``.
            where: the public name that was called, for the error.

        Raises:
            InputError: it cannot be read, or can never hold; the error says at which position, counted from 1, and
                what the form is.
        """

        def refuse(wrong: str, position: int, fix: str = _FORM) -> InputError:
            return InputError(where, f"{wrong} at position {position + 1}", repr(text), fix)

        if not isinstance(text, str):
            kind = type(text).__name__
            article = "an" if kind[0] in "aeiou" else "a"
            raise InputError(where, f"a condition is a text, not {article} {kind}", repr(text), _FORM)
        bare = without_names(text)
        alone = list(_STANDING_ALONE.finditer(bare))
        found = alone or list(_OPERATORS.finditer(bare))
        if len(found) > 1 and not alone:
            raise refuse(f"a second comparison {found[1][0]!r}", found[1].start(), _SPACES)
        for operators in found:
            if operators[0] not in _COMPARISONS:
                raise refuse(f"{operators[0]!r} is no comparison", operators.start())
        if not found:
            raise refuse("no comparison", len(text.rstrip()))
        if len(found) > 1:
            raise refuse(f"a second comparison {found[1][0]!r}", found[1].start(), _QUOTES)
        (comparison,) = found
        key, bound = text[: comparison.start()].strip(), text[comparison.end() :].strip()
        if not key:
            raise refuse("no key", comparison.start())
        if _number(key) is not None or _PERCENTAGE.fullmatch(key) or _COMMA.fullmatch(key):
            raise refuse(f"a number, {key}, where the key belongs,", text.index(key))
        if not bound:
            raise refuse("no bound", len(text))
        key = parse_key(key, where, within=text, at=text.index(key))
        at = text.index(bound, comparison.end())
        number = _number(bound)
        if number is not None and not math.isfinite(number):
            raise refuse(f"a bound that is not finite, {bound},", at)
        if number is not None:
            return cls(key, comparison[0], None, number)
        parts = _BOUND.fullmatch(bare[at : at + len(bound)])
        assert parts is not None
        named, added = bound[: parts.end("key")], bound[parts.start("offset") :] if parts["offset"] else ""
        for figure, start in ((named, at), (added, at + parts.start("offset"))):
            if mended := _mended(figure):
                raise refuse(f"{mended[0]}, {figure},", start, f"Write {mended[1]}.")
        if _NO_KEY.match(parts["key"]):
            raise refuse(f"a bound that is neither a number nor a key, {named},", at)
        offset = _number(added) if added else 0.0
        if offset is None or not math.isfinite(offset):
            raise refuse(f"an offset that is no number, {added},", at + parts.start("offset"))
        bound_key = parse_key(named, where, within=text, at=at)
        if bound_key.count("*") > key.count("*"):
            raise refuse("more stars in the bound than in the key", at, _STARS)
        return cls(key, comparison[0], bound_key, -offset if parts["sign"] == "-" else offset)

    def __str__(self) -> str:
        return f"{write_key(self.key)} {self.bound_text}"

    @property
    def stars(self) -> int:
        """How many names a subject of it has."""
        return self.key.count("*")

    @property
    def bound_text(self) -> str:
        """The comparison and the bound as they are written: ``"<= 1.5"``."""
        if self.bound_key is None:
            return f"{self.comparison} {self.bound:g}"
        offset = f" {'-' if self.bound < 0 else '+'} {abs(self.bound):g}" if self.bound else ""
        return f"{self.comparison} {write_key(self.bound_key)}{offset}"

    def subjects(self, values: Mapping[str, float]) -> list[str]:
        """What the stars of the key stand for among these values, as it is logged; none without a star."""
        if not self.stars:
            return []
        start = self.key.partition("*")[0]
        possible = (match_key(self.key, key) for key in values if key.startswith(start))
        return [subject for subject in possible if subject is not None]

    def value(self, values: Mapping[str, float], subject: str = "") -> float:
        """The value that is compared; nan where it is missing."""
        return values.get(fill_key(self.key, subject), math.nan)

    def limit(self, values: Mapping[str, float], subject: str = "") -> float:
        """The bound; nan where it is missing."""
        if self.bound_key is None:
            return self.bound
        return values.get(fill_key(self.bound_key, subject), math.nan) + self.bound

    def keys(self, subject: str = "") -> list[str]:
        """The logged keys that it looks at; without a subject those with their stars."""
        return [fill_key(key, subject) for key in (self.key, self.bound_key) if key is not None]

    def of(self, subject: str) -> "Condition":
        """The same condition on one subject."""
        bound_key = None if self.bound_key is None else fill_key(self.bound_key, subject)
        return replace(self, key=fill_key(self.key, subject), bound_key=bound_key)

    def compare(self, value: float, limit: float) -> bool:
        """Whether a value and a bound compare so; never where one is nan."""
        return bool(_COMPARISONS[self.comparison](value, limit))

    def holds(self, values: Mapping[str, float], subject: str = "") -> bool:
        """Whether the value and the bound are there and compare so."""
        return self.compare(self.value(values, subject), self.limit(values, subject))


def _mended(text: str) -> tuple[str, str] | None:
    """What is wrong with a number as people write it, and how it is written here; None for everything else."""
    if percentage := _PERCENTAGE.fullmatch(text):
        return "a percentage", f"{float(percentage[1]) / 100:g}"
    if comma := _COMMA.fullmatch(text):
        point = f"{float(f'{comma[1]}.{comma[2]}'):g}"
        return "a number with a comma", f"{comma[1]}{comma[2]} or {point}" if len(comma[2]) == 3 else point
    return None


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None
