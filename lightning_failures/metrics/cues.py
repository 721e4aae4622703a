"""Named cues, streamed: what one explains of the logits, and whose prediction comes out when it is swapped."""

from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor

from lightning_failures.errors import InputError
from lightning_failures.functional.cues import CueSums, add_cue_rows, cue_explained_variance, cue_rows
from lightning_failures.functional.interchange import (
    ClassInterchangeCounts,
    InterchangeCounts,
    count_interchange,
    count_interchange_by_class,
    interchange_shares,
    worst_class_of_interchange,
)
from lightning_failures.functional.reliance import reliance
from lightning_failures.metrics.base import SumMetric
from lightning_failures.metrics.simplicity import NO_PAIRS
from lightning_failures.records.term import Term

__all__ = ["CueExplainedVariance", "CueSwap", "CueSwapByClass"]

_FEW_PAIRS = "no class with 8 pairs of images with different predictions"
_ONE_BIN = "fewer than two rows, all of them in one bin of the cue, or constant logits"
_ONE_BIN_WITHIN = "no label with two rows in different bins of the cue, or constant logits within the labels"


class CueExplainedVariance(SumMetric[CueSums]):
    """How much of the logits' variance one scalar cue explains.

    ``compute`` returns ``eta2``, ``null``, ``eta2_within``, ``null_within``, ``rows`` and ``left_out``, see
    :func:`.cue_explained_variance`; and ``reliance``, the smaller of ``eta2`` and ``eta2_within``, see
    :func:`.reliance`: for a cue that can be exchanged :class:`CueSwap` is the better witness. A single logit (n 1) is a
    binary problem's.

    Args:
        edges: inner edges of the cue's bins, ascending, fixed for the run, as
            :func:`.cue_edges` gives them; (q - 1).
        num_classes: number of logits c.
        kwargs: passed on to :class:`torchmetrics.Metric`.

    Raises:
        InputError: edges that do not ascend, that are none, or that hold NaN.

    Example:
        >>> import torch
        >>> metric = CueExplainedVariance(edges=torch.tensor([0.5]), num_classes=2)
        >>> cue = torch.tensor([0.0, 1.0]).repeat(500)
        >>> metric.update(torch.stack([cue, -cue], 1), cue)
        >>> metric.compute()["eta2"].round(decimals=2)
        tensor(1., dtype=torch.float64)
    """

    edges: Tensor

    terms: ClassVar[tuple[Term, ...]] = (
        Term(
            "eta2",
            "Variance explained by a cue",
            "Share of the logits' variance that lies between bins of the cue, less what chance gives.",
            "about 0 to 1",
            "large for every cue that goes with the labels; see within the labels",
            when_nan=_ONE_BIN,
        ),
        Term(
            "null",
            "Variance explained by chance",
            "The share that a cue with as many bins would have if it had nothing to do with the logits.",
            "0 to 1",
            "what was taken off the share beside it",
            when_nan=_ONE_BIN,
        ),
        Term(
            "eta2_within",
            "Variance explained by a cue, within the labels",
            "Share of the logits' variance that lies between bins of the cue, among images of one label, less what "
            "chance gives.",
            "about 0 to 1",
            "large together with the one over all labels: the network leans on the cue",
            when_nan=_ONE_BIN_WITHIN,
        ),
        Term(
            "null_within",
            "Variance explained by chance, within the labels",
            "The share within the labels that a cue with as many bins would have if it had nothing to do with the "
            "logits.",
            "0 to 1",
            "what was taken off the share beside it",
            when_nan=_ONE_BIN_WITHIN,
        ),
        Term(
            "reliance",
            "Reliance on a cue",
            "What the cue explains of the logits, over all images and within one label, whichever is smaller.",
            "about 0 to 1",
            "near 1: this cue decides; near 0: it does not",
            when_nan=f"{_ONE_BIN}, or {_ONE_BIN_WITHIN}",
        ),
        Term("rows", "Rows", "Images or pixels that were counted.", "0 upwards", "describes", "rows"),
        Term(
            "left_out",
            "Rows left out",
            "Images or pixels whose cue or logits are not finite.",
            "0 upwards",
            "above 0: the figures do not speak for these",
            "rows",
        ),
    )

    def __init__(self, edges: Tensor, num_classes: int, **kwargs: Any) -> None:
        if edges.ndim != 1 or not len(edges) or not bool((edges.diff() > 0).all()) or bool(edges.isnan().any()):
            fix = "Pass the inner edges of two bins or more, for example cue_edges(values)."
            raise InputError("CueExplainedVariance", "edges do not ascend", f"{edges.tolist()}", fix)
        super().__init__(CueSums.zero(len(edges) + 1, num_classes), **kwargs)
        self.num_classes = num_classes
        self.register_buffer("edges", edges.detach().double(), persistent=False)

    def update(self, logits: Tensor, cue: Tensor, target: Tensor | None = None) -> None:
        """Add a batch.

        Args:
            logits: (n c), any float; (n c h w) of pixels.
            cue: its value in each image, (n), any float; also of each pixel, (n h w), where logits are of pixels.
            target: labels, for ``eta2_within``; the shape of ``cue``, int64, -1 where unknown. None: there are none.

        Raises:
            InputError: shapes that do not belong together.
        """
        per_pixel = (len(logits), *logits.shape[2:])
        if logits.ndim < 2 or logits.shape[1] != self.num_classes or cue.shape not in (per_pixel[:1], per_pixel):
            raise InputError(
                "CueExplainedVariance.update",
                "logits and cue do not belong together",
                f"logits {tuple(logits.shape)} for {self.num_classes} classes, cue {tuple(cue.shape)}",
                "Pass logits (n c) and one value per image (n), or per pixel (n h w).",
            )
        if target is not None and target.shape != cue.shape:
            raise InputError(
                "CueExplainedVariance.update",
                "cue and target do not belong together",
                f"cue {tuple(cue.shape)}, target {tuple(target.shape)}",
                "Pass one label for each value of the cue.",
            )
        here = self.where
        labels = None if target is None else target.to(here)
        batch = cue_rows(logits.to(here), cue.to(here), self.edges.to(here), labels)
        if self.sums.totals.is_inference() and not torch.is_inference_mode_enabled():
            for name, value in self.sums._asdict().items():
                setattr(self, name, value.clone())  # an inference tensor refuses an update in place
        add_cue_rows(self.sums, batch)

    def compute(self) -> dict[str, Tensor]:
        """Every statistic by name."""
        found = cue_explained_variance(self.sums)
        return {**found._asdict(), "reliance": reliance(eta2=found.eta2, eta2_within=found.eta2_within)}


class CueSwap(SumMetric[InterchangeCounts]):
    """Whose prediction comes out when a donor image is given the receiver's value of a named cue.

    ``compute`` returns, for each cue, ``swap_own/<cue>`` (share of the pairs that predict as the receiver, whose cue
    it is), its 95% limits ``swap_low/<cue>`` and ``swap_high/<cue>``, and ``swap_donor/<cue>``; then ``swap_pairs``. As
    for the interchange, only pairs whose own predictions differ count.

    Args:
        cues: names, one per column of the swapped predictions.
        kwargs: passed on to :class:`torchmetrics.Metric`.

    Example:
        >>> import torch
        >>> metric = CueSwap(["total_absorbance"])
        >>> metric.update(torch.tensor([0, 1]), torch.tensor([1, 0]), torch.tensor([[0], [1]]))
        >>> metric.compute()["swap_own/total_absorbance"]
        tensor(1., dtype=torch.float64)
    """

    terms: ClassVar[tuple[Term, ...]] = (
        Term(
            "swap_own/*",
            "Cue exchanged (own)",
            "A donor image is given the receiver's value of a cue. Share of pairs whose prediction then is the "
            "receiver's.",
            "0 to 1",
            "near 1: the cue decides",
            when_nan=NO_PAIRS,
        ),
        Term(
            "swap_low/*",
            "Cue exchanged (own), lower end",
            "Lower end of the 95% interval of that share.",
            "0 to 1",
            "near 1: the cue decides beyond chance",
            when_nan=NO_PAIRS,
        ),
        Term(
            "swap_high/*",
            "Cue exchanged (own), upper end",
            "Upper end of the 95% interval of that share.",
            "0 to 1",
            "near 0: the cue does not decide, beyond chance",
            when_nan=NO_PAIRS,
        ),
        Term(
            "swap_donor/*",
            "Cue exchanged (donor)",
            "The same exchange: share of pairs whose prediction stays the donor's.",
            "0 to 1",
            "near 1 is healthy",
            when_nan=NO_PAIRS,
        ),
        Term(
            "swap_pairs",
            "Pairs of the exchange",
            "Pairs of images, or of pixels, whose own predictions differ; only these count.",
            "0 upwards",
            "describes",
            "pairs",
        ),
    )

    def __init__(self, cues: Sequence[str], **kwargs: Any) -> None:
        self.cues = tuple(cues)
        super().__init__(InterchangeCounts.zero(len(self.cues)), **kwargs)

    def update(self, own_preds: Tensor, donor_preds: Tensor, swapped_preds: Tensor) -> None:
        """Add the predictions of pairs of images.

        Args:
            own_preds: predicted classes of the receivers; (n), or (n h w) of pixels; int64.
            donor_preds: of the donors; the same shape, int64.
            swapped_preds: of the donors with the receivers' value of a cue, one column each; (n k) or (n h w k), int64.

        Raises:
            InputError: shapes that are not of the same pairs and of these cues.
        """
        if donor_preds.shape != own_preds.shape or swapped_preds.shape != (*own_preds.shape, len(self.cues)):
            raise InputError(
                "CueSwap.update",
                "predictions do not belong to the same pairs and cues",
                f"own {tuple(own_preds.shape)}, donor {tuple(donor_preds.shape)}, swapped {tuple(swapped_preds.shape)} "
                f"for {', '.join(self.cues)}",
                "Pass one label a pair, and one column per cue: (n), (n) and (n k).",
            )
        self.add(count_interchange(own_preds, donor_preds, swapped_preds))

    def compute(self) -> dict[str, Tensor]:
        """Every share by cue."""
        own, low, high, donor = interchange_shares(self.sums)
        named = {"swap_own": own, "swap_low": low, "swap_high": high, "swap_donor": donor}
        values = {f"{name}/{cue}": value[k] for name, value in named.items() for k, cue in enumerate(self.cues)}
        return {**values, "swap_pairs": self.sums.pairs.double()}


class CueSwapByClass(SumMetric[ClassInterchangeCounts]):
    """Which class hangs most on a named cue, where a donor image is given the receiver's value of it.

    ``compute`` returns, for each cue, ``class_reliance/<cue>``, the largest share over the classes of pairs that
    predict as the receiver, by the class that the receiver was put into; its lower end ``class_reliance_low/<cue>``;
    and ``reliant_class/<cue>``, that class. See :func:`.worst_class_of_interchange`.

    Args:
        cues: names, one per column of the swapped predictions.
        num_classes: number of classes c.
        kwargs: passed on to :class:`torchmetrics.Metric`.

    Example:
        >>> import torch
        >>> metric = CueSwapByClass(["grey_level"], num_classes=2)
        >>> own = torch.tensor([0, 1]).repeat(20)
        >>> metric.update(own, 1 - own, torch.ones(40, 1, dtype=torch.int64))
        >>> metric.compute()["reliant_class/grey_level"]
        tensor(1., dtype=torch.float64)
    """

    terms: ClassVar[tuple[Term, ...]] = (
        Term(
            "class_reliance/*",
            "Reliance of a class on a cue",
            "The exchange of a cue, by the class that an image was put into: of the class that follows the cue most, "
            "the share of pairs whose prediction becomes the receiver's. One class of many hardly shows in the share "
            "over all.",
            "0 to 1",
            "near 1: the cue decides this class",
            when_nan=_FEW_PAIRS,
        ),
        Term(
            "class_reliance_low/*",
            "Reliance of a class on a cue, lower end",
            "Lower end of its interval, of 95% for all classes together.",
            "0 to 1",
            "near 1: the cue decides this class beyond chance",
            when_nan=_FEW_PAIRS,
        ),
        Term(
            "reliant_class/*",
            "Class that relies on a cue",
            "The class, counted from 0, whose predictions follow the cue most.",
            "0 to the number of classes minus 1",
            "describes",
            when_nan=_FEW_PAIRS,
        ),
    )

    def __init__(self, cues: Sequence[str], num_classes: int, **kwargs: Any) -> None:
        self.cues, self.num_classes = tuple(cues), num_classes
        super().__init__(ClassInterchangeCounts.zero(len(self.cues), num_classes), **kwargs)

    def update(self, own_preds: Tensor, donor_preds: Tensor, swapped_preds: Tensor) -> None:
        """Add the predictions of pairs of images.

        Args:
            own_preds: predicted classes of the receivers; (n), or (n h w) of pixels; int64.
            donor_preds: of the donors; the same shape, int64.
            swapped_preds: of the donors with the receivers' value of a cue, one column each; (n k) or (n h w k), int64.
        """
        self.add(count_interchange_by_class(own_preds, donor_preds, swapped_preds, self.num_classes))

    def compute(self) -> dict[str, Tensor]:
        """The class of each cue that follows it most."""
        share, low, label = worst_class_of_interchange(self.sums)
        named = {"class_reliance": share, "class_reliance_low": low, "reliant_class": label}
        return {f"{name}/{cue}": value[k] for name, value in named.items() for k, cue in enumerate(self.cues)}
