"""Errors by class, and the accuracy on the classes that fare worst."""

from typing import NamedTuple

import torch
from torch import Tensor

__all__ = ["ClassCounts", "class_accuracy", "count_class_errors", "worst_classes", "worst_classes_accuracy"]


class ClassCounts(NamedTuple):
    """Errors of each class; adds up across batches and across ranks."""

    class_wrong: Tensor  # (c) int64, misclassified images of each class
    class_seen: Tensor  # (c) int64, images of each class

    @classmethod
    def zero(cls, num_classes: int) -> "ClassCounts":
        """The counts of no images."""
        return cls(torch.zeros(num_classes, dtype=torch.int64), torch.zeros(num_classes, dtype=torch.int64))


def count_class_errors(wrong: Tensor, target: Tensor, num_classes: int, known: Tensor | None = None) -> ClassCounts:
    """Count a batch.

    Args:
        wrong: which images are misclassified; (n), bool.
        target: the true class of each image; (n), int64, in [0, c).
        num_classes: number of classes c.
        known: which images have a label; the others count nowhere; (n), bool; None: all have one.
    """
    zero = torch.zeros(num_classes, dtype=torch.int64, device=target.device)
    wrong, seen = wrong.bool().long(), torch.ones_like(target) if known is None else known.long()
    return ClassCounts(zero.index_add(0, target, wrong * seen), zero.index_add(0, target, seen))


def class_accuracy(counts: ClassCounts) -> Tensor:
    """Accuracy on each class; (c), float64, in [0, 1]; ``nan`` for a class without images."""
    return 1 - counts.class_wrong.double() / counts.class_seen.double()


def worst_classes(counts: ClassCounts, k: int) -> Tensor:
    """The classes of lowest accuracy, from the lowest.

    Convention:
        Among equals the lower class comes first. Classes without images are left out.

    Args:
        counts: the counts.
        k: how many.

    Returns:
        Class indices; (k) or fewer, int64.
    """
    accuracy = class_accuracy(counts)
    order = accuracy.argsort(stable=True)  # nan last
    return order[: min(k, int((counts.class_seen > 0).sum()))]


def worst_classes_accuracy(counts: ClassCounts, k: int) -> Tensor:
    """Accuracy over the images of the ``k`` classes of lowest accuracy.

    Convention:
        In [0, 1], at most the accuracy on all images. ``nan``: no image.

    Args:
        counts: the counts.
        k: how many classes; all that have images if there are fewer.

    Returns:
        One accuracy; (), float64.

    Example:
        >>> counts = ClassCounts(torch.tensor([9, 1, 0]), torch.tensor([10, 30, 10]))
        >>> worst_classes_accuracy(counts, 2)
        tensor(0.7500, dtype=torch.float64)
    """
    worst = worst_classes(counts, k)
    return 1 - counts.class_wrong[worst].sum().double() / counts.class_seen[worst].sum().double()
