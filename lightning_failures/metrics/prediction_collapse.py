"""Collapse of predictions, streamed: the metric over :mod:`lightning_failures.functional.prediction_collapse`."""

from collections.abc import Mapping
from typing import Any, Literal

from torch import Tensor

from lightning_failures.errors import InputError
from lightning_failures.functional.prediction_collapse import PredictionSums, prediction_statistics, prediction_sums
from lightning_failures.metrics.base import SumMetric, check_rows, check_target

__all__ = ["PredictionCollapse"]

_FEW = "fewer than two finite rows"
_LABELS = "no row has a label"


class PredictionCollapse(SumMetric[PredictionSums]):
    """Whether predictions collapse: onto few classes, or onto few dimensions of the logits.

    ``compute`` returns the keys of :func:`.prediction_statistics`.

    Args:
        num_classes: number of classes c, at least 2.
        agreement_rows: about how many rows ``k_agreement`` draws; by default 512, and fewer, down to 128, above 128
            classes: the sample takes 64 bytes a row and class, 8.4 MB for 1000 classes. 0 for none.
        seed: another seed draws other rows.
        non_finite: what to do with rows that hold NaN or infinity: ``"omit"`` leaves them out and counts them in
            ``non_finite``; ``"raise"`` raises at once, at the price of a device synchronisation an update.
        kwargs: passed on to :class:`torchmetrics.Metric`.

    Example:
        >>> import torch
        >>> metric = PredictionCollapse(num_classes=3)
        >>> metric.update(torch.tensor([[2.0, 0, 0], [0, 2, 0], [3, 0, 0]]), torch.tensor([0, 1, 2]))
        >>> metric.compute()["effective_classes"]
        tensor(1.8899, dtype=torch.float64)
    """

    why_nan: Mapping[str, str] = {
        "logit_effective_rank": _FEW,
        "logit_top1_share": f"{_FEW}, or constant logits, which have no variance to share",
        "logit_participation_ratio_unbiased": "fewer than four finite rows",
        "k_agreement": f"{_FEW}, or none was drawn: agreement_rows=0, or every row occurs twice",
        "label_effective_rank": _LABELS,
        "label_classes": _LABELS,
        "effective_classes": "no finite rows",
        "class_share": "no row has a label, or all labels are of one class",
        "dominant_excess": _LABELS,
        "marginal_perplexity": "no finite rows",
        "conditional_perplexity": "no finite rows",
        "accuracy": _LABELS,
        "chance": _LABELS,
    }

    def __init__(
        self,
        num_classes: int,
        *,
        agreement_rows: int | None = None,
        seed: int = 0,
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
        slots = max(128, min(512, 65536 // num_classes)) if agreement_rows is None else agreement_rows
        super().__init__(PredictionSums.zero(num_classes, slots), **kwargs)
        self.num_classes = num_classes
        self.agreement_rows = slots
        self.seed = seed
        self._raise = non_finite == "raise"
        if num_classes == 2:
            binary = "two classes: their centred logits have rank 1 by construction; look at the features instead"
            self.why_nan = {
                key: binary if key.startswith(("logit", "k_")) else why for key, why in self.why_nan.items()
            }

    def update(self, logits: Tensor, target: Tensor | None = None) -> None:
        """Add a batch of logits (n c) and, where there are any, classes (n); one outside [0, c) is no label."""
        check_rows("PredictionCollapse.update", logits, self.num_classes, "logits", finite=self._raise)
        if target is not None:
            check_target("PredictionCollapse.update", target, len(logits))
        logits = logits.to(self.where)
        self.add(prediction_sums(logits, target, self.agreement_rows, self.seed, self.numerics))

    def compute(self) -> dict[str, Tensor]:
        """Every statistic by name."""
        return prediction_statistics(self.sums)
