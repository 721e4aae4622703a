"""Mean error by factor, streamed: the metric over :mod:`lightning_failures.functional.mean_errors`."""

from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor

from lightning_failures.errors import InputError
from lightning_failures.functional.intervals import holm
from lightning_failures.functional.mean_errors import (
    MeanErrorSums,
    mean_error_interval,
    mean_error_p_value,
    mean_error_ratio,
    mean_error_sums,
    mean_errors_of_images,
)
from lightning_failures.metrics.base import ALL_GROUPS, GroupedMetric, check_groups
from lightning_failures.metrics.checks import check_confidence, check_factor_names, check_factors
from lightning_failures.metrics.factors import (
    ALL_IMAGES,
    FACTOR_GROUPS,
    FACTOR_IMAGES,
    by_factor,
    count_groups,
)
from lightning_failures.records.term import Term

__all__ = ["FactorMeanError"]

_NO_ERROR = "no image carries the factor, or no image has an error"


class FactorMeanError(GroupedMetric[MeanErrorSums]):
    """Mean error of the images with each factor over that of all, where no single class is right or wrong.

    An image's error is any number of at least 0: a regression's loss, the share of its pixels or of its labels that are
    wrong. ``compute()`` gives for each factor F ``mean_error_ratio/F``, see :func:`.mean_error_ratio`, its interval
    ``mean_error_low/F`` and ``mean_error_high/F``, see :func:`.mean_error_interval`, ``mean_error_p_value/F``, Welch's
    test against all other images with Holm's adjustment, see :func:`.mean_error_p_value`, and ``images/F``; over all
    ``mean_error_ratio/worst``, ``mean_error/all`` and ``images/all``. Images whose error is not finite are left out.
    Where groups are given, intervals count groups, and ``groups/F`` and ``groups/all`` say how many there are.

    Args:
        factors: names, in the order of the columns.
        confidence: probability that an interval covers.
        kwargs: passed on to :class:`torchmetrics.Metric`.

    Raises:
        InputError: names that stand twice or are those of a total; in ``update`` shapes that do not fit.

    Example:
        >>> metric = FactorMeanError(["dark"])
        >>> metric.update(torch.tensor([2.0, 4.0, 0.0, 2.0]), torch.tensor([[1], [1], [0], [0]]))
        >>> metric.compute()["mean_error_ratio/dark"]
        tensor(1.5000, dtype=torch.float64)
    """

    counts_groups = ("mean_error_low", "mean_error_high", "mean_error_p_value")

    terms: ClassVar[tuple[Term, ...]] = (
        Term(
            "mean_error_ratio/*",
            "Mean error ratio of a factor",
            "Mean error of the images that carry the factor, over the mean error of all images. The error of an image "
            "is its loss, or the share of its pixels or labels that are wrong.",
            "0 upwards",
            "lower is better; 1 is typical, 2 is twice the error",
            when_nan=_NO_ERROR,
        ),
        Term(
            "mean_error_ratio/worst",
            "Worst mean error ratio",
            "The largest mean error ratio; as the largest of several noisy figures it reads too high.",
            "0 upwards",
            "lower is better",
            when_nan=_NO_ERROR,
        ),
        Term(
            "mean_error_low/*",
            "Mean error ratio of a factor, lower end",
            "Lower end of the interval of the mean error ratio, of 95% unless set otherwise.",
            "0 upwards",
            "above 1: the factor is harder beyond chance",
            when_nan=f"{_NO_ERROR}, or a single image carries the factor",
        ),
        Term(
            "mean_error_high/*",
            "Mean error ratio of a factor, upper end",
            "Upper end of the interval of the mean error ratio, of 95% unless set otherwise.",
            "0 upwards",
            "below 1: the factor is easier beyond chance",
            when_nan=f"{_NO_ERROR}, or a single image carries the factor",
        ),
        Term(
            "mean_error_p_value/*",
            "p-value of the mean error of a factor",
            "How often mean errors this far apart, of the factor's images and of all others, would arise by chance: "
            "Welch's t-test, adjusted for the number of factors.",
            "0 to 1",
            "small: the factor matters",
            when_nan=f"{_NO_ERROR}, or fewer than two images are with or without the factor",
        ),
        FACTOR_IMAGES,
        FACTOR_GROUPS,
        ALL_GROUPS,
        Term(
            "mean_error/all",
            "Mean error",
            "Mean over all images of an image's error: its loss, or the share of its pixels or labels that are wrong.",
            "0 upwards",
            "lower is better",
            when_nan="no image with a finite error was seen",
        ),
        ALL_IMAGES,
    )

    def __init__(self, factors: Sequence[str], *, confidence: float = 0.95, **kwargs: Any) -> None:
        where = type(self).__name__
        names = check_factor_names(where, factors)
        check_confidence(where, confidence)
        super().__init__(MeanErrorSums.zero(len(names)), **kwargs)
        self.factors, self.confidence = names, confidence

    def update(self, errors: Tensor, factors: Tensor, groups: Tensor | None = None) -> None:
        """Add a batch.

        Args:
            errors: error of each image, at least 0; (n), float.
            factors: which factors each image carries; (n f), bool or int of 0 and 1.
            groups: which images belong together, any number for each group; (n), int. None: images are independent.
                With every batch or with none.

        Raises:
            InputError: errors that are not one float for each image, or factors or groups that are not of the same
                images.
        """
        where = f"{type(self).__name__}.update"
        if errors.ndim != 1 or not errors.is_floating_point():
            given = f"shape {tuple(errors.shape)}, {errors.dtype}"
            raise InputError(where, "errors are not one number per image", given, "Pass errors (n), float.")
        check_groups(where, groups, len(errors))
        factors = check_factors(where, self.factors, factors, errors)
        self.add(mean_error_sums(errors, factors))
        self.add_groups(groups, len(errors), lambda: mean_errors_of_images(errors, factors))

    def compute(self) -> dict[str, Tensor]:
        """The statistics of all images so far, divided once, in float64 on the CPU."""
        sums, by_group = self.sums_on_cpu, self.by_group
        ratio = mean_error_ratio(sums)
        low, high = mean_error_interval(sums, self.confidence, by_group)
        values = by_factor(
            self.factors,
            mean_error_ratio=ratio,
            mean_error_low=low,
            mean_error_high=high,
            mean_error_p_value=holm(mean_error_p_value(sums, by_group)),
            images=sums.seen,
        )
        worst = int(ratio.nan_to_num(nan=-torch.inf).argmax())
        values["mean_error_ratio/worst"] = ratio[worst]
        values["mean_error/all"] = sums.all_error / sums.all_seen
        values["images/all"] = sums.all_seen
        if by_group is not None:
            values |= count_groups(self.factors, by_group.seen, by_group.all_seen)
        return values
