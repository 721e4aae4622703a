"""What a linear model reads of a network's features, the class of an image or the group that it is of.

Both are asked in the same way of the same images, so that they can be held beside each other: a network whose features
tell the scanner as well as the class has learnt the scanner too.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from lightning_failures.functional.clusters import add_by_group, clustered_rate
from lightning_failures.functional.leave_one_group_out import read_groups, read_halves
from lightning_failures.functional.proportions import wilson
from lightning_failures.functional.robustness_index import robustness_index

__all__ = ["FEWEST_OF_CLASS", "FEWEST_OF_GROUP", "FeatureReading", "feature_reading"]

#: Images of a group, and of a class, below which nobody tries to read it.
FEWEST_OF_GROUP, FEWEST_OF_CLASS = 8, 16


class FeatureReading(NamedTuple):
    """What :func:`feature_reading` gives; each (), float64."""

    group_read: Tensor  # share of images whose group is read
    group_read_low: Tensor
    group_read_high: Tensor
    group_chance: Tensor  # of naming the largest group
    group_read_within: Tensor  # the same among images of one class
    group_chance_within: Tensor
    label_read: Tensor  # share of the same images whose class is read
    label_read_low: Tensor
    label_read_high: Tensor
    label_chance: Tensor  # of naming the largest class
    robustness_index: Tensor  # of all images


def feature_reading(features: Tensor, target: Tensor, group: Tensor, seed: int = 0) -> FeatureReading:
    """How well a linear model in closed form reads the group, and the class, of an image from features.

    The images fall into two halves at random; a model of one half reads the other, see :func:`.linear_discriminant`.
    Nothing is fitted by steps.

    Args:
        features: of each image; (n d), any float, finite.
        target: the classes; (n), int64, 0 and above.
        group: the group of each image, any number; (n), int64.
        seed: of the halves; another seed draws others, and nothing is drawn from the global generators.

    Convention:
        Shares in [0, 1]. Groups of fewer than 8 images are not read, and are left out for the classes too; ``nan``
        where fewer than two groups, or for the class two classes, are left, or no feature varies. *Within*: among
        images of one class, of classes with 16 images and more; reading the group there cannot come from classes that
        stand in some groups alone. The interval of the group's share is of these very groups, by images. That of the
        class's share counts groups, and is ``nan`` below :data:`.FEWEST_GROUPS`. Both halves hold images of the same
        groups: how well a class is read of a group that was not seen is another question, see :func:`.leave_out`. The
        robustness index is that of :func:`.robustness_index`, of all images.

    Example:
        >>> group = torch.arange(64) % 2
        >>> target = torch.arange(64) // 2 % 2
        >>> found = feature_reading(torch.stack([group, 0 * target], 1).float(), target, group)
        >>> float(found.group_read), float(found.group_chance), float(found.robustness_index)
        (1.0, 0.5, 0.0)
    """
    order = torch.randperm(len(target), generator=torch.Generator().manual_seed(seed))
    features, target, group = features[order].double(), target[order], group[order]
    index = robustness_index(features, target, group) if len(target) > 1 else torch.tensor(torch.nan).double()
    _, place, counts = group.unique(return_inverse=True, return_counts=True)
    some = counts[place] >= FEWEST_OF_GROUP
    rows, group = features[some], group[some]
    _, label, of_class = target[some].unique(return_inverse=True, return_counts=True)
    groups, number = group.unique(return_inverse=True)
    nan = torch.full((10,), torch.nan, dtype=torch.float64)
    if len(groups) < 2 or not bool((rows != rows[:1]).any()):
        return FeatureReading._make((*nan, index))
    asked = torch.where(of_class[label] >= FEWEST_OF_CLASS, label, -1)
    reading = read_groups(rows, asked, number)
    within = reading.within[reading.among].double().mean()
    read = (reading.right.double().mean(), *wilson(reading.right.sum(), torch.tensor(len(rows))))
    of_label: tuple[Tensor, ...] = tuple(nan[:4])
    if len(of_class) > 1:
        right = read_halves(rows, label)
        _, sums = add_by_group(torch.stack([right.long(), torch.ones_like(label)], 1), group)
        rate = clustered_rate(sums[:, 0], sums[:, 1])
        of_label = rate.value, rate.low, rate.high, of_class.max().double() / len(rows)
    return FeatureReading._make((*read, reading.chance, within, reading.within_chance, *of_label, index))
