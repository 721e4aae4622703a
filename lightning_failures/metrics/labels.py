"""Errors of each label, streamed: the metric over :mod:`lightning_failures.functional.labels`."""

from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor

from lightning_failures.errors import InputError
from lightning_failures.functional.labels import (
    LabelCounts,
    balanced_label_error,
    count_label_errors,
    false_alarm_rate,
    label_error,
    missed_rate,
    worst_labels,
)
from lightning_failures.functional.proportions import wilson
from lightning_failures.metrics.base import SumMetric
from lightning_failures.metrics.checks import check_positive, describe
from lightning_failures.metrics.factors import by_factor
from lightning_failures.records.term import Term

__all__ = ["LabelErrors", "LabelRow"]

_NO_YES = "no image has the label"
_NO_NO = "every image has the label"
_NEITHER = f"{_NO_YES}, or every one has"
_NONE = "no label is had by some images and not by others"


class LabelRow(NamedTuple):
    """One label, as a table shows it."""

    label: int
    errors: int  # images on which its answer is wrong
    images: int  # on which its answer is known
    with_label: int  # images that have it
    error: float  # rate, in [0, 1]
    low: float  # its interval of 95%
    high: float
    balanced_error: float  # mean of the next two
    missed: float  # share of the images that have it
    false_alarms: float  # share of those that do not


class LabelErrors(SumMetric[LabelCounts]):
    """Errors of each label, where an image has several labels or none.

    ``compute()`` gives for each label L, by its place, ``label_error/L``, :func:`.label_error`;
    ``label_balanced_error/L``, :func:`.balanced_label_error`, which a rare label cannot hide from; ``label_missed/L``
    and ``label_false_alarm/L``, :func:`.missed_rate` and :func:`.false_alarm_rate`; and ``label_images/L``, how many
    images have it. Over all: ``label_error/all``, ``label_balanced_error/all`` and ``label_balanced_error/worst``, and
    ``labels_never_given``. :attr:`rows` holds the worst labels, with intervals that count images, those of one patient
    or slide too: sums of each label in each group are not kept.

    Args:
        num_labels: number of labels l.
        threshold: a label is given where its score is above it: 0 for logits, 0.5 for probabilities.
        k: how many rows the worst labels have at most.
        kwargs: passed on to :class:`torchmetrics.Metric`.

    Raises:
        InputError: no labels, or no rows; in ``update`` shapes or types that do not fit.

    Example:
        >>> metric = LabelErrors(num_labels=2)
        >>> metric.update(torch.tensor([[2.0, -1.0], [1.0, -3.0]]), torch.tensor([[1, 1], [0, 0]]))
        >>> metric.compute()["label_missed/1"], metric.rows[0].label
        (tensor(1., dtype=torch.float64), 0)
    """

    terms: ClassVar[tuple[Term, ...]] = (
        Term(
            "label_error/*",
            "Error rate of a label",
            "Share of the images on which the label's answer, yes or no, is wrong. It is small for a rare label that "
            "is never given; see its balanced error.",
            "0 to 1",
            "lower is better",
            when_nan="no image whose label is known was seen",
        ),
        Term(
            "label_error/all",
            "Error rate of all labels",
            "Share of all answers, one per image and label, that are wrong.",
            "0 to 1",
            "lower is better",
            when_nan="no image whose labels are known was seen",
        ),
        Term(
            "label_balanced_error/*",
            "Balanced error of a label",
            "Mean of the share of images that have the label and are not given it, and of the share of those that do "
            "not have it and are given it.",
            "0 to 1",
            "lower is better; 0.5 is no better than chance, however rare the label is",
            when_nan=_NEITHER,
        ),
        Term(
            "label_balanced_error/all",
            "Balanced error of the labels",
            "Mean of the balanced errors of the labels.",
            "0 to 1",
            "lower is better; 0.5 is no better than chance",
            when_nan=_NONE,
        ),
        Term(
            "label_balanced_error/worst",
            "Balanced error of the worst label",
            "The largest balanced error of a label; as the largest of several noisy figures it reads too high.",
            "0 to 1",
            "lower is better; 0.5 is no better than chance",
            when_nan=_NONE,
        ),
        Term(
            "label_missed/*",
            "Missed share of a label",
            "Share of the images that have the label and are not given it: the false negative rate.",
            "0 to 1",
            "lower is better; 1: it is given to none of them",
            when_nan=_NO_YES,
        ),
        Term(
            "label_false_alarm/*",
            "False alarms of a label",
            "Share of the images that do not have the label and are given it: the false positive rate.",
            "0 to 1",
            "lower is better",
            when_nan=_NO_NO,
        ),
        Term(
            "label_images/*",
            "Images with a label",
            "Images that have the label.",
            "0 upwards",
            "describes",
            "images",
        ),
        Term(
            "labels_never_given",
            "Labels that are never given",
            "Labels that some image has and that no image is given.",
            "0 upwards",
            "above 0: the network has learned to leave them out",
            "labels",
        ),
    )

    def __init__(self, num_labels: int, *, threshold: float = 0.0, k: int = 20, **kwargs: Any) -> None:
        check_positive(type(self).__name__, "num_labels", num_labels)
        check_positive(type(self).__name__, "k", k)
        super().__init__(LabelCounts.zero(num_labels), **kwargs)
        self.num_labels, self.threshold, self.k = num_labels, threshold, k
        self.rows: list[LabelRow] = []  # of the last `compute`, the highest balanced error first

    def update(self, preds: Tensor, target: Tensor) -> None:
        """Count a batch.

        Args:
            preds: scores of the labels; (n l), float. One that is NaN counts as a wrong answer.
            target: 1 where an image has the label, else 0; below 0 for an answer that is not known and counts nowhere;
                (n l), int or bool.

        Raises:
            InputError: other than one column per label, scores that are no floats, or labels that are floats.
        """
        where = f"{type(self).__name__}.update"
        if preds.shape != target.shape or preds.ndim != 2 or preds.shape[1] != self.num_labels:
            given = f"{describe(preds=preds, target=target)} for {self.num_labels} labels"
            raise InputError(where, "the scores and labels do not fit", given, "Pass both (n l): one column per label.")
        if not preds.is_floating_point() or target.is_floating_point() or target.is_complex():
            fix = "Pass scores as float, and labels of 0 and 1 as int or bool."
            raise InputError(
                where, "preds are not scores, or target not labels", describe(preds=preds, target=target), fix
            )
        self.add(count_label_errors(preds, target, self.threshold))

    def compute(self) -> dict[str, Tensor]:
        """The statistics of all images so far, divided once, in float64 on the CPU."""
        counts = self.sums_on_cpu
        error, balanced = label_error(counts), balanced_label_error(counts)
        missed, alarms = missed_rate(counts), false_alarm_rate(counts)
        values = by_factor(
            [str(place) for place in range(self.num_labels)],
            label_error=error,
            label_balanced_error=balanced,
            label_missed=missed,
            label_false_alarm=alarms,
            label_images=counts.label_yes,
        )
        wrong, seen = counts.label_missed + counts.label_alarms, counts.label_yes + counts.label_no
        values["label_error/all"] = wrong.sum().double() / seen.sum().double()
        values["label_balanced_error/all"] = balanced.nanmean()
        worst = worst_labels(counts, self.k)
        values["label_balanced_error/worst"] = balanced[worst[0]] if len(worst) else balanced.new_tensor(torch.nan)
        given = counts.label_yes - counts.label_missed + counts.label_alarms
        values["labels_never_given"] = ((given == 0) & (counts.label_yes > 0)).sum()
        low, high = wilson(wrong, seen)
        columns = (worst, *(each[worst] for each in (wrong, seen, counts.label_yes, error, low, high)))
        columns += tuple(each[worst] for each in (balanced, missed, alarms))
        self.rows = [LabelRow(*row) for row in zip(*(column.tolist() for column in columns), strict=True)]
        return values
