"""Which kinds of image a model fails on, live."""

from collections.abc import Mapping, Sequence
from typing import Any, Unpack

from lightning.pytorch import LightningModule, Trainer
from torch import Tensor

from lightning_failures.callbacks.factors.figures import factor_figure
from lightning_failures.callbacks.factors.spillover import Spillover
from lightning_failures.callbacks.monitor import Monitor, MonitorOptions
from lightning_failures.callbacks.picture import Picture
from lightning_failures.errors import DiscoveryError
from lightning_failures.metrics.checks import find_mistakes
from lightning_failures.metrics.factors import FactorErrorRatio
from lightning_failures.observe.batch_fields import Field
from lightning_failures.observe.factor_reader import FactorReader, FactorSource
from lightning_failures.observe.observation import Observation
from lightning_failures.records.run_record import factor_rows
from lightning_failures.reporting.loggers import log_table

__all__ = ["FactorErrorMonitor"]

COLUMNS = ("error_ratio", "low", "high", "p_value", "images", "errors")


class FactorErrorMonitor(Monitor):
    """Logs ``failures/factors/error_ratio/<factor>`` with its interval, p-value and counts, and the worst factor.

    Beside it ``spillover_ratio/<factor>``: the error ratio over that of the best epoch so far, on the same images;
    ``spillover/<factor>`` is 1 where the factor fell behind while the network got better.

    Args:
        factors: names of columns that the batch holds, a :class:`.FactorTable`, the path
            of a CSV file, a path or callable into the batch, or a mapping from factor to path; see
            :class:`.FactorReader`.
        names: names of the columns, where ``factors`` is a path or callable that gives a matrix.
        ids: path or callable into the batch that gives each image's id in the table.
        options: see :class:`.Monitor`.
    """

    noun = "factors"

    def __init__(
        self,
        factors: FactorSource,
        names: Sequence[str] | None = None,
        *,
        ids: Field | None = None,
        **options: Unpack[MonitorOptions],
    ) -> None:
        super().__init__(**options)
        self.reader = FactorReader(factors, names, ids, type(self).__name__)
        self.metric: FactorErrorRatio | None = None
        self.spillover: Spillover | None = None
        self._epoch = 0
        self.picture = Picture("failures/factors/error_ratios")

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start the clock of the pictures."""
        self.picture.restart()

    def begin(self, trainer: Trainer, module: LightningModule) -> None:
        """Reset the counts."""
        self._epoch = trainer.current_epoch
        if self.metric is not None:
            self.metric.to(module.device).reset()
        if self.spillover is not None:
            self.spillover.begin(module.device)

    def update(self, seen: Observation, batch_idx: int) -> None:
        """Count the errors of one batch by factor."""
        if seen.targets is None:
            raise no_targets("FactorErrorMonitor")
        logits = self.probe.require_logits(seen, "FactorErrorMonitor")
        factors = seen.of_batch(self.reader.read(seen.batch, seen.batch_images, self.rows, batch_idx))
        self.build(self.describe())
        assert self.metric is not None
        assert self.spillover is not None
        factors = factors.to(logits.device, non_blocking=True)
        self.metric.to(logits.device).update(logits, seen.targets, factors)
        self.spillover.metric.to(logits.device)
        self.spillover.update(find_mistakes("FactorErrorMonitor", logits, seen.targets).wrong, seen.targets, factors)

    def conclude(self, trainer: Trainer, module: LightningModule) -> None:
        """Pair the images with those of the best epoch so far."""
        if self.spillover is not None:
            self.spillover.conclude()

    def describe(self) -> tuple[str, ...] | None:
        """Names of the factors."""
        return self.reader.names

    def build(self, description: Any) -> None:
        """Make the metric."""
        if self.metric is None:
            self.metric, self.spillover = FactorErrorRatio(list(description)), Spillover(list(description))

    def compute(self) -> dict[str, Tensor]:
        """Error ratios with their intervals."""
        assert self.metric is not None
        assert self.spillover is not None
        ratios: dict[str, Tensor] = self.metric.compute()
        values = ratios | self.spillover.compute(ratios["error/all"], self._epoch)
        self.undefined = self.metric.undefined | self.spillover.undefined
        return values

    def publish(self, trainer: Trainer, values: Mapping[str, Tensor]) -> None:
        """Log one table, a row a factor, and its picture."""
        rows: list[list[float | int | str | None]] = [
            [trainer.current_epoch, name, *(float(values[f"{column}/{name}"]) for column in COLUMNS)]
            for name in self.reader.names or ()
        ]
        log_table(trainer.loggers, "failures/factors/table", ["epoch", "factor", *COLUMNS], rows, trainer.global_step)
        logged = {f"failures/factors/{key}": float(value) for key, value in values.items()}
        self.picture.draw(trainer, lambda: factor_figure(factor_rows(logged)))

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Draw the last evaluation, where there was no time for it before."""
        with self.guarded():
            self.picture.finish(trainer)


def no_targets(where: str) -> DiscoveryError:
    """The error for a batch in which no labels were found."""
    return DiscoveryError(
        where,
        "no targets were found",
        "a batch without integer labels",
        "Name the field that holds them: targets='label', or a callable that takes the batch.",
    )
