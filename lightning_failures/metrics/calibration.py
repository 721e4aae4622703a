"""Calibration on the images that carry each factor, from integer sums in bins."""

from collections.abc import Sequence
from typing import Any, ClassVar

from torch import Tensor

from lightning_failures.errors import InputError
from lightning_failures.functional.calibration import (
    CalibrationCounts,
    CalibrationOfGroups,
    calibration_error,
    calibration_of_images,
    count_calibration,
    overconfidence,
    overconfidence_interval,
)
from lightning_failures.metrics.base import ALL_GROUPS, GroupedMetric, check_groups
from lightning_failures.metrics.checks import (
    STRAY,
    check_confidence,
    check_factor_names,
    check_factors,
    check_positive,
    check_stray,
    describe,
    find_mistakes,
)
from lightning_failures.metrics.factors import FACTOR_GROUPS, FACTOR_IMAGES, by_factor, count_groups
from lightning_failures.records.term import Term

__all__ = ["FactorCalibration"]

_NONE_CARRIES = "no image with a finite confidence carries the factor"
_TOO_FEW = "fewer than two images with a finite confidence carry the factor"


class FactorCalibration(GroupedMetric[CalibrationCounts]):
    """Expected calibration error on the images that carry each factor, and on all.

    ``compute()`` gives for each factor F and for ``all``: ``calibration_error/F``, :func:`.calibration_error`;
    ``overconfidence/F``, :func:`.overconfidence`, with ``overconfidence_low/F`` and ``overconfidence_high/F``,
    :func:`.overconfidence_interval`; ``images/F``; and ``images/non_finite``: images whose confidence is not finite,
    which are left out. Where groups are given, intervals count groups, and ``groups/F`` says how many hold such images.

    The calibration error has no interval: few images raise it, and near 0 it does not scatter about its truth. An
    interval of the overconfidence that does not hold 0 shows that the calibration error is not 0 either.

    Args:
        factors: names, in the order of the columns.
        num_bins: number of bins of equal width.
        interval: probability that an interval covers.
        kwargs: passed on to :class:`torchmetrics.Metric`.

    Raises:
        InputError: as for :class:`.FactorErrorRatio`; labels without a confidence, or confidences that are no
            probabilities (looked at on the CPU; elsewhere clamped into 0 to 1, since a look would stop the device).

    Example:
        >>> import torch
        >>> metric = FactorCalibration(["dark"])
        >>> labels, confidence = torch.tensor([1, 1, 0]), torch.tensor([0.5, 0.7, 0.9])
        >>> metric.update(labels, torch.tensor([1, 0, 0]), torch.tensor([[0], [1], [0]]), confidence)
        >>> metric.compute()["calibration_error/dark"]
        tensor(0.7000, dtype=torch.float64)
    """

    non_finite: Tensor
    stray: Tensor

    counts_groups = ("overconfidence_low", "overconfidence_high")

    terms: ClassVar[tuple[Term, ...]] = (
        Term(
            "calibration_error/*",
            "Calibration error of a factor",
            "How far the confidence in the predictions is from the share of right ones, on the images that carry the "
            "factor: the mean over bins of confidence (expected calibration error). Few images alone raise it.",
            "0 to 1",
            "lower is better",
            when_nan=_NONE_CARRIES,
        ),
        Term(
            "overconfidence/*",
            "Overconfidence on a factor",
            "Mean confidence minus accuracy, on the images that carry the factor.",
            "-1 to 1",
            "above 0: the network is surer than it is right",
            when_nan=_NONE_CARRIES,
        ),
        Term(
            "overconfidence_low/*",
            "Overconfidence on a factor, lower end",
            "Lower end of the interval of the overconfidence, of 95% unless set otherwise.",
            "-1 to 1",
            "above 0: the network is surer than it is right, beyond chance",
            when_nan=_TOO_FEW,
        ),
        Term(
            "overconfidence_high/*",
            "Overconfidence on a factor, upper end",
            "Upper end of the interval of the overconfidence, of 95% unless set otherwise.",
            "-1 to 1",
            "below 0: the network is less sure than it is right, beyond chance",
            when_nan=_TOO_FEW,
        ),
        FACTOR_IMAGES,
        FACTOR_GROUPS,
        ALL_GROUPS,
        Term(
            "images/all",
            "Images",
            "Images with a finite confidence, whatever factors they carry.",
            "0 upwards",
            "describes",
            "images",
        ),
        Term(
            "images/non_finite",
            "Images without a finite confidence",
            "Images whose confidence is not a finite number. They are left out.",
            "0 upwards",
            "above 0: the network computes values that are not finite",
            "images",
        ),
    )

    def __init__(self, factors: Sequence[str], num_bins: int = 15, *, interval: float = 0.95, **kwargs: Any) -> None:
        names = check_factor_names(type(self).__name__, factors)
        check_positive(type(self).__name__, "num_bins", num_bins)
        check_confidence(type(self).__name__, interval)
        of_group = CalibrationOfGroups.zero(len(names))
        super().__init__(CalibrationCounts.zero(len(names), num_bins), {"non_finite": 0} | STRAY, of_group, **kwargs)
        self.factors = names
        self.num_bins = num_bins
        self.interval = interval

    def update(
        self,
        preds: Tensor,
        target: Tensor,
        factors: Tensor,
        confidence: Tensor | None = None,
        groups: Tensor | None = None,
    ) -> None:
        """Count a batch.

        Args:
            preds: logits; (n c), float, or predicted classes; (n), int.
            target: the true classes; (n), int.
            factors: which factors each image carries; (n f), bool or int of 0 and 1.
            confidence: probability given to the prediction; (n), float. None: the largest softmax of the logits.
            groups: which images belong together; see :meth:`.FactorErrorRatio.update`; (n), int.

        Raises:
            InputError: what is given is not of the same images or not of these factors; labels come without a
                confidence; or, on the CPU, a confidence is outside 0 to 1 or a label is out of range.
        """
        where = f"{type(self).__name__}.update"
        mistakes = find_mistakes(where, preds, target)
        factors = check_factors(where, self.factors, factors, target)
        check_groups(where, groups, len(target))
        if confidence is None:
            if preds.ndim == 1:
                fix = "Pass logits (n c), or confidence (n)."
                raise InputError(where, "labels have no confidence", describe(preds=preds), fix)
            confidence = preds.float().softmax(1).amax(1)
        elif confidence.shape != target.shape or not confidence.is_floating_point():
            given = describe(confidence=confidence, target=target)
            raise InputError(where, "confidence is not one probability an image", given, "Pass confidence (n), float.")
        beyond = (confidence < 0) | (confidence > 1)
        if confidence.device.type == "cpu" and bool(beyond.any()):
            given = f"{int(beyond.sum())} values outside 0 to 1"
            raise InputError(where, "confidences are no probabilities", given, "Pass probabilities, not scores.")
        sure = confidence.clamp(0, 1)
        counts = count_calibration(mistakes.wrong, sure, factors, self.num_bins)
        self.add(counts, non_finite=sure.isnan().sum(), stray=mistakes.stray)
        self.add_groups(groups, len(target), lambda: calibration_of_images(mistakes.wrong, sure, factors))

    def compute(self) -> dict[str, Tensor]:
        """The statistics of all images so far, divided once, in float64 on the CPU."""
        check_stray(f"{type(self).__name__}.compute", self.stray)
        counts = self.sums_on_cpu
        grouped = self.grouped()
        by_group = None if grouped is None else grouped[1]
        low, high = overconfidence_interval(counts, self.interval, by_group)
        values = by_factor(
            (*self.factors, "all"),
            calibration_error=calibration_error(counts),
            overconfidence=overconfidence(counts),
            overconfidence_low=low,
            overconfidence_high=high,
            images=counts.seen.sum(1),
        )
        if by_group is not None:
            values |= count_groups(self.factors, by_group.seen[:, :-1], by_group.seen[:, -1])
        return values | {"images/non_finite": self.non_finite.cpu()}
