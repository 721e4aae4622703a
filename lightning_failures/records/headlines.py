"""Which of the figures of an evaluation are logged as curves by default: few, so that the message does not drown."""

import math
from collections.abc import Iterable, Mapping, Sequence

from lightning_failures.records.keys import RESERVED
from lightning_failures.records.term import Term, find_terms

__all__ = ["MOST_NAMES", "curves", "short_term", "told_by", "worst_of"]

#: A family of figures with more names than these, such as one for each of 500 patients, is no set of curves.
MOST_NAMES = 16


def told_by(terms: Iterable[Term], short: Mapping[str, tuple[str, str]], own: Iterable[str] = ()) -> tuple[Term, ...]:
    """The terms of a column, with those marked that a run is told by, and no others.

    Args:
        terms: all of them.
        short: key of a term -> its short name, and which end is the worst, ``"max"`` or ``"min"``.
        own: keys of those that are logged under their own key.

    Example:
        >>> terms = [Term(key, "", "", "", "") for key in ("kept/*", "rank/*", "images")]
        >>> [(term.key, term.headline, term.short) for term in told_by(terms, {"kept/*": ("kept", "min")}, ["rank/*"])]
        [('kept/*', True, 'kept'), ('rank/*', True, ''), ('images', False, '')]
    """
    own = set(own)
    return tuple(
        term._replace(
            headline=term.key in own or term.key in short,
            short=short.get(term.key, ("", ""))[0],
            worst="min" if short.get(term.key, ("", ""))[1] == "min" else "max",
        )
        for term in terms
    )


def worst_of(terms: Sequence[Term], values: Mapping[str, float]) -> dict[str, float]:
    """Short name -> value: of a term with a star the worst of its names that are defined, nan where none is.

    Where two terms share a short name, since a run has the one or the other, that which is defined stands.

    Args:
        terms: of a monitor.
        values: statistic -> value.

    Example:
        >>> terms = told_by([Term("kept/*", "", "", "", "")], {"kept/*": ("kept", "min")})
        >>> worst_of(terms, {"kept/stem": 0.9, "kept/head": 0.2, "images": 7})
        {'kept': 0.2}
    """
    found: dict[str, float] = {}
    families = _families(terms, values)
    for term in terms:
        if term.short and (its := [values[key] for key in families.get(term.key, ())]):
            defined = [value for value in its if not math.isnan(value)]
            value = math.nan if not defined else min(defined) if term.worst == "min" else max(defined)
            if math.isnan(found.get(term.short, math.nan)):
                found[term.short] = value
    return found


def short_term(term: Term, folder: str = "failures") -> Term:
    """What a short name means: the term under that key.

    Example:
        >>> short_term(Term("kept/*", "What a layer kept", "A share.", "", "", short="kept", worst="min")).meaning
        'The smallest of kept/*: A share.'
    """
    worst = "smallest" if term.worst == "min" else "largest"
    said = f"The {worst} of {term.key}: {term.meaning}" if term.key.endswith("*") else f"{term.key}: {term.meaning}"
    return term._replace(key=f"{folder}/{term.short}", meaning=said)


def curves(terms: Sequence[Term], keys: Iterable[str]) -> set[str]:
    """Those of the statistics that are logged under their own keys by default.

    Example:
        >>> terms = told_by([Term("error_ratio/*", "", "", "", "")], {}, ["error_ratio/*"])
        >>> sorted(curves(terms, ["error_ratio/dark", "error_ratio/pose"]))
        ['error_ratio/dark', 'error_ratio/pose']
        >>> curves(terms, [f"error_ratio/patient {i}" for i in range(500)])
        set()
    """
    families = _families(terms, keys)
    shown = [families.get(term.key, []) for term in terms if term.headline and not term.short]
    return {key for its in shown if len(its) <= MOST_NAMES for key in its}


def _families(terms: Sequence[Term], keys: Iterable[str]) -> dict[str, list[str]]:
    """Key of a term -> the statistics that it explains; of one with a star without those that sum its names up."""
    found: dict[str, list[str]] = {}
    for key, term in find_terms(terms, keys).items():
        if term is not None and not (term.key.endswith("*") and key.split("/")[-1] in RESERVED):
            found.setdefault(term.key, []).append(key)
    return found
