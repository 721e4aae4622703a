"""All that knows W&B: tables that grow, images, alerts and the summary of a run, offline runs included."""

from collections.abc import Mapping, Sequence
from typing import Any
from weakref import WeakKeyDictionary

from lightning.pytorch.loggers import WandbLogger

from lightning_failures.reporting.findings import Evidence, strict

__all__ = ["log_alert", "log_image", "log_summary", "log_table"]

LEVELS = {"info": "INFO", "warning": "WARN", "failure": "ERROR"}

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


def log_summary(logger: WandbLogger, values: Mapping[str, Evidence]) -> None:
    """Write values into the run's summary, by which W&B's table of runs is sorted."""
    logger.experiment.summary.update({key: strict(value) for key, value in values.items()})
