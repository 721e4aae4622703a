"""What each logged figure means, with its range and its direction."""

from collections.abc import Iterable
from fnmatch import fnmatchcase

from lightning_failures.records.term import Term

__all__ = ["every_term", "glossary"]


def every_term() -> tuple[Term, ...]:
    """All terms."""
    from lightning_failures.callbacks.channels.terms import CHANNELS
    from lightning_failures.callbacks.collapse.terms import COLLAPSE
    from lightning_failures.callbacks.factors.terms import FACTORS
    from lightning_failures.callbacks.simplicity.terms import SIMPLICITY

    return (
        *FACTORS,
        *SIMPLICITY,
        *COLLAPSE,
        *CHANNELS,
        Term(
            "failures/*/chance",
            "Chance",
            "Accuracy of always naming the most frequent class.",
            "0 to 1",
            "an accuracy near it means that nothing was learned yet",
        ),
    )


def glossary(keys: Iterable[str]) -> list[Term]:
    """The terms that explain at least one of the keys."""
    keys = list(keys)
    return [term for term in every_term() if any(fnmatchcase(key, term.key) for key in keys)]
