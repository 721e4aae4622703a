"""Which kinds of image a model fails on, live."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, Unpack

import torch
from torch import Tensor

from lightning_failures.callbacks.evaluation_context import EvaluationContext
from lightning_failures.callbacks.factors.factor_rows import STATISTICS, factor_rows
from lightning_failures.callbacks.factors.figures import factor_figure
from lightning_failures.callbacks.factors.rules import RULES
from lightning_failures.callbacks.factors.spillover import Spillover
from lightning_failures.callbacks.factors.terms import LEFT_OUT, TERMS
from lightning_failures.callbacks.monitor import Monitor, MonitorOptions
from lightning_failures.callbacks.state_key import state_key
from lightning_failures.errors import DiscoveryError
from lightning_failures.functional.images_needed import images_needed
from lightning_failures.metrics.checks import find_mistakes
from lightning_failures.metrics.classes import ClassRow, WorstClasses
from lightning_failures.metrics.factors import FactorErrorRatio
from lightning_failures.metrics.mean_errors import FactorMeanError
from lightning_failures.observe.batch_fields import Field
from lightning_failures.observe.factor_reader import FactorReader, FactorSource
from lightning_failures.observe.group_reader import GroupReader, GroupSource
from lightning_failures.observe.observation import Observation
from lightning_failures.observe.task import CLASSIFIES
from lightning_failures.records.finding import Finding
from lightning_failures.reporting.loggers import log_table

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["FactorErrorMonitor"]

#: Images of a factor below which nothing is said of it, but how many would be needed.
FEWEST = 10
#: Rows of the table of classes.
MOST_CLASSES = 20


class Counted(NamedTuple):
    """What an evaluation is counted with."""

    ratios: FactorErrorRatio
    classes: WorstClasses
    spillover: Spillover


class FactorErrorMonitor(Monitor):
    """Logs ``failures/factors/error_ratio/<factor>`` with its interval, p-value and counts, and the worst factor.

    Beside it ``spillover_risk/<factor>``: its errors over those of the epoch at which it had fewest, on these images;
    ``spillover/<factor>`` is 1 where it has more, beyond chance, while the other images have fewer. The table
    ``failures/factors/classes`` holds the classes with the highest error rates, worst first.

    *Where no single class of an image is right or wrong*: ``mean_error_ratio/<factor>`` with its interval instead. The
    error of an image is then its loss in a regression, the share of wrong labels where it has several, the share of
    wrong pixels in segmentation; see :class:`.FactorMeanError`.

    Args:
        factors: names of columns that the batch holds, a :class:`.FactorTable`, the path
            of a CSV file, a path or callable into the batch, or a mapping from factor to path; see
            :class:`.FactorReader`.
        names: names of the columns, where ``factors`` is a path or callable that gives a matrix.
        ids: path or callable into the batch that gives each image's id in the table.
        groups: which images belong together, such as those of one patient, slide or scanner: a path or callable into
            the batch, or one for each row of the dataset; see :class:`.GroupReader`. Intervals and tests then count
            groups, and not images. None: images are independent.
        options: see :class:`.Monitor`.

    Raises:
        InputError: a file of factors or groups that cannot be read, or groups that go by id where no ids are named.

    Example:
        >>> monitor = FactorErrorMonitor(["dark", "occluded"], groups="patient")
        >>> monitor.key("error_ratio/dark")
        'failures/factors/error_ratio/dark'
    """

    noun = "factors"
    always = True
    watches = "errors by factor"
    tasks = (*CLASSIFIES, "multilabel", "regression")
    terms = TERMS
    rules = RULES
    held_out = ("*",)

    def __init__(
        self,
        factors: FactorSource,
        names: Sequence[str] | None = None,
        *,
        ids: Field | None = None,
        groups: GroupSource | None = None,
        **options: Unpack[MonitorOptions],
    ) -> None:
        super().__init__(**options)
        self.reader = FactorReader(factors, names, ids, type(self).__name__)
        self.groups = None if groups is None else GroupReader(groups, ids, type(self).__name__)
        self.counted: Counted | None = None  # from the first batch on, where each image has one class
        self.errors: FactorMeanError | None = None  # where it has none
        self._carried: list[Tensor] = []  # of each batch of the last evaluation; (n f), bool
        self._few: dict[str, str] = {}  # factors of too few images to tell -> why
        self._dataset: int | None = None  # that a fit validates on
        self._resumed: dict[str, Any] = {}  # of the checkpoint, until the first batch
        self._state_key = state_key(self, f"{self.name}: {', '.join(self.reader.names or ('as the batch says',))}")

    @property
    def not_watched(self) -> dict[str, str]:
        """What could not be watched so far, and why; factors of too few images by name."""
        found = super().not_watched
        return found if self._named(self.watches) in found else found | self._few

    def begin(self, evaluation: EvaluationContext) -> None:
        """Reset the counts."""
        self._carried = []
        if self.errors is not None:
            self.errors.to(evaluation.device).reset()
        if self.counted is not None:
            self.counted.ratios.to(evaluation.device).reset()
            self.counted.classes.to(evaluation.device).reset()
            self.counted.spillover.begin(evaluation.device)

    def glance(self, seen: Observation) -> None:
        """See before any training that there are logits, so that their absence is said at once."""
        if self.probe.task.kind in ("multiclass", "binary"):
            self.probe.require_logits(seen, "FactorErrorMonitor")

    def check(self) -> None:
        """See that there are logits where each image has one class."""
        if self.probe.task.kind in ("multiclass", "binary") and self.probe.classes is None:
            raise self.probe.no_logits("FactorErrorMonitor")

    def carriers(self, finding: Finding) -> Tensor | None:
        """Which images carry the factor of a finding; (n), bool, as they were evaluated; None where none is known."""
        names = self.reader.names or ()
        if not self._carried or finding.subject not in names:
            return None
        return torch.cat(self._carried)[:, names.index(finding.subject)]

    def update(self, evaluation: EvaluationContext, seen: Observation, batch_idx: int) -> None:
        """Count the errors of one batch by factor."""
        classes = self.probe.task.kind in ("multiclass", "binary")
        logits = self.probe.require_logits(seen, "FactorErrorMonitor") if classes else None
        factors = evaluation.read(self.reader, seen, batch_idx)
        self._carried.append(factors)
        groups = None
        if self.groups is not None:
            groups = evaluation.read(self.groups, seen, batch_idx)
        if logits is None:
            self._add_errors(seen, factors, groups)
            return
        targets = seen.require_targets("FactorErrorMonitor")
        rows = evaluation.places(seen, batch_idx)
        known = targets >= 0  # the other labels count nowhere
        self.build((self.reader.names, logits.shape[1]))
        assert self.counted is not None
        counted = self.counted
        factors = factors.to(logits.device, non_blocking=True)
        counted.ratios.to(logits.device).update(logits, targets, factors, known, groups)
        counted.classes.to(logits.device).update(logits, targets, known)
        counted.spillover.metric.to(logits.device)
        wrong = find_mistakes("FactorErrorMonitor", logits, targets, known=known).wrong
        counted.spillover.update(wrong, targets, factors, rows, groups)

    def _add_errors(self, seen: Observation, factors: Tensor, groups: Tensor | None) -> None:
        """Add the errors of one batch, where no single class of an image is right or wrong."""
        errors = seen.errors
        if errors is None:
            given, fix = (
                self.probe.task.why or f"a {self.probe.task.words}",
                "Return what the loss is given as 'logits'.",
            )
            raise DiscoveryError("FactorErrorMonitor", "the errors of the images are not known", given, fix)
        self.build((self.reader.names, None))
        assert self.errors is not None
        self.errors.to(errors.device).update(errors, factors.to(errors.device, non_blocking=True), groups)

    def conclude(self, evaluation: EvaluationContext) -> None:
        """Pair the images with those of the best epoch of each factor, where they are of one dataset."""
        dataset = id(getattr(evaluation.loader, "dataset", evaluation.loader))
        if self.counted is not None:
            self.counted.spillover.conclude(evaluation.trainer.global_rank, evaluation.world_size)
            if not evaluation.fitting and dataset != self._dataset:
                self.counted.spillover.refuse()
        if evaluation.fitting:
            self._dataset = dataset

    def describe(self) -> tuple[tuple[str, ...], int | None] | None:
        """Names of the factors, and the number of classes, None where an image's error is a number."""
        if self.errors is not None:
            return self.errors.factors, None
        return None if self.counted is None else (self.reader.names or (), self.counted.classes.num_classes)

    def build(self, description: Any) -> None:
        """Make the metrics."""
        names, classes = description
        if classes is None:
            self.errors = self.errors or FactorMeanError(list(names))
        elif self.counted is None:
            self.counted = Counted(
                FactorErrorRatio(list(names)), WorstClasses(classes, MOST_CLASSES), Spillover(list(names))
            )
            self.counted.spillover.load_state_dict(self._resumed)

    def compute(self, evaluation: EvaluationContext) -> dict[str, Tensor]:
        """Error ratios with their intervals."""
        if self.errors is not None:
            found: dict[str, Tensor] = self.errors.compute()
            self.undefined = self.errors.undefined
            return found
        assert self.counted is not None
        metric, classes, spillover = self.counted
        classes.compute()
        ratios: dict[str, Tensor] = metric.compute()
        errors = torch.stack([ratios[f"errors/{name}"] for name in metric.factors])
        self._few = self._too_few(ratios)
        values = ratios | spillover.compute()
        undefined = metric.undefined | spillover.undefined
        if evaluation.fitting:  # no test or validation beside a fit is an epoch that the run could go back to
            spillover.remember(errors, evaluation.epoch)
        self.undefined = {key: why for key, why in undefined.items() if not key.startswith(LEFT_OUT)}
        return {key: value for key, value in values.items() if not key.startswith(LEFT_OUT)}

    def _too_few(self, ratios: Mapping[str, Tensor]) -> dict[str, str]:
        """Factors that a handful of images carry, and how many would be needed to tell."""
        assert self.counted is not None
        found: dict[str, str] = {}
        for name in self.counted.ratios.factors:
            images, error = int(ratios[f"images/{name}"]), float(ratios[f"error_without/{name}"])
            if 0 < images < FEWEST and math.isfinite(error):
                needed = images_needed(error)
                plural = "images are" if images > 1 else "image is"
                said = f"{images} {plural} not enough to tell; about {needed} would show 20% more errors"
                found[self._named(f"errors on {name}")] = said
        return found

    def publish(self, evaluation: EvaluationContext, values: Mapping[str, Tensor]) -> None:
        """Log two tables: one row per factor, and the worst classes, a row each."""
        if self.counted is None:
            return
        metric, classes, _ = self.counted
        factors = [(name, *(float(values[f"{key}/{name}"]) for key in STATISTICS)) for name in metric.factors]
        for key, head, rows in (
            ("table", ("factor", *STATISTICS), factors),
            ("classes", ("class", *ClassRow._fields[1:]), classes.rows),
        ):
            cells: list[list[Any]] = [[evaluation.epoch, *row] for row in rows]
            log_table(
                evaluation.trainer.loggers,
                f"failures/{self.name}/{key}",
                ["epoch", *head],
                cells,
                evaluation.logged_step,
            )

    def draw(
        self, evaluation: EvaluationContext, values: Mapping[str, float]
    ) -> "Mapping[str, Callable[[], Figure | None]]":
        """The forest plot of the error ratios."""
        if self.counted is None:
            return {}
        return {"error_ratios": lambda: factor_figure(factor_rows(values))}

    # -- resume

    @property
    def state_key(self) -> str:
        """One for each name and factors, so that Lightning leaves it to us to say that two log the same keys."""
        return self._state_key

    def state_dict(self) -> dict[str, Any]:
        """The best evaluation of each factor so far, image by image; plain containers, empty before it."""
        return self._resumed if self.counted is None else self.counted.spillover.state_dict()

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on where the checkpoint stood, on as many processes or on others."""
        self._resumed = state_dict
        if self.counted is not None:
            self.counted.spillover.load_state_dict(state_dict)
