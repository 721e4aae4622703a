"""The penultimate features of a bounded sample of the images of an evaluation, with their classes and groups."""

from typing import NamedTuple

import torch
from torch import Tensor

from lightning_failures.callbacks.sampled_rows import SampledRows
from lightning_failures.functional.moments import finite_rows
from lightning_failures.functional.slices import narrow_features
from lightning_failures.observe.observation import take_rows

__all__ = ["MOST", "FeatureSample", "SampledFeatures"]

#: Images of the sample, over all ranks.
MOST = 1024


class SampledFeatures(NamedTuple):
    """What is known of the images of the sample; m of them, on the CPU, in the order of their places."""

    places: Tensor  # (m) int64, rows of the dataset, or of their arrival
    features: Tensor  # (m d), of at most 128 numbers, see narrow_features
    target: Tensor  # (m) int64
    groups: Tensor  # (m) int64

    @classmethod
    def joined(cls, parts: "list[SampledFeatures]") -> "SampledFeatures":
        """Those of all batches, or of all ranks, without images that have no class or hold NaN or infinity."""
        places, features, target, groups = (torch.cat(column) for column in zip(*parts, strict=True))
        order = places.argsort()
        order = order[(target >= 0)[order] & finite_rows(features)[order]]
        return cls(places[order], features[order], target[order], groups[order])


class FeatureSample(SampledRows):
    """Keeps the sample of one rank as its batches pass by, on their device; see :class:`.SampledRows`.

    Args:
        batches: that are to come on this rank; infinitely many if unknown.
        ranks: of the run.
        rank: this one.
    """

    def __init__(self, batches: float, ranks: int = 1, rank: int = 0) -> None:
        super().__init__(MOST, batches, ranks, rank)
        self._parts: list[SampledFeatures] = []

    def add(self, kept: Tensor, places: Tensor, features: Tensor, target: Tensor, groups: Tensor) -> None:
        """Keep some images of a batch; no device synchronisation.

        Args:
            kept: which ones; (k), int64, on the CPU.
            places: of them; (k), int64.
            features: (n d).
            target: (n), int64.
            groups: (n), int64.
        """
        if not len(kept):
            return
        self._parts.append(
            SampledFeatures(
                places, narrow_features(take_rows(features, kept)), take_rows(target, kept), take_rows(groups, kept)
            )
        )
        self.images += len(kept)

    def on_cpu(self) -> SampledFeatures | None:
        """What was kept; None where nothing was."""
        if not self._parts:
            return None
        return SampledFeatures(
            *(torch.cat([each.cpu() for each in column]) for column in zip(*self._parts, strict=True))
        )
