"""The table of all logged keys in docs/, which is made from the columns' declarations."""

import runpy
from pathlib import Path

from lightning_failures.callbacks.columns import COLUMNS
from lightning_failures.records import Term
from lightning_failures.reporting.column import Column

DOCS = Path(__file__).resolve().parents[1] / "docs"
SCRIPT = runpy.run_path(str(DOCS / "keys.py"))


def test_the_committed_page_is_what_the_script_writes() -> None:
    written = SCRIPT["page"](COLUMNS)
    assert (DOCS / "keys.md").read_text(encoding="utf-8") == written, "Run python docs/keys.py."


def test_every_term_of_every_column_has_its_row() -> None:
    lines = (DOCS / "keys.md").read_text(encoding="utf-8").splitlines()
    for column in COLUMNS:
        for term in column.terms:
            (line,) = [line for line in lines if line.startswith(f"| `failures/{column.noun}/{term.key}` |")]
            assert term.meaning.replace("|", "\\|") in line


def test_a_row_says_all_that_a_term_declares() -> None:
    term = Term("rank/*", "A rank", "Directions, |x|.", "1 upwards", "describes", "directions", "no image", True)
    line = SCRIPT["page"]([Column("noun", (term,))]).splitlines()[-1]
    assert line == (
        "| `failures/noun/rank/*` | A rank | Directions, \\|x\\|. | directions | 1 upwards | describes | no image "
        "| yes |"
    )
