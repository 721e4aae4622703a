"""What one logged figure means: its name in words, unit, range, direction, and when it is nan."""

import math
import re
from collections.abc import Iterable, Mapping
from typing import Literal, NamedTuple, SupportsFloat

__all__ = ["Term", "find_term", "find_terms", "why_nan"]

#: Words of a range that are figures alone; "0 to 1 over a share" and "1 to 8; 0 for none" are not.
_BOUNDS = re.compile(r"(?P<low>-?[\d.]+) (?:upwards|(?:to|or) (?P<high>-?[\d.]+)|to the number of [^;]+)")


class Term(NamedTuple):
    """What one figure means; stands beside the code that computes it.

    A metric declares one for every key that its ``compute`` returns, a monitor one for every key that it logs.

    Args:
        key: of the figure: ``"effective_rank"``, or ``"share/*"``, where the star stands for any one name, the rest of
            the key.
        name: in words, as a title.
        meaning: what it is, in plain sentences.
        range: which values it takes.
        direction: which values are good, bad, or worth a look.
        unit: what it counts; empty: dimensionless.
        when_nan: why it is nan where it is; empty: it never is.
        headline: whether it is one of the few figures that a run is told by, and is logged as a curve by default; the
            others are details, which gates, rules and the record reach all the same.
        short: name of a headline that stands for its noun, such as ``"kept"``: it is logged as ``failures/kept``, which
            reads well in a narrow panel, in place of its own key; of a term with a star the worst of its names. Empty:
            a headline is logged under its own key.
        worst: which end of it is the worst.

    Example:
        >>> term = Term("rank", "Rank", "Number of directions.", "1 upwards", "describes")
        >>> term.of("{}/*").key, term.matches("rank"), term.of("{}/*").matches("rank/net.fc")
        ('rank/*', True, True)
    """

    key: str
    name: str
    meaning: str
    range: str
    direction: str
    unit: str = ""
    when_nan: str = ""
    headline: bool = False
    short: str = ""
    worst: Literal["max", "min"] = "max"

    @property
    def sign(self) -> int:
        """1 where higher is better, -1 where lower is, 0 where the direction begins with neither.

        Example:
            >>> directions = "higher is better", "lower is better; 0: none", "describes"
            >>> [Term("a", "A", "", "", direction).sign for direction in directions]
            [1, -1, 0]
        """
        return self.direction.startswith("higher is better") - self.direction.startswith("lower is better")

    @property
    def bounds(self) -> tuple[float | None, float | None]:
        """The ends of the range where its words are figures alone, for the axis of a picture; None: an open end.

        Example:
            >>> ranges = "0 to 1", "-1 to 1", "0 or 1", "1 upwards", "0 to the number of classes", "about 0 to 1"
            >>> [Term("a", "A", "", range, "").bounds for range in ranges]
            [(0.0, 1.0), (-1.0, 1.0), (0.0, 1.0), (1.0, None), (0.0, None), (None, None)]
        """
        found = _BOUNDS.fullmatch(self.range)
        if found is None:
            return None, None
        return float(found["low"]), None if found["high"] is None else float(found["high"])

    def of(self, form: str, name: str = "{}") -> "Term":
        """The same figure under another key, such as one per layer.

        Args:
            form: of the key, with ``{}`` where the key stood: ``"{}/*"``.
            name: of the name in words, likewise: ``"{} of a layer"``.
        """
        return self._replace(key=form.format(self.key), name=name.format(self.name))

    def matches(self, key: str) -> bool:
        """Whether the term explains a key."""
        if self.key.endswith("*"):
            return key.startswith(self.key[:-1]) and len(key) >= len(self.key)
        return key == self.key


def find_term(terms: Iterable[Term], key: str) -> Term | None:
    """The term that explains a key, the one without a star or with the longest part before it first; None without one.

    Example:
        >>> terms = [Term("ratio/*", "A ratio", "", "", ""), Term("ratio/worst", "The worst", "", "", "")]
        >>> find_term(terms, "ratio/worst").name, find_term(terms, "ratio/dark").name, find_term(terms, "other")
        ('The worst', 'A ratio', None)
    """
    return find_terms(terms, [key])[key]


def find_terms(terms: Iterable[Term], keys: Iterable[str]) -> dict[str, Term | None]:
    """The term that explains each of some hundred keys: key -> what :func:`find_term` gives, in the order of the keys.

    Example:
        >>> found = find_terms([Term("ratio/*", "A ratio", "", "", "")], ["ratio/dark", "other"])
        >>> {key: term and term.name for key, term in found.items()}
        {'ratio/dark': 'A ratio', 'other': None}
    """
    exact: dict[str, Term] = {}
    families: dict[str, Term] = {}  # by what stands before the star
    for term in terms:
        (families if term.key.endswith("*") else exact).setdefault(term.key.removesuffix("*"), term)
    lengths = sorted({len(start) for start in families}, reverse=True)
    found: dict[str, Term | None] = {}
    for key in keys:
        starts = (key[:length] for length in lengths if length < len(key))
        found[key] = exact.get(key) or next((families[start] for start in starts if start in families), None)
    return found


def why_nan(terms: Iterable[Term], values: Mapping[str, SupportsFloat]) -> dict[str, str]:
    """Why each figure that is nan is nan, as its term says: key -> reason, empty where no term explains the key.

    Example:
        >>> why_nan([Term("ratio/*", "", "", "", "", when_nan="no errors")], {"ratio/dark": math.nan, "ratio/red": 2.0})
        {'ratio/dark': 'no errors'}
    """
    found = find_terms(terms, (key for key, value in values.items() if math.isnan(value)))
    return {key: "" if term is None else term.when_nan for key, term in found.items()}
