"""Simplicity bias, streamed: what decides, what a simple model explains, and what a linear reference reaches."""

from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor

from lightning_failures.errors import InputError
from lightning_failures.functional.discriminant import (
    Discriminant,
    UntappedCounts,
    count_untapped,
    linear_discriminant,
    untapped_information,
    untapped_of_images,
)
from lightning_failures.functional.interchange import (
    InterchangeCounts,
    count_interchange,
    decision_dimension,
    interchange_shares,
)
from lightning_failures.functional.moments import (
    ClassMoments,
    class_moments,
    covariance,
    finite_rows,
    principal_directions,
)
from lightning_failures.functional.simplicity import ExplainedCounts, count_explained, explained_by_simple
from lightning_failures.metrics.base import (
    ALL_GROUPS,
    IMAGES,
    NON_FINITE,
    GroupedMetric,
    SumMetric,
    check_groups,
    check_rows,
    check_target,
)
from lightning_failures.records.term import Term

__all__ = ["DecisionDimension", "ExplainedBySimple", "LinearReference", "UntappedInformation"]

NO_PAIRS = "no pair of images with different predictions"
_NO_PREDICTIONS = "no image with a label and both predictions"
_NO_INFORMATION = f"{_NO_PREDICTIONS}, or predictions that say nothing of the labels"
_NEITHER = "no image with a label and a prediction of both"

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

    Raises:
        InputError: ranks that do not ascend from 1 or more.

    Example:
        >>> metric = DecisionDimension(ranks=(1, 2))
        >>> own, donor = torch.tensor([0, 0, 1]), torch.tensor([1, 2, 1])
        >>> metric.update(own, donor, torch.tensor([[1, 0], [0, 0], [1, 1]]))
        >>> metric.compute()["decision_dimension"]
        tensor(2., dtype=torch.float64)
    """

    terms: ClassVar[tuple[Term, ...]] = (
        Term(
            "own/*",
            "Decided by so many directions (own)",
            "One image, the donor, is given the values of another, the receiver, on the first 1, 2, 4 or 8 principal "
            "directions of the data. Share of pairs whose prediction then is the receiver's.",
            "0 to 1",
            "near 1: these few numbers decide; near 0: the rest of the image does",
            when_nan=NO_PAIRS,
        ),
        Term(
            "own_low/*",
            "Decided by so many directions (own), lower end",
            "Lower end of the 95% interval of that share.",
            "0 to 1",
            "near 1: these few numbers decide beyond chance",
            when_nan=NO_PAIRS,
        ),
        Term(
            "own_high/*",
            "Decided by so many directions (own), upper end",
            "Upper end of the 95% interval of that share.",
            "0 to 1",
            "near 0: the rest of the image decides beyond chance",
            when_nan=NO_PAIRS,
        ),
        Term(
            "donor/*",
            "Decided by the rest (donor)",
            "The same exchange: share of pairs whose prediction stays the donor's.",
            "0 to 1",
            "near 1 is healthy",
            when_nan=NO_PAIRS,
        ),
        Term(
            "decision_dimension",
            "Decision dimension",
            "The smallest number of main directions of the data which, given to a donor image, bring the receiver's "
            "prediction along in nine of ten pairs.",
            "one of the numbers of directions that were tried",
            "1: decisions hang on one number per image",
            "dimensions",
            f"{NO_PAIRS}, or no rank reaches the threshold",
        ),
        Term(
            "pairs",
            "Pairs of the exchange",
            "Pairs of images, or of pixels, whose own predictions differ; only these count.",
            "0 upwards",
            "describes",
            "pairs",
        ),
    )

    def __init__(self, ranks: Sequence[int] = (1, 2, 4, 8), threshold: float = 0.9, **kwargs: Any) -> None:
        self.ranks = tuple(ranks)
        if not self.ranks or self.ranks[0] < 1 or list(self.ranks) != sorted(set(self.ranks)):
            fix = "Pass numbers of directions in ascending order, such as (1, 2, 4, 8)."
            raise InputError("DecisionDimension", "ranks do not ascend from 1 or more", str(self.ranks), fix)
        super().__init__(InterchangeCounts.zero(len(self.ranks)), **kwargs)
        self.threshold = threshold

    def update(self, own_preds: Tensor, donor_preds: Tensor, swapped_preds: Tensor) -> None:
        """Add the predictions of pairs of images.

        Args:
            own_preds: predicted classes of the receivers; (n), or (n h w) of pixels; int64.
            donor_preds: of the donors; the same shape, int64.
            swapped_preds: of the donors with the receivers' coordinates on the first directions; one column per
                rank, (n r) or (n h w r), int64.

        Raises:
            InputError: shapes that are not of the same pairs and of these ranks.
        """
        expected = (*own_preds.shape, len(self.ranks))
        if donor_preds.shape != own_preds.shape or swapped_preds.shape != expected:
            raise InputError(
                "DecisionDimension.update",
                "predictions do not belong to the same pairs and ranks",
                f"own {tuple(own_preds.shape)}, donor {tuple(donor_preds.shape)}, swapped {tuple(swapped_preds.shape)} "
                f"for ranks {self.ranks}",
                "Pass one label a pair, and one column per rank: (n), (n) and (n r).",
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

    Raises:
        InputError: fewer than 2 or more than 256 classes.

    Example:
        >>> metric = ExplainedBySimple(num_classes=2)
        >>> labels = torch.tensor([0, 1, 0, 1])
        >>> metric.update(labels, torch.tensor([0, 1, 1, 0]), labels)
        >>> metric.compute()["explained"]
        tensor(0., dtype=torch.float64)
    """

    terms: ClassVar[tuple[Term, ...]] = (
        Term(
            "explained",
            "Explained by a simple model",
            "Share of the network's information on the labels that is gone once the simple prediction is known.",
            "at most 1",
            "near 1: the network knows no more than the simple model, or both know all",
            when_nan=_NO_INFORMATION,
        ),
        Term(
            "explained_adjusted",
            "Explained by a simple model, less chance",
            "The same against the exact mean of simple models that have nothing to do with the network.",
            "at most 1, 0 by chance",
            "near 1: the network knows no more than the simple model, or both know all",
            when_nan=_NO_INFORMATION,
        ),
        Term(
            "information",
            "Information on the labels",
            "Mutual information of the network's predictions and the labels.",
            "0 upwards",
            "higher: the network knows more",
            "nats",
            _NO_PREDICTIONS,
        ),
        Term(
            "information_null",
            "Information by chance",
            "Exact mean of that information where predictions and labels are paired at random.",
            "0 upwards",
            "the reference for the information",
            "nats",
            _NO_PREDICTIONS,
        ),
        Term(
            "conditional",
            "Information beyond a simple model",
            "Mutual information of the network's predictions and the labels once the simple prediction is known.",
            "0 upwards",
            "near 0: the network adds nothing",
            "nats",
            _NO_PREDICTIONS,
        ),
        Term(
            "conditional_null",
            "Information beyond a simple model, by chance",
            "Exact mean of that where the simple model's predictions are paired with the images at random.",
            "0 upwards",
            "the reference for the information beyond a simple model",
            "nats",
            _NO_PREDICTIONS,
        ),
    )

    def __init__(self, num_classes: int, ignore_index: int | None = None, **kwargs: Any) -> None:
        if not 2 <= num_classes <= _MOST_CLASSES:
            fix = f"It counts triples of classes: group them into 2 to {_MOST_CLASSES}."
            raise InputError("ExplainedBySimple", "the number of classes cannot be used", f"{num_classes}", fix)
        super().__init__(ExplainedCounts.zero(num_classes), **kwargs)
        self.num_classes, self.ignore_index = num_classes, ignore_index

    def update(self, preds: Tensor, simple_preds: Tensor, target: Tensor) -> None:
        """Add a batch.

        Args:
            preds: classes that the model predicts; (n), or (n h w) of pixels; int64.
            simple_preds: classes that the simple model predicts; the same shape, int64.
            target: true classes, negative ones are left out; the same shape, int64.

        Raises:
            InputError: shapes that differ.
        """
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


class UntappedInformation(GroupedMetric[UntappedCounts]):
    """What a simple reference reaches above the model, on the same images.

    ``compute`` returns ``model_accuracy``, ``reference_accuracy``, ``difference``, ``low``, ``high``, ``p_value`` and
    ``images``; see :func:`.untapped_information`. Where groups are given, interval and p-value count them, and
    ``groups/all`` says how many there are.

    Args:
        ignore_index: a target that is left out, besides the negative ones.
        kwargs: passed on to :class:`torchmetrics.Metric`.

    Example:
        >>> metric = UntappedInformation()
        >>> metric.update(torch.tensor([0, 0, 0]), torch.tensor([0, 1, 0]), torch.tensor([0, 1, 1]))
        >>> metric.compute()["difference"]
        tensor(0.3333, dtype=torch.float64)
    """

    counts_groups = ("low", "high", "p_value")

    terms: ClassVar[tuple[Term, ...]] = (
        Term(
            "model_accuracy",
            "Accuracy of the network",
            "Accuracy of the network on the images that both predict.",
            "0 to 1",
            "higher is better",
            when_nan=_NEITHER,
        ),
        Term(
            "reference_accuracy",
            "Accuracy of the simple reference",
            "Accuracy of the simple reference on the same images.",
            "0 to 1",
            "a network below it leaves information unused",
            when_nan=_NEITHER,
        ),
        Term(
            "difference",
            "Difference of the reference from the network",
            "Accuracy of the simple reference minus that of the network, image by image on the same images.",
            "-1 to 1",
            "above 0: the network leaves information unused",
            when_nan=_NEITHER,
        ),
        Term(
            "low",
            "Difference from the network, lower end",
            "Lower end of the paired 95% interval of that difference.",
            "-1 to 1",
            "above 0: the network leaves information unused, beyond chance",
            when_nan=_NEITHER,
        ),
        Term(
            "high",
            "Difference from the network, upper end",
            "Upper end of the paired 95% interval of that difference.",
            "-1 to 1",
            "below 0: the network is better, beyond chance",
            when_nan=_NEITHER,
        ),
        Term(
            "p_value",
            "p-value of that difference",
            "How often a difference this large would arise if both were equally good: McNemar's exact test.",
            "0 to 1",
            "small: the difference is real",
            when_nan=_NEITHER,
        ),
        IMAGES,
        ALL_GROUPS,
    )

    def __init__(self, ignore_index: int | None = None, **kwargs: Any) -> None:
        super().__init__(UntappedCounts.zero(), **kwargs)
        self.ignore_index = ignore_index

    def update(self, preds: Tensor, reference_preds: Tensor, target: Tensor, groups: Tensor | None = None) -> None:
        """Add a batch.

        Args:
            preds: classes that the model predicts; (n), or (n h w) of pixels; int64.
            reference_preds: classes that the simple reference predicts; the same shape, int64.
            target: true classes, negative ones are left out; the same shape, int64.
            groups: which images belong together, any number for each group; (n), int. None: images are independent.
                With every batch or with none.

        Raises:
            InputError: shapes that differ, or groups that are not one for each image.
        """
        if not preds.shape == reference_preds.shape == target.shape:
            raise InputError(
                "UntappedInformation.update",
                "predictions and target are not of the same images",
                f"preds {tuple(preds.shape)}, reference_preds {tuple(reference_preds.shape)}, "
                f"target {tuple(target.shape)}",
                "Pass labels, not scores: preds.argmax(1).",
            )
        check_groups("UntappedInformation.update", groups, len(target))
        given = (preds, reference_preds, target, self.ignore_index)
        self.add(count_untapped(*given))
        self.add_groups(groups, len(target), lambda: untapped_of_images(*given))

    def compute(self) -> dict[str, Tensor]:
        """Every statistic by name."""
        by_group = self.by_group
        values = untapped_information(self.sums_on_cpu, by_group)._asdict()
        if by_group is not None:
            values["groups/all"] = (torch.stack(list(by_group)).sum(0) > 0).sum()
        return values


class LinearReference(SumMetric[ClassMoments]):
    """Streams the moments of training features, and fits a linear model on them in closed form.

    ``compute`` returns ``rows``, ``classes`` (those with rows), ``chance`` (share of the largest class) and
    ``non_finite``: rows that hold NaN or infinity are left out, and counted. Inside a
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

    terms: ClassVar[tuple[Term, ...]] = (
        Term("rows", "Training rows", "Rows that the model is fitted on.", "0 upwards", "describes", "rows"),
        Term(
            "classes",
            "Training classes",
            "Classes that have rows.",
            "0 to the number of classes",
            "describes",
            "classes",
        ),
        Term(
            "chance",
            "Chance",
            "Share of the most frequent class: the accuracy of naming it always.",
            "1 over the number of classes, to 1",
            "the reference for the accuracy",
            when_nan="no rows",
        ),
        NON_FINITE,
    )

    non_finite: Tensor

    def __init__(self, num_classes: int, num_features: int, **kwargs: Any) -> None:
        super().__init__(ClassMoments.zero(num_classes, num_features), {"non_finite": 0}, **kwargs)
        self.num_classes, self.num_features = num_classes, num_features

    def update(self, features: Tensor, target: Tensor) -> None:
        """Add a batch.

        Args:
            features: one row per image; (n d), any float.
            target: classes, rows of a negative one are left out; (n), int64.

        Raises:
            InputError: rows of another width, a target that is not one class for each, or, on the CPU, a class that
                does not exist.
        """
        where = "LinearReference.update"
        check_rows(where, features, self.num_features)
        check_target(where, target, len(features))
        if target.device.type == "cpu" and len(target) and int(target.max()) >= self.num_classes:
            given = f"a label {int(target.max())} for {self.num_classes} classes"
            raise InputError(where, "a label is no class", given, "Pass labels below num_classes; -1 leaves a row out.")
        # a label out of range would stop a GPU for good
        keep = ((target >= 0) & (target < self.num_classes)).to(self.where)
        rows = features.to(self.where)
        finite = finite_rows(rows)
        sums = class_moments(rows, target.to(self.where), self.num_classes, keep & finite, self.numerics)
        self.add(sums, non_finite=(keep & ~finite).sum())

    def compute(self) -> dict[str, Tensor]:
        """How much the reference rests on."""
        counts = self.sums.counts
        return {
            "rows": counts.sum().double(),
            "classes": (counts > 0).sum().double(),
            "chance": counts.max() / counts.sum().double(),
            "non_finite": self.non_finite.double(),
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
