"""What each logged figure means, in the words that its column declares."""

from collections.abc import Iterable, Sequence

from lightning_failures.records.term import Term, find_term
from lightning_failures.reporting.column import Column

__all__ = ["glossary"]


def glossary(keys: Iterable[str], columns: Sequence[Column]) -> list[Term]:
    """The terms that explain at least one of the keys, under their whole keys and in the order of the columns.

    Args:
        keys: logged keys.
        columns: whose terms are looked up.
    """
    terms = [term.of(f"failures/{column.noun}/{{}}") for column in columns for term in column.terms]
    used = {find_term(terms, key) for key in keys}
    return [term for term in terms if term in used]
