"""Collapse of predictions, streamed: the metric over :mod:`lightning_failures.functional.prediction_collapse`."""

from typing import Any, ClassVar, Literal

from torch import Tensor

from lightning_failures.errors import InputError
from lightning_failures.functional.prediction_collapse import PredictionSums, prediction_statistics, prediction_sums
from lightning_failures.metrics.base import IMAGES, NON_FINITE, UNLABELLED, SumMetric, check_rows, check_target
from lightning_failures.records.term import Term

__all__ = ["PredictionCollapse"]

_FEW = "fewer than two finite rows"
_LABELS = "no row has a label"
_TWO = "two classes: their centred logits have rank 1 by construction; look at the features instead"


class PredictionCollapse(SumMetric[PredictionSums]):
    """Whether predictions collapse: onto few classes, or onto few dimensions of the logits.

    ``compute`` returns the keys of :func:`.prediction_statistics`.

    Args:
        num_classes: number of classes c, at least 2.
        non_finite: what to do with rows that hold NaN or infinity: ``"omit"`` leaves them out and counts them in
            ``non_finite``; ``"raise"`` raises at once, at the price of a device synchronisation an update.
        kwargs: passed on to :class:`torchmetrics.Metric`.

    Raises:
        InputError: fewer than two classes.

    Example:
        >>> import torch
        >>> metric = PredictionCollapse(num_classes=3)
        >>> metric.update(torch.tensor([[2.0, 0, 0], [0, 2, 0], [3, 0, 0]]), torch.tensor([0, 1, 2]))
        >>> metric.compute()["effective_classes"]
        tensor(1.8899, dtype=torch.float64)
    """

    terms: ClassVar[tuple[Term, ...]] = (
        Term(
            "logit_effective_rank",
            "Effective rank of the logits",
            "Along how many directions the centred logits vary. It cannot tell by itself whether predictions are "
            "one-dimensional; exchanging directions between images can.",
            "1 to classes minus 1; 0 for constant logits",
            "describes",
            "dimensions",
            _FEW,
        ),
        Term(
            "logit_top1_share",
            "Top-1 share of the logits",
            "Share of the centred logits' variance along the one strongest direction.",
            "0 to 1",
            "describes",
            when_nan=f"{_FEW}, or constant logits, which have no variance to share",
        ),
        Term(
            "logit_participation_ratio_unbiased",
            "Participation ratio of the logits, unbiased",
            "Squared sum of the eigenvalues of the centred logits' covariance over the sum of their squares, corrected "
            "for the number of images.",
            "0 for constant logits, else about 1 upwards",
            "describes",
            "dimensions",
            "fewer than four finite rows",
        ),
        Term(
            "label_effective_rank",
            "Effective rank of the labels",
            "The effective rank of the labels as vectors of 0 and 1: what the logits of a classifier that is always "
            "right would reach.",
            "0 to classes minus 1",
            "the reference for the logits",
            "dimensions",
            _LABELS,
        ),
        Term(
            "label_classes",
            "Effective classes of the labels",
            "Exponential of the entropy of the labels' classes.",
            "1 to the number of classes",
            "the reference for the effective predicted classes",
            "classes",
            _LABELS,
        ),
        Term(
            "effective_classes",
            "Effective predicted classes",
            "Exponential of the entropy of the predicted classes.",
            "1 to the number of classes",
            "1: everything is put into one class",
            "classes",
            "no finite rows",
        ),
        Term(
            "class_share",
            "Classes in use",
            "Effective predicted classes beyond one, over those of the labels beyond one.",
            "0 upwards",
            "0: everything is put into one class; 1: as many as the labels have",
            when_nan="no row has a label, or all labels are of one class",
        ),
        Term(
            "dominant_excess",
            "Dominant excess",
            "Largest excess of a class among the predictions over its share among the labels.",
            "0 to 1",
            "lower is better",
            when_nan=_LABELS,
        ),
        Term(
            "classes_never_given",
            "Classes that are never given",
            "Classes that no image is put into, though 20 images or more have them as their label.",
            "0 to the number of classes",
            "0 is good",
            "classes",
            _LABELS,
        ),
        Term(
            "largest_class_never_given",
            "Largest class that is never given",
            "Of the classes that are never given, the number of the one that most images have as their label. "
            "Not there where there is none.",
            "0 to the number of classes, less 1",
            "describes",
        ),
        Term(
            "marginal_perplexity",
            "Marginal perplexity",
            "Exponential of the entropy of the mean predicted probabilities.",
            "1 to the number of classes",
            "1: all probability on one class",
            "classes",
            "no finite rows",
        ),
        Term(
            "conditional_perplexity",
            "Conditional perplexity",
            "Exponential of the mean entropy of the predicted probabilities: among how many classes an image is torn.",
            "1 to the number of classes",
            "1: every prediction is sure; the number of classes: none says anything",
            "classes",
            "no finite rows",
        ),
        Term(
            "sharpness",
            "Sharpness of the predictions",
            "1 minus the mean entropy of the predicted probabilities, over the entropy of a guess among all classes. "
            "Predictions that fall on one class mean little while it is near 0: then hardly anything was learned yet.",
            "0 to 1",
            "0: every class is as probable as every other; 1: every prediction is sure",
            when_nan="no finite rows",
        ),
        Term(
            "accuracy",
            "Accuracy",
            "Share of the images with a label that are predicted right.",
            "0 to 1",
            "higher is better",
            when_nan=_LABELS,
        ),
        Term(
            "chance",
            "Chance",
            "Share of the most frequent label: the accuracy of naming it always.",
            "1 over the number of classes, to 1",
            "the reference for the accuracy",
            when_nan=_LABELS,
        ),
        IMAGES,
        UNLABELLED,
        NON_FINITE,
    )

    def __init__(
        self,
        num_classes: int,
        *,
        non_finite: Literal["omit", "raise"] = "omit",
        **kwargs: Any,
    ) -> None:
        if num_classes < 2:
            raise InputError(
                "PredictionCollapse",
                "predictions need two classes or more",
                f"num_classes={num_classes}",
                "Turn one score z of a binary problem into two logits, torch.stack([-z / 2, z / 2], 1), num_classes=2.",
            )
        super().__init__(PredictionSums.zero(num_classes), **kwargs)
        self.num_classes = num_classes
        self._raise = non_finite == "raise"

    @property
    def undefined(self) -> dict[str, str]:
        """Why each nan of the last ``compute`` is nan: key -> reason."""
        two = {"logit": _TWO} if self.num_classes == 2 else {}
        return {key: two.get(key.split("_")[0], why) for key, why in super().undefined.items()}

    def update(self, logits: Tensor, target: Tensor | None = None) -> None:
        """Add a batch.

        Args:
            logits: one score per class; (n c), any float.
            target: classes, one outside [0, c) is no label; (n), int64. None: there are no labels.

        Raises:
            InputError: another number of classes, a target that is not one class for each row, or, with
                ``non_finite="raise"``, logits that hold NaN or infinity.
        """
        check_rows("PredictionCollapse.update", logits, self.num_classes, "logits", finite=self._raise)
        if target is not None:
            check_target("PredictionCollapse.update", target, len(logits))
        logits = logits.to(self.where)
        self.add(prediction_sums(logits, target, self.numerics))

    def compute(self) -> dict[str, Tensor]:
        """Every statistic by name."""
        return prediction_statistics(self.sums)
