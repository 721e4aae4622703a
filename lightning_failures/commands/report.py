"""The report of a run that is done, written again, and held against constraints."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lightning_failures.errors import InputError, UnknownNameError
from lightning_failures.records.strict_json import write_json

if TYPE_CHECKING:
    from lightning_failures.callbacks.gate.constraints import Outcome
    from lightning_failures.records.run_record import RunRecord

__all__ = ["report"]

WHERE = "report"
RECORDS = "records.json"


def report(
    run: Path,
    require: list[str] | None = None,
    name: str | None = None,
    epoch: int = -1,
    out: Path | None = None,
    json: Path | None = None,
) -> int:
    """Say the verdict on a run again, write its report anew, and fail where it does not satisfy constraints.

    A constraint is held against the last evaluation of every run of the folder, unless told otherwise; a value that is
    nan or was not logged at that evaluation does not satisfy it. The exit code tells a pipeline.

    Args:
        run: folder that FailureDiagnosis(report_dir=...) or the demo wrote, or its records.json.
        require: constraints, such as "failures/factors/error_ratio/worst <= 1.5"; a star stands for every name,
            and a name in quotes, single or double, may hold what it likes.
        name: the one run to look at, where the folder holds several.
        epoch: the evaluation to hold the constraints against, by its epoch; -1 is the last.
        out: folder for findings.json and report.html; without it the run's own.
        json: file for the outcomes that programs can read.

    Returns:
        The exit code: 0; 1 where a constraint is not satisfied.

    Raises:
        InputError: the folder holds no records, a constraint cannot be read, or a file cannot be written.
        UnknownNameError: no run has that name, or no evaluation that epoch.

    Example:
        lightning-failures report failures
        lightning-failures report failures --require "failures/factors/high/dark <= 2" "val_acc >= 0.8"
    """
    from lightning_failures.callbacks.gate.constraints import read_constraints

    constraints = [] if require is None else read_constraints(WHERE, require)
    folder, everything = _read(run, name)
    records = [record for record in everything if name in (None, record.name)]
    from lightning_failures.callbacks.columns import COLUMNS
    from lightning_failures.reporting.console import print_verdict
    from lightning_failures.reporting.report import write_report

    print_verdict(records, COLUMNS, report=write_report(out or folder, everything, COLUMNS, where=WHERE))
    outcomes = {record.name: _measure(record, constraints, epoch) for record in records}
    if json is not None:
        write_json(WHERE, json, {name: [one._asdict() for one in each] for name, each in outcomes.items()})
    if constraints:
        _print(outcomes)
        _say_what_may_be_meant(records, outcomes)
    return int(any(outcome.state != "holds" for each in outcomes.values() for outcome in each))


def _read(run: Path, name: str | None) -> "tuple[Path, list[RunRecord]]":
    from lightning_failures.records.run_record import read_records

    path = run if run.is_file() else run / RECORDS
    try:
        records = read_records(path)
    except OSError as error:
        fix = "Name a folder that FailureDiagnosis(report_dir=...) wrote."
        raise InputError(WHERE, "no records of a run", f"{path}: {error.strerror}", fix) from error
    except (ValueError, KeyError, TypeError) as error:
        given = f"{path}: {type(error).__name__} {error}"
        raise InputError(WHERE, "these are no records of a run", given, f"Name a folder with {RECORDS}.") from error
    names = [record.name for record in records]
    if name is not None and name not in names:
        raise UnknownNameError(WHERE, "no run has this name", repr(name), f"Use one of {', '.join(names)}.")
    return path.parent, records


def _measure(record: "RunRecord", constraints: Sequence[Any], epoch: int) -> "list[Outcome]":
    from lightning_failures.callbacks.freshness import under_both_names
    from lightning_failures.callbacks.gate.constraints import measure

    at = [evaluation for evaluation in record.evaluations if epoch in (-1, evaluation.epoch)]
    if epoch != -1 and not at:
        known = ", ".join(dict.fromkeys(str(evaluation.epoch) for evaluation in record.evaluations))
        raise UnknownNameError(
            WHERE, f"run {record.name!r} has no evaluation at this epoch", str(epoch), f"Use {known}."
        )
    asked = [key for constraint in constraints for key in constraint.keys("")]
    values = under_both_names(at[-1].values if at else {}, asked)
    return measure(constraints, under_both_names(record.last_values(), asked) | values, values)


def _say_what_may_be_meant(records: "Sequence[RunRecord]", outcomes: "dict[str, list[Outcome]]") -> None:
    """Keys that no run has logged are likely misspelt: those that are nearest to them, once each."""
    from rich.console import Console

    from lightning_failures.records.keys import unknown_key

    missing = dict.fromkeys(outcome.key for each in outcomes.values() for outcome in each if outcome.state == "missing")
    known = {key for record in records for key in record.last_values()}
    for key in missing if known else ():
        Console(highlight=False).print(unknown_key(key, known), soft_wrap=True, markup=False)


def _print(outcomes: "dict[str, list[Outcome]]") -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console(highlight=False)
    table = Table.grid(padding=(0, 1))
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for name, each in outcomes.items():
        for outcome in each:
            passed = outcome.state == "holds"
            word = Text("passed" if passed else "failed", style="green" if passed else "bold red")
            said = f"{outcome.said}, {outcome.bound}" if passed else outcome.why
            if console.is_terminal:
                table.add_row(word, Text(name, style="bold"), Text(said))
            else:  # a log file keeps whole lines
                console.print(Text.assemble(word, f" {name} {said}"), soft_wrap=True)
    if console.is_terminal:
        console.print()
        console.print(table, width=min(console.width, 110))
