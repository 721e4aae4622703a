"""Accuracy on the classes that fare worst, from integer counts of each class."""

from typing import Any, ClassVar, NamedTuple

from torch import Tensor

from lightning_failures.functional.classes import (
    ClassCounts,
    count_class_errors,
    worst_classes,
    worst_classes_accuracy,
)
from lightning_failures.functional.proportions import wilson
from lightning_failures.metrics.base import SumMetric
from lightning_failures.metrics.checks import STRAY, check_positive, check_stray, find_mistakes
from lightning_failures.metrics.factors import ALL_IMAGES, NONE_SEEN
from lightning_failures.records.term import Term

__all__ = ["ClassRow", "WorstClasses"]


class ClassRow(NamedTuple):
    """One class, as a table shows it."""

    label: int
    errors: int  # misclassified images of the class
    images: int
    error: float  # rate, in [0, 1]
    low: float  # its interval of 95%
    high: float


class WorstClasses(SumMetric[ClassCounts]):
    """Accuracy over the images of the ``k`` classes of lowest accuracy.

    ``compute()`` gives ``accuracy/worst_classes``, :func:`.worst_classes_accuracy`; ``accuracy/worst_class``, that of
    the single worst; ``accuracy/all``; and ``images/all``. :attr:`worst` names the classes, :attr:`rows` their errors,
    with intervals that count images, those of one patient or slide too: sums of each class in each group are not kept.

    Args:
        num_classes: number of classes.
        k: how many are the worst, of fewer classes all; None: a tenth of the classes, 100 of 1000, and at least one.
        kwargs: passed on to :class:`torchmetrics.Metric`.

    Raises:
        InputError: as for :class:`.FactorErrorRatio`.

    Example:
        >>> import torch
        >>> metric = WorstClasses(num_classes=3, k=1)
        >>> metric.update(torch.tensor([0, 1, 1, 1]), torch.tensor([0, 1, 2, 1]))
        >>> metric.compute()["accuracy/worst_classes"], metric.worst
        (tensor(0., dtype=torch.float64), [2])
    """

    stray: Tensor

    terms: ClassVar[tuple[Term, ...]] = (
        Term(
            "accuracy/worst_classes",
            "Accuracy on the worst classes",
            "Accuracy over the images of the classes of lowest accuracy. As a choice among noisy figures it reads too "
            "low where classes have few images.",
            "0 to 1",
            "higher is better",
            when_nan=NONE_SEEN,
        ),
        Term(
            "accuracy/worst_class",
            "Accuracy on the worst class",
            "Accuracy over the images of the one class of lowest accuracy.",
            "0 to 1",
            "higher is better",
            when_nan=NONE_SEEN,
        ),
        Term(
            "accuracy/all",
            "Accuracy",
            "Share of all images that are predicted right.",
            "0 to 1",
            "higher is better",
            when_nan=NONE_SEEN,
        ),
        ALL_IMAGES,
    )

    def __init__(self, num_classes: int, k: int | None = None, **kwargs: Any) -> None:
        check_positive(type(self).__name__, "num_classes", num_classes)
        k = max(1, num_classes // 10) if k is None else k
        check_positive(type(self).__name__, "k", k)
        super().__init__(ClassCounts.zero(num_classes), STRAY, **kwargs)
        self.num_classes = num_classes
        self.k = min(k, num_classes)
        self.worst: list[int] = []  # of the last `compute`, the worst first
        self.rows: list[ClassRow] = []  # of the same classes, with Wilson's interval of their error rates

    def update(self, preds: Tensor, target: Tensor, known: Tensor | None = None) -> None:
        """Count a batch.

        Args:
            preds: predicted classes; (n), int, or scores; (n c), float.
            target: the true classes; (n), int.
            known: which images have a label; the others count nowhere; (n), bool; None: all have one.
        """
        mistakes = find_mistakes(f"{type(self).__name__}.update", preds, target, self.num_classes, known=known)
        counts = count_class_errors(mistakes.wrong, mistakes.target, self.num_classes, known)
        self.add(counts, stray=mistakes.stray)

    def compute(self) -> dict[str, Tensor]:
        """The statistics of all images so far, divided once, in float64 on the CPU."""
        check_stray(f"{type(self).__name__}.compute", self.stray)
        counts = self.sums_on_cpu
        worst = worst_classes(counts, self.k)
        wrong, images = counts.class_wrong[worst], counts.class_seen[worst]
        columns = (worst, wrong, images, wrong / images, *wilson(wrong, images))
        self.worst = worst.tolist()
        self.rows = [ClassRow(*row) for row in zip(*(column.tolist() for column in columns), strict=True)]
        seen = counts.class_seen.sum()
        return {
            "accuracy/worst_classes": worst_classes_accuracy(counts, self.k),
            "accuracy/worst_class": worst_classes_accuracy(counts, 1),
            "accuracy/all": 1 - counts.class_wrong.sum().double() / seen.double(),
            "images/all": seen,
        }
