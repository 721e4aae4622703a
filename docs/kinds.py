"""Writes kinds.md, what is watched of modules of many kinds, from runs of them: python -m docs.kinds."""

import warnings
from pathlib import Path

from tests.kinds import KINDS, Kind, Row, row

PAGE = Path(__file__).with_name("kinds.md")
HEADS = ("module", "task that is found", "watched", "not watched, and why", "figures checked", "weights", "hooks left")
OPENING = """# Kinds of modules

Each module is trained with `failure_monitors()` and no further argument, beside a `FactorErrorMonitor`.
`python -m docs.kinds` writes this page, and tests run each line. *Figures checked* are those that a direct computation
with the last weights gives as well. *Weights*: those of a run with the monitors against those of a run without.
"""


def line(name: str, kind: Kind, found: Row) -> str:
    """The line of one kind."""
    why = "; ".join(f"{what}: {_short(reason)}" for what, reason in found.left_out.items())
    wrong = [key for key, (one, other) in found.figures.items() if abs(one - other) > 1e-4 * max(1.0, abs(other))]
    checked = [f"{key.removeprefix('failures/')}{' WRONG' if key in wrong else ''}" for key in found.figures]
    weights = "bitwise the same" if found.same_weights else "OTHERS"
    cells = (name, found.task, ", ".join(found.watched) or "-", why or "-", ", ".join(checked) or "-", weights)
    return f"| {' | '.join((*cells, str(found.hooks)))} |"


def page() -> str:
    """The page in Markdown."""
    table = [f"| {' | '.join(HEADS)} |", f"|{' --- |' * len(HEADS)}"]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of steps aside, which the page tells
        table += [line(name, kind, row(kind)) for name, kind in KINDS.items()]
    return "\n".join([OPENING, *table]) + "\n"


def _short(reason: str) -> str:
    """The clause that says what is wrong."""
    clause = reason.partition("; given ")[0].partition(". ")[0]
    return clause.removeprefix("failure_monitors: ").removeprefix("FactorErrorMonitor: ").replace("|", "\\|")


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
