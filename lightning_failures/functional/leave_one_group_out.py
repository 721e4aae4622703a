"""What a linear model reads of a group that it has not seen, in closed form, and how well the group itself is read.

A linear discriminant needs nothing but class moments, which add up. So the model without a group is that of the sums
of all other groups: no image is read again and nothing is fitted twice. Beside it stands the model without a random
part of the images, in which the groups are mixed.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from lightning_failures.functional.discriminant import linear_discriminant
from lightning_failures.functional.moments import ClassMoments, class_moments

__all__ = ["GroupReading", "leave_out", "read_groups", "read_halves", "without_part"]


def without_part(parts: Sequence[ClassMoments], place: int) -> ClassMoments:
    """The sums of all parts but one.

    Example:
        >>> parts = [class_moments(torch.ones(2, 1), torch.tensor([0, label]), 2) for label in (0, 1)]
        >>> without_part(parts, 0).counts
        tensor([1, 1])
    """
    others = [part for other, part in enumerate(parts) if other != place]
    if not others:
        return ClassMoments.zero(len(parts[0].counts), parts[0].totals.shape[1])
    return ClassMoments(*(torch.stack(part).sum(0) for part in zip(*others, strict=True)))


def leave_out(parts: Sequence[ClassMoments], rows: Tensor, part: Tensor) -> Tensor:
    """Classes that a linear model of all other parts predicts for each row; see :func:`.linear_discriminant`.

    Args:
        parts: class moments of each part, such as a group of images that belong together; k of them, of d features.
        rows: to be predicted; (m d), any float.
        part: the part that each row is of; (m), int64.

    Convention:
        -1 where the other parts hold fewer than two classes. A class that stands in one part alone is never predicted.

    Returns:
        (m), int64.

    Example:
        >>> rows, labels = torch.tensor([[0.0], [1.0], [4.0], [5.0]]), torch.tensor([0, 0, 1, 1])
        >>> parts = [class_moments(rows[some], labels[some], 2) for some in ([0, 2], [1, 3])]
        >>> leave_out([parts[0], parts[0], parts[1]], rows, torch.tensor([2, 2, 2, 2]))
        tensor([0, 0, 1, 1])
    """
    found = torch.full((len(rows),), -1, dtype=torch.int64)
    for place in part.unique().tolist():
        some = part == place
        found[some] = linear_discriminant(without_part(parts, place)).predict(rows[some])
    return found


class GroupReading(NamedTuple):
    """What :func:`read_groups` gives."""

    right: Tensor  # (m) bool, whose group is read from the row
    within: Tensor  # (m) bool, whose group is read among rows of the row's own class
    among: Tensor  # (m) bool, rows whose class stands in several groups, so that this can be asked
    chance: Tensor  # () float64, share of the largest group
    within_chance: Tensor  # () float64, share of the largest group of each class, over the rows of ``among``


def read_halves(rows: Tensor, labels: Tensor) -> Tensor:
    """Whether a linear model of one half of the rows reads the label of a row of the other half.

    The halves take two rows each in turn, those of :func:`read_groups`.

    Args:
        rows: in a random order; (m d), any float.
        labels: what is read, from 0; (m), int64.

    Convention:
        False where the model is undefined, such as of fewer than two labels; see :func:`.linear_discriminant`.

    Returns:
        (m), bool.

    Example:
        >>> rows = torch.arange(80.0)[:, None] % 5
        >>> float(read_halves(rows, (rows[:, 0] > 1).long()).double().mean())
        1.0
    """
    half, right = _halves(len(rows)), torch.zeros(len(rows), dtype=torch.bool)
    for place in (0, 1):
        fit, asked = half != place, half == place
        model = linear_discriminant(class_moments(rows[fit], labels[fit], int(labels.max()) + 1))
        right[asked] = model.predict(rows[asked]) == labels[asked]
    return right


def _halves(rows: int) -> Tensor:
    return torch.arange(rows) // 2 % 2


def read_groups(rows: Tensor, target: Tensor, group: Tensor) -> GroupReading:
    """How well a linear model reads the group of a row, and how well among rows of one class.

    Two halves, every other row each: a model of one half reads the other.

    Args:
        rows: in a random order; (m d), any float.
        target: their classes, -1 for rows that are not asked among those of their class; (m), int64.
        group: their groups, from 0; (m), int64.

    Convention:
        Reading the group among rows of one class cannot come from classes that stand in some groups alone. ``chance``
        and ``within_chance`` are ``nan`` where there is nothing to ask.

    Example:
        >>> rows = torch.arange(80.0)[:, None] % 5
        >>> found = read_groups(rows, torch.zeros(80, dtype=torch.int64), (rows[:, 0] > 1).long())
        >>> float(found.right.double().mean()), float(found.within_chance)
        (1.0, 0.6)
    """
    groups, classes = int(group.max()) + 1, int(target.max()) + 1
    half = _halves(len(rows))
    right, within = read_halves(rows, group), torch.zeros(len(rows), dtype=torch.bool)
    among = torch.zeros(len(rows), dtype=torch.bool)
    for place in (0, 1):
        fit, asked = half != place, half == place
        for label in range(classes):
            mine, theirs = fit & (target == label), asked & (target == label)
            if len(group[mine].unique()) < 2 or not bool(theirs.any()):
                continue
            model = linear_discriminant(class_moments(rows[mine], group[mine], groups))
            within[theirs] = model.predict(rows[theirs]) == group[theirs]
            among |= theirs
    largest = torch.zeros((), dtype=torch.float64)
    for label in target[among].unique().tolist():
        largest += group[among & (target == label)].bincount().max()
    chance = group.bincount().max().double() / len(group)
    return GroupReading(right, within, among, chance, largest / among.sum())
