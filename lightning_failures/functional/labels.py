"""Errors of each label, where an image has several labels or none: answers of yes or no, counted separately."""

from typing import NamedTuple

import torch
from torch import Tensor

__all__ = [
    "LabelCounts",
    "balanced_label_error",
    "count_label_errors",
    "false_alarm_rate",
    "label_error",
    "missed_rate",
    "worst_labels",
]


class LabelCounts(NamedTuple):
    """All that the errors of labels need; adds up across batches and across ranks."""

    label_missed: Tensor  # (l) int64, images that have the label and are not given it
    label_alarms: Tensor  # (l) int64, images that are given the label and do not have it
    label_yes: Tensor  # (l) int64, images that have the label
    label_no: Tensor  # (l) int64, images that do not have it

    @classmethod
    def zero(cls, num_labels: int) -> "LabelCounts":
        """The counts of no images."""
        return cls(*torch.zeros(4, num_labels, dtype=torch.int64))


def count_label_errors(scores: Tensor, labels: Tensor, threshold: float = 0.0) -> LabelCounts:
    """Count a batch.

    Args:
        scores: of each label; (n l), float. A label is given where its score is above the threshold; a score that is
            NaN counts as the wrong answer.
        labels: 1 where an image has the label, 0 where it does not; anything below 0 counts nowhere; (n l), int or
            bool.
        threshold: 0 for logits, 0.5 for probabilities.

    Example:
        >>> count_label_errors(torch.tensor([[2.0, -1.0], [1.0, -3.0]]), torch.tensor([[1, 1], [0, -1]])).label_missed
        tensor([0, 1])
    """
    yes, no = labels > 0, labels == 0
    given, unknown = scores > threshold, scores.isnan()
    missed, alarms = yes & (~given | unknown), no & (given | unknown)
    return LabelCounts(missed.sum(0), alarms.sum(0), yes.sum(0), no.sum(0))


def label_error(counts: LabelCounts) -> Tensor:
    """Share of the images on which the answer to each label is wrong; (l), float64, in [0, 1]; nan without images.

    Of a rare label it is small for a network that never gives it: see :func:`balanced_label_error`.
    """
    wrong, seen = counts.label_missed + counts.label_alarms, counts.label_yes + counts.label_no
    return wrong.double() / seen.double()


def missed_rate(counts: LabelCounts) -> Tensor:
    """Share of the images with each label that are not given it, the false negative rate; (l), float64, in [0, 1].

    Convention:
        1: the label is given to none of the images that have it. ``nan``: no image has it.
    """
    return counts.label_missed.double() / counts.label_yes.double()


def false_alarm_rate(counts: LabelCounts) -> Tensor:
    """Share of the images without each label that are given it, the false positive rate; (l), float64, in [0, 1].

    Convention:
        ``nan``: every image has the label.
    """
    return counts.label_alarms.double() / counts.label_no.double()


def balanced_label_error(counts: LabelCounts) -> Tensor:
    """Mean of :func:`missed_rate` and :func:`false_alarm_rate`: 1 less the balanced accuracy; (l), float64, in [0, 1].

    Convention:
        0.5 is no better than chance, however rare the label is: always yes and always no have it. ``nan``: no image
        has the label, or every one has.

    Example:
        >>> balanced_label_error(LabelCounts(*torch.tensor([[1], [0], [1], [99]])))  # one image has it and is missed
        tensor([0.5000], dtype=torch.float64)
    """
    return (missed_rate(counts) + false_alarm_rate(counts)) / 2


def worst_labels(counts: LabelCounts, k: int) -> Tensor:
    """The labels of highest balanced error, from the highest.

    Convention:
        Among equals the one that comes first comes first. Labels whose balanced error is nan are left out.

    Args:
        counts: the counts.
        k: how many.

    Returns:
        Places of the labels; (k) or fewer, int64.
    """
    error = balanced_label_error(counts)
    order = error.argsort(descending=True, stable=True)
    return order[error[order].isfinite()][:k]
