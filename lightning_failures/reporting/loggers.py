"""Tables, figures and alerts for whatever logger the user has; scalars go through Lightning's own ``log``."""

import csv
import json
import os
import re
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from io import BytesIO, StringIO
from pathlib import Path
from textwrap import shorten
from typing import TYPE_CHECKING, Any, Literal, Protocol, cast
from weakref import WeakSet

from einops import rearrange
from lightning.pytorch.loggers import Logger
from lightning.pytorch.utilities import rank_zero_only
from torch import Tensor

from lightning_failures.errors import FailuresWarning, InputError
from lightning_failures.records.finding import Evidence
from lightning_failures.records.strict_json import strict, to_text
from lightning_failures.reporting import wandb
from lightning_failures.reporting.contact_sheet import shown_channels, to_pictures
from lightning_failures.reporting.figure_style import close, to_png

if TYPE_CHECKING:
    from lightning.pytorch.loggers import CometLogger, LitLogger, MLFlowLogger, TensorBoardLogger, WandbLogger
    from matplotlib.figure import Figure

__all__ = [
    "annotate_models",
    "define_curves",
    "flush",
    "log_alert",
    "log_config",
    "log_figure",
    "log_image_table",
    "log_scalars",
    "log_summary",
    "log_table",
]

Rows = Sequence[Sequence[Evidence]]


def log_scalars(loggers: Sequence[Logger], values: Mapping[str, float], step: int) -> None:
    """Log scalars at once, where ``self.log`` of a module would wait for the end of its epoch.

    Args:
        loggers: those of the trainer.
        values: by logged key.
        step: the global step.
    """
    if values:
        _give(loggers, lambda logger: logger.log_metrics(dict(values), step=step))


@rank_zero_only
def log_table(loggers: Sequence[Logger], key: str, columns: Sequence[str], rows: Rows, step: int) -> None:
    """Add rows to the table of a key.

    W&B and MLflow get one table that grows over the run, TensorBoard a text, Comet and lightning.ai one file per
    evaluation, any other logger with a folder the file ``failures/<key>.jsonl`` in it; no logger, nothing. On the
    first rank only.

    Args:
        loggers: those of the trainer.
        key: for example ``failures/factors/table``.
        columns: names of the columns.
        rows: one value per column; nan is written as nothing.
        step: the global step.

    Raises:
        InputError: a row does not fit the columns.
    """
    for row in rows:
        if len(row) != len(columns):
            given = f"{len(row)} values for {len(columns)} columns"
            raise InputError("log_table", f"a row of {key!r} does not fit", given, "Pass one value per column.")
    plain = [[strict(value) for value in row] for row in rows]
    _give(loggers, lambda logger: _sink(logger).table(key, list(columns), plain, step))


@rank_zero_only
def log_image_table(
    loggers: Sequence[Logger], key: str, columns: Sequence[str], rows: Rows, images: Tensor, step: int
) -> None:
    """Log a table with one image in each row: W&B gets the images in it, other loggers get the table without them.

    Args:
        loggers: those of the trainer.
        key: for example ``failures/images/table``.
        columns: names of the columns.
        rows: one value a column.
        images: one a row; (n b h w).
        step: the global step.
    """
    others = [logger for logger in loggers if _kind(logger) != "WandbLogger"]
    _give(others, lambda logger: log_table([logger], key, columns, rows, step))
    theirs = _of_wandb(loggers)
    if theirs and len(rows):
        shown = shown_channels(images.shape[1])
        pictures = to_pictures([image[shown] for image in images.float()], together=images.shape[1] in (1, 3))
        plain = [[strict(value) for value in row] for row in rows]
        arrays = [(rearrange(picture, "c h w -> h w c") * 255).byte().numpy() for picture in pictures]
        _give(
            theirs,
            lambda logger: wandb.log_image_table(cast("WandbLogger", logger), key, columns, plain, arrays, step),
        )


@rank_zero_only
def log_figure(loggers: Sequence[Logger], key: str, figure: "Figure", step: int) -> None:
    """Log a matplotlib figure as an image, and close it; on the first rank only.

    Args:
        loggers: those of the trainer.
        key: for example ``failures/factors/figure``.
        figure: drawn anywhere; it cannot be used any more afterwards.
        step: the global step.
    """
    if loggers:
        from PIL import Image

        image = Image.open(BytesIO(to_png(figure, dpi=150))).convert("RGB")
        _give(loggers, lambda logger: _sink(logger).image(key, image, step))
    close(figure)


@rank_zero_only
def log_alert(
    loggers: Sequence[Logger], title: str, text: str, level: str = "warning", step: int | None = None
) -> None:
    """Tell that something happened: an alert in W&B, a text elsewhere; on the first rank only.

    Args:
        loggers: those of the trainer.
        title: a few words.
        text: plain sentences.
        level: ``"info"``, ``"watch"``, ``"warning"`` or ``"failure"``.
        step: the global step, for loggers whose texts have one; None: of no step.

    Raises:
        InputError: there is no such level.
    """
    if level not in wandb.LEVELS:
        raise InputError("log_alert", "unknown level", repr(level), f"Use one of {', '.join(wandb.LEVELS)}.")
    _give(loggers, lambda logger: _sink(logger).alert(title, text, level, step))


@rank_zero_only
def log_summary(loggers: Sequence[Logger], values: dict[str, Evidence]) -> None:
    """Write values that describe the whole run, such as the verdict on it; on the first rank only.

    They stand in the summary of a W&B run, among the tags of an MLflow run, the others of a Comet experiment and the
    metadata of one on lightning.ai, in a text of TensorBoard, and in ``failures/summary.json`` in the folder of any
    other logger.

    Args:
        loggers: those of the trainer.
        values: by key, such as ``failures/verdict``.
    """
    _give(loggers, lambda logger: _sink(logger).summary({key: strict(value) for key, value in values.items()}))


@rank_zero_only
def log_config(loggers: Sequence[Logger], values: Mapping[str, Any]) -> None:
    """Write how a run was watched beside its own options; on the first rank only.

    It stands in the config of a W&B run, among the parameters of a Comet experiment, in an artifact of MLflow, in a
    text of TensorBoard and of lightning.ai, and in ``failures/config.json`` in the folder of any other logger.

    Args:
        loggers: those of the trainer.
        values: plain containers.
    """
    _give(loggers, lambda logger: _sink(logger).config(values))


@rank_zero_only
def define_curves(
    loggers: Sequence[Logger], keys: Iterable[str], axis: Literal["epoch", "trainer/global_step"]
) -> None:
    """Have the table of runs show of each curve its least, its largest and its last value; W&B alone does.

    Args:
        loggers: those of the trainer.
        keys: of the curves.
        axis: over which they are drawn. ``"epoch"`` leaves a narrow panel of a terminal room for their names.
    """
    names = list(keys)
    _give(_of_wandb(loggers), lambda logger: wandb.define_curves(cast("WandbLogger", logger), names, axis))


@rank_zero_only
def annotate_models(loggers: Sequence[Logger], key: str, values: Mapping[str, Mapping[str, Any]]) -> None:
    """Give the artifact of each checkpoint, where the logger keeps such, what is known of its file; W&B alone does.

    Args:
        loggers: those of the trainer.
        key: name in the artifact's metadata.
        values: by name of the file; read when an artifact is logged, so it may grow.
    """
    _give(_of_wandb(loggers), lambda logger: wandb.annotate_models(cast("WandbLogger", logger), key, values))


@rank_zero_only
def flush(loggers: Sequence[Logger], last: bool = False) -> None:
    """End the row of pictures and tables that no figures followed, where the logger keeps rows: a W&B run.

    Args:
        loggers: those of the trainer.
        last: at the end of a run, when nothing follows.
    """
    _give(_of_wandb(loggers), lambda logger: wandb.flush(cast("WandbLogger", logger), last))


#: Those that refused something, of which was warned.
_refused: "WeakSet[Logger]" = WeakSet()


def _give(loggers: Iterable[Logger], take: Callable[[Logger], object]) -> None:
    """Give something to each logger; one that refuses it, and why, is named once, and the run goes on."""
    for logger in loggers:
        try:
            take(logger)
        except Exception as error:  # a full disk, a server that does not answer, a version that has moved on
            if logger not in _refused:
                _refused.add(logger)
                why = " ".join(f"{type(error).__name__}: {error}".split())
                warnings.warn(
                    f"lightning-failures: {type(logger).__name__} refused what a monitor gave it, training goes on: "
                    f"{shorten(why, 120, placeholder=' …')}.\nMend the logger, or leave it out; this is said once.",
                    FailuresWarning,
                    stacklevel=3,
                )


def _of_wandb(loggers: Iterable[Logger]) -> list[Logger]:
    return [logger for logger in loggers if _kind(logger) == "WandbLogger"]


class _Sink(Protocol):
    """Where one logger keeps what is not a scalar."""

    def table(self, key: str, columns: list[str], rows: Rows, step: int) -> None: ...

    def image(self, key: str, image: Any, step: int) -> None: ...

    def alert(self, title: str, text: str, level: str, step: int | None) -> None: ...

    def summary(self, values: Mapping[str, Evidence]) -> None: ...

    def config(self, values: Mapping[str, Any]) -> None: ...


class _Wandb:
    def __init__(self, logger: "WandbLogger") -> None:
        self.logger = logger

    def table(self, key: str, columns: list[str], rows: Rows, step: int) -> None:
        wandb.log_table(self.logger, key, columns, rows, step)

    def image(self, key: str, image: Any, step: int) -> None:
        wandb.log_image(self.logger, key, image, step)

    def alert(self, title: str, text: str, level: str, step: int | None) -> None:
        wandb.log_alert(self.logger, title, text, level)

    def summary(self, values: Mapping[str, Evidence]) -> None:
        wandb.log_summary(self.logger, values)

    def config(self, values: Mapping[str, Any]) -> None:
        wandb.log_config(self.logger, values)


class _TensorBoard:
    def __init__(self, logger: "TensorBoardLogger") -> None:
        self.writer: Any = logger.experiment

    def table(self, key: str, columns: list[str], rows: Rows, step: int) -> None:
        lines = [columns, ["---"] * len(columns), *([_cell(value) for value in row] for row in rows)]
        self.writer.add_text(key, "\n".join(f"| {' | '.join(line)} |" for line in lines), step)

    def image(self, key: str, image: Any, step: int) -> None:
        import numpy as np

        self.writer.add_image(key, np.asarray(image), step, dataformats="HWC")

    def alert(self, title: str, text: str, level: str, step: int | None) -> None:
        self.writer.add_text(f"failures/alerts/{level}", f"**{title}**: {text}", step)

    def summary(self, values: Mapping[str, Evidence]) -> None:
        for key, value in values.items():
            self.writer.add_text(key, _cell(value))

    def config(self, values: Mapping[str, Any]) -> None:
        self.writer.add_text("failures/config", f"```json\n{to_text(dict(values), indent=2)}```")


class _MLFlow:
    def __init__(self, logger: "MLFlowLogger") -> None:
        self.client: Any = logger.experiment
        self.run = logger.run_id

    def table(self, key: str, columns: list[str], rows: Rows, step: int) -> None:
        named = {name: [row[i] for row in rows] for i, name in enumerate(columns)}
        bar = "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR"  # it reads the table back, and would draw into the user's own
        before = os.environ.get(bar)
        os.environ[bar] = "false"
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # what MLflow's own use of pandas is warned of
                self.client.log_table(self.run, {"step": [step] * len(rows), **named}, f"{key}.json")
        finally:
            os.environ.pop(bar)
            os.environ |= {} if before is None else {bar: before}

    def image(self, key: str, image: Any, step: int) -> None:
        self.client.log_image(self.run, image, f"{key}-{step:08d}.png")

    def alert(self, title: str, text: str, level: str, step: int | None) -> None:
        name = re.sub(r"[^\w\-. /]", "_", f"failures.{level}.{title}")  # what MLflow lets a tag be called
        self.client.set_tag(self.run, name[:250], text[:5000])

    def summary(self, values: Mapping[str, Evidence]) -> None:
        for key, value in values.items():
            self.client.set_tag(self.run, key.replace("/", ".")[:250], str(value)[:5000])

    def config(self, values: Mapping[str, Any]) -> None:
        self.client.log_text(self.run, to_text(dict(values), indent=2), "failures/config.json")


class _Comet:
    def __init__(self, logger: "CometLogger") -> None:
        self.experiment: Any = logger.experiment

    def table(self, key: str, columns: list[str], rows: Rows, step: int) -> None:
        self.experiment.log_table(f"{key}-{step:08d}.csv", tabular_data=[list(row) for row in rows], headers=columns)

    def image(self, key: str, image: Any, step: int) -> None:
        self.experiment.log_image(image, name=key, step=step)

    def alert(self, title: str, text: str, level: str, step: int | None) -> None:
        self.experiment.log_text(f"{title}: {text}", step=step, metadata={"level": level})

    def summary(self, values: Mapping[str, Evidence]) -> None:
        self.experiment.log_others(dict(values))

    def config(self, values: Mapping[str, Any]) -> None:
        self.experiment.log_parameters(dict(values))


class _Lit:
    """Of lightning.ai: each key holds curves, media or one value, and never two of these."""

    def __init__(self, logger: "LitLogger") -> None:
        import litlogger

        self.media: Any = litlogger
        self.experiment: Any = logger.experiment

    def table(self, key: str, columns: list[str], rows: Rows, step: int) -> None:
        text = StringIO()
        csv.writer(text, lineterminator="\n").writerows([columns, *rows])
        self.experiment[key].append(self.media.Text(text.getvalue()), step=step)

    def image(self, key: str, image: Any, step: int) -> None:
        self.experiment[key].append(self.media.Image(image), step=step)

    def alert(self, title: str, text: str, level: str, step: int | None) -> None:
        self.experiment[f"failures/alerts/{level}"].append(self.media.Text(f"{title}: {text}"), step=step)

    def summary(self, values: Mapping[str, Evidence]) -> None:
        for key, value in values.items():
            self.experiment[key] = str(value)

    def config(self, values: Mapping[str, Any]) -> None:
        self.experiment["failures/config"] = self.media.Text(to_text(dict(values), indent=2))


class _Folder:
    def __init__(self, logger: Logger) -> None:
        _ = getattr(logger, "experiment", None)  # a CSVLogger warns when its folder is filled before it is made
        folder = getattr(logger, "log_dir", None) or logger.save_dir
        self.folder = Path(folder) / "failures" if folder else None

    def table(self, key: str, columns: list[str], rows: Rows, step: int) -> None:
        self._append(f"{key}.jsonl", [{"step": step, **dict(zip(columns, row, strict=True))} for row in rows])

    def image(self, key: str, image: Any, step: int) -> None:
        path = self._path(f"{key}-{step:08d}.png")
        if path is not None:
            image.save(path)

    def alert(self, title: str, text: str, level: str, step: int | None) -> None:
        at: dict[str, Evidence] = {} if step is None else {"step": step}
        self._append("alerts.jsonl", [{**at, "level": level, "title": title, "text": text}])

    def summary(self, values: Mapping[str, Evidence]) -> None:
        self._update("summary.json", values)

    def config(self, values: Mapping[str, Any]) -> None:
        self._update("config.json", values)

    def _update(self, name: str, values: Mapping[str, Any]) -> None:
        """Write values into a file beside those that it holds."""
        path = self._path(name)
        if path is not None:
            before = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
            path.write_text(to_text({**before, **values}, indent=2), encoding="utf-8")

    def _append(self, name: str, lines: Sequence[dict[str, Evidence]]) -> None:
        path = self._path(name)
        if path is not None:
            with path.open("a", encoding="utf-8") as file:
                file.writelines(to_text(line) for line in lines)

    def _path(self, name: str) -> Path | None:
        if self.folder is None:
            return None
        path = self.folder / name.removeprefix("failures/")
        path.parent.mkdir(parents=True, exist_ok=True)
        return path


def _lit(logger: "LitLogger") -> _Sink:
    """Earlier versions of its package hold no media, so that these go to its folder."""
    return _Lit(logger) if hasattr(logger.experiment, "__setitem__") else _Folder(cast("Logger", logger))


_SINKS: dict[str, Callable[[Any], _Sink]] = {
    "WandbLogger": _Wandb,
    "TensorBoardLogger": _TensorBoard,
    "MLFlowLogger": _MLFlow,
    "CometLogger": _Comet,
    "LitLogger": _lit,
}


def _kind(logger: Logger) -> str | None:
    """Which of Lightning's loggers it is or derives from, whether of ``lightning`` or ``pytorch_lightning``."""
    for each in type(logger).__mro__:
        if each.__name__ in _SINKS and each.__module__.startswith(("lightning.pytorch.", "pytorch_lightning.")):
            return each.__name__
    return None


def _sink(logger: Logger) -> _Sink:
    return _SINKS.get(_kind(logger) or "", _Folder)(logger)


def _cell(value: Evidence) -> str:
    text = "" if value is None else f"{value:.4g}" if isinstance(value, float) else str(value)
    return " ".join(text.split()).replace("|", "\\|")
