"""Error ratios adjusted for class, from integer counts of each class."""

from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor

from lightning_failures.functional.adjustment import (
    GroupedClasses,
    StratifiedCounts,
    cochran_mantel_haenszel,
    count_by_class,
    mantel_haenszel,
    mantel_haenszel_difference,
    mantel_haenszel_difference_interval,
    mantel_haenszel_interval,
    standardised_error_ratio,
)
from lightning_failures.functional.factors import FactorCounts, factor_errors_of_images
from lightning_failures.functional.intervals import holm
from lightning_failures.metrics.base import ALL_GROUPS, GroupedMetric, check_groups
from lightning_failures.metrics.checks import (
    STRAY,
    check_confidence,
    check_factor_names,
    check_factors,
    check_positive,
    check_stray,
    find_mistakes,
)
from lightning_failures.metrics.factors import FACTOR_ERROR, FACTOR_GROUPS, FACTOR_IMAGES, by_factor, count_groups
from lightning_failures.records.term import Term

__all__ = ["ClassAdjustedErrorRatio"]

_NO_PAIR = "no class holds images with and without the factor"
_NO_STRATUM = "no class holds images with and without the factor and enough errors"


class ClassAdjustedErrorRatio(GroupedMetric[StratifiedCounts]):
    """What is left of each factor's error ratio when images are compared with others of their own class.

    ``compute()`` gives for each factor F

    - ``standardised/F``: :func:`.standardised_error_ratio`;
    - ``mantel_haenszel/F`` and its interval ``mantel_haenszel_low/F``, ``mantel_haenszel_high/F``:
      :func:`.mantel_haenszel`, :func:`.mantel_haenszel_interval`;
    - ``cmh_p_value/F``: :func:`.cochran_mantel_haenszel`, Holm-adjusted for the number of factors;
    - ``error/F``, and ``difference/F`` with its interval ``difference_low/F``, ``difference_high/F``: the error rate,
      and what of it is beyond that of other images of the same classes: :func:`.mantel_haenszel_difference`;
    - ``images/F``;
    - where groups are given, ``groups/F`` and ``groups/all``; interval and p-value then count groups.

    Args:
        factors: names, in the order of the columns.
        num_classes: number of classes.
        confidence: probability that an interval covers.
        kwargs: passed on to :class:`torchmetrics.Metric`.

    Raises:
        InputError: as for :class:`.FactorErrorRatio`.

    Example:
        >>> import torch
        >>> metric = ClassAdjustedErrorRatio(["dark"], num_classes=2)
        >>> metric.update(torch.tensor([1, 1, 1, 1]), torch.tensor([0, 0, 1, 1]), torch.tensor([[1], [0], [0], [0]]))
        >>> metric.compute()["standardised/dark"]
        tensor(1., dtype=torch.float64)
    """

    stray: Tensor

    counts_groups = ("mantel_haenszel_low", "mantel_haenszel_high", "difference_low", "difference_high", "cmh_p_value")

    terms: ClassVar[tuple[Term, ...]] = (
        Term(
            "standardised/*",
            "Error ratio, standardised by class",
            "Errors on the images that carry the factor, over those expected if each class had its usual error rate.",
            "0 upwards",
            "1: the classes explain the factor's errors; 2: twice the errors that they explain",
            when_nan="no image carries the factor, or no class that carries it has errors",
        ),
        Term(
            "mantel_haenszel/*",
            "Risk ratio within classes",
            "Error rate with the factor over that without it, among images of one class, pooled over the classes after "
            "Mantel and Haenszel.",
            "0 upwards",
            "1: the factor does not matter within a class",
            when_nan=_NO_STRATUM,
        ),
        Term(
            "mantel_haenszel_low/*",
            "Lower end of the risk ratio within classes",
            "Lower end of its interval, of 95% unless set otherwise.",
            "0 upwards",
            "above 1: the factor makes images harder beyond chance",
            when_nan=_NO_STRATUM,
        ),
        Term(
            "mantel_haenszel_high/*",
            "Upper end of the risk ratio within classes",
            "Upper end of its interval, of 95% unless set otherwise.",
            "0 upwards",
            "below 1: the factor makes images easier beyond chance",
            when_nan=_NO_STRATUM,
        ),
        Term(
            "cmh_p_value/*",
            "p-value within classes",
            "How often so many or so few errors within the classes would arise if the factor did not matter: test of "
            "Cochran, Mantel and Haenszel, adjusted for the number of factors.",
            "0 to 1",
            "small: the factor matters within the classes",
            when_nan="no class holds images with and without the factor, and both right and wrong ones",
        ),
        FACTOR_ERROR,
        Term(
            "difference/*",
            "Difference of error rates within classes",
            "Error rate with the factor minus that without it, among images of one class, pooled over the classes "
            "after Mantel and Haenszel.",
            "-1 to 1",
            "lower is better; 0: the factor does not matter within a class",
            when_nan=_NO_PAIR,
        ),
        Term(
            "difference_low/*",
            "Difference of error rates within classes, lower end",
            "Lower end of its interval, of 95% unless set otherwise.",
            "-1 to 1",
            "above 0: the factor makes images harder beyond chance",
            when_nan=_NO_PAIR,
        ),
        Term(
            "difference_high/*",
            "Difference of error rates within classes, upper end",
            "Upper end of its interval, of 95% unless set otherwise.",
            "-1 to 1",
            "below 0: the factor makes images easier beyond chance",
            when_nan=_NO_PAIR,
        ),
        FACTOR_IMAGES,
        FACTOR_GROUPS,
        ALL_GROUPS,
    )

    def __init__(self, factors: Sequence[str], num_classes: int, *, confidence: float = 0.95, **kwargs: Any) -> None:
        where = type(self).__name__
        names = check_factor_names(where, factors)
        check_positive(where, "num_classes", num_classes)
        check_confidence(where, confidence)
        super().__init__(
            StratifiedCounts.zero(len(names), num_classes),
            STRAY,
            of_group=FactorCounts.zero(len(names)),
            names=2,  # of a pair of group and class
            **kwargs,
        )
        self.factors = names
        self.num_classes = num_classes
        self.confidence = confidence

    def update(
        self,
        preds: Tensor,
        target: Tensor,
        factors: Tensor,
        known: Tensor | None = None,
        groups: Tensor | None = None,
    ) -> None:
        """Count a batch.

        Args:
            preds: predicted classes; (n), int, or scores; (n c), float.
            target: the true classes; (n), int.
            factors: which factors each image carries; (n f), bool or int of 0 and 1.
            known: which images have a label; the others count nowhere; (n), bool; None: all have one.
            groups: which images belong together, any number for each group; (n), int. None: images are independent.
                With every batch or with none.
        """
        where = f"{type(self).__name__}.update"
        mistakes = find_mistakes(where, preds, target, self.num_classes, known=known)
        factors = check_factors(where, self.factors, factors, target)
        counts = count_by_class(mistakes.wrong, factors, mistakes.target, self.num_classes, known)
        check_groups(where, groups, len(target))
        self.add(counts, stray=mistakes.stray)
        pairs = None if groups is None else torch.stack([groups.to(target.device).long(), mistakes.target], 1)
        self.add_groups(pairs, len(target), lambda: factor_errors_of_images(mistakes.wrong, factors, known))

    def compute(self) -> dict[str, Tensor]:
        """The statistics of all images so far, divided once, in float64 on the CPU."""
        check_stray(f"{type(self).__name__}.compute", self.stray)
        counts, groups = self.sums_on_cpu, self._classes_of_groups()
        low, high = mantel_haenszel_interval(counts, self.confidence, groups)
        difference_low, difference_high = mantel_haenszel_difference_interval(counts, self.confidence, groups)
        values = by_factor(
            self.factors,
            standardised=standardised_error_ratio(counts),
            mantel_haenszel=mantel_haenszel(counts),
            mantel_haenszel_low=low,
            mantel_haenszel_high=high,
            error=counts.factors.wrong.double() / counts.factors.seen.double(),
            difference=mantel_haenszel_difference(counts),
            difference_low=difference_low,
            difference_high=difference_high,
            cmh_p_value=holm(cochran_mantel_haenszel(counts, groups)),
            images=counts.factors.seen,
        )
        if groups is not None:
            seen = groups.add_up(groups.counts.seen.double())
            values |= count_groups(self.factors, seen, groups.add_up(groups.counts.all_seen[:, None].double())[:, 0])
        return values

    def _classes_of_groups(self) -> GroupedClasses | None:
        found = self.grouped()
        if found is None:
            return None
        ids, counts = found
        return GroupedClasses(ids[:, 0].unique(return_inverse=True)[1], ids[:, 1], counts)
