"""All that knows W&B: tables that grow, images, alerts and the summary of a run, offline runs included."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any
from weakref import WeakKeyDictionary

from lightning.pytorch.loggers import WandbLogger

from lightning_failures.records.finding import Evidence
from lightning_failures.records.strict_json import strict

__all__ = ["annotate_models", "define_curves", "log_alert", "log_config", "log_image", "log_summary", "log_table"]

LEVELS = {"info": "INFO", "watch": "INFO", "warning": "WARN", "failure": "ERROR"}

# An incremental table must be the same object at each evaluation; it lives as long as its logger.
_tables: "WeakKeyDictionary[WandbLogger, dict[tuple[str, str], Any]]" = WeakKeyDictionary()


def log_table(
    logger: WandbLogger, key: str, columns: Sequence[str], rows: Sequence[Sequence[Evidence]], step: int
) -> None:
    """Add rows to the run's one table of this key, which grows over the run and can be filtered by its columns.

    Each call stores the new rows only, so that the cost (about 20 ms) does not grow with the run; W&B shows the
    latest 100 increments.
    """
    import wandb

    tables = _tables.setdefault(logger, {})
    name = (str(logger.experiment.id), key)
    if name not in tables or list(tables[name].columns) != list(columns):
        tables[name] = wandb.Table(columns=list(columns), log_mode="INCREMENTAL")
    for row in rows:
        tables[name].add_data(*(strict(value) for value in row))
    if rows:
        logger.log_metrics({key: tables[name]}, step)


def log_image(logger: WandbLogger, key: str, image: Any, step: int) -> None:
    """Log a PIL image beside ``trainer/global_step``, as the logger does with everything."""
    logger.log_image(key, [image], step)


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
