"""Collapse of predictions: sums of logits, and what they say.

Ranks are those of logits centred over the classes, since a constant added to all classes changes no prediction. Class
counts and probabilities do not see a one-dimensional collapse: never infer the dimension of predictions from them.
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor

from lightning_failures.functional.collapse import participation_ratio_unbiased
from lightning_failures.functional.moments import (
    EPSILON,
    Moments,
    Numerics,
    PowerSums,
    covariance,
    finite_double_rows,
    power_sums,
    rounding,
    spectrum,
)
from lightning_failures.functional.spectra import effective_rank, top1_share

__all__ = [
    "PredictionSums",
    "accuracy",
    "chance",
    "class_share",
    "dominant_excess",
    "label_effective_rank",
    "never_given",
    "perplexity",
    "prediction_statistics",
    "prediction_sums",
    "sharpness",
]


#: Labelled images of a class, from which it is told that no image is put into it: where one image of five is
#: recognised, all 20 are missed in one of a hundred cases.
ENOUGH_IMAGES = 20


class PredictionSums(NamedTuple):
    """All that :func:`prediction_statistics` needs; adds up across batches and across ranks."""

    count: Tensor  # type: ignore[assignment]  # () int64, finite rows; hides tuple.count
    total: Tensor  # (c) float64, sum of the centred logits z
    outer: Tensor  # (c c) float64, sum z z'
    squares: Tensor  # () float64, sum |z|^2
    cubes: Tensor  # (c) float64, sum |z|^2 z
    fourths: Tensor  # () float64, sum |z|^4
    probabilities: Tensor  # (c) float64, sum of softmax
    entropy: Tensor  # () float64, sum of each row's entropy in nats
    predicted: Tensor  # (c) int64, rows predicted as each class
    labels: Tensor  # (c) int64, labelled rows of each class
    correct: Tensor  # () int64, labelled rows predicted right
    unlabelled: Tensor  # () int64, rows without a class in [0, c)
    non_finite: Tensor  # () int64, rows left out

    @classmethod
    def zero(cls, num_classes: int) -> "PredictionSums":
        """The sums of no rows."""
        none, counts = torch.zeros((), dtype=torch.int64), torch.zeros(num_classes, dtype=torch.int64)
        powers = PowerSums.zero(num_classes)
        return cls(*powers, counts.double(), none.double(), counts, counts, none, none, none)


def prediction_sums(logits: Tensor, target: Tensor | None = None, how: Numerics | None = None) -> PredictionSums:
    """Sums of one batch of logits; rows that hold NaN or infinity are left out and counted.

    Args:
        logits: one score per class; (n c), any float.
        target: class of each row, None without labels; a class outside [0, c) marks a row without a label; (n),
            int64.
        how: how products are formed; by default as :func:`.numerics` says.
    """
    rows, keep = finite_double_rows(logits)
    num_classes = logits.shape[1]
    powers = power_sums(rows - rows.mean(1, keepdim=True), keep, how)
    keep = keep.to(rows.device)
    log_probabilities = rows.log_softmax(1)
    probabilities = log_probabilities.exp() * keep[:, None]
    predicted = rows.argmax(1)
    target = torch.full_like(predicted, -1) if target is None else target.to(predicted)
    labelled = keep & (target >= 0) & (target < num_classes)
    counts = torch.zeros_like(powers.total, dtype=torch.int64)
    return PredictionSums(
        *powers,
        probabilities.sum(0),
        -(probabilities * log_probabilities).sum(),
        counts.index_add(0, predicted, keep.long()),
        counts.index_add(0, torch.where(labelled, target, 0), labelled.long()),
        (labelled & (predicted == target)).sum(),
        (keep & ~labelled).sum(),
        (~keep).sum(),
    )


def perplexity(counts: Tensor) -> Tensor:
    """Exponential of the entropy of the shares: how many classes are in use; ().

    Convention:
        In [1, c]; c for equal shares; nan where all counts are zero.

    Args:
        counts: counts, or sums of probabilities, by class; (c), at least 0.

    Example:
        >>> round(perplexity(torch.tensor([5, 5, 0])).item(), 9)
        2.0
    """
    share = counts.double() / counts.sum()
    entropy: Tensor = torch.special.entr(share).sum()
    return entropy.exp()


def dominant_excess(predicted: Tensor, labels: Tensor) -> Tensor:
    """Largest excess of a class's share of the predictions over its share of the labels; ().

    Convention:
        In [0, 1]; 0 where predictions are distributed as labels are; nan without predictions or without labels.

    Args:
        predicted: rows predicted as each class; (c).
        labels: rows of each class; (c).

    Example:
        >>> dominant_excess(torch.tensor([9, 1]), torch.tensor([5, 5]))
        tensor(0.4000, dtype=torch.float64)
    """
    return (predicted.double() / predicted.sum() - labels.double() / labels.sum()).amax()


def class_share(predicted: Tensor, labels: Tensor) -> Tensor:
    """How many classes are predicted beyond one, of those that the labels have beyond one, as perplexities; ().

    Convention:
        0 where everything is put into one class, about 1 where predictions are distributed as labels are, above 1 where
        they are more even. nan without predictions or without labels of two classes.

    Args:
        predicted: rows predicted as each class; (c).
        labels: rows of each class; (c).

    Example:
        >>> class_share(torch.tensor([100, 0]), torch.tensor([95, 5]))
        tensor(0., dtype=torch.float64)
        >>> round(class_share(torch.tensor([98, 2]), torch.tensor([95, 5])).item(), 2)
        0.47
    """
    beyond = perplexity(labels) - 1
    return torch.where(beyond > EPSILON, (perplexity(predicted) - 1) / beyond, torch.nan)


def sharpness(entropy: Tensor, num_classes: int) -> Tensor:
    """How sure the predictions are of themselves: 1 minus their mean entropy over that of a guess; ().

    Convention:
        In [0, 1]: 0 where every class is as probable as every other, 1 where each prediction is sure of its class.

    Args:
        entropy: mean entropy of the predicted probabilities, in nats; ().
        num_classes: number of classes c, at least 2.

    Example:
        >>> sharpness(torch.tensor([0.0, 0.6931]), num_classes=4).round(decimals=3)
        tensor([1.0000, 0.5000])
    """
    return (1 - entropy / math.log(num_classes)).clamp(0, 1)


def accuracy(correct: Tensor, labels: Tensor) -> Tensor:
    """Share of labelled rows that are predicted right; (); in [0, 1]; nan without labels."""
    return correct.double() / labels.sum()


def chance(labels: Tensor) -> Tensor:
    """Share of the most frequent class, which naming it always would score; (); in [1/c, 1]; nan without labels.

    Example:
        >>> chance(torch.tensor([3, 1]))
        tensor(0.7500, dtype=torch.float64)
    """
    return labels.amax().double() / labels.sum()


def never_given(predicted: Tensor, labels: Tensor) -> Tensor:
    """Classes that no image is put into, though 20 labelled images or more are of them; (c), bool.

    Args:
        predicted: rows predicted as each class; (c).
        labels: rows of each class; (c).

    Example:
        >>> never_given(torch.tensor([60, 0, 0]), torch.tensor([30, 25, 5])).tolist()
        [False, True, False]
    """
    return (predicted == 0) & (labels >= ENOUGH_IMAGES)


def label_effective_rank(labels: Tensor) -> Tensor:
    """Effective rank of the covariance of one-hot labels: what predictions equal to the labels would have; ().

    Convention:
        In [0, c - 1]; 0 for one class; nan without labels.

    Args:
        labels: rows of each class; (c).

    Example:
        >>> round(label_effective_rank(torch.tensor([50, 30, 10, 5, 5])).item(), 3)
        2.944
    """
    share = labels.double() / labels.sum()
    return effective_rank(spectrum(share.diag() - torch.outer(share, share), 8 * EPSILON * share.amax()))


def prediction_statistics(sums: PredictionSums) -> dict[str, Tensor]:
    """Every statistic of predictions, by name; scalars, each as its own function says.

    Convention:
        The ranks of the logits are at most c - 1. They are nan for two classes, whose centred logits have rank 1
        whatever the network does. ``largest_class_never_given``, of those of :func:`never_given` the one that most
        rows have as their label, is there where any is.
    """
    powers = PowerSums.of(sums)
    missed = never_given(sums.predicted, sums.labels)
    values = spectrum(covariance(Moments.of(powers)), rounding(Moments.of(powers)))
    unbiased = participation_ratio_unbiased(powers)
    if len(values) == 2:
        values, unbiased = torch.full_like(values, torch.nan), torch.full_like(unbiased, torch.nan)
    return {
        "logit_effective_rank": effective_rank(values),
        "logit_top1_share": top1_share(values),
        "logit_participation_ratio_unbiased": unbiased,
        "label_effective_rank": label_effective_rank(sums.labels),
        "label_classes": perplexity(sums.labels),
        "effective_classes": perplexity(sums.predicted),
        "class_share": class_share(sums.predicted, sums.labels),
        "dominant_excess": dominant_excess(sums.predicted, sums.labels),
        "classes_never_given": torch.where(sums.labels.sum() > 0, missed.sum().double(), torch.nan),
        "marginal_perplexity": perplexity(sums.probabilities),
        "conditional_perplexity": (sums.entropy / sums.count).exp(),
        "sharpness": sharpness(sums.entropy / sums.count, len(values)),
        "accuracy": accuracy(sums.correct, sums.labels),
        "chance": chance(sums.labels),
        "images": sums.count,
        "unlabelled": sums.unlabelled,
        "non_finite": sums.non_finite,
    } | ({"largest_class_never_given": (sums.labels * missed).argmax().double()} if bool(missed.any()) else {})
