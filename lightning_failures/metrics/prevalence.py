"""How often factors occur, among all images and among the misclassified ones, from integer counts."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from lightning_failures.functional.factors import FactorCounts, count_factor_errors
from lightning_failures.functional.prevalence import misclassification_shift, prevalence
from lightning_failures.metrics.base import SumMetric
from lightning_failures.metrics.checks import check_factor_names, check_factors, check_stray, find_mistakes
from lightning_failures.metrics.factors import by_factor

__all__ = ["FactorPrevalence"]


class PrevalenceSums(NamedTuple):
    """The states of :class:`FactorPrevalence`."""

    wrong: Tensor  # (f) int64
    seen: Tensor  # (f) int64
    all_wrong: Tensor  # () int64
    all_seen: Tensor  # () int64
    stray: Tensor  # () int64, labels that are no class


class FactorPrevalence(SumMetric[PrevalenceSums]):
    """Share of each factor in all that the images carry, and how it shifts among the misclassified images.

    ``compute()`` gives for each factor F ``prevalence/F``, :func:`.prevalence`; ``misclassification_shift/F``,
    :func:`.misclassification_shift`; ``images/F`` and ``errors/F``; and ``images/all``.

    Args:
        factors: names, in the order of the columns.
        kwargs: passed on to :class:`torchmetrics.Metric`.

    Raises:
        InputError: as for :class:`.FactorErrorRatio`.

    Example:
        >>> metric = FactorPrevalence(["dark", "small"])
        >>> factors = torch.tensor([[1, 0], [1, 0], [0, 1], [0, 1]])
        >>> metric.update(torch.tensor([1, 0, 0, 0]), torch.tensor([0, 0, 0, 0]), factors)
        >>> metric.compute()["misclassification_shift/dark"]
        tensor(1., dtype=torch.float64)
    """

    why_nan: Mapping[str, str] = {
        "prevalence": "no image carries any factor",
        "misclassification_shift": "no image carries the factor, or no misclassified image carries any",
    }

    def __init__(self, factors: Sequence[str], **kwargs: Any) -> None:
        names = check_factor_names(type(self).__name__, factors)
        zero = FactorCounts.zero(len(names))
        super().__init__(PrevalenceSums(*zero, torch.zeros((), dtype=torch.int64)), **kwargs)
        self.factors = names

    def update(self, preds: Tensor, target: Tensor, factors: Tensor) -> None:
        """Count a batch.

        Args:
            preds: predicted classes; (n), int, or scores; (n c), float.
            target: the true classes; (n), int.
            factors: which factors each image carries; (n f), bool or int of 0 and 1.
        """
        where = f"{type(self).__name__}.update"
        mistakes = find_mistakes(where, preds, target)
        factors = check_factors(where, self.factors, factors, target)
        counts = count_factor_errors(mistakes.wrong, factors)
        self.add(PrevalenceSums(*counts, mistakes.stray))

    def compute(self) -> dict[str, Tensor]:
        """The statistics of all images so far, divided once, in float64 on the CPU."""
        *sums, stray = (value.cpu() for value in self.sums)
        check_stray(f"{type(self).__name__}.compute", stray)
        counts = FactorCounts(*sums)
        return by_factor(
            self.factors,
            prevalence=prevalence(counts),
            misclassification_shift=misclassification_shift(counts),
            images=counts.seen,
            errors=counts.wrong,
        ) | {"images/all": counts.all_seen}
