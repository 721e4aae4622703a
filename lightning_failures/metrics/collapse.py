"""Collapse of features, streamed: the metric over :mod:`lightning_failures.functional.collapse`."""

from typing import Any, ClassVar, Literal

from torch import Tensor

from lightning_failures.functional.collapse import (
    FeatureSums,
    feature_eigenvalues,
    feature_statistics,
    feature_sums,
)
from lightning_failures.functional.projection import gaussian_projection
from lightning_failures.metrics.base import IMAGES, NON_FINITE, SumMetric, check_rows
from lightning_failures.records.term import Term

__all__ = ["FeatureSpectrum"]

_DIMENSIONS = "1 to the number of features; 0 for constant features"
_LEANS = "describes; whether it is too low depends on the task"
_FEW = "fewer than two finite rows"
_SHORT = "fewer than ten eigenvalues above zero from the tenth on"


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

    terms: ClassVar[tuple[Term, ...]] = (
        Term(
            "rankme",
            "RankMe",
            "Exponential of the entropy of the singular values of the uncentred features. Logged because published "
            "figures use it; judge collapse by the effective rank.",
            _DIMENSIONS,
            _LEANS,
            "dimensions",
            "no finite rows",
        ),
        Term(
            "effective_rank",
            "Effective rank",
            "Exponential of the entropy of the covariance eigenvalues: along how many directions the features vary.",
            _DIMENSIONS,
            _LEANS,
            "dimensions",
            _FEW,
        ),
        Term(
            "participation_ratio",
            "Participation ratio",
            "Squared sum of the covariance eigenvalues over the sum of their squares. Few images make it too low.",
            _DIMENSIONS,
            _LEANS,
            "dimensions",
            f"{_FEW}, or more dimensions than a projection can tell",
        ),
        Term(
            "participation_ratio_unbiased",
            "Participation ratio, unbiased",
            "Squared sum of the covariance eigenvalues over the sum of their squares, corrected for the number of "
            "images. It may exceed that number.",
            "0 for constant features, else about 1 upwards",
            _LEANS,
            "dimensions",
            "fewer than four finite rows, or more dimensions than a projection can tell",
        ),
        Term(
            "stable_rank",
            "Stable rank",
            "Sum of the covariance eigenvalues over the largest.",
            _DIMENSIONS,
            _LEANS,
            "dimensions",
            _FEW,
        ),
        Term(
            "top1_share",
            "Top-1 share",
            "Share of the features' variance along the one strongest direction.",
            "1 over the number of features, to 1",
            "1: the features vary along one direction only",
            when_nan=f"{_FEW}, or constant features, which have no variance to share",
        ),
        Term(
            "marchenko_pastur_rank",
            "Eigenvalues above noise",
            "How many covariance eigenvalues exceed what pure noise of the same size has (Marchenko and Pastur).",
            "0 to the number of features",
            _LEANS,
            "dimensions",
            _FEW,
        ),
        Term(
            "alpha",
            "Decay of the eigenvalues",
            "Minus the slope of the logarithm of the covariance eigenvalues on that of their rank.",
            "any, mostly 0 to 5",
            "0: a flat spectrum; about 1: rich features; well above: few directions have it all",
            when_nan=_SHORT,
        ),
        Term(
            "alpha_r2",
            "Fit of that decay",
            "Share of the variance of the logarithms that a straight line explains.",
            "0 to 1",
            "far below 1: the decay is no power law, and its slope says little",
            when_nan=f"{_SHORT}, or all of them equal",
        ),
        Term(
            "mean_cosine",
            "Mean cosine",
            "Mean cosine of the angle between the features of two different images, not centred.",
            "-1 to 1",
            "near 1: all features point one way",
            when_nan="fewer than two finite rows of non-zero length",
        ),
        Term(
            "feature_spread",
            "Spread of a feature",
            "Root of the mean variance of a feature, in the features' own unit.",
            "0 upwards",
            "0: the features are constant",
            when_nan=_FEW,
        ),
        IMAGES,
        Term(
            "images_per_feature",
            "Images for each feature",
            "Number of images over the number of features. Ranks read too low where it is not well above 1.",
            "0 upwards",
            "higher: the ranks are better known",
        ),
        NON_FINITE,
    )

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
        """Add a batch.

        Args:
            features: one row per image; (n d), any float.

        Raises:
            InputError: rows of another width, complex ones, or, with ``non_finite="raise"``, ones that hold NaN or
                infinity.
        """
        check_rows("FeatureSpectrum.update", features, self.num_features, finite=self._raise)
        projection = self.projection if isinstance(self.projection, Tensor) else None
        self.add(feature_sums(features.to(self.where), projection, self.numerics))

    def compute(self) -> dict[str, Tensor]:
        """Every statistic by name."""
        num_features = None if self.projection is None else self.num_features
        self.eigenvalues = feature_eigenvalues(self.sums, self.numerics)
        return feature_statistics(self.sums, num_features, self.numerics, self.eigenvalues)
