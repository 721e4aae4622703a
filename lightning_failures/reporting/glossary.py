"""What each logged figure means, with its range and its direction."""

from collections.abc import Iterable
from fnmatch import fnmatchcase

from lightning_failures.reporting.terms import Term
from lightning_failures.reporting.terms_channels import CHANNELS
from lightning_failures.reporting.terms_collapse import COLLAPSE
from lightning_failures.reporting.terms_factors import FACTORS
from lightning_failures.reporting.terms_simplicity import SIMPLICITY

__all__ = ["GLOSSARY", "Term", "glossary"]

GLOSSARY = (
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
    return [term for term in GLOSSARY if any(fnmatchcase(key, term.pattern) for key in keys)]
