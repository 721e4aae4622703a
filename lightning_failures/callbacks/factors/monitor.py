"""Which kinds of image a model fails on, live."""

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Unpack

from torch import Tensor

from lightning_failures.callbacks.evaluation_context import EvaluationContext
from lightning_failures.callbacks.factors.factor_rows import STATISTICS, factor_rows
from lightning_failures.callbacks.factors.figures import factor_figure
from lightning_failures.callbacks.factors.rules import RULES
from lightning_failures.callbacks.factors.spillover import Spillover
from lightning_failures.callbacks.factors.terms import LEFT_OUT, TERMS
from lightning_failures.callbacks.monitor import Monitor, MonitorOptions
from lightning_failures.metrics.checks import find_mistakes
from lightning_failures.metrics.classes import ClassRow, WorstClasses
from lightning_failures.metrics.factors import FactorErrorRatio
from lightning_failures.observe.batch_fields import Field
from lightning_failures.observe.factor_reader import FactorReader, FactorSource
from lightning_failures.observe.observation import Observation
from lightning_failures.reporting.loggers import log_table

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["FactorErrorMonitor"]

#: Rows of the table of classes.
MOST_CLASSES = 20


class FactorErrorMonitor(Monitor):
    """Logs ``failures/factors/error_ratio/<factor>`` with its interval, p-value and counts, and the worst factor.

    Beside it ``spillover_ratio/<factor>``: the error ratio over that of the best epoch so far, on the same images;
    ``spillover/<factor>`` is 1 where the factor fell behind while the network got better. The table
    ``failures/factors/classes`` holds the classes with the highest error rates, worst first.

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
        self.reader = FactorReader(factors, names, ids, type(self).__name__)
        self.metric: FactorErrorRatio | None = None
        self.classes: WorstClasses | None = None
        self.spillover: Spillover | None = None

    def begin(self, evaluation: EvaluationContext) -> None:
        """Reset the counts."""
        if self.metric is not None:
            self.metric.to(evaluation.device).reset()
        if self.classes is not None:
            self.classes.to(evaluation.device).reset()
        if self.spillover is not None:
            self.spillover.begin(evaluation.device)

    def update(self, evaluation: EvaluationContext, seen: Observation, batch_idx: int) -> None:
        """Count the errors of one batch by factor."""
        targets = seen.require_targets("FactorErrorMonitor")
        logits = self.probe.require_logits(seen, "FactorErrorMonitor")
        factors = seen.of_batch(self.reader.read(seen.batch, seen.batch_images, evaluation.rows, batch_idx))
        self.build((self.reader.names, logits.shape[1]))
        assert self.metric is not None
        assert self.classes is not None
        assert self.spillover is not None
        factors = factors.to(logits.device, non_blocking=True)
        self.metric.to(logits.device).update(logits, targets, factors)
        self.classes.to(logits.device).update(logits, targets)
        self.spillover.metric.to(logits.device)
        self.spillover.update(find_mistakes("FactorErrorMonitor", logits, targets).wrong, targets, factors)

    def conclude(self, evaluation: EvaluationContext) -> None:
        """Pair the images with those of the best epoch so far."""
        if self.spillover is not None:
            self.spillover.conclude()

    def describe(self) -> tuple[tuple[str, ...], int] | None:
        """Names of the factors, and the number of classes."""
        return None if self.classes is None else (self.reader.names or (), self.classes.num_classes)

    def build(self, description: Any) -> None:
        """Make the metrics."""
        if self.metric is None:
            names, classes = description
            self.metric, self.spillover = FactorErrorRatio(list(names)), Spillover(list(names))
            self.classes = WorstClasses(classes, MOST_CLASSES)

    def compute(self, evaluation: EvaluationContext) -> dict[str, Tensor]:
        """Error ratios with their intervals."""
        assert self.metric is not None
        assert self.classes is not None
        assert self.spillover is not None
        self.classes.compute()
        ratios: dict[str, Tensor] = self.metric.compute()
        values = ratios | self.spillover.compute(ratios["error/all"], evaluation.epoch)
        undefined = self.metric.undefined | self.spillover.undefined
        self.undefined = {key: why for key, why in undefined.items() if not key.startswith(LEFT_OUT)}
        return {key: value for key, value in values.items() if not key.startswith(LEFT_OUT)}

    def publish(self, evaluation: EvaluationContext, values: Mapping[str, Tensor]) -> None:
        """Log two tables: a row a factor, and the worst classes, a row each."""
        assert self.metric is not None
        assert self.classes is not None
        factors = [(name, *(float(values[f"{key}/{name}"]) for key in STATISTICS)) for name in self.metric.factors]
        for key, head, rows in (
            ("table", ("factor", *STATISTICS), factors),
            ("classes", ("class", *ClassRow._fields[1:]), self.classes.rows),
        ):
            cells: list[list[Any]] = [[evaluation.epoch, *row] for row in rows]
            log_table(
                evaluation.trainer.loggers, f"failures/{self.name}/{key}", ["epoch", *head], cells, evaluation.step
            )

    def draw(
        self, evaluation: EvaluationContext, values: Mapping[str, float]
    ) -> "Mapping[str, Callable[[], Figure | None]]":
        """The forest plot of the error ratios."""
        return {"error_ratios": lambda: factor_figure(factor_rows(values))}
