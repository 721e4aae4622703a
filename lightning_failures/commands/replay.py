"""When a failure of a past training began: the monitors over its saved checkpoints."""

import logging
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from math import isnan
from pathlib import Path
from textwrap import shorten
from typing import TYPE_CHECKING, Any

from lightning_failures.commands.options import read_wavelengths
from lightning_failures.commands.out_folder import make_out_folder
from lightning_failures.commands.user_code import import_named
from lightning_failures.errors import InputError
from lightning_failures.records.kind import MONITOR_ERROR
from lightning_failures.records.strict_json import write_json

if TYPE_CHECKING:
    from lightning.pytorch import Callback, LightningModule, Trainer

    from lightning_failures.callbacks.replay.checkpoints import Found, SavedCheckpoint
    from lightning_failures.records.finding import Finding
    from lightning_failures.records.run_record import RunRecord

__all__ = ["replay"]

WHERE = "replay"


def replay(
    checkpoints: list[Path],
    module: str | None = None,
    data: str | None = None,
    factors: Path | None = None,
    groups: str | None = None,
    wavelengths: Path | None = None,
    unit: str | None = None,
    classes: Path | None = None,
    accelerator: str = "auto",
    precision: str = "32-true",
    seed: int = 0,
    trust: bool = False,
    name: str = "replay",
    out: Path | None = None,
    json: Path | None = None,
) -> int:
    """Say when a failure of a past training began, from the checkpoints that it saved.

    Each checkpoint goes through the validation of the training, at its own epoch and step, with all monitors, and the
    rules run over the sequence. The figures are those of a live run. What needs training steps, such as gradients, the
    training loss and the learning rate, is left out. No step is taken, and files are only read.

    Args:
        checkpoints: files that Lightning wrote, patterns such as "run/*.ckpt", or folders with files .ckpt; in any
            order, since epoch and step are read off the files.
        module: the LightningModule that was trained, as package.module:Class or file.py:Class, which is made with the
            hyperparameters of the first checkpoint; or a function that returns one.
        data: a LightningDataModule, as package.module:Class or file.py:Class; or a function that returns one, the
            validation loader, or a pair of loaders for training and validation; without it the module has loaders of
            its own. Without training images, what is held against them is left out.
        factors: a CSV file with one column for each factor, and one row for each validation image in its order or, with
            a column file_name, in any order.
        groups: which images belong together: a path into the batch, such as meta.patient or 2.
        wavelengths: text file of one number per channel.
        unit: of the wavelengths, nm, um or cm-1.
        classes: text file of one name per class, in their order.
        accelerator: where to run, such as cpu or gpu; one device is used.
        precision: of the training, such as bf16-mixed.
        seed: of the order of training images, where they are shuffled.
        trust: read checkpoints that hold more than weights and plain values; such a file may run code.
        name: of the run, in the report.
        out: folder for report.html, records.json and findings.json.
        json: file for a summary that programs can read.

    Returns:
        The exit code, 0.

    Raises:
        InputError: no checkpoint can be read, one is not to be trusted or is of another module, there are no validation
            images, or module, data or an option cannot be used.
        UnknownNameError: no such module, class or function.

    Example:
        lightning-failures replay checkpoints --module my_package.model:Classifier --data my_package.data:loaders
        lightning-failures replay run/*.ckpt --module train.py:Classifier --data train.py:Images --out replay --json -
    """
    if module is None:
        fix = "Name the class that was trained: --module train.py:Classifier."
        raise InputError(WHERE, "--module is missing", "checkpoints alone", fix)
    if out is not None:
        make_out_folder(WHERE, out)
    from rich.console import Console

    from lightning_failures.callbacks.findings.diagnosis import FailureDiagnosis
    from lightning_failures.callbacks.replay.checkpoints import find_checkpoints
    from lightning_failures.callbacks.replay.run import play
    from lightning_failures.callbacks.suite import failure_monitors
    from lightning_failures.reporting.sentences import accuracy_key, title

    console = Console(highlight=False)
    whole = not console.is_terminal  # a log file keeps whole lines
    found = find_checkpoints(WHERE, checkpoints, trust=trust)
    again = {file: f"it is of the same step as {other.name}" for file, other in found.repeated.items()}
    for file, why in (found.skipped | again).items():
        console.print(f"{file.name} is left out: {why}.", markup=False, soft_wrap=whole)
    monitors = failure_monitors(
        factors=factors,
        groups=groups,
        wavelengths=None if wavelengths is None else read_wavelengths(WHERE, wavelengths),
        unit=unit,
        class_names=None if classes is None else _lines(classes),
    )
    monitors[-1] = diagnosis = FailureDiagnosis(report_dir=out, name=name, announce="nothing")
    net, images = _module(module, found.checkpoints[0], trust), _data(data, found.checkpoints[0], trust)
    told = 0

    def tell(checkpoint: "SavedCheckpoint", trainer: "Trainer") -> None:
        nonlocal told
        record = diagnosis.record
        values = {"accuracy": record.last(accuracy_key(record) or ""), "val_loss": record.last("val_loss")}
        shown = ", ".join(f"{name} {value:.3g}" for name, value in values.items() if not isnan(value))
        new = ", ".join(title(each) for each in diagnosis.history[told:] if each.kind != MONITOR_ERROR)
        told = len(diagnosis.history)
        line = f"epoch {checkpoint.epoch}, step {checkpoint.step:,} ({checkpoint.file.name}): {shown or 'evaluated'}"
        console.print(f"{line}; first seen: {new}" if new else line, markup=False, soft_wrap=whole)

    options = {"accelerator": accelerator, "precision": precision}
    with _quiet():
        record = play(
            WHERE, found.checkpoints, net, images, monitors, trust=trust, seed=seed, trainer=options, tell=tell
        )
    _say(record, found, out)
    if json is not None:
        write_json(WHERE, json, _summary(record, found, monitors))
    return 0


def _say(record: "RunRecord", found: "Found", out: Path | None) -> None:
    """The verdict, and of each finding the checkpoint at which it was first seen."""
    from rich.console import Console
    from rich.padding import Padding
    from rich.rule import Rule
    from rich.table import Table
    from rich.text import Text

    from lightning_failures.callbacks.columns import COLUMNS
    from lightning_failures.reporting.console import STYLES, print_verdict
    from lightning_failures.reporting.sentences import title

    print_verdict([record], COLUMNS, report=None if out is None else out / "report.html")
    console = Console(highlight=False)
    width = min(console.width, 110)  # as the verdict
    if out is not None:
        console.print()
    console.print(Rule(Text("When it began", style="bold"), align="left", style="dim"), width=width)
    grid = Table.grid(padding=(0, 1))
    grid.add_column(width=7)
    grid.add_column(overflow="fold")
    said: set[str] = set()
    found_here = [finding for finding in record.findings if finding.kind != MONITOR_ERROR]
    for finding in found_here:
        if title(finding) in said:  # by another rule, while the first of its title stands
            continue
        said |= {title(finding)} if finding.standing else set()
        word = finding.severity if finding.standing else "cleared"
        grid.add_row(Text(word, style=STYLES[word]), Text(title(finding), style="bold"))
        grid.add_row("", Text(_began(finding, found.checkpoints)))
    if not found_here:
        count = len(found.checkpoints)
        where = "the one checkpoint" if count == 1 else f"any of the {count} checkpoints"
        grid.add_row("clear", Text(f"Nothing was found at {where}."))
    console.print(Padding(grid, (0, 0, 0, 2)), width=width)


def _began(finding: "Finding", checkpoints: "Sequence[SavedCheckpoint]") -> str:
    """At which checkpoint a finding was first seen, and which was the one before it."""
    at = next(place for place, each in enumerate(checkpoints) if each.step == finding.step)
    before = checkpoints[at - 1] if at else None
    last = f"the one before is of epoch {before.epoch}, step {before.step:,}" if before else "the first checkpoint"
    seen = f"first seen at epoch {finding.epoch}, step {finding.step:,} ({checkpoints[at].file.name}; {last})"
    return seen if finding.standing else f"{seen}, cleared at epoch {finding.cleared}"


def _summary(record: "RunRecord", found: "Found", monitors: "Sequence[Callback]") -> dict[str, Any]:
    from lightning_failures.callbacks.monitor import Monitor

    files = {checkpoint.step: checkpoint.file.name for checkpoint in found.checkpoints}
    return {
        "checkpoints": [{"file": str(file), "epoch": epoch, "step": step} for file, epoch, step in found.checkpoints],
        "skipped": {str(file): why for file, why in found.skipped.items()},
        "repeated": {str(file): str(other) for file, other in found.repeated.items()},
        "findings": [finding.to_dict() | {"checkpoint": files[finding.step]} for finding in record.findings],
        "not_watched": record.not_watched,
        "not_replayed": {
            f"failures/{monitor.name}/{key}": why
            for monitor in monitors
            if isinstance(monitor, Monitor)
            for key, why in monitor.not_replayed.items()
        },
        "values": record.last_values(),
    }


def _module(name: str, first: "SavedCheckpoint", trust: bool) -> "LightningModule":
    made: LightningModule = _make("--module", name, first, trust)
    return made


def _data(name: str | None, first: "SavedCheckpoint", trust: bool) -> Any:
    if name is None:
        return None
    made = _make("--data", name, first, trust)
    if isinstance(made, list) and len(made) == 2:
        return tuple(made)
    return made


def _make(option: str, name: str, first: "SavedCheckpoint", trust: bool) -> Any:
    """What a function returns; of a class one that is made with the hyperparameters of a checkpoint."""
    from lightning_failures.callbacks.replay.checkpoints import load_checkpoint

    make = import_named(WHERE, option, name)
    loads = isinstance(make, type) and hasattr(make, "load_from_checkpoint")
    if loads and option == "--data":
        loads = "datamodule_hyper_parameters" in load_checkpoint(WHERE, first.file, trust=trust, lazily=True)
    try:
        return make.load_from_checkpoint(first.file, map_location="cpu", **_unsafely(trust)) if loads else make()
    except (TypeError, RuntimeError) as error:
        why, where, said = f"{option} cannot be made", name, " ".join(str(error).split())
        if "loading state_dict" in said:
            said = said.partition(": ")[2]
            why, where = "the weights are of another module", f"{first.file.name} for {name}"
        given = f"{where}: {shorten(said, 200, placeholder=' ...')}"
        fix = "Name the class that was trained, or a function that returns it, such as file.py:make."
        raise InputError(WHERE, why, given, fix) from error


def _unsafely(trust: bool) -> dict[str, bool]:
    """Lightning before 2.6 has no such option, and reads what was seen to be plain."""
    import inspect

    from lightning.pytorch import LightningModule

    known = "weights_only" in inspect.signature(LightningModule.load_from_checkpoint).parameters
    return {"weights_only": not trust} if known else {}


def _lines(path: Path) -> Sequence[str]:
    try:
        return [line.strip() for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        given = f"{path}: {getattr(error, 'strerror', None) or error}"
        raise InputError(WHERE, "the class names cannot be read", given, "Write one name on each line.") from error


@contextmanager
def _quiet() -> Iterator[None]:
    """Without Lightning's lines on devices and tips, and its advice on loaders."""
    from lightning.fabric.utilities.warnings import PossibleUserWarning

    loggers = [logging.getLogger(name) for name in ("lightning.pytorch", "pytorch_lightning")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", PossibleUserWarning)
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
