"""Error ratios of two sets of predictions of the same images, from integer counts."""

from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor

from lightning_failures.errors import InputError
from lightning_failures.functional.intervals import holm
from lightning_failures.functional.paired import (
    PairedCounts,
    count_paired_errors,
    count_setbacks,
    mcnemar,
    others_ratio,
    paired_errors_of_images,
    paired_interval,
    paired_p_value,
    paired_ratio,
    risk_ratio,
    risk_ratio_interval,
    setback,
    setbacks_of_images,
    spillover,
)
from lightning_failures.metrics.base import ALL_GROUPS, GroupedMetric, check_groups
from lightning_failures.metrics.checks import (
    STRAY,
    check_confidence,
    check_factor_names,
    check_factors,
    check_stray,
    describe,
    find_mistakes,
)
from lightning_failures.metrics.factors import (
    ALL_IMAGES,
    FACTOR_ERRORS,
    FACTOR_GROUPS,
    FACTOR_IMAGES,
    NONE_SEEN,
    by_factor,
    count_groups,
)
from lightning_failures.records.term import Term

__all__ = ["FactorSetback", "PairedErrorRatio"]

_NO_RATIO = "one of the two has no errors on the factor"
_NO_REFERENCE = "the reference has no errors there"
_NO_RISK = "one of the two has no errors there"
_NOT_COMPARED = "no earlier evaluation of the same images in the same order, or no image carries the factor"
_NO_RATIO_THEN = f"{_NOT_COMPARED}, or it has no errors at one of the two"


class PairedErrorRatio(GroupedMetric[PairedCounts]):
    """Each factor's error ratio over that of a reference: another checkpoint, epoch or model, or clean images.

    ``compute()`` gives for each factor F

    - ``ratio/F`` and its interval ``low/F``, ``high/F``: :func:`.paired_ratio`, :func:`.paired_interval`;
    - ``p_value/F``: :func:`.paired_p_value`, Holm-adjusted for the number of factors;
    - ``mcnemar_p/F``: :func:`.mcnemar` on the errors themselves, since a ratio can rise while its errors become fewer;
    - ``spillover/F``: 1 where the factor fell behind while the network got better: :func:`.spillover`;
    - ``images/F``, ``errors/F``, ``reference_errors/F``;

    for each factor and for ``all`` ``risk_ratio/F`` with ``risk_ratio_low/F``, ``risk_ratio_high/F``: errors over those
    of the reference, :func:`.risk_ratio`; and ``mcnemar_p/all``, ``images/all``, ``error/all``,
    ``reference_error/all``. Where groups are given, intervals and p-values count groups, and ``groups/F`` and
    ``groups/all`` say how many there are.

    Args:
        factors: names, in the order of the columns.
        confidence: probability that an interval covers.
        kwargs: passed on to :class:`torchmetrics.Metric`.

    Raises:
        InputError: as for :class:`.FactorErrorRatio`.

    Example:
        >>> metric = PairedErrorRatio(["dark"])
        >>> own, reference = torch.tensor([1, 1, 0, 0]), torch.tensor([1, 0, 1, 1])
        >>> metric.update(own, reference, torch.zeros(4, dtype=torch.int64), torch.tensor([[1], [1], [0], [0]]))
        >>> metric.compute()["ratio/dark"]  # from 2/3 to 2
        tensor(3., dtype=torch.float64)
    """

    stray: Tensor

    counts_groups = ("low", "high", "p_value", "spillover", "mcnemar_p", "risk_ratio_low", "risk_ratio_high")

    terms: ClassVar[tuple[Term, ...]] = (
        Term(
            "ratio/*",
            "Error ratio over that of the reference",
            "The factor's error ratio over its error ratio in the predictions compared with, such as the best epoch so "
            "far: whether it became harder relative to all images.",
            "0 upwards",
            "1: as hard as to the reference, compared with all images; above 1: it fell behind",
            when_nan="no image carries the factor, or the reference has no errors on it",
        ),
        Term(
            "low/*",
            "Error ratio over that of the reference, lower end",
            "Lower end of its interval, of 95% unless set otherwise.",
            "0 upwards",
            "above 1: the factor fell behind beyond chance",
            when_nan=_NO_RATIO,
        ),
        Term(
            "high/*",
            "Error ratio over that of the reference, upper end",
            "Upper end of its interval, of 95% unless set otherwise.",
            "0 upwards",
            "below 1: the factor gained beyond chance",
            when_nan=_NO_RATIO,
        ),
        Term(
            "p_value/*",
            "p-value of that",
            "How often a change this large of the error ratio would arise by chance, adjusted for their number.",
            "0 to 1",
            "small: the factor's place among all images changed",
            when_nan=_NO_RATIO,
        ),
        Term(
            "spillover/*",
            "Spill-over",
            "1 where the factor fell behind beyond chance while all errors became fewer, else 0.",
            "0 or 1",
            "1: training paid for other images with these",
            when_nan=_NO_RATIO,
        ),
        FACTOR_IMAGES,
        FACTOR_ERRORS,
        FACTOR_GROUPS,
        ALL_GROUPS,
        Term(
            "reference_errors/*",
            "Errors of the reference on a factor",
            "Images that carry the factor and that the reference misclassifies.",
            "0 upwards",
            "describes",
            "images",
        ),
        Term(
            "mcnemar_p/*",
            "p-value of the errors themselves",
            "How often the two would be wrong alone so unequally often if they were equally good: McNemar's exact "
            "test, image by image.",
            "0 to 1",
            "small: one of the two is better there",
            when_nan="no image carries the factor",
        ),
        Term(
            "mcnemar_p/all",
            "p-value of all errors",
            "The same over all images.",
            "0 to 1",
            "small: one of the two is better",
            when_nan=NONE_SEEN,
        ),
        Term(
            "risk_ratio/*",
            "Errors over those of the reference",
            "Errors on the images that carry the factor, over those of the reference on the same images.",
            "0 upwards",
            "1: as many errors; 2: twice as many",
            when_nan=_NO_REFERENCE,
        ),
        Term(
            "risk_ratio/all",
            "All errors over those of the reference",
            "The same over all images.",
            "0 upwards",
            "1: as many errors; 2: twice as many",
            when_nan=_NO_REFERENCE,
        ),
        Term(
            "risk_ratio_low/*",
            "Errors over those of the reference, lower end",
            "Lower end of its interval, of 95% unless set otherwise; for each factor and for all images.",
            "0 upwards",
            "above 1: more errors beyond chance",
            when_nan=_NO_RISK,
        ),
        Term(
            "risk_ratio_high/*",
            "Errors over those of the reference, upper end",
            "Upper end of its interval, of 95% unless set otherwise; for each factor and for all images.",
            "0 upwards",
            "below 1: fewer errors beyond chance",
            when_nan=_NO_RISK,
        ),
        ALL_IMAGES,
        Term(
            "error/all",
            "Error rate",
            "Share of all images that are misclassified.",
            "0 to 1",
            "lower is better",
            when_nan=NONE_SEEN,
        ),
        Term(
            "reference_error/all",
            "Error rate of the reference",
            "Share of all images that the reference misclassifies.",
            "0 to 1",
            "describes",
            when_nan=NONE_SEEN,
        ),
    )

    def __init__(self, factors: Sequence[str], *, confidence: float = 0.95, **kwargs: Any) -> None:
        where = type(self).__name__
        names = check_factor_names(where, factors)
        check_confidence(where, confidence)
        super().__init__(PairedCounts.zero(len(names)), STRAY, **kwargs)
        self.factors = names
        self.confidence = confidence

    def update(
        self,
        preds: Tensor,
        reference_preds: Tensor,
        target: Tensor,
        factors: Tensor,
        known: Tensor | None = None,
        groups: Tensor | None = None,
    ) -> None:
        """Count a batch.

        Args:
            preds: one's own predictions: classes; (n), int, or scores; (n c), float.
            reference_preds: those of the reference for the same images; (n), int, or (n c), float.
            target: the true classes; (n), int.
            factors: which factors each image carries; (n f), bool or int of 0 and 1.
            known: which images have a label; the others count nowhere; (n), bool; None: all have one.
            groups: which images belong together, any number for each group; (n), int. None: images are independent.
                With every batch or with none.

        Raises:
            InputError: what is given is not of the same images or not of these factors, or, on the CPU, a label is out
                of range.
        """
        where = f"{type(self).__name__}.update"
        if len(preds) != len(reference_preds):
            given = describe(preds=preds, reference_preds=reference_preds)
            raise InputError(where, "the predictions are not of the same images", given, "Pass one of each an image.")
        own = find_mistakes(where, preds, target, known=known)
        reference = find_mistakes(where, reference_preds, target, known=known)
        factors = check_factors(where, self.factors, factors, target)
        counts = count_paired_errors(own.wrong, reference.wrong, factors, known)
        check_groups(where, groups, len(target))
        self.add(counts, stray=torch.maximum(own.stray, reference.stray))
        self.add_groups(
            groups, len(target), lambda: paired_errors_of_images(own.wrong, reference.wrong, factors, known)
        )

    def compute(self) -> dict[str, Tensor]:
        """The statistics of all images so far, divided once, in float64 on the CPU."""
        check_stray(f"{type(self).__name__}.compute", self.stray)
        counts, by_group = self.sums_on_cpu, self.by_group
        low, high = paired_interval(counts, self.confidence, by_group)
        values = by_factor(
            self.factors,
            ratio=paired_ratio(counts),
            low=low,
            high=high,
            p_value=holm(paired_p_value(counts, by_group)),
            spillover=spillover(counts, 1 - self.confidence, by_group),
            images=counts.seen,
            errors=counts.own,
            reference_errors=counts.reference,
        )
        whole = None if by_group is None else by_group.everything
        for names, each, groups in ((self.factors, counts, by_group), (("all",), counts.everything, whole)):
            risk_low, risk_high = risk_ratio_interval(each, self.confidence, groups)
            values |= by_factor(
                names,
                mcnemar_p=mcnemar(each, groups),
                risk_ratio=risk_ratio(each),
                risk_ratio_low=risk_low,
                risk_ratio_high=risk_high,
            )
        values["images/all"] = counts.all_seen
        values["error/all"] = counts.all_own.double() / counts.all_seen.double()
        values["reference_error/all"] = counts.all_reference.double() / counts.all_seen.double()
        if by_group is not None:
            values |= count_groups(self.factors, by_group.seen, by_group.all_seen)
        return values


class FactorSetback(GroupedMetric[PairedCounts]):
    """What each factor lost against a reference of its own: the evaluation at which it had fewest errors.

    ``compute()`` gives for each factor F

    - ``spillover/F``: 1 where F has more errors than then, beyond chance, while the images without it have fewer:
      :func:`.setback`;
    - ``spillover_risk/F``: its errors over those of then, :func:`.risk_ratio`, with the lower end of the interval,
      ``spillover_risk_low/F``, and ``spillover_mcnemar_p/F``:
      :func:`.mcnemar`, Holm-adjusted for the number of factors;
    - ``spillover_others/F``: the same ratio of errors on the images without F, :func:`.others_ratio`;
    - ``spillover_ratio/F`` and its interval ``spillover_low/F``, ``spillover_high/F``: its error ratio over that of
      then, :func:`.paired_ratio`.

    Args:
        factors: names, in the order of the columns.
        level: chance of calling any factor though none lost anything; see :func:`.setback`.
        kwargs: passed on to :class:`torchmetrics.Metric`.

    Raises:
        InputError: names as for :class:`.FactorErrorRatio`.

    Example:
        >>> import torch
        >>> metric, dark = FactorSetback(["dark"]), torch.arange(40) < 20
        >>> metric.update(dark, ~dark[:, None], dark[:, None])  # it had no error, and the others had all
        >>> metric.compute()["spillover/dark"]
        tensor(1., dtype=torch.float64)
    """

    counts_groups = ("spillover", "spillover_risk_low", "spillover_mcnemar_p", "spillover_low", "spillover_high")

    terms: ClassVar[tuple[Term, ...]] = (
        Term(
            "spillover/*",
            "Spill-over",
            "1 where the images that carry the factor have more errors than at the best epoch of the factor, beyond "
            "chance, while the images without it have fewer; else 0.",
            "0 or 1",
            "1: training may have paid for other images with these",
            when_nan=_NOT_COMPARED,
        ),
        Term(
            "spillover_risk/*",
            "Errors over those of the factor's best epoch",
            "Errors on the images that carry the factor, over those of the epoch at which they had fewest, on the same "
            "images.",
            "1 upwards, or below it at a new best epoch",
            "lower is better; above 1: more errors than there were",
            when_nan=f"{_NOT_COMPARED}, or it had no errors then",
        ),
        Term(
            "spillover_risk_low/*",
            "Errors over those of the factor's best epoch, lower end",
            "Lower end of its 95% interval.",
            "0 upwards",
            "above 1: more errors beyond chance; the best of many epochs is better than it would be again, so ask for "
            "more than 1",
            when_nan=_NO_RATIO_THEN,
        ),
        Term(
            "spillover_mcnemar_p/*",
            "p-value of errors over those of the factor's best epoch",
            "How often this epoch and that one would be wrong alone so unequally often if they were equally good: "
            "McNemar's exact test, image by image, adjusted for the number of factors.",
            "0 to 1",
            "small: one of the two is better on these images",
            when_nan=_NOT_COMPARED,
        ),
        Term(
            "spillover_others/*",
            "Errors of the others over those of the factor's best epoch",
            "Errors on the images without the factor, over those of the epoch at which the factor had fewest.",
            "0 upwards",
            "below 1: the network got better on the other images",
            when_nan=f"{_NOT_COMPARED}, or the others had no errors then",
        ),
        Term(
            "spillover_ratio/*",
            "Error ratio over that of the factor's best epoch",
            "The factor's error ratio over its error ratio at the epoch at which it had fewest errors, on the same "
            "images.",
            "0 upwards",
            "above 1: it became harder relative to all images",
            when_nan=_NO_RATIO_THEN,
        ),
        Term(
            "spillover_low/*",
            "Error ratio over that of the factor's best epoch, lower end",
            "Lower end of its 95% interval.",
            "0 upwards",
            "above 1: it became harder beyond chance",
            when_nan=_NO_RATIO_THEN,
        ),
        Term(
            "spillover_high/*",
            "Error ratio over that of the factor's best epoch, upper end",
            "Upper end of its 95% interval.",
            "0 upwards",
            "below 1: it became easier beyond chance",
            when_nan=_NO_RATIO_THEN,
        ),
    )

    def __init__(self, factors: Sequence[str], level: float = 0.05, **kwargs: Any) -> None:
        names = check_factor_names(type(self).__name__, factors)
        none = torch.zeros(len(names), dtype=torch.int64)
        super().__init__(PairedCounts(none, none, none, none, none, none, none, none), **kwargs)
        self.factors = names
        self.level = level

    def update(self, wrong: Tensor, references: Tensor, factors: Tensor, groups: Tensor | None = None) -> None:
        """Count a batch.

        Args:
            wrong: which images are misclassified; (n), bool.
            references: which of them the reference of each factor misclassifies; (n f), bool.
            factors: which factors each image carries; (n f), bool or int of 0 and 1.
            groups: which images belong together, any number for each group; (n), int. None: images are independent.
                With every batch or with none.
        """
        check_groups("FactorSetback.update", groups, len(wrong))
        self.add(count_setbacks(wrong, references, factors))
        self.add_groups(groups, len(wrong), lambda: setbacks_of_images(wrong, references, factors))

    def compute(self) -> dict[str, Tensor]:
        """The statistics of all images so far, divided once, in float64 on the CPU."""
        counts, by_group = self.sums_on_cpu, self.by_group
        low, high = paired_interval(counts, by_group=by_group)
        return by_factor(
            self.factors,
            spillover=setback(counts, self.level, by_group),
            spillover_risk=risk_ratio(counts),
            spillover_risk_low=risk_ratio_interval(counts, by_group=by_group).low,
            spillover_mcnemar_p=holm(mcnemar(counts, by_group)),
            spillover_others=others_ratio(counts),
            spillover_ratio=paired_ratio(counts),
            spillover_low=low,
            spillover_high=high,
        )
