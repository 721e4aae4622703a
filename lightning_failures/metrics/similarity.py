"""How alike representations are, streamed: metrics over :mod:`lightning_failures.functional.similarity`."""

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor

from lightning_failures.errors import InputError, UnknownNameError
from lightning_failures.functional.moments import Moments
from lightning_failures.functional.similarity import (
    RowSums,
    ViewSums,
    centred_kernel_alignment,
    lidar,
    overlap_since,
    row_sums,
    view_sums,
)
from lightning_failures.metrics.base import IMAGES, NON_FINITE, SumMetric, check_rows
from lightning_failures.records.term import Term

__all__ = ["CrossLayerCKA", "LiDAR", "SubspaceOverlap"]


class CrossLayerCKA(SumMetric[RowSums]):
    """Linear centred kernel alignment between all pairs of layers: ``cka/<layer>~<later layer>``.

    A row that holds NaN or infinity in one layer is left out of all. The sums take 8 D^2 bytes for D features in all
    layers together.

    Args:
        layers: number of features of each layer, by name.
        kwargs: passed on to :class:`torchmetrics.Metric`.

    Example:
        >>> metric = CrossLayerCKA({"stem": 2, "body": 2})
        >>> x = torch.tensor([[1.0, 2.0], [3.0, 1.0], [2.0, 5.0]])
        >>> metric.update({"stem": x, "body": -2 * x})
        >>> round(metric.compute()["cka/stem~body"].item(), 9)
        1.0
    """

    terms: ClassVar[tuple[Term, ...]] = (
        Term(
            "cka/*",
            "Similarity of two layers",
            "Linear centred kernel alignment of their features on the same images. With few images it does not fall to "
            "0 for unrelated layers.",
            "0 to 1",
            "near 1: the later layer adds little",
            when_nan="fewer than two finite rows, or a layer of constant features",
        ),
        IMAGES,
        NON_FINITE,
    )

    def __init__(self, layers: Mapping[str, int], **kwargs: Any) -> None:
        super().__init__(RowSums.zero(sum(layers.values())), **kwargs)
        self.layers = dict(layers)

    def update(self, features: Mapping[str, Tensor]) -> None:
        """Add a batch.

        Args:
            features: by layer, one row per image, of the same images in the same order; (n d) each, any float.

        Raises:
            UnknownNameError: other layers than those of the metric.
            InputError: rows of another width, or a number of rows that differs between layers.
        """
        where = "CrossLayerCKA.update"
        if features.keys() != self.layers.keys():
            fix = f"Pass one entry for each of {', '.join(self.layers)}."
            raise UnknownNameError(where, "layers differ from the metric's", ", ".join(features) or "none", fix)
        for name, width in self.layers.items():
            check_rows(where, features[name], width, f"features of {name}")
        if len({len(rows) for rows in features.values()}) > 1:
            given = ", ".join(f"{name} {len(rows)}" for name, rows in features.items())
            raise InputError(where, "layers differ in rows", given, "Pass the same images in the same order.")
        rows = [features[name].detach().to(self.where).double() for name in self.layers]
        self.add(row_sums(torch.cat(rows, 1), self.numerics))

    def compute(self) -> dict[str, Tensor]:
        """CKA of each pair of layers."""
        sums, names = self.sums, list(self.layers)
        alignment = centred_kernel_alignment(Moments.of(sums), list(self.layers.values()))
        pairs = [(i, j) for i in range(len(names)) for j in range(i + 1, len(names))]
        values = {f"cka/{names[i]}~{names[j]}": alignment[i, j] for i, j in pairs}
        return values | {"images": sums.count, "non_finite": sums.non_finite}


class SubspaceOverlap(SumMetric[RowSums]):
    """Overlap of the leading principal subspace of the features with that of the previous evaluation.

    ``overlap`` is 1 where the subspace stays, and ``null`` = k/d what random subspaces would have. An evaluation ends
    with :meth:`reset`: what was computed before becomes the previous one. A reset without a ``compute`` since the last
    one changes nothing, so that an interrupted evaluation leaves the previous one in place.

    Args:
        num_features: number of features d.
        k: dimensions of the subspace.
        kwargs: passed on to :class:`torchmetrics.Metric`.

    Raises:
        InputError: k below 1 or above the number of features.

    Example:
        >>> metric = SubspaceOverlap(num_features=3, k=1)
        >>> for direction in ([1.0, 0, 0], [1.0, 1.0, 0]):
        ...     metric.reset()
        ...     metric.update(torch.tensor([[-1.0], [1.0]]) * torch.tensor(direction))
        ...     overlap = metric.compute()["overlap"]
        >>> overlap
        tensor(0.5000, dtype=torch.float64)
    """

    terms: ClassVar[tuple[Term, ...]] = (
        Term(
            "overlap",
            "Overlap with the evaluation before",
            "How much of the leading principal subspace of the features is that of the evaluation before.",
            "0 to 1",
            "1: the subspace stays; near the null: it is another one",
            when_nan="no evaluation before this one, or fewer than k dimensions vary in one of the two",
        ),
        Term(
            "null",
            "Overlap of random subspaces",
            "What two random subspaces of as many dimensions would have on average.",
            "0 to 1",
            "the reference for the overlap",
        ),
        IMAGES,
        NON_FINITE,
    )

    def __init__(self, num_features: int, k: int = 4, **kwargs: Any) -> None:
        if not 1 <= k <= num_features:
            given = f"k={k}, num_features={num_features}"
            raise InputError("SubspaceOverlap", "there is no such subspace", given, "Pass k from 1 to num_features.")
        super().__init__(RowSums.zero(num_features), **kwargs)
        self.num_features = num_features
        self.k = k
        self.previous: Tensor | None = None
        self._current: Tensor | None = None
        self._ended = False

    def update(self, features: Tensor) -> None:
        """Add a batch.

        Args:
            features: one row per image; (n d), any float.

        Raises:
            InputError: rows of another width, or complex ones.
        """
        check_rows("SubspaceOverlap.update", features, self.num_features)
        self.add(row_sums(features.to(self.where), self.numerics))

    def compute(self) -> dict[str, Tensor]:
        """Overlap with the previous evaluation."""
        sums = self.sums
        overlap, self._current = overlap_since(Moments.of(sums), self.k, self.previous)
        self._ended = True
        return {
            "overlap": overlap,
            "null": torch.full_like(overlap, self.k / self.num_features),
            "images": sums.count,
            "non_finite": sums.non_finite,
        }

    def reset(self) -> None:
        """Begin the next evaluation."""
        if self._ended:
            self.previous, self._current, self._ended = self._current, None, False
        super().reset()


class LiDAR(SumMetric[ViewSums]):
    """LiDAR of two-view training: how many dimensions tell images apart beyond what views of one image differ by.

    Args:
        num_features: number of features d.
        delta: added to the variance between views in every direction.
        kwargs: passed on to :class:`torchmetrics.Metric`.

    Example:
        >>> metric = LiDAR(num_features=3)
        >>> metric.update(torch.eye(3), torch.eye(3))
        >>> round(metric.compute()["lidar"].item(), 9)
        2.0
    """

    terms: ClassVar[tuple[Term, ...]] = (
        Term(
            "lidar",
            "LiDAR",
            "Dimensions that tell images apart beyond what two views of one image differ by.",
            "1 to the number of features; 0 where all images have one mean",
            "higher is better",
            "dimensions",
            "fewer than two images with two finite views",
        ),
        IMAGES,
        NON_FINITE,
    )

    def __init__(self, num_features: int, delta: float = 1e-4, **kwargs: Any) -> None:
        super().__init__(ViewSums.zero(num_features), **kwargs)
        self.num_features = num_features
        self.delta = delta

    def update(self, first: Tensor, second: Tensor) -> None:
        """Add a batch of two views of the same images.

        Args:
            first: features of one view, one row per image; (n d), any float.
            second: of the other view, in the same order; (n d), any float.

        Raises:
            InputError: rows of another width, or views that differ in the number of rows.
        """
        check_rows("LiDAR.update", first, self.num_features)
        check_rows("LiDAR.update", second, self.num_features)
        if len(first) != len(second):
            given = f"{len(first)} and {len(second)}"
            raise InputError("LiDAR.update", "the views differ in rows", given, "Pass two views of the same images.")
        self.add(view_sums(first.to(self.where), second.to(self.where), self.numerics))

    def compute(self) -> dict[str, Tensor]:
        """LiDAR of all images."""
        sums = self.sums
        return {"lidar": lidar(sums, self.delta), "images": sums.count, "non_finite": sums.non_finite}
