"""Which images of an evaluation belong to a sample of bounded size, over all ranks."""

import math
from functools import lru_cache

import torch
from torch import Tensor

__all__ = ["SampledRows", "drawn_rows"]


class SampledRows:
    """Chooses the images of a sample as the batches of one rank pass by; it never waits for a device.

    Where the rows of the dataset are known, the sample is drawn among them by a fixed seed: the same images at each
    evaluation, on any number of ranks and in batches of any size. Else images are taken evenly from the batches.

    Args:
        most: images of the sample, over all ranks.
        batches: that are to come on this rank; infinitely many if unknown.
        ranks: of the run.
        rank: this one.
    """

    def __init__(self, most: int, batches: float, ranks: int = 1, rank: int = 0) -> None:
        self._most, self._batches, self._ranks, self._rank = most, batches, ranks, rank
        self._seen = 0
        self.images = 0  #: that are in the sample so far, of this rank

    def rows(self, images: int, places: Tensor | None, chosen: Tensor | None) -> tuple[Tensor, Tensor]:
        """Which images of a batch are in the sample, and their places; (k), int64, on the CPU.

        Args:
            images: of the batch.
            places: rows of the dataset; (n), int64, on the CPU. None: not known.
            chosen: of the dataset, which rows are in the sample; (N), bool; see :func:`drawn_rows`. None: not known.
        """
        self._seen += 1
        if places is not None and chosen is not None:
            kept = chosen[places].nonzero()[:, 0]
            return kept, places[kept]
        most = -(-self._most // self._ranks)
        known = math.isfinite(self._batches) and self._batches > 0
        due = min(math.ceil(self._seen * most / self._batches), most) if known else most
        count = max(0, min(due - self.images, images))
        kept = torch.linspace(0, images - 1, count).round().long()
        return kept, (self.images + torch.arange(count)) * self._ranks + self._rank


@lru_cache(maxsize=4)
def drawn_rows(size: int, most: int) -> Tensor | None:
    """Which rows of a dataset are in a sample; (N), bool, the same on every rank; None where rows are not known.

    Nothing is drawn from the global generators.

    Args:
        size: rows of the dataset, 0 where they are not known.
        most: rows of the sample.

    Example:
        >>> int(drawn_rows(100, 30).sum())
        30
    """
    return torch.randperm(size, generator=torch.Generator().manual_seed(0)) < most if size else None
