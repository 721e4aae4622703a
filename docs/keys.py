"""Writes keys.md, the table of all logged keys, from what the columns declare: python docs/keys.py."""

from collections.abc import Sequence
from pathlib import Path

from lightning_failures.callbacks.columns import COLUMNS
from lightning_failures.records.term import Term
from lightning_failures.reporting.column import Column

PAGE = Path(__file__).with_name("keys.md")
HEADS = ("key", "name", "meaning", "unit", "range", "direction", "nan", "headline")
OPENING = """# What is logged

Each key that a monitor logs, as its column declares it; `python docs/keys.py` writes this page. A star stands for any
one name: a factor, a layer, a band, a cue. A monitor with a name of its own (`name="scanners"`) logs under
`failures/scanners/` what stands here under its noun. The glossary of the report is made from the same declarations.

The logger gets the headlines alone, `failure_monitors(detail="full")` gives it every key. A headline with a short name
is logged under that: `failures/kept`; where its key has a star, it is the worst of all names. A headline without one is
logged under its own key, unless it has more than 16 names. `failures/findings` counts the findings that stand, and the
table `failures/findings/table` has a row for each that was raised, became more severe, was explained or was cleared.
Gates, rules, `records.json` and the report reach every key, and the short names too. What was nan at every evaluation
so far is no curve.

A run that validates nothing is watched on the last batches of each training epoch, as the verdict and the record say.
What needs images that the model was not trained on is not told there: all of `failures/factors/`; accuracies of the
network and of its layers under `failures/collapse/`, the comparison with the linear reference and the accuracies on
changed images under `failures/simplicity/` are nan. `model_accuracy` and `reach/*` are then of training images.
"""


def page(columns: Sequence[Column]) -> str:
    """The page in Markdown: one table per noun, in the order of the columns."""
    parts = [OPENING]
    for column in columns:
        parts.append(f"## failures/{column.noun}/\n")
        if column.terms:
            parts.append(_table(HEADS, [_cells(column.noun, term) for term in column.terms]))
        if column.media:
            rows = [(f"`failures/{column.noun}/{each.key}`", each.kind, each.title) for each in column.media]
            parts.append(_table(("key", "picture or table", "what it shows"), rows))
    return "\n".join(parts)


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    return "".join(f"| {' | '.join(row)} |\n" for row in (heads, ("---",) * len(heads), *rows))


def _cells(noun: str, term: Term) -> tuple[str, ...]:
    said = (term.name, term.meaning, term.unit or "1", term.range, term.direction, term.when_nan or "never")
    words = (text.replace("|", "\\|") for text in said)
    headline = f"`failures/{term.short}`" if term.short else "yes" if term.headline else ""
    return (f"`failures/{noun}/{term.key}`", *words, headline)


if __name__ == "__main__":
    PAGE.write_text(page(COLUMNS), encoding="utf-8")
