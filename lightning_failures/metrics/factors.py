"""Error ratio of each factor with its interval, from integer counts."""

from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor

from lightning_failures.functional.factors import (
    FactorCounts,
    count_factor_errors,
    error_difference,
    error_rates,
    error_ratio,
    factor_errors_of_images,
)
from lightning_failures.functional.intervals import (
    error_difference_interval,
    error_ratio_interval,
    factor_p_value,
    holm,
    shrunk_error_ratio,
)
from lightning_failures.functional.odds import odds_ratio, odds_ratio_interval
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
from lightning_failures.records.term import Term

__all__ = [
    "ALL_IMAGES",
    "FACTOR_ERROR",
    "FACTOR_ERRORS",
    "FACTOR_GROUPS",
    "FACTOR_IMAGES",
    "NONE_SEEN",
    "FactorErrorRatio",
    "by_factor",
    "count_groups",
]

NONE_SEEN = "no image was seen"
_NO_ERRORS = "no image carries the factor, or nothing is misclassified"
_NOT_CARRIED = "no image carries the factor"
_NO_OTHERS = "every image carries the factor, or no image was seen"
_ONE_GROUP = "no image or every image carries the factor"
_NO_ODDS = "no image or every image carries the factor, or the images with and without it are all right or all wrong"

#: What every metric of factors counts beside its statistics.
FACTOR_IMAGES = Term(
    "images/*", "Images of a factor", "Images that carry the factor.", "0 upwards", "describes", "images"
)
FACTOR_ERRORS = Term(
    "errors/*",
    "Errors of a factor",
    "Misclassified images among those that carry the factor.",
    "0 upwards",
    "describes",
    "images",
)
FACTOR_ERROR = Term(
    "error/*",
    "Error rate of a factor",
    "Share of the images that carry the factor that are misclassified.",
    "0 to 1",
    "lower is better",
    when_nan=_NOT_CARRIED,
)
FACTOR_GROUPS = Term(
    "groups/*",
    "Groups of a factor",
    "Groups of images that hold an image with the factor, where groups were given: intervals and tests count groups.",
    "0 upwards",
    "describes",
    "groups",
)
ALL_IMAGES = Term("images/all", "Images", "All images that were counted.", "0 upwards", "describes", "images")


def by_factor(names: Sequence[str], **statistics: Tensor) -> dict[str, Tensor]:
    """One scalar per statistic and factor: ``"<statistic>/<factor>"``."""
    return {
        f"{statistic}/{name}": value
        for statistic, values in statistics.items()
        for name, value in zip(names, values, strict=True)
    }


def count_groups(names: Sequence[str], seen: Tensor, all_seen: Tensor) -> dict[str, Tensor]:
    """How many groups hold an image with each factor, and how many there are: ``groups/F`` and ``groups/all``.

    Args:
        names: of the factors.
        seen: images with each factor in each group; (g f), int64.
        all_seen: images of each group; (g), int64.
    """
    return by_factor(names, groups=(seen > 0).sum(0)) | {"groups/all": (all_seen > 0).sum()}


class FactorErrorRatio(GroupedMetric[FactorCounts]):
    r"""Error rate on the images that carry each factor, over the error rate on all images.

    ``compute()`` gives for each factor F

    - ``error_ratio/F`` and its interval ``low/F``, ``high/F``: see :func:`.error_ratio`, :func:`.error_ratio_interval`;
    - ``p_value/F``: F against the images without it, by Fisher's exact test, Holm-adjusted for the number of factors;
    - ``images/F`` and ``errors/F``: how many images carry F, and how many of these are misclassified;
    - ``odds_ratio/F`` and its interval ``odds_low/F``, ``odds_high/F``, which do not drift with the accuracy:
      :func:`.odds_ratio`, :func:`.odds_ratio_interval`;
    - ``error/F`` and ``error_without/F``: the error rates on the images with F and on the others, and
      ``error_difference/F``, the first minus the second, with its interval ``difference_low/F``, ``difference_high/F``:
      :func:`.error_difference`, :func:`.error_difference_interval`;

    - where groups are given, ``groups/F``: how many of them hold an image with F. Intervals and p-values then count
      groups, not images, see :mod:`.clusters`;

    and over all ``error_ratio/worst`` (the largest, which is too large by chance where factors are many or small),
    ``error_ratio/worst_shrunk`` (the largest of :func:`.shrunk_error_ratio`), ``error/all``, ``images/all``, and
    ``images/non_finite``: images whose highest score is not finite, which count as misclassified; with groups
    ``groups/all``.

    Args:
        factors: names, in the order of the columns.
        top_k: how many classes a prediction may name; more than 1 needs scores.
        confidence: probability that an interval covers.
        kwargs: passed on to :class:`torchmetrics.Metric`.

    Raises:
        InputError: names that stand twice, are empty, or are those of a total; in ``update`` shapes or types that do
            not fit, and labels out of range. Where a look at a label would stop the device, ``compute`` raises those.

    Example:
        >>> metric = FactorErrorRatio(["blurred", "dark"])
        >>> factors = torch.tensor([[1, 0], [1, 0], [0, 1], [0, 0]])
        >>> metric.update(torch.tensor([0, 1, 1, 1]), torch.tensor([1, 0, 1, 1]), factors)
        >>> metric.compute()["error_ratio/blurred"]
        tensor(2., dtype=torch.float64)
        >>> metric.worst
        'blurred'
    """

    non_finite: Tensor
    stray: Tensor

    counts_groups = ("low", "high", "p_value", "odds_low", "odds_high", "difference_low", "difference_high")

    terms: ClassVar[tuple[Term, ...]] = (
        Term(
            "error_ratio/*",
            "Error ratio of a factor",
            "Error rate on the images that carry the factor, over the error rate on all images. Its interval tests "
            "these images against all others.",
            "0 to 1 over the factor's share of the images",
            "lower is better; 1 is typical, 2 is twice the errors",
            when_nan=_NO_ERRORS,
        ),
        Term(
            "error_ratio/worst",
            "Worst error ratio",
            "The largest error ratio. As the largest of several noisy figures it reads too high; the shrunk one "
            "corrects for that.",
            "0 upwards",
            "lower is better",
            when_nan=_NO_ERRORS,
        ),
        Term(
            "error_ratio/worst_shrunk",
            "Worst error ratio, shrunk",
            "The largest error ratio after each was drawn towards the mean of all, the more so the fewer images carry "
            "the factor. It does not read too high by the choice of the largest.",
            "0 upwards",
            "lower is better",
            when_nan=_NO_ERRORS,
        ),
        Term(
            "low/*",
            "Error ratio of a factor, lower end",
            "Lower end of the interval of the error ratio, of 95% unless set otherwise.",
            "0 upwards",
            "above 1: the factor is harder beyond chance",
            when_nan=_NO_ERRORS,
        ),
        Term(
            "high/*",
            "Error ratio of a factor, upper end",
            "Upper end of the interval of the error ratio, of 95% unless set otherwise.",
            "0 upwards",
            "below 1: the factor is easier beyond chance",
            when_nan=_NO_ERRORS,
        ),
        Term(
            "p_value/*",
            "p-value of a factor",
            "How often a difference this large between the factor's images and all others would arise by chance: "
            "Fisher's exact test, adjusted for the number of factors.",
            "0 to 1",
            "small: the factor matters",
            when_nan=_NO_ERRORS,
        ),
        FACTOR_IMAGES,
        FACTOR_ERRORS,
        FACTOR_GROUPS,
        ALL_GROUPS,
        Term(
            "odds_ratio/*",
            "Odds ratio of a factor",
            "Odds of an error with the factor over those without it. Unlike the error ratio it does not drift with the "
            "accuracy.",
            "0 upwards, infinite where all images with the factor are wrong or all others right",
            "1: no harder than the rest",
            when_nan=_NO_ODDS,
        ),
        Term(
            "odds_low/*",
            "Odds ratio of a factor, lower end",
            "Lower end of the interval of the odds ratio, of 95% unless set otherwise.",
            "0 upwards",
            "above 1: the factor is harder beyond chance",
            when_nan=_NO_ODDS,
        ),
        Term(
            "odds_high/*",
            "Odds ratio of a factor, upper end",
            "Upper end of the interval of the odds ratio, of 95% unless set otherwise.",
            "0 upwards, or infinite",
            "below 1: the factor is easier beyond chance",
            when_nan=_NO_ODDS,
        ),
        FACTOR_ERROR,
        Term(
            "error_without/*",
            "Error rate without a factor",
            "Share of the images that do not carry the factor that are misclassified.",
            "0 to 1",
            "the reference for the error rate of the factor",
            when_nan=_NO_OTHERS,
        ),
        Term(
            "error_difference/*",
            "Difference of error rates of a factor",
            "Error rate on the images that carry the factor, minus that on the images without it: how many images more "
            "are wrong.",
            "-1 to 1",
            "0: no harder than the rest; 1: wrong on all of them and on no other",
            when_nan=_ONE_GROUP,
        ),
        Term(
            "difference_low/*",
            "Difference of error rates of a factor, lower end",
            "Lower end of the interval of that difference, of 95% unless set otherwise.",
            "-1 to 1",
            "above 0: the factor is harder beyond chance",
            when_nan=_ONE_GROUP,
        ),
        Term(
            "difference_high/*",
            "Difference of error rates of a factor, upper end",
            "Upper end of the interval of that difference, of 95% unless set otherwise.",
            "-1 to 1",
            "below 0: the factor is easier beyond chance",
            when_nan=_ONE_GROUP,
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
        Term(
            "images/non_finite",
            "Images without a finite prediction",
            "Images whose highest score is not finite. They count as misclassified.",
            "0 upwards",
            "above 0: the network computes values that are not finite",
            "images",
        ),
    )

    def __init__(self, factors: Sequence[str], top_k: int = 1, *, confidence: float = 0.95, **kwargs: Any) -> None:
        where = type(self).__name__
        names = check_factor_names(where, factors)
        check_positive(where, "top_k", top_k)
        check_confidence(where, confidence)
        counters = {"non_finite": 0, **STRAY, "top_k": top_k}  # the last only tells metrics apart
        super().__init__(FactorCounts.zero(len(names)), counters, **kwargs)
        self.factors = names
        self.allowed = top_k
        self.confidence = confidence
        self._worst: dict[str, str | None] = {}

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
            groups: which images belong together, such as those of one patient or slide: any number for each group;
                (n), int. None: images are independent. With every batch or with none.
        """
        where = f"{type(self).__name__}.update"
        mistakes = find_mistakes(where, preds, target, top_k=self.allowed, known=known)
        factors = check_factors(where, self.factors, factors, target)
        check_groups(where, groups, len(target))
        non_finite = (preds if preds.ndim == 1 else preds.amax(1)).isfinite().logical_not()
        counts = count_factor_errors(mistakes.wrong, factors, known)
        non_finite = non_finite if known is None else non_finite & known
        self.add(counts, non_finite=non_finite.sum(), stray=mistakes.stray)
        self.add_groups(groups, len(target), lambda: factor_errors_of_images(mistakes.wrong, factors, known))

    def compute(self) -> dict[str, Tensor]:
        """The statistics of all images so far, divided once, in float64 on the CPU."""
        check_stray(f"{type(self).__name__}.compute", self.stray)
        counts, by_group = self.sums_on_cpu, self.by_group
        ratio, shrunk = error_ratio(counts), shrunk_error_ratio(counts)
        low, high = error_ratio_interval(counts, self.confidence, by_group)
        odds_low, odds_high = odds_ratio_interval(counts, self.confidence, by_group)
        difference_low, difference_high = error_difference_interval(counts, self.confidence, by_group)
        error, error_without = error_rates(counts)
        values = by_factor(
            self.factors,
            error_ratio=ratio,
            low=low,
            high=high,
            p_value=holm(factor_p_value(counts, by_group)),
            images=counts.seen,
            errors=counts.wrong,
            odds_ratio=odds_ratio(counts),
            odds_low=odds_low,
            odds_high=odds_high,
            error=error,
            error_without=error_without,
            error_difference=error_difference(counts),
            difference_low=difference_low,
            difference_high=difference_high,
        )
        for key, ratios in {"error_ratio/worst": ratio, "error_ratio/worst_shrunk": shrunk}.items():
            values[key], self._worst[key] = self._largest(ratios)
        values["error/all"] = counts.all_wrong.double() / counts.all_seen.double()
        values["images/all"] = counts.all_seen
        values["images/non_finite"] = self.non_finite.cpu()
        if by_group is not None:
            values |= count_groups(self.factors, by_group.seen, by_group.all_seen)
        return values

    @property
    def worst(self) -> str | None:
        """Name of the factor behind ``error_ratio/worst`` of the last ``compute``; None where that is nan."""
        return self._worst.get("error_ratio/worst")

    @property
    def worst_shrunk(self) -> str | None:
        """Name of the factor behind ``error_ratio/worst_shrunk`` of the last ``compute``; None where that is nan."""
        return self._worst.get("error_ratio/worst_shrunk")

    def reset(self) -> None:
        """Forget everything."""
        super().reset()
        self._worst.clear()

    def _largest(self, ratios: Tensor) -> tuple[Tensor, str | None]:
        best = int(ratios.nan_to_num(nan=-torch.inf).argmax())
        return ratios[best], None if bool(ratios[best].isnan()) else self.factors[best]
