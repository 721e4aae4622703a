"""The ladder of simple models over an evaluation: which rung explains the model, and what it reaches on the labels."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from lightning_failures.functional.simplicity import lowest_rung
from lightning_failures.metrics.base import SumMetric
from lightning_failures.metrics.simplicity import ExplainedBySimple, UntappedInformation

__all__ = ["LadderWatch"]

MOST_EXPLAINED = 64  # classes up to which triples of them are counted


class LadderWatch:
    """Compares the model with every rung on the same images.

    ``compute`` returns, for each rung, ``reach/<rung>`` (its accuracy on the labels) and ``explained_adjusted/<rung>``;
    then ``best_reach``, ``lowest_rung`` (place of the lowest rung that explains the model, from 0; nan where none does)
    and ``lowest_reach``. What explains is left out above 64 classes. See :func:`.explained_by_simple`.

    Args:
        rungs: names, lowest first.
        num_classes: number of classes c.
        threshold: share of the model's information from which a rung explains it.
    """

    def __init__(self, rungs: Sequence[str], num_classes: int, threshold: float = 0.9) -> None:
        self.reach = {name: UntappedInformation() for name in rungs}
        counted = rungs if num_classes <= MOST_EXPLAINED else ()
        self.explained = {name: ExplainedBySimple(num_classes) for name in counted}
        self.threshold = threshold
        self.lowest: str | None = None
        self.undefined: dict[str, str] = {}

    def begin(self, device: torch.device) -> None:
        """Forget all images."""
        metrics: list[SumMetric[Any]] = [*self.reach.values(), *self.explained.values()]
        for metric in metrics:
            metric.to(device).reset()

    def update(self, preds: Tensor, simple: Mapping[str, Tensor], target: Tensor) -> None:
        """Add classes predicted by the model (n), by each rung (n), and the labels (n); int64."""
        for name, metric in self.reach.items():
            metric.update(preds, simple[name], target)
        for name, explained in self.explained.items():
            explained.update(preds, simple[name], target)

    def compute(self) -> dict[str, Tensor]:
        """Every rung, of all ranks."""
        values: dict[str, Tensor] = {}
        self.undefined = {}
        for name, metric in self.reach.items():
            values[f"reach/{name}"] = metric.compute()["reference_accuracy"]
            if "reference_accuracy" in metric.undefined:
                self.undefined[f"reach/{name}"] = (
                    "the simple model is undefined on the training images, or no image had labels"
                )
        adjusted: dict[str, Tensor] = {}
        for name, explained in self.explained.items():
            adjusted[name] = values[f"explained_adjusted/{name}"] = explained.compute()["explained_adjusted"]
            if "explained_adjusted" in explained.undefined:
                self.undefined[f"explained_adjusted/{name}"] = explained.undefined["explained_adjusted"]
        self.lowest = lowest_rung(adjusted, self.threshold)
        reached = torch.stack([values[f"reach/{name}"] for name in self.reach]).nan_to_num(nan=-1.0)
        known = bool(reached.max() >= 0)
        values["best_reach"] = torch.where(reached.max() >= 0, reached.max(), torch.nan)
        if self.explained:
            nothing = reached.new_full((), torch.nan)
            place = nothing if self.lowest is None else nothing.new_tensor(list(self.reach).index(self.lowest))
            values["lowest_rung"] = place.double()
            values["lowest_reach"] = nothing if self.lowest is None else values[f"reach/{self.lowest}"]
            if self.lowest is None:
                why = "no simple model explains the network" if known else "no simple model is defined"
                self.undefined |= dict.fromkeys(("lowest_rung", "lowest_reach"), why)
        if not known:
            self.undefined["best_reach"] = "no simple model is defined"
        return values
