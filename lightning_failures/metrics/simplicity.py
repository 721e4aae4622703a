"""Simplicity bias, streamed: what decides, what a simple model explains, and what a linear reference reaches."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from lightning_failures.errors import InputError
from lightning_failures.functional.discriminant import (
    Discriminant,
    UntappedCounts,
    count_untapped,
    linear_discriminant,
    untapped_information,
)
from lightning_failures.functional.interchange import (
    InterchangeCounts,
    count_interchange,
    decision_dimension,
    interchange_shares,
)
from lightning_failures.functional.moments import ClassMoments, class_moments, covariance, principal_directions
from lightning_failures.functional.simplicity import ExplainedCounts, count_explained, explained_by_simple
from lightning_failures.metrics.base import SumMetric, check_rows, check_target

__all__ = ["DecisionDimension", "ExplainedBySimple", "LinearReference", "UntappedInformation"]

_MOST_CLASSES = 256  # a table of classes cubed, 134 MB


class DecisionDimension(SumMetric[InterchangeCounts]):
    """On how many principal directions of the data the decisions hang.

    ``compute`` returns, for each rank r, ``own/<r>`` (share of the pairs that predict as the receiver), its 95% limits
    ``own_low/<r>`` and ``own_high/<r>``, and ``donor/<r>``; then ``decision_dimension`` and ``pairs``. See
    :func:`.interchange_shares` and
    :func:`.decision_dimension`.

    Args:
        ranks: how many directions were swapped, ascending.
        threshold: share of the pairs that must predict as the receiver.
        kwargs: passed on to :class:`torchmetrics.Metric`.

    Example:
        >>> metric = DecisionDimension(ranks=(1, 2))
        >>> own, donor = torch.tensor([0, 0, 1]), torch.tensor([1, 2, 1])
        >>> metric.update(own, donor, torch.tensor([[1, 0], [0, 0], [1, 1]]))
        >>> metric.compute()["decision_dimension"]
        tensor(2., dtype=torch.float64)
    """

    why_nan: Mapping[str, str] = {
        "own": "no pair of images with different predictions",
        "own_low": "no pair of images with different predictions",
        "own_high": "no pair of images with different predictions",
        "donor": "no pair of images with different predictions",
        "decision_dimension": "no pair of images with different predictions, or no rank reaches the threshold",
    }

    def __init__(self, ranks: Sequence[int] = (1, 2, 4, 8), threshold: float = 0.9, **kwargs: Any) -> None:
        self.ranks = tuple(ranks)
        if not self.ranks or self.ranks[0] < 1 or list(self.ranks) != sorted(set(self.ranks)):
            fix = "Pass numbers of directions in ascending order, such as (1, 2, 4, 8)."
            raise InputError("DecisionDimension", "ranks do not ascend from 1 or more", str(self.ranks), fix)
        super().__init__(InterchangeCounts.zero(len(self.ranks)), **kwargs)
        self.threshold = threshold

    def update(self, own_preds: Tensor, donor_preds: Tensor, swapped_preds: Tensor) -> None:
        """Add the predictions of pairs; (n), (n) and (n r), or (n h w), (n h w) and (n h w r) for pixels; int64."""
        expected = (*own_preds.shape, len(self.ranks))
        if donor_preds.shape != own_preds.shape or swapped_preds.shape != expected:
            raise InputError(
                "DecisionDimension.update",
                "predictions do not belong to the same pairs and ranks",
                f"own {tuple(own_preds.shape)}, donor {tuple(donor_preds.shape)}, swapped {tuple(swapped_preds.shape)} "
                f"for ranks {self.ranks}",
                "Pass one label a pair, and one column a rank: (n), (n) and (n r).",
            )
        self.add(count_interchange(own_preds, donor_preds, swapped_preds))

    def compute(self) -> dict[str, Tensor]:
        """Every share by rank, and the dimension."""
        sums = self.sums
        shares = interchange_shares(sums)._asdict()
        values = {f"{name}/{rank}": value[k] for name, value in shares.items() for k, rank in enumerate(self.ranks)}
        values["decision_dimension"] = decision_dimension(sums, self.ranks, self.threshold)
        values["pairs"] = sums.pairs.double()
        return values


class ExplainedBySimple(SumMetric[ExplainedCounts]):
    """How much of what the model knows about the labels a simple model explains.

    ``compute`` returns ``explained``, ``explained_adjusted``, ``information``, ``information_null``, ``conditional``
    and ``conditional_null``; see :func:`.explained_by_simple`.

    Args:
        num_classes: number of classes c, at most 256.
        ignore_index: a target that is left out, besides the negative ones.
        kwargs: passed on to :class:`torchmetrics.Metric`.

    Example:
        >>> metric = ExplainedBySimple(num_classes=2)
        >>> labels = torch.tensor([0, 1, 0, 1])
        >>> metric.update(labels, torch.tensor([0, 1, 1, 0]), labels)
        >>> metric.compute()["explained"]
        tensor(0., dtype=torch.float64)
    """

    why_nan: Mapping[str, str] = dict.fromkeys(
        ("explained", "explained_adjusted"),
        "no image with a label and both predictions, or predictions that say nothing of the labels",
    ) | dict.fromkeys(
        ("information", "information_null", "conditional", "conditional_null"),
        "no image with a label and both predictions",
    )

    def __init__(self, num_classes: int, ignore_index: int | None = None, **kwargs: Any) -> None:
        if not 2 <= num_classes <= _MOST_CLASSES:
            fix = f"It counts triples of classes: group them into 2 to {_MOST_CLASSES}."
            raise InputError("ExplainedBySimple", "the number of classes cannot be used", f"{num_classes}", fix)
        super().__init__(ExplainedCounts.zero(num_classes), **kwargs)
        self.num_classes, self.ignore_index = num_classes, ignore_index

    def update(self, preds: Tensor, simple_preds: Tensor, target: Tensor) -> None:
        """Add the labels predicted by both for the same images (n), or pixels (n h w); int64."""
        if not preds.shape == simple_preds.shape == target.shape:
            raise InputError(
                "ExplainedBySimple.update",
                "predictions and target are not of the same images",
                f"preds {tuple(preds.shape)}, simple_preds {tuple(simple_preds.shape)}, target {tuple(target.shape)}",
                "Pass labels, not scores: preds.argmax(1).",
            )
        self.add(count_explained(preds, simple_preds, target, self.num_classes, self.ignore_index))

    def compute(self) -> dict[str, Tensor]:
        """Every statistic by name."""
        return explained_by_simple(self.sums)._asdict()


class UntappedInformation(SumMetric[UntappedCounts]):
    """What a simple reference reaches above the model, on the same images.

    ``compute`` returns ``model_accuracy``, ``reference_accuracy``, ``difference``, ``low``, ``high``, ``p_value`` and
    ``images``; see :func:`.untapped_information`.

    Args:
        ignore_index: a target that is left out, besides the negative ones.
        kwargs: passed on to :class:`torchmetrics.Metric`.

    Example:
        >>> metric = UntappedInformation()
        >>> metric.update(torch.tensor([0, 0, 0]), torch.tensor([0, 1, 0]), torch.tensor([0, 1, 1]))
        >>> metric.compute()["difference"]
        tensor(0.3333, dtype=torch.float64)
    """

    why_nan: Mapping[str, str] = dict.fromkeys(
        ("model_accuracy", "reference_accuracy", "difference", "low", "high", "p_value"),
        "no image with a label and a prediction of both",
    )

    def __init__(self, ignore_index: int | None = None, **kwargs: Any) -> None:
        super().__init__(UntappedCounts.zero(), **kwargs)
        self.ignore_index = ignore_index

    def update(self, preds: Tensor, reference_preds: Tensor, target: Tensor) -> None:
        """Add the labels predicted by both for the same images (n), or pixels (n h w); int64."""
        if not preds.shape == reference_preds.shape == target.shape:
            raise InputError(
                "UntappedInformation.update",
                "predictions and target are not of the same images",
                f"preds {tuple(preds.shape)}, reference_preds {tuple(reference_preds.shape)}, "
                f"target {tuple(target.shape)}",
                "Pass labels, not scores: preds.argmax(1).",
            )
        self.add(count_untapped(preds, reference_preds, target, self.ignore_index))

    def compute(self) -> dict[str, Tensor]:
        """Every statistic by name."""
        return untapped_information(self.sums)._asdict()


class LinearReference(SumMetric[ClassMoments]):
    """Streams the moments of training features, and fits a linear model on them in closed form.

    ``compute`` returns ``rows``, ``classes`` (those with rows) and ``chance`` (share of the largest class). Inside a
    distributed run :meth:`fit`, :meth:`directions` and :meth:`chance` reduce the moments over all ranks, so every rank
    must call them.

    Args:
        num_classes: number of classes c.
        num_features: number of features d: channels of the mean spectra, or the width of a layer.
        kwargs: passed on to :class:`torchmetrics.Metric`.

    Example:
        >>> metric = LinearReference(num_classes=2, num_features=1)
        >>> metric.update(torch.tensor([[0.0], [1.0], [8.0], [9.0]]), torch.tensor([0, 0, 1, 1]))
        >>> metric.fit().predict(torch.tensor([[4.0], [5.0]]))
        tensor([0, 1])
    """

    why_nan: Mapping[str, str] = {"chance": "no rows"}

    def __init__(self, num_classes: int, num_features: int, **kwargs: Any) -> None:
        super().__init__(ClassMoments.zero(num_classes, num_features), **kwargs)
        self.num_classes, self.num_features = num_classes, num_features

    def update(self, features: Tensor, target: Tensor) -> None:
        """Add a batch of rows (n d) with their classes (n), int64; rows of a negative class are left out."""
        where = "LinearReference.update"
        check_rows(where, features, self.num_features)
        check_target(where, target, len(features))
        if target.device.type == "cpu" and len(target) and int(target.max()) >= self.num_classes:
            given = f"a label {int(target.max())} for {self.num_classes} classes"
            raise InputError(where, "a label is no class", given, "Pass labels below num_classes; -1 leaves a row out.")
        # a label out of range would stop a GPU for good
        keep = (target >= 0) & (target < self.num_classes)
        rows = features.to(self.where)
        self.add(class_moments(rows, target.to(self.where), self.num_classes, keep.to(self.where), self.numerics))

    def compute(self) -> dict[str, Tensor]:
        """How much the reference rests on."""
        counts = self.sums.counts
        return {
            "rows": counts.sum().double(),
            "classes": (counts > 0).sum().double(),
            "chance": counts.max() / counts.sum().double(),
        }

    def fit(self, shrinkage: float | None = None) -> Discriminant:
        """The linear model; see :func:`.linear_discriminant`."""
        return linear_discriminant(self._all_sums(), shrinkage)

    def directions(self) -> Tensor:
        """Principal directions of the features as columns, by variance; (d d), float64; nan below two rows."""
        matrix = covariance(self._all_sums().all)
        return principal_directions(matrix) if bool(matrix.isfinite().all()) else torch.full_like(matrix, torch.nan)

    def chance(self) -> Tensor:
        """Share of the largest class: the accuracy that takes no features; (), float64; nan without rows."""
        counts = self._all_sums().counts
        return counts.max() / counts.sum().double()

    def _all_sums(self) -> ClassMoments:
        with self.sync_context():
            return self.sums
