"""Runs before and after a change, side by side: did it help?"""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from lightning_failures.commands.out_folder import make_out_folder
from lightning_failures.errors import InputError
from lightning_failures.records.strict_json import write_json

if TYPE_CHECKING:
    from lightning_failures.reporting.logged_runs import LoggedRun

__all__ = ["compare"]

WHERE = "compare"


def compare(
    runs: list[str],
    changed: list[str] | None = None,
    paired: bool = False,
    top: int = 20,
    out: Path | None = None,
    json: Path | None = None,
) -> int:
    """Did my change help? Compare a run with one after the change, or several of each, which differ by their seed.

    "compare BEFORE AFTER" compares two runs, "compare A1 A2 A3 --changed B1 B2 B3" three with three. With two runs or
    more on each side intervals are of the mean difference, seeds as replicates; with one they are made of those that
    the runs logged. What is compared are the last values of each run, and the findings that stand at its end.

    Args:
        runs: folders of reports (records.json), of a CSVLogger (metrics.csv) or of offline runs of W&B, or the files
            themselves; FOLDER:NAME is one run of a folder that holds several.
        changed: the runs after the change; without it, the second of two runs.
        paired: the n-th run of each side have the same seed, and are compared with each other.
        top: rows of the table on the console at most.
        out: folder for comparison.html.
        json: file for the same that programs can read.

    Returns:
        The exit code, 0.

    Raises:
        InputError: a folder without a run, a file that cannot be read or written, or runs that are not two sides.
        UnknownNameError: no run has that name.
        MissingPackageError: a run of W&B without wandb, or --out without jinja2.

    Example:
        lightning-failures compare runs/before runs/after --out comparison
        lightning-failures compare a1 a2 a3 --changed b1 b2 b3 --json -
    """
    from lightning_failures.callbacks.columns import COLUMNS
    from lightning_failures.reporting import comparison
    from lightning_failures.reporting.comparison_page import print_comparison, write_comparison
    from lightning_failures.reporting.comparison_text import as_data

    before, after = _sides(runs, changed, paired)
    if out is not None:
        make_out_folder(WHERE, out)
    found = comparison.compare(before, after, COLUMNS, paired)
    print_comparison(found, top)
    if json is not None:
        write_json(WHERE, json, as_data(found))
    if out is not None:
        sys.stdout.write(f"Page: {write_comparison(out, found, WHERE)}\n")
    return 0


def _sides(
    runs: Sequence[str], changed: Sequence[str] | None, paired: bool
) -> "tuple[list[LoggedRun], list[LoggedRun]]":
    """The runs before and after the change, each under a name of its own."""
    from lightning_failures.reporting.logged_runs import read_runs

    first = [run for path in runs for run in read_runs(WHERE, path)]
    second = [run for path in changed or () for run in read_runs(WHERE, path)]
    if changed is None:
        if len(first) != 2:
            fix = "Name two, or those after the change behind --changed; FOLDER:NAME is one run of a folder."
            given = f"{len(first)}: {', '.join(run.record.name for run in first[:6])}"
            raise InputError(WHERE, "not one run before and one after the change", given, fix)
        first, second = first[:1], first[1:]
    if paired and (len(first) != len(second) or len(first) < 2):
        given = f"{len(first)} before and {len(second)} after"
        fix = "Name as many on each side, two or more, in the same order of seeds."
        raise InputError(WHERE, "runs that make no pairs", given, fix)
    _name_apart([*first, *second], [*runs, *(changed or ())])
    return first, second


def _name_apart(runs: "Sequence[LoggedRun]", paths: Sequence[str]) -> None:
    """Number the runs where two have one name."""
    names = [run.record.name for run in runs]
    if len(set(names)) == len(names):
        return
    for place, run in enumerate(runs):
        if names.count(run.record.name) > 1:
            above = Path(paths[place]).resolve() if len(paths) == len(runs) else None
            run.record.name = f"{place + 1}: {above or run.record.name}"
