"""What undoing a cause mends: accuracies on the same images before and after, and the difference of the two.

One experiment changes one thing, such as the scale of the inputs, and asks the network again. Both answers are of the
same images, so the gain has a paired interval, see :func:`.accuracy_difference`; of images that come in groups one that
counts groups.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from lightning_failures.functional.clusters import clustered_rate
from lightning_failures.functional.paired_accuracy import accuracy_difference, count_pairs
from lightning_failures.functional.proportions import wilson

__all__ = ["Mending", "MendingCounts", "count_mending", "mending"]


class MendingCounts(NamedTuple):
    """Images by who gets them right, for e experiments; each (e), int64."""

    both: Tensor
    after: Tensor  # right only after
    before: Tensor  # right only before
    neither: Tensor

    @classmethod
    def zero(cls, experiments: int) -> "MendingCounts":
        """The counts of no images."""
        return cls(*(torch.zeros(experiments, dtype=torch.int64) for _ in range(4)))


class Mending(NamedTuple):
    """What :func:`mending` gives; each (e), float64."""

    before: Tensor
    before_low: Tensor
    before_high: Tensor
    after: Tensor
    after_low: Tensor
    after_high: Tensor
    gain: Tensor
    gain_low: Tensor
    gain_high: Tensor


def count_mending(before: Tensor, after: Tensor, target: Tensor) -> MendingCounts:
    """Count one batch of one experiment.

    Args:
        before: predicted classes; (n), int.
        after: predicted classes of the same images when one thing was undone; (n), int.
        target: true classes, below 0 where there is none: such images do not count; (n), int.

    Returns:
        Counts of one experiment; each ().

    Example:
        >>> predicted, again, true = torch.tensor([0, 0, 1]), torch.tensor([0, 1, 1]), torch.tensor([0, 1, 1])
        >>> [int(count) for count in count_mending(predicted, again, true)]
        [2, 1, 0, 0]
    """
    return MendingCounts(*count_pairs(after == target, before == target, target >= 0))


def mending(counts: MendingCounts, by_group: MendingCounts | None = None) -> Mending:
    """Accuracy before and after with Wilson's 95% intervals, and the gain with Newcombe's paired one.

    Convention:
        Accuracies in [0, 1], gains in [-1, 1]; above 0 undoing it helps. ``nan`` for an experiment without images;
        intervals also where its images are of fewer than :data:`.FEWEST_GROUPS` groups, or one of them holds most.

    Args:
        counts: of e experiments.
        by_group: the same of each group of images that belong together, (g e), so that intervals count groups; None:
            images are independent.

    Example:
        >>> found = mending(MendingCounts(*torch.tensor([[10], [80], [0], [10]])))
        >>> [round(float(value), 2) for value in (found.before, found.after, found.gain, found.gain_low)]
        [0.1, 0.9, 0.8, 0.7]
    """
    both, after, before, neither = (count.double() for count in counts)
    seen = both + after + before + neither
    gain = accuracy_difference(both, after, before, neither, by_group=by_group)
    limits: tuple[tuple[Tensor, Tensor], ...] = wilson(both + before, seen), wilson(both + after, seen)
    if by_group is not None:
        of = torch.stack(list(by_group)).sum(0)
        rates = (clustered_rate(by_group.both + right, of) for right in (by_group.before, by_group.after))
        limits = tuple((rate.low, rate.high) for rate in rates)
    return Mending((both + before) / seen, *limits[0], (both + after) / seen, *limits[1], *gain)
