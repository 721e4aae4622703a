"""Factors that occur together, from integer products of the factor matrix and the errors."""

from collections.abc import Sequence
from itertools import combinations
from typing import Any, ClassVar

import torch
from torch import Tensor

from lightning_failures.functional.interaction import (
    InteractionCounts,
    count_interactions,
    pair_error_ratio,
    phi,
    risk_difference,
)
from lightning_failures.metrics.base import SumMetric
from lightning_failures.metrics.checks import STRAY, check_factor_names, check_factors, check_stray, find_mistakes
from lightning_failures.metrics.factors import FACTOR_ERRORS, FACTOR_IMAGES, by_factor
from lightning_failures.records.term import Term

__all__ = ["FactorInteraction"]


class FactorInteraction(SumMetric[InteractionCounts]):
    """Which factors come together, which pairs are hard, and what each factor adds to the error rate by itself.

    ``compute()`` gives for each two factors F and G, in the order of the names,

    - ``phi/F&G``: their correlation, :func:`.phi`;
    - ``error_ratio/F&G``, ``images/F&G``, ``errors/F&G``: images that carry both, :func:`.pair_error_ratio`;

    and for each factor ``risk_difference/F``: what it adds to the error rate while all others are held,
    :func:`.risk_difference`.

    Args:
        factors: names, in the order of the columns.
        kwargs: passed on to :class:`torchmetrics.Metric`.

    Raises:
        InputError: as for :class:`.FactorErrorRatio`.

    Example:
        >>> metric = FactorInteraction(["dark", "small"])
        >>> factors = torch.tensor([[1, 1], [1, 0], [0, 1], [0, 0]])
        >>> metric.update(torch.tensor([1, 0, 0, 0]), torch.tensor([0, 0, 0, 0]), factors)
        >>> metric.compute()["error_ratio/dark&small"]
        tensor(4., dtype=torch.float64)
    """

    stray: Tensor

    terms: ClassVar[tuple[Term, ...]] = (
        Term(
            "phi/*",
            "Correlation of two factors",
            "How often two factors come together: their correlation over the images.",
            "-1 to 1",
            "0: independent; 1: always together; far from 0: their error ratios cannot be told apart",
            when_nan="all images carry one of the two factors, or none does",
        ),
        Term(
            "error_ratio/*",
            "Error ratio of two factors together",
            "Error rate on the images that carry both factors, over the error rate on all images.",
            "0 upwards",
            "1 is typical, 2 is twice the errors",
            when_nan="no image carries both factors, or nothing is misclassified",
        ),
        FACTOR_IMAGES._replace(name="Images with both factors", meaning="Images that carry both factors."),
        FACTOR_ERRORS._replace(
            name="Errors with both factors", meaning="Misclassified images among those that carry both factors."
        ),
        Term(
            "risk_difference/*",
            "Error rate that a factor adds",
            "What the factor adds to the error rate while all other factors are held, by least squares.",
            "any, mostly -1 to 1",
            "0: nothing of its own; above 0: harder",
            when_nan="no image carries the factor, or it is a combination of the others",
        ),
    )

    def __init__(self, factors: Sequence[str], **kwargs: Any) -> None:
        names = check_factor_names(type(self).__name__, factors)
        super().__init__(InteractionCounts.zero(len(names)), STRAY, **kwargs)
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
        counts = count_interactions(mistakes.wrong, factors)
        self.add(counts, stray=mistakes.stray)

    def compute(self) -> dict[str, Tensor]:
        """The statistics of all images so far, divided once, in float64 on the CPU."""
        check_stray(f"{type(self).__name__}.compute", self.stray)
        counts = self.sums_on_cpu
        pairs = [f"{one}&{other}" for one, other in combinations(self.factors, 2)]
        upper = torch.ones_like(counts.together, dtype=torch.bool).triu(1)
        return by_factor(
            pairs,
            phi=phi(counts)[upper],
            error_ratio=pair_error_ratio(counts)[upper],
            images=counts.together[upper],
            errors=counts.together_wrong[upper],
        ) | by_factor(self.factors, risk_difference=risk_difference(counts))
