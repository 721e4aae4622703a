"""Whether predictions and labels agree under other names: labels that are shifted, sorted anew, or of another list.

An assignment of labels to predicted classes is found on one half of the images and judged on the other, and the other
way round, so that an assignment that fits chance gains nothing.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from lightning_failures.functional.assignment import best_assignment
from lightning_failures.functional.mending import MendingCounts

__all__ = ["ClassPairs", "assign_labels", "count_class_pairs", "count_renamed", "count_renamed_apart", "renaming_bound"]


class ClassPairs(NamedTuple):
    """How often each class is predicted for images of each label, in two halves of the images."""

    pairs: Tensor  # (2 c c), int64: half, predicted class, label
    labels: Tensor  # (c), int64: images of each label, those that no class is predicted for among them

    @classmethod
    def zero(cls, classes: int) -> "ClassPairs":
        """The counts of no images."""
        return cls(torch.zeros(2, classes, classes, dtype=torch.int64), torch.zeros(classes, dtype=torch.int64))


def count_class_pairs(scores: Tensor, target: Tensor) -> ClassPairs:
    """Count one batch, without a device synchronisation.

    Which half an image belongs to is read from the bits of its largest score, so that it is the same however the images
    are cut into batches and dealt out to processes.

    Args:
        scores: such as logits; (n c), float. Where the largest one is not finite no class is predicted.
        target: labels, below 0 where there is none: such images do not count; (n), int.

    Example:
        >>> scores = torch.tensor([[0.0, 0.3], [0.0, 0.7], [0.1, 0.0]])
        >>> count_class_pairs(scores, torch.tensor([0, 0, 1])).pairs.sum(0).tolist()
        [[0, 1], [2, 0]]
    """
    classes = scores.shape[1]
    largest = scores.float().amax(1)
    bits = largest.view(torch.int32)
    half = ((bits ^ (bits >> 13) ^ (bits >> 16)) & 1).long()  # 13 and 16: the last bits of float16 and bfloat16
    known = (target >= 0) & (target < classes)
    label = target.long().clamp(0, classes - 1)
    place = (half * classes + scores.argmax(1)) * classes + label
    counts = torch.zeros(2 * classes * classes, dtype=torch.int64, device=target.device)
    labels = torch.zeros(classes, dtype=torch.int64, device=target.device)
    counts.index_add_(0, place, (known & largest.isfinite()).long())
    return ClassPairs(counts.view(2, classes, classes), labels.index_add_(0, label, known.long()))


def assign_labels(pairs: Tensor) -> Tensor:
    """The label of each predicted class, each label once, with which most images are right; (c), int64.

    Of equally good assignments it is the one that renames fewest classes.

    Args:
        pairs: how often each class is predicted for images of each label; (c c), int64.

    Example:
        >>> assign_labels(torch.tensor([[1, 8], [9, 2]])), assign_labels(torch.zeros(2, 2))
        (tensor([1, 0]), tensor([0, 1]))
    """
    same = torch.eye(len(pairs), dtype=torch.float64) / (2 * len(pairs))
    return best_assignment(-(pairs.double() + same))


def count_renamed(pairs: Tensor, label: Tensor) -> MendingCounts:
    """Who is right as the labels stand, and where each predicted class stands for another label.

    Args:
        pairs: how often each class is predicted for images of each label; (c c), int64.
        label: what each predicted class stands for, each label once; (c), int64.

    Returns:
        Counts of one experiment; each ().

    Example:
        >>> found = count_renamed(torch.tensor([[1, 8], [9, 2]]), torch.tensor([1, 0]))
        >>> int(found.after), int(found.before), int(found.both)
        (17, 3, 0)
    """
    names = torch.arange(len(pairs), device=pairs.device)
    same = label == names
    before, after = pairs[names, names], pairs[names, label]
    both, only_after, only_before = before[same].sum(), after[~same].sum(), before[~same].sum()
    return MendingCounts(both, only_after, only_before, pairs.sum() - both - only_after - only_before)


def count_renamed_apart(pairs: Tensor) -> MendingCounts:
    """The counts of :func:`count_renamed`, each half of the images judged by what is assigned on the other.

    Args:
        pairs: how often each class is predicted for images of each label, in two halves; (2 c c), int64.

    Returns:
        Counts of one experiment; each ().

    Example:
        >>> found = count_renamed_apart(torch.tensor([[[1, 8], [9, 2]], [[0, 5], [5, 1]]]))
        >>> int(found.after), int(found.before)
        (27, 4)
    """
    halves = [count_renamed(pairs[judged], assign_labels(pairs[1 - judged])) for judged in (0, 1)]
    return MendingCounts(*(one + other for one, other in zip(*halves, strict=True)))


def renaming_bound(pairs: Tensor) -> Tensor:
    """Share of images that no renaming can gain more than: each predicted class takes its most frequent label.

    Args:
        pairs: how often each class is predicted for images of each label; (c c), int64.

    Convention:
        In [0, 1]. ``nan`` without images.

    Returns:
        (), float64.

    Example:
        >>> renaming_bound(torch.tensor([[5, 0], [3, 2]]))
        tensor(0.1000, dtype=torch.float64)
    """
    return (pairs.amax(1) - pairs.diagonal()).sum().double() / pairs.sum().double()
