"""Neural collapse, streamed: the metric over :mod:`lightning_failures.functional.neural_collapse`."""

from typing import Any, ClassVar, Literal

from torch import Tensor

from lightning_failures.errors import InputError
from lightning_failures.functional.moments import Moments
from lightning_failures.functional.neural_collapse import NeuralSums, neural_statistics, neural_sums
from lightning_failures.metrics.base import IMAGES, NON_FINITE, UNLABELLED, SumMetric, check_rows, check_target
from lightning_failures.records.term import Term

__all__ = ["NeuralCollapse"]

_FEW = "fewer than two classes have rows"


class NeuralCollapse(SumMetric[NeuralSums]):
    """How far features have collapsed onto their class means, and the classifier onto these.

    ``compute`` returns the keys of :func:`.neural_statistics`. ``nc3``
    compares with the classifier's weight, which does not add up over batches: set :attr:`head` before ``compute``.

    Args:
        num_classes: number of classes c.
        num_features: number of features d.
        non_finite: what to do with rows that hold NaN or infinity: ``"omit"`` leaves them out and counts them in
            ``non_finite``; ``"raise"`` raises at once, at the price of a device synchronisation an update.
        kwargs: passed on to :class:`torchmetrics.Metric`.

    Example:
        >>> import torch
        >>> metric = NeuralCollapse(num_classes=2, num_features=2)
        >>> metric.update(torch.eye(2), torch.arange(2))
        >>> metric.head = torch.tensor([[1.0, -1.0], [-1.0, 1.0]])
        >>> round(metric.compute()["nc3"].item(), 9)
        0.0
    """

    terms: ClassVar[tuple[Term, ...]] = (
        Term(
            "nc1",
            "Neural collapse, variability (NC1)",
            "Variance within the classes against that between their means.",
            "0 upwards",
            "near 0: each class is one point, as at the end of long training",
            when_nan=f"{_FEW}, or all class means are one",
        ),
        Term(
            "nc2_norms",
            "Neural collapse, lengths (NC2)",
            "How unequal the lengths of the class means are, from their common mean: deviation over mean.",
            "0 upwards",
            "near 0: all classes are as far out",
            when_nan=f"{_FEW}, or all class means are one",
        ),
        Term(
            "nc2_angles",
            "Neural collapse, angles (NC2)",
            "Mean distance of the cosines between two class means from that of a regular simplex.",
            "0 to 2",
            "near 0: all classes are as far apart",
            when_nan=f"{_FEW}, or a class mean is the mean of all",
        ),
        Term(
            "nc3",
            "Neural collapse, classifier (NC3)",
            "Distance between the classifier's weight and the class means, each scaled to length 1.",
            "0 to 2",
            "near 0: the classifier points at the class means",
            when_nan="the head's weight was not given or is 0, fewer than two classes have rows, or all class means "
            "are one",
        ),
        Term(
            "cdnv",
            "Class-distance normalised variance",
            "Variance of two classes over twice the squared distance of their means, the mean over pairs of classes.",
            "0 upwards",
            "near 0: classes are points; well above 1: they are hard to tell apart",
            when_nan=f"{_FEW}, or two class means are one",
        ),
        Term("classes", "Classes", "Classes that have images.", "0 to the number of classes", "describes", "classes"),
        IMAGES,
        UNLABELLED,
        NON_FINITE,
    )

    def __init__(
        self, num_classes: int, num_features: int, *, non_finite: Literal["omit", "raise"] = "omit", **kwargs: Any
    ) -> None:
        super().__init__(NeuralSums.zero(num_classes, num_features), **kwargs)
        self.num_classes = num_classes
        self.num_features = num_features
        self._head: Tensor | None = None
        self.moments: Moments | None = None  # of all labelled rows and ranks, of the last compute
        self._raise = non_finite == "raise"

    @property
    def head(self) -> Tensor | None:
        """Weight of the last linear layer, for ``nc3``; (c d). It is read at ``compute`` and kept over ``reset``."""
        return self._head

    @head.setter
    def head(self, weight: Tensor | None) -> None:
        if weight is not None and weight.shape != (self.num_classes, self.num_features):
            raise InputError(
                "NeuralCollapse.head",
                "the weight does not fit the classes and features",
                f"shape {tuple(weight.shape)} for {self.num_classes} classes of {self.num_features} features",
                "Set the weight of the last linear layer; (c d).",
            )
        self._head = None if weight is None else weight.detach()
        self._computed = None  # a kept result is that of another head

    def __setattr__(self, name: str, value: Any) -> None:
        # a Parameter would be registered under the property's name, which torch refuses
        super().__setattr__(name, value.detach() if name == "head" and isinstance(value, Tensor) else value)

    def update(self, features: Tensor, target: Tensor) -> None:
        """Add a batch.

        Args:
            features: one row per image; (n d), any float.
            target: classes, one outside [0, c) is no label; (n), int64.

        Raises:
            InputError: rows of another width, a target that is not one class for each, or, with ``non_finite="raise"``,
                rows that hold NaN or infinity.
        """
        check_rows("NeuralCollapse.update", features, self.num_features, finite=self._raise)
        check_target("NeuralCollapse.update", target, len(features))
        self.add(neural_sums(features.to(self.where), target, self.num_classes, self.numerics))

    def compute(self) -> dict[str, Tensor]:
        """Every statistic by name."""
        self.moments = self.sums.moments.all
        return neural_statistics(self.sums, self._head)
