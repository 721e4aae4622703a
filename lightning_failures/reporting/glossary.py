"""What each logged figure means, in the words that its column declares."""

from collections.abc import Iterable, Sequence

from lightning_failures.records.headlines import short_term
from lightning_failures.records.run_record import RunRecord
from lightning_failures.records.term import Term, find_terms
from lightning_failures.reporting.column import Column

__all__ = ["glossary"]


def glossary(keys: Iterable[str], columns: Sequence[Column], records: Sequence[RunRecord] = ()) -> list[Term]:
    """The terms that explain at least one of the keys, under their whole keys and in the order of the columns.

    Args:
        keys: logged keys.
        columns: whose terms are looked up.
        records: runs that say which monitors had a name of their own.
    """
    terms = []
    for column in columns:
        names = dict.fromkeys([column.noun, *(name for record in records for name in record.names_of(column.noun))])
        terms += [term.of(f"failures/{name}/{{}}") for name in names for term in column.terms]
        of = {name: "failures" if name == column.noun else f"failures/{name}" for name in names}
        terms += [short_term(term, of[name]) for name in names for term in column.terms if term.short]
    used = set(find_terms(terms, keys).values())
    return [term for term in terms if term in used]
