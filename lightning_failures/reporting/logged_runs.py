"""Runs as they lie on disk: a report's records, CSV logs, and offline runs of W&B, each read as a run record."""

import csv
import json
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from lightning_failures.errors import InputError, MissingPackageError, UnknownNameError
from lightning_failures.records.run_record import Evaluation, RunRecord, read_records

__all__ = ["LoggedRun", "read_runs"]

RECORDS, METRICS = "records.json", "metrics.csv"
FIX = (
    "Name a folder that FailureDiagnosis(report_dir=...) or the demo wrote, the folder of a CSVLogger, or an offline "
    "run of W&B."
)


class LoggedRun(NamedTuple):
    """One run, and what it was read from.

    Args:
        record: of the run; its name tells it from others that were read with it.
        source: ``"records"``, which hold its findings too; ``"csv"`` or ``"wandb"``, which hold logged figures alone.
        notes: what was wrong with the file, in plain sentences.
    """

    record: RunRecord
    source: str
    notes: tuple[str, ...] = ()

    @property
    def tells_findings(self) -> bool:
        """Whether its source holds the findings of the run."""
        return self.source == "records"


def read_runs(where: str, path: str | Path) -> list[LoggedRun]:
    """All runs of a folder or a file, in the order in which they stand there.

    A folder is a report's with ``records.json``, that of a CSV log with ``metrics.csv``, or a run of W&B with its
    ``.wandb`` file; failing these, all runs in the folders directly below it, and in ``wandb`` and ``csv`` below it.
    ``FOLDER:NAME`` is the one run of that name. What a killed run left of its log is read as far as it goes.

    Args:
        where: the public name to put into an error.
        path: the folder or the file.

    Raises:
        InputError: there is no run, or a file that cannot be read.
        UnknownNameError: no run has that name.
        MissingPackageError: a run of W&B, and wandb is not installed.
    """
    given = Path(path)
    folder, colon, name = str(path).rpartition(":")
    if given.exists() or not colon or not Path(folder).exists():
        return _all(where, given)
    runs = _all(where, Path(folder))
    named = [run for run in runs if name in (run.record.name, run.record.name.rpartition(":")[2])]
    if not named:
        known = ", ".join(run.record.name.rpartition(":")[2] for run in runs)
        raise UnknownNameError(where, "no run has this name", repr(name), f"Use one of {known}.")
    return named


def _all(where: str, path: Path) -> list[LoggedRun]:
    found = list(_found(path)) if path.is_dir() else [path]
    if not found or not path.exists():
        wrong = "no such folder or file" if not path.exists() else "a folder without a run"
        raise InputError(where, wrong, str(path), FIX)
    return [run for each in found for run in _read(where, each)]


def _found(folder: Path) -> Iterator[Path]:
    """The files of the runs of a folder."""
    if own := _own(folder):
        yield own
        return
    inner = [each for each in sorted(folder.iterdir()) if each.is_dir() and not each.is_symlink()]
    for each in inner:
        if own := _own(each):
            yield own
        elif each.name in ("wandb", "csv", "lightning_logs"):
            yield from _found(each)


def _own(folder: Path) -> Path | None:
    for name in (RECORDS, METRICS):
        if (folder / name).is_file():
            return folder / name
    return next(iter(sorted(folder.glob("run-*.wandb"))), None)


def _read(where: str, path: Path) -> list[LoggedRun]:
    try:
        if path.suffix == ".wandb":
            return [_wandb(path)]
        if path.suffix == ".csv":
            return [_csv(where, path)]
        records = read_records(path)
    except MissingPackageError:
        raise
    except OSError as error:
        raise InputError(where, "a run that cannot be read", f"{path}: {error.strerror}", FIX) from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        said = " ".join(f"{type(error).__name__} {error}".split())[:200]
        raise InputError(where, "these are no records of a run", f"{path}: {said}", FIX) from error
    folder = path.resolve().parent.name
    for record in records:
        record.name = f"{folder}:{record.name}" if len(records) > 1 else folder
    return [LoggedRun(record, "records") for record in records]


def _csv(where: str, path: Path) -> LoggedRun:
    """A CSV log of Lightning, one evaluation for each of its lines."""
    with path.open(newline="", encoding="utf-8", errors="replace") as file:
        text = file.read()
    lines = list(csv.reader(text.splitlines()))
    if not lines or not lines[0]:
        raise InputError(where, "an empty log", str(path), FIX)
    head, rows, notes = lines[0], lines[1:], tuple[str, ...]()
    torn = bool(rows) and (len(rows[-1]) < len(head) or not text.endswith(("\n", "\r")))
    if torn:
        rows = rows[:-1]
        notes = (f"The last line of {path} is torn, as a killed run leaves it; it was left out.",)
    read = ({key: _number(cell) for key, cell in zip(head, row, strict=False) if cell != ""} for row in rows)
    return LoggedRun(RunRecord(_name(path), list(_evaluations(read, "step"))), "csv", notes)


def _wandb(path: Path) -> LoggedRun:
    """An offline run of W&B, one evaluation for each step of its history."""
    from lightning_failures.reporting.wandb import read_history

    history, whole = read_history(path)
    notes = () if whole else (f"{path} ends in the middle, as a killed run leaves it; it was read up to there.",)
    read = ({key: _plain(text) for key, text in row.items()} for row in history)
    return LoggedRun(RunRecord(_name(path), list(_evaluations(read, "trainer/global_step", "_step"))), "wandb", notes)


def _evaluations(rows: "Iterator[dict[str, float]]", *step_keys: str) -> Iterator[Evaluation]:
    """Lines of a log; one without an epoch belongs to the epoch of the line before."""
    epoch = step = 0
    for row in rows:
        epoch = _whole(row, epoch, "epoch")
        step = _whole(row, step, *step_keys)
        values = {key: value for key, value in row.items() if key not in ("epoch", *step_keys) and key[:1] != "_"}
        if values:
            yield Evaluation(epoch, step, values)


def _whole(row: Mapping[str, float], before: int, *keys: str) -> int:
    return next((int(row[key]) for key in keys if math.isfinite(row.get(key, math.nan))), before)


def _number(cell: str) -> float:
    try:
        return float(cell)
    except ValueError:
        return math.nan


def _plain(text: str) -> float:
    """A value of a history, which W&B writes as JSON; nan for what is no number."""
    try:
        value = json.loads(text)
    except ValueError:
        return math.nan
    if isinstance(value, str):
        return {"Infinity": math.inf, "-Infinity": -math.inf}.get(value, math.nan)
    return float(value) if isinstance(value, int | float) else math.nan


def _name(path: Path) -> str:
    """The name of the folder, with that above it where it says nothing, as that of ``version_0``."""
    folder = path.resolve().parent
    return f"{folder.parent.name}/{folder.name}" if folder.name.startswith("version_") else folder.name
