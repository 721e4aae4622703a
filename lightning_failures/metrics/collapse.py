"""Collapse of features, streamed: the metric over :mod:`lightning_failures.functional.collapse`."""

from collections.abc import Mapping
from typing import Any, Literal

from torch import Tensor

from lightning_failures.functional.collapse import (
    FeatureSums,
    feature_eigenvalues,
    feature_statistics,
    feature_sums,
)
from lightning_failures.functional.projection import gaussian_projection
from lightning_failures.metrics.base import SumMetric, check_rows

__all__ = ["FeatureSpectrum"]


class FeatureSpectrum(SumMetric[FeatureSums]):
    """How many dimensions the features of a layer fill.

    ``compute`` returns the keys of :func:`.feature_statistics`.

    Args:
        num_features: number of features d.
        projection: dimensions k to project the rows to first by a fixed Gaussian matrix, for large d; None, the
            default, is exact. It saves time and memory as (k/d)^2 and costs accuracy: with eigenvalues 1/i, d = 2048
            and k = 512 the participation ratios are right on average with a spread of 5%, the top-1 share and the
            stable rank within 5%, but ranks of long tails are those of k dimensions: effective rank 147 for 281,
            RankMe 416 for 1587.
        seed: another seed gives another projection.
        non_finite: what to do with rows that hold NaN or infinity: ``"omit"`` leaves them out and counts them in
            ``non_finite``; ``"raise"`` raises at once, at the price of a device synchronisation an update.
        kwargs: passed on to :class:`torchmetrics.Metric`.

    Example:
        >>> import torch
        >>> metric = FeatureSpectrum(num_features=3)
        >>> metric.update(torch.tensor([[1.0, 0, 0], [0, 1, 0], [-1, 0, 0], [0, -1, 0]]))
        >>> round(metric.compute()["effective_rank"].item(), 9)
        2.0
    """

    why_nan: Mapping[str, str] = {
        "rankme": "no finite rows",
        "effective_rank": "fewer than two finite rows",
        "participation_ratio": "fewer than two finite rows, or more dimensions than a projection can tell",
        "participation_ratio_unbiased": "fewer than four finite rows, or more dimensions than a projection can tell",
        "stable_rank": "fewer than two finite rows",
        "top1_share": "fewer than two finite rows, or constant features, which have no variance to share",
        "marchenko_pastur_rank": "fewer than two finite rows",
        "alpha": "fewer than ten eigenvalues above zero from the tenth on",
        "alpha_r2": "fewer than ten eigenvalues above zero from the tenth on, or all of them equal",
        "mean_cosine": "fewer than two finite rows of non-zero length",
        "feature_spread": "fewer than two finite rows",
    }

    def __init__(
        self,
        num_features: int,
        *,
        projection: int | None = None,
        seed: int = 0,
        non_finite: Literal["omit", "raise"] = "omit",
        **kwargs: Any,
    ) -> None:
        projected = projection is not None and projection < num_features
        width = projection if projection is not None and projected else num_features
        super().__init__(FeatureSums.zero(width), **kwargs)
        self.num_features = num_features
        matrix = gaussian_projection(num_features, width, seed) if projected else None
        self.register_buffer("projection", matrix, persistent=False)
        self.eigenvalues: Tensor | None = None  # of the last compute, in descending order
        self._raise = non_finite == "raise"

    def update(self, features: Tensor) -> None:
        """Add a batch of rows; (n d)."""
        check_rows("FeatureSpectrum.update", features, self.num_features, finite=self._raise)
        projection = self.projection if isinstance(self.projection, Tensor) else None
        self.add(feature_sums(features.to(self.where), projection, self.numerics))

    def compute(self) -> dict[str, Tensor]:
        """Every statistic by name."""
        num_features = None if self.projection is None else self.num_features
        self.eigenvalues = feature_eigenvalues(self.sums, self.numerics)
        return feature_statistics(self.sums, num_features, self.numerics, self.eigenvalues)
