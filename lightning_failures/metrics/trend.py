"""Continuous factors in bins with fixed edges, from integer counts."""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from math import isfinite
from typing import Any, ClassVar

import torch
from torch import Tensor

from lightning_failures.errors import InputError
from lightning_failures.functional.factors import error_ratio
from lightning_failures.functional.intervals import error_ratio_interval, holm
from lightning_failures.functional.trend import (
    TrendCounts,
    bin_counts,
    cochran_armitage,
    count_trend,
    error_auc,
    trend_of_images,
    trend_p_value,
)
from lightning_failures.metrics.base import ALL_GROUPS, GroupedMetric, check_groups
from lightning_failures.metrics.checks import (
    STRAY,
    check_confidence,
    check_factor_names,
    check_stray,
    describe,
    find_mistakes,
)
from lightning_failures.metrics.factors import ALL_IMAGES, FACTOR_ERRORS, FACTOR_IMAGES, NONE_SEEN, by_factor
from lightning_failures.records.term import Term

__all__ = ["FactorTrend", "bin_names"]

_NO_BIN = "no image is in the bin, or nothing is misclassified"
_NO_TREND = "all images are in one bin, or all of them right, or all wrong"


def bin_names(name: str, edges: Sequence[float]) -> list[str]:
    """Names of the bins between edges, from the lowest.

    Example:
        >>> bin_names("size", [16, 32])
        ['size<16', '16<=size<32', 'size>=32']
    """
    between = [f"{low:g}<={name}<{high:g}" for low, high in pairwise(edges)]
    return [f"{name}<{edges[0]:g}", *between, f"{name}>={edges[-1]:g}"]


class FactorTrend(GroupedMetric[TrendCounts]):
    """How errors change with continuous factors, such as brightness, contrast or size.

    ``compute()`` gives

    - for each bin B, named as by :func:`bin_names`, ``error_ratio/B`` with its interval ``low/B``, ``high/B``, and
      ``images/B``, ``errors/B``;
    - for each factor F ``trend/F``, the deviate of :func:`.cochran_armitage`, ``p_value/F``, its two-sided probability,
      Holm-adjusted for the number of factors, and ``error_auc/F``, :func:`.error_auc`;
    - ``error/all`` and ``images/all``. An image whose value is ``nan`` counts among all, but in no bin.

    Where groups are given, intervals and the test count groups, see :func:`.trend_p_value`, and ``groups/all`` says how
    many there are.

    Args:
        edges: for each factor the increasing values to cut it at, in the order of the columns.
        confidence: probability that an interval covers.
        kwargs: passed on to :class:`torchmetrics.Metric`.

    Raises:
        InputError: as for :class:`.FactorErrorRatio`; edges that do not increase.

    Example:
        >>> metric = FactorTrend({"size": [16, 32]})
        >>> sizes = torch.tensor([[8.0], [9.0], [20.0], [40.0]])
        >>> metric.update(torch.tensor([1, 1, 0, 0]), torch.tensor([0, 0, 0, 0]), sizes)
        >>> metric.compute()["error_ratio/size<16"]
        tensor(2., dtype=torch.float64)
    """

    stray: Tensor

    counts_groups = ("low", "high", "trend", "p_value")

    terms: ClassVar[tuple[Term, ...]] = (
        Term(
            "error_ratio/*",
            "Error ratio of a bin",
            "Error rate on the images whose value lies in the bin, over the error rate on all images.",
            "0 upwards",
            "1 is typical, 2 is twice the errors",
            when_nan=_NO_BIN,
        ),
        Term(
            "low/*",
            "Error ratio of a bin, lower end",
            "Lower end of its interval, of 95% unless set otherwise.",
            "0 upwards",
            "above 1: the bin is harder beyond chance",
            when_nan=_NO_BIN,
        ),
        Term(
            "high/*",
            "Error ratio of a bin, upper end",
            "Upper end of its interval, of 95% unless set otherwise.",
            "0 upwards",
            "below 1: the bin is easier beyond chance",
            when_nan=_NO_BIN,
        ),
        FACTOR_IMAGES._replace(name="Images of a bin", meaning="Images whose value lies in the bin."),
        FACTOR_ERRORS._replace(name="Errors of a bin", meaning="Misclassified images whose value lies in the bin."),
        Term(
            "trend/*",
            "Trend of the errors",
            "Whether errors rise with the value: deviate of the test of Cochran and Armitage.",
            "any",
            "above 0: errors rise with the value; beyond 2 in size: seldom chance",
            "standard deviations",
            _NO_TREND,
        ),
        Term(
            "p_value/*",
            "p-value of the trend",
            "How often a trend this strong would arise by chance, adjusted for the number of factors.",
            "0 to 1",
            "small: errors go with the value",
            when_nan=_NO_TREND,
        ),
        Term(
            "error_auc/*",
            "How well a value tells errors",
            "Chance that an image that is wrong has a larger value than one that is right.",
            "0 to 1",
            "0.5: the value says nothing; 1: errors lie above all else; 0: below",
            when_nan="no image with a value is misclassified, or all are",
        ),
        Term(
            "error/all",
            "Error rate",
            "Share of all images that are misclassified.",
            "0 to 1",
            "lower is better",
            when_nan=NONE_SEEN,
        ),
        ALL_IMAGES,
        ALL_GROUPS,
    )

    def __init__(self, edges: Mapping[str, Sequence[float]], *, confidence: float = 0.95, **kwargs: Any) -> None:
        where = type(self).__name__
        names = check_factor_names(where, list(edges))
        for name, cuts in edges.items():
            if not cuts or not all(map(isfinite, cuts)) or any(low >= high for low, high in pairwise(cuts)):
                given, fix = f"{name}: {list(cuts)}", "Pass finite, increasing values to cut at."
                raise InputError(where, "edges do not increase", given, fix)
        check_confidence(where, confidence)
        most = max(map(len, edges.values()))
        padded = [[*cuts, *[torch.inf] * (most - len(cuts))] for cuts in edges.values()]
        counters = {**STRAY, "edges": hash(tuple(map(tuple, padded)))}  # the last only tells metrics apart
        super().__init__(TrendCounts.zero(len(names), most + 1), counters, **kwargs)
        self.factors = names
        self.bins = [bin_names(name, list(cuts)) for name, cuts in edges.items()]
        self.confidence = confidence
        self.cuts: Tensor
        self.register_buffer("cuts", torch.tensor(padded, dtype=torch.float64), persistent=False)

    def update(self, preds: Tensor, target: Tensor, values: Tensor, groups: Tensor | None = None) -> None:
        """Count a batch.

        Args:
            preds: predicted classes; (n), int, or scores; (n c), float.
            target: the true classes; (n), int.
            values: value of each factor; (n f), float.
            groups: which images belong together; (n), int. None: images are independent. With every batch or with none.

        Raises:
            InputError: what is given is not of the same images or not of these factors, or, on the CPU, a label is out
                of range.
        """
        where = f"{type(self).__name__}.update"
        check_groups(where, groups, len(target))
        mistakes = find_mistakes(where, preds, target)
        if values.shape != (len(target), len(self.factors)) or values.is_complex():
            given = f"{describe(values=values)} for {len(target)} images and {len(self.factors)} factors"
            fix = "Pass values (n f): one row per image, one column per factor."
            raise InputError(where, "the values do not match the factors", given, fix)
        values = values.to(target.device, torch.float64 if self.cuts.device == target.device else torch.float32)
        counts = count_trend(mistakes.wrong, values, self.cuts)
        self.add(counts, stray=mistakes.stray)
        self.add_groups(groups, len(target), lambda: trend_of_images(mistakes.wrong, values, self.cuts))

    def compute(self) -> dict[str, Tensor]:
        """The statistics of all images so far, divided once, in float64 on the CPU."""
        check_stray(f"{type(self).__name__}.compute", self.stray)
        counts, by_group = self.sums_on_cpu, self.by_group
        bins = bin_counts(counts)
        low, high = error_ratio_interval(bins, self.confidence, None if by_group is None else bin_counts(by_group))
        width = counts.seen.shape[1]
        named = [row * width + column for row, names in enumerate(self.bins) for column in range(len(names))]
        values = by_factor(
            [name for names in self.bins for name in names],
            error_ratio=error_ratio(bins)[named],
            low=low[named],
            high=high[named],
            images=bins.seen[named],
            errors=bins.wrong[named],
        )
        trend = cochran_armitage(counts, by_group)
        p_value = holm(trend_p_value(counts, by_group))
        values |= by_factor(self.factors, trend=trend, p_value=p_value, error_auc=error_auc(counts))
        values["error/all"] = counts.all_wrong.double() / counts.all_seen.double()
        values["images/all"] = counts.all_seen
        if by_group is not None:
            values["groups/all"] = (by_group.all_seen > 0).sum()
        return values
