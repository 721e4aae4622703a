"""Which dataset row each image of an evaluation batch is, and which images are a distributed sampler's padding."""

from itertools import accumulate
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.utils.data import BatchSampler, DataLoader, DistributedSampler, SequentialSampler

__all__ = ["BatchRows", "DatasetRows"]


class BatchRows(NamedTuple):
    """The rows of one batch."""

    rows: Tensor  # (n) int64, row of the dataset
    keep: Tensor  # (n) bool, False for the duplicates that fill up an uneven shard


class DatasetRows:
    """Dataset rows of the batches of one loader whose order can be known.

    Known for a :class:`~torch.utils.data.SequentialSampler` and a :class:`~torch.utils.data.DistributedSampler`, whose
    order follows from its seed and epoch where it shuffles. It repeats images so that every rank has equally many; the
    repeated ones are marked. Any other sampler decides its order for itself: :attr:`known` is False.

    Args:
        loader: the evaluation loader, as Lightning runs it.

    Example:
        >>> rows = DatasetRows(DataLoader(range(5), batch_size=2))
        >>> rows.of(2).rows
        tensor([4])
    """

    def __init__(self, loader: Any) -> None:
        sampler = getattr(getattr(loader, "batch_sampler", None), "sampler", None)
        self.known = isinstance(loader, DataLoader) and _has_known_order(sampler, loader)
        self.dataset: Any = loader.dataset if self.known else None
        self.size = len(loader.dataset) if self.known else 0
        self._world, self._rank = getattr(sampler, "num_replicas", 1), getattr(sampler, "rank", 0)
        self._batches: list[list[int]] = [list(batch) for batch in loader.batch_sampler] if self.known else []
        self._starts = [0, *accumulate(map(len, self._batches))]

    def of(self, batch_idx: int) -> BatchRows:
        """Rows of the batch with this index, as many as the plan has; the caller compares with the batch itself."""
        rows = torch.tensor(self._batches[batch_idx], dtype=torch.int64)
        position = self._rank + (self._starts[batch_idx] + torch.arange(len(rows))) * self._world
        return BatchRows(rows, position < self.size)


def _has_known_order(sampler: Any, loader: DataLoader[Any]) -> bool:
    batches = loader.batch_sampler
    if type(batches) is not BatchSampler:
        return False  # a batch sampler of the user's own decides the order for itself
    if isinstance(sampler, DistributedSampler):
        # Lightning wraps a custom sampler into a dataset; then the sampler's rows are positions in that sampler
        known = not sampler.shuffle or type(sampler) is DistributedSampler  # another may draw as it likes
        return known and sampler.dataset is loader.dataset
    return isinstance(sampler, SequentialSampler)
