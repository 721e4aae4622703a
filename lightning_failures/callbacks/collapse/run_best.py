"""What a run's layers had before training and at their best: what collapse is measured against."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from lightning_failures.functional.kept import Best, better, kept, kept_onwards

__all__ = ["RunBest", "measures"]

#: Statistics of the untrained network that are logged beside those of each evaluation: what layers are measured by.
INITIAL = ("effective_rank", "mean_cosine")
NOTHING = "no earlier evaluation of this run to compare with, and no sanity check of the untrained network"
FEW = "too few finite images, or a layer without variance from the start"


class RunBest:
    """Compares each layer with the network before training and with its own best evaluation so far.

    See :func:`.kept`; with labels, see :func:`.kept_onwards`. The untrained network is seen on few images, on which its
    effective rank reads too low, never too high: what is kept then reads too high, which is the silent side.

    Example:
        >>> best = RunBest()
        >>> best.start({"effective_rank/a": 9.0, "mean_cosine/a": 0.2})
        >>> now = {"effective_rank/a": 2.0, "mean_cosine/a": 0.6}
        >>> round(best.compare(["a"], now)["kept/a"], 3)
        0.25
        >>> round(best.compare(["a"], now, label_rank=3.0)["kept/a"], 3)
        0.5
    """

    def __init__(self) -> None:
        self.initial: dict[str, float] = {}  # before training
        self.most: dict[str, float] = {}  # so far

    def start(self, values: Mapping[str, float], compare: bool = True) -> None:
        """Take the statistics of the network before training, ``<statistic>/<layer>``.

        Args:
            values: the statistics.
            compare: whether later ones are compared with them; not where dropout or the batch shaped them.
        """
        self.initial = {key: value for key, value in values.items() if key.split("/")[0] in INITIAL}
        for layer in {key.split("/", 1)[1] for key in values if "/" in key} if compare else ():
            self.remember(layer, values)

    def compare(
        self, layers: Sequence[str], values: Mapping[str, float], label_rank: float = math.nan
    ) -> dict[str, float]:
        """What each layer kept, and with labels at least what a later one kept; nan with nothing to compare with.

        Args:
            layers: their names, in the order of the network.
            values: the statistics of an evaluation.
            label_rank: effective rank of the labels; nan without labels.
        """
        shares = kept(*measures(layers, values), self._most_of(layers), label_rank)
        if label_rank > 0:
            shares = shares._replace(kept=kept_onwards(shares.kept))
        columns = {"dimensions_kept": shares.dimensions, "spread_kept": shares.spread, "kept": shares.kept}
        return {
            f"{name}/{layer}": share
            for name, column in columns.items()
            for layer, share in zip(layers, column.tolist(), strict=True)
        }

    def why(self, layer: str) -> str:
        """Why a comparison is nan."""
        return FEW if f"dimensions/{layer}" in self.most else NOTHING

    def remember(self, layer: str, values: Mapping[str, float]) -> None:
        """Let an evaluation count among those that later ones are compared with."""
        best = better(self._most_of([layer]), *measures([layer], values))
        found = {f"{name}/{layer}": float(value) for name, value in best._asdict().items()}
        self.most |= {key: value for key, value in found.items() if not math.isnan(value)}

    def state_dict(self) -> dict[str, Any]:
        """Plain numbers."""
        return {"initial": dict(self.initial), "most": dict(self.most)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on where the checkpoint stood."""
        self.initial, self.most = dict(state["initial"]), dict(state["most"])

    def _most_of(self, layers: Sequence[str]) -> Best:
        return Best(*(_column(f"{name}/{{}}", layers, self.most) for name in Best._fields))


def measures(layers: Sequence[str], values: Mapping[str, float]) -> tuple[Tensor, Tensor]:
    """Effective rank and mean cosine of each layer; nan where they are undefined."""
    return _column("effective_rank/{}", layers, values), _column("mean_cosine/{}", layers, values)


def _column(key: str, layers: Sequence[str], values: Mapping[str, float]) -> Tensor:
    return torch.tensor([values.get(key.format(layer), math.nan) for layer in layers], dtype=torch.float64)
