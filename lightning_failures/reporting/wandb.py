"""All that knows W&B: tables that grow, images, alerts and the summary of a run, offline runs included."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

from lightning.pytorch.loggers import WandbLogger

from lightning_failures.errors import MissingPackageError
from lightning_failures.records.finding import Evidence
from lightning_failures.records.strict_json import strict
from lightning_failures.reporting.thinning import Thinning

__all__ = [
    "annotate_models",
    "define_curves",
    "flush",
    "log_alert",
    "log_config",
    "log_image",
    "log_image_table",
    "log_summary",
    "log_table",
    "read_history",
]

LEVELS = {"info": "INFO", "watch": "INFO", "warning": "WARN", "failure": "ERROR"}

#: Increments of a table that are made at once; W&B shows the latest 100.
DENSE = 50


@dataclass
class _Growing:
    """A table that grows, and what of it was not sent so far."""

    table: Any
    thinning: Thinning = field(default_factory=lambda: Thinning(DENSE))
    turn: int = 0
    step: int = 0
    waits: bool = False

    def log(self, logger: WandbLogger, key: str) -> None:
        self.waits = not self.thinning.logged(self.turn)
        _log(logger, key, self.table, self.step)


# An incremental table must be the same object at each evaluation; it lives as long as its logger.
_tables: "WeakKeyDictionary[WandbLogger, dict[tuple[str, str], _Growing]]" = WeakKeyDictionary()
# Rows of the history that are not ended so far: the number that W&B will give them, and the global step.
_open_rows: "WeakKeyDictionary[WandbLogger, tuple[int, int]]" = WeakKeyDictionary()


def log_table(
    logger: WandbLogger, key: str, columns: Sequence[str], rows: Sequence[Sequence[Evidence]], step: int
) -> None:
    """Add rows to the run's one table of this key, which grows over the run and can be filtered by its columns.

    Each increment holds the new rows only, so that the cost (about 20 ms) does not grow with the run. W&B shows the
    latest 100 increments: after the first 50 they are made further and further apart, and :func:`flush` makes the last.
    """
    import wandb

    tables = _tables.setdefault(logger, {})
    name = (str(logger.experiment.id), key)
    if name not in tables or list(tables[name].table.columns) != list(columns):
        tables[name] = _Growing(wandb.Table(columns=list(columns), log_mode="INCREMENTAL"))
    growing = tables[name]
    for row in rows:
        growing.table.add_data(*(strict(value) for value in row))
    if rows:
        growing.turn, growing.step, growing.waits = growing.turn + 1, step, True
        if growing.thinning.due(growing.turn):
            growing.log(logger, key)


def log_image_table(
    logger: WandbLogger,
    key: str,
    columns: Sequence[str],
    rows: Sequence[Sequence[Evidence]],
    images: Sequence[Any],
    step: int,
) -> None:
    """Log a table whose first column holds an image, as an array (h w c) of whole numbers to 255."""
    import wandb

    table: Any = wandb.Table(columns=["image", *columns])
    for row, image in zip(rows, images, strict=True):
        table.add_data(wandb.Image(image), *row)
    _log(logger, key, table, step)


def log_image(logger: WandbLogger, key: str, image: Any, step: int) -> None:
    """Log a PIL image beside ``trainer/global_step``, as the logger does with everything."""
    import wandb

    _log(logger, key, [wandb.Image(image)], step)


def flush(logger: WandbLogger, last: bool = False) -> None:
    """Write the row of pictures and tables that no figures followed.

    Args:
        logger: of the run.
        last: also what waits of tables, as at the end of a run.
    """
    if last:
        run = str(logger.experiment.id) if _tables.get(logger) else ""
        for (of, key), growing in _tables.get(logger, {}).items():
            if of == run and growing.waits:
                growing.log(logger, key)
    _end_row(logger)


def _end_row(logger: WandbLogger) -> None:
    """End the row that is open, unless figures have ended it."""
    if logger in _open_rows and _open_rows.pop(logger)[0] == logger.experiment.step:
        logger.experiment.log({}, commit=True)


def _log(logger: WandbLogger, key: str, value: Any, step: int) -> None:
    """Log into the row that the figures of the same evaluation will end, so that an evaluation makes one row."""
    prefix = f"{logger._prefix}{logger.LOGGER_JOIN_CHAR}" if logger._prefix else ""
    if logger._wandb_init.get("sync_tensorboard"):  # whose rows are those of TensorBoard
        logger.experiment.log({f"{prefix}{key}": value})
        return
    if logger in _open_rows and _open_rows[logger][1] != step:
        _end_row(logger)
    logger.experiment.log({f"{prefix}{key}": value, "trainer/global_step": step}, commit=False)
    _open_rows[logger] = (logger.experiment.step, step)


def log_alert(logger: WandbLogger, title: str, text: str, level: str) -> None:
    """Send an alert: mail or Slack, as the user has set up; an offline run sends it when it is synced."""
    logger.experiment.alert(title=title[:63], text=text, level=LEVELS[level])


def annotate_models(logger: WandbLogger, key: str, values: Mapping[str, Mapping[str, Any]]) -> None:
    """Add to the metadata of a checkpoint's artifact what is known of its file.

    Lightning makes these artifacts, some of them after all callbacks are done, and leaves no other place to add to
    them than the run that they are handed to.
    """
    run = logger.experiment
    if any(known is values for known in getattr(run.log_artifact, "annotations", ())):
        return
    log_artifact = run.log_artifact

    def annotated(artifact: Any, *args: Any, **options: Any) -> Any:
        metadata = getattr(artifact, "metadata", None) or {}
        name = str(metadata.get("original_filename"))
        if name in values:
            artifact.metadata = {**metadata, key: dict(values[name])}
        return log_artifact(artifact, *args, **options)

    annotated.annotations = (*getattr(log_artifact, "annotations", ()), values)  # type: ignore[attr-defined]
    run.log_artifact = annotated


def log_summary(logger: WandbLogger, values: Mapping[str, Evidence]) -> None:
    """Write values into the run's summary, by which W&B's table of runs is sorted."""
    logger.experiment.summary.update({key: strict(value) for key, value in values.items()})


def log_config(logger: WandbLogger, values: Mapping[str, Any]) -> None:
    """Write into the run's config, which stands beside the user's own hyperparameters."""
    logger.experiment.config.update(dict(values), allow_val_change=True)


def define_curves(logger: WandbLogger, keys: Iterable[str], axis: str) -> None:
    """The summary holds the least, the largest and the last value of each; ``axis`` is what it is drawn over."""
    for key in keys:
        logger.experiment.define_metric(key, step_metric=axis, step_sync=True, summary="min,max,last")


#: Of a run's file: the bytes before its first block, the length of a block, and of the head of each piece in it.
_START, _BLOCK, _HEAD = 7, 32768, 7


def read_history(path: Path) -> tuple[list[dict[str, str]], bool]:
    """What a run logged, from its ``.wandb`` file, without an account or a service.

    The file is a log of protocol buffers in the format of LevelDB: blocks of 32 KiB of pieces, each with a checksum, a
    length and whether it is a whole record (1), its first (2), a middle (3) or its last part (4).

    Args:
        path: of the file.

    Returns:
        The rows of the history, key -> JSON; of nested keys, such as those of images and tables, none. And whether the
        file is whole: that of a killed run may end in the middle of a record.

    Raises:
        ValueError: it is no such file.
        OSError: it cannot be read.
        MissingPackageError: wandb is not installed.
    """
    try:
        from wandb.proto.wandb_internal_pb2 import Record  # type: ignore[attr-defined]
    except ImportError as error:
        raise MissingPackageError("read_history", "a run of W&B", "no wandb", "Run pip install wandb.") from error
    data = path.read_bytes()
    if data[:4] != b":W&B":
        raise ValueError("it does not begin as a file of W&B")
    rows: list[dict[str, str]] = []
    part, place = b"", _START
    while place < len(data):
        left = _BLOCK - place % _BLOCK
        if left < _HEAD:  # too little for a piece: the rest of the block is empty
            place += left
            continue
        length, kind = int.from_bytes(data[place + 4 : place + 6], "little"), data[place + 6 : place + 7]
        piece = data[place + _HEAD : place + _HEAD + length]
        if kind not in (b"\1", b"\2", b"\3", b"\4") or len(piece) < length:
            return rows, False
        place += _HEAD + length
        part = piece if kind in (b"\1", b"\2") else part + piece
        if kind in (b"\1", b"\4"):
            record = Record()
            try:
                record.ParseFromString(part)
            except Exception:  # its own DecodeError, whose home differs from version to version
                return rows, False
            if record.WhichOneof("record_type") == "history":
                named = ((item.key or "/".join(item.nested_key[:1]), item) for item in record.history.item)
                rows.append({key: item.value_json for key, item in named if len(item.nested_key) < 2})
    return rows, True
