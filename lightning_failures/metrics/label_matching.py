"""Whether labels stand for other classes than predictions do, streamed."""

from typing import Any, ClassVar

import torch
from torch import Tensor

from lightning_failures.errors import InputError
from lightning_failures.functional.label_matching import (
    ClassPairs,
    assign_labels,
    count_class_pairs,
    count_renamed,
    count_renamed_apart,
    renaming_bound,
)
from lightning_failures.functional.mending import mending
from lightning_failures.metrics.base import SumMetric
from lightning_failures.metrics.checks import check_positive, describe
from lightning_failures.metrics.mending import MENDING_TERMS
from lightning_failures.records.term import Term

__all__ = ["LabelMatching"]

#: Share of images below which what renaming could gain at most is not worth looking for.
LEAST = 0.1


class LabelMatching(SumMetric[ClassPairs]):
    """The accuracy as labels stand, and where each predicted class stands for the label that fits it best.

    The assignment of :func:`.assign_labels` is found on one half of the images
    and judged on the other. ``compute`` returns ``before``, ``after`` and ``gain``, each with its interval, as
    :class:`.MendedAccuracy` does of one experiment; :attr:`label` is the assignment, and :attr:`chance`
    the share of the most frequent label. Where no renaming can gain a tenth
    of the images, all classes keep their names. Intervals count images also where these come in groups: the sums hold
    pairs of classes alone, and those of each group would be far more.

    Args:
        num_classes: number of classes c.
        kwargs: passed on to :class:`torchmetrics.Metric`.

    Raises:
        InputError: fewer than one class; in ``update``, scores and target that do not fit.

    Example:
        >>> metric = LabelMatching(num_classes=3)
        >>> predicted = torch.arange(300) % 3
        >>> noise = torch.rand(300, 3, generator=torch.Generator().manual_seed(0))
        >>> metric.update(torch.nn.functional.one_hot(predicted) + 0.1 * noise, (predicted + 1) % 3)
        >>> values = metric.compute()
        >>> float(values["before"]), float(values["after"]), metric.label.tolist(), metric.renamed, metric.shift
        (0.0, 1.0, [1, 2, 0], 3, 1)
    """

    terms: ClassVar[tuple[Term, ...]] = MENDING_TERMS

    def __init__(self, num_classes: int, **kwargs: Any) -> None:
        check_positive(type(self).__name__, "num_classes", num_classes)
        super().__init__(ClassPairs.zero(num_classes), **kwargs)
        self.num_classes = num_classes
        self.label = torch.arange(num_classes)  #: what each predicted class stands for, as of the last ``compute``
        self.chance = torch.tensor(torch.nan, dtype=torch.float64)  #: share of the most frequent label, likewise

    def update(self, scores: Tensor, target: Tensor) -> None:
        """Add a batch.

        Args:
            scores: such as logits; (n c), float.
            target: labels, below 0 where there is none: such images do not count; (n), int.

        Raises:
            InputError: scores and target that are not of the same images, or not of these classes.
        """
        given = describe(scores=scores, target=target)
        if target.ndim != 1 or scores.shape != (len(target), self.num_classes) or not scores.is_floating_point():
            fix = f"Pass scores (n {self.num_classes}), float, and the labels (n) of the same images."
            raise InputError("LabelMatching.update", "scores and target do not fit", given, fix)
        self.add(count_class_pairs(scores, target))

    @property
    def renamed(self) -> int:
        """Predicted classes that stand for another label, as of the last ``compute``."""
        return int((self._moved > 0).sum())

    @property
    def shift(self) -> int | None:
        """By how much each label is above the predicted class that stands for it, where that is the same for all."""
        first = int(self._moved[0])
        return first if first > 0 and bool((self._moved == first).all()) else None

    @property
    def _moved(self) -> Tensor:
        return (self.label - torch.arange(self.num_classes)) % self.num_classes

    def compute(self) -> dict[str, Tensor]:
        """The statistics of all images so far."""
        pairs, labels = self.sums_on_cpu
        self.chance = labels.max().double() / labels.sum().double()
        worth = bool(renaming_bound(pairs.sum(0)) >= LEAST)
        self.label = assign_labels(pairs.sum(0)) if worth else torch.arange(self.num_classes)
        counts = count_renamed_apart(pairs) if worth else count_renamed(pairs.sum(0), self.label)
        return mending(counts)._asdict()
