"""Units that hardly ever fire, streamed: the metric over :mod:`lightning_failures.functional.dormant_units`."""

from typing import Any, ClassVar

from torch import Tensor

from lightning_failures.functional.dormant_units import ActivationSums, activation_sums, dormant_statistics
from lightning_failures.metrics.base import IMAGES, NON_FINITE, SumMetric, check_rows
from lightning_failures.records.term import Term

__all__ = ["DormantUnits"]


class DormantUnits(SumMetric[ActivationSums]):
    """How many units of a layer hardly ever fire: ``dormant_share`` and ``dormant_units``.

    Args:
        num_features: number of units d.
        tau: a unit is dormant where its mean size is at most this share of the layer's.
        kwargs: passed on to :class:`torchmetrics.Metric`.

    Example:
        >>> import torch
        >>> metric = DormantUnits(num_features=4)
        >>> metric.update(torch.tensor([[1.0, 0, 2, 0.001], [2.0, 0, 1, 0]]))
        >>> metric.compute()["dormant_share"]
        tensor(0.5000, dtype=torch.float64)
    """

    terms: ClassVar[tuple[Term, ...]] = (
        Term(
            "dormant_share",
            "Dormant units",
            "Share of units whose mean size is at most a small part of the layer's, 2.5% unless set otherwise.",
            "0 to 1",
            "lower is better",
            when_nan="no finite rows",
        ),
        Term(
            "dormant_units",
            "Number of dormant units",
            "Units whose mean size is at most that part of the layer's.",
            "0 to the number of units",
            "lower is better",
            "units",
            "no finite rows",
        ),
        IMAGES,
        NON_FINITE,
    )

    def __init__(self, num_features: int, tau: float = 0.025, **kwargs: Any) -> None:
        super().__init__(ActivationSums.zero(num_features), **kwargs)
        self.num_features = num_features
        self.tau = tau

    def update(self, features: Tensor) -> None:
        """Add a batch.

        Args:
            features: activations, one row per image; (n d), any float.

        Raises:
            InputError: rows of another width, or complex ones.
        """
        check_rows("DormantUnits.update", features, self.num_features)
        self.add(activation_sums(features.to(self.where)))

    def compute(self) -> dict[str, Tensor]:
        """Number and share of dormant units."""
        return dormant_statistics(self.sums, self.tau)
