"""Which kinds of image a model fails on, live."""

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Unpack

from torch import Tensor

from lightning_failures.callbacks.evaluation_context import EvaluationContext
from lightning_failures.callbacks.factors.factor_rows import STATISTICS, factor_rows
from lightning_failures.callbacks.factors.figures import factor_figure
from lightning_failures.callbacks.factors.rules import RULES
from lightning_failures.callbacks.factors.spillover import Spillover
from lightning_failures.callbacks.factors.terms import TERMS
from lightning_failures.callbacks.monitor import Monitor, MonitorOptions
from lightning_failures.metrics.checks import find_mistakes
from lightning_failures.metrics.factors import FactorErrorRatio
from lightning_failures.observe.batch_fields import Field
from lightning_failures.observe.factor_reader import FactorReader, FactorSource
from lightning_failures.observe.observation import Observation
from lightning_failures.reporting.loggers import log_table

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["FactorErrorMonitor"]


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
    terms = TERMS
    rules = RULES

    def __init__(
        self,
        factors: FactorSource,
        names: Sequence[str] | None = None,
        *,
        ids: Field | None = None,
        **options: Unpack[MonitorOptions],
    ) -> None:
        super().__init__(**options)
        self.reader = FactorReader(factors, names, ids)
        self.metric: FactorErrorRatio | None = None
        self.spillover: Spillover | None = None

    def begin(self, evaluation: EvaluationContext) -> None:
        """Reset the counts."""
        if self.metric is not None:
            self.metric.to(evaluation.device).reset()
        if self.spillover is not None:
            self.spillover.begin(evaluation.device)

    def update(self, evaluation: EvaluationContext, seen: Observation, batch_idx: int) -> None:
        """Count the errors of one batch by factor."""
        targets = seen.require_targets("FactorErrorMonitor")
        logits = self.probe.require_logits(seen, "FactorErrorMonitor")
        factors = seen.of_batch(self.reader.read(seen.batch, seen.batch_images, evaluation.rows, batch_idx))
        self.build(self.describe())
        assert self.metric is not None
        assert self.spillover is not None
        factors = factors.to(logits.device, non_blocking=True)
        self.metric.to(logits.device).update(logits, targets, factors)
        self.spillover.metric.to(logits.device)
        self.spillover.update(find_mistakes("FactorErrorMonitor", logits, targets).wrong, targets, factors)

    def conclude(self, evaluation: EvaluationContext) -> None:
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

    def compute(self, evaluation: EvaluationContext) -> dict[str, Tensor]:
        """Error ratios with their intervals."""
        assert self.metric is not None
        assert self.spillover is not None
        ratios: dict[str, Tensor] = self.metric.compute()
        values = ratios | self.spillover.compute(ratios["error/all"], evaluation.epoch)
        self.undefined = self.metric.undefined | self.spillover.undefined
        return values

    def publish(self, evaluation: EvaluationContext, values: Mapping[str, Tensor]) -> None:
        """Log one table, a row a factor."""
        rows: list[list[float | int | str | None]] = [
            [evaluation.epoch, name, *(float(values[f"{statistic}/{name}"]) for statistic in STATISTICS)]
            for name in self.reader.names or ()
        ]
        log_table(
            evaluation.trainer.loggers,
            f"failures/{self.name}/table",
            ["epoch", "factor", *STATISTICS],
            rows,
            evaluation.step,
        )

    def draw(
        self, evaluation: EvaluationContext, values: Mapping[str, float]
    ) -> "Mapping[str, Callable[[], Figure | None]]":
        """The forest plot of the error ratios."""
        return {"error_ratios": lambda: factor_figure(factor_rows(values))}
