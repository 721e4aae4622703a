"""Writes kinds.md, what is watched of modules of many kinds, from runs of them: python -m docs.kinds."""

import tempfile
import warnings
from pathlib import Path

from tests.curves import FACTORS, RUNS, Curves, logged_by
from tests.kinds import KINDS, Kind, Row, row

PAGE = Path(__file__).with_name("kinds.md")
HEADS = ("module", "task that is found", "watched", "not watched, and why", "figures checked", "weights", "hooks left")
OPENING = """# Kinds of modules

Each module is trained with `failure_monitors()` and no further argument, beside a `FactorErrorMonitor`.
`python -m docs.kinds` writes this page, and tests run each line. *Figures checked* are those that a direct computation
with the last weights gives as well. *Weights*: those of a run with the monitors against those of a run without.
"""
CURVES = f"""
## How many curves

Runs with `failure_monitors(factors=..., groups=...)` and {FACTORS} factors, each counted in the CSV file that its
logger wrote. At most 40 keys are curves, and at most 12 of them have short names, such as `failures/accuracy`. A factor
and a layer that you name have a curve each, unless they are more than 16: name more than five layers beside {FACTORS}
factors, and there are more curves than 40. `detail="full"` logs every key.
"""
CURVES_HEADS = ("run", "curves", "short names", "which")


def line(name: str, kind: Kind, found: Row) -> str:
    """The line of one kind."""
    why = "; ".join(f"{what}: {_short(reason)}" for what, reason in found.left_out.items())
    wrong = [key for key, (one, other) in found.figures.items() if abs(one - other) > 1e-4 * max(1.0, abs(other))]
    checked = [f"{key.removeprefix('failures/')}{' WRONG' if key in wrong else ''}" for key in found.figures]
    weights = "bitwise the same" if found.same_weights else "OTHERS"
    cells = (name, found.task, ", ".join(found.watched) or "-", why or "-", ", ".join(checked) or "-", weights)
    return f"| {' | '.join((*cells, str(found.hooks)))} |"


def curves_line(name: str, logged: Curves) -> str:
    """The line of one run's curves."""
    which = ", ".join(sorted(key.removeprefix("failures/") for key in logged.short))
    return f"| {name} | {len(logged.short | logged.others)} | {len(logged.short)} | {which} |"


def page() -> str:
    """The page in Markdown."""
    table = [f"| {' | '.join(HEADS)} |", f"|{' --- |' * len(HEADS)}"]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of steps aside, which the page tells
        table += [line(name, kind, row(kind)) for name, kind in KINDS.items()]
        counts = [f"| {' | '.join(CURVES_HEADS)} |", f"|{' --- |' * len(CURVES_HEADS)}"]
        for name in RUNS:
            with tempfile.TemporaryDirectory() as folder:
                counts.append(curves_line(name, logged_by(name, Path(folder))))
    return "\n".join([OPENING, *table, CURVES, *counts]) + "\n"


def _short(reason: str) -> str:
    """The clause that says what is wrong."""
    clause = reason.partition("; given ")[0].partition(". ")[0]
    return clause.removeprefix("failure_monitors: ").removeprefix("FactorErrorMonitor: ").replace("|", "\\|")


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
