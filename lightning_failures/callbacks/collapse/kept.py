"""What a run's layers had at its start and at their best: what collapse is measured against."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

__all__ = ["CollapseReference"]

#: Statistics of the untrained network that are logged beside those of each evaluation.
INITIAL = ("effective_rank", "participation_ratio_unbiased", "top1_share", "mean_cosine")
NOTHING = "no earlier evaluation of this run to compare with, and no sanity check of the untrained network"
FEW = "too few finite images, or a layer without variance from the start"


class CollapseReference:
    """Compares each layer with the network before training and with its own best evaluation so far.

    ``dimensions_kept``: effective rank over the most that the layer had; for labelled data that is at most the
    effective rank of the labels, since a good classifier may give up all other dimensions (neural collapse).
    ``spread_kept``: 1 minus the mean cosine between features, over the most that the layer had. Both are at most 1 and
    do not change with the scale of the features. ``kept`` is the smaller of the two; with labels, what a layer lost but
    a later one still has was not lost, since rectified maps crowd into a narrow cone in healthy networks too. The
    untrained network is seen on few images, on which its effective rank reads too low, never too high: what is kept
    then reads too high, which is the silent side.

    Example:
        >>> reference = CollapseReference()
        >>> reference.start({"effective_rank/a": 8.0, "mean_cosine/a": 0.2})
        >>> now = {"effective_rank/a": 2.0, "mean_cosine/a": 0.6}
        >>> reference.kept("a", now)["kept/a"]
        0.25
        >>> round(reference.kept("a", now, label_rank=3.0)["kept/a"], 3)
        0.5
    """

    def __init__(self) -> None:
        self.initial: dict[str, float] = {}
        self.best: dict[str, float] = {}

    def start(self, values: Mapping[str, float], compare: bool = True) -> None:
        """Take the statistics of the network before training, ``<statistic>/<layer>``.

        Args:
            values: the statistics.
            compare: whether later ones are compared with them; not where dropout or the batch shaped them.
        """
        self.initial = {key: value for key, value in values.items() if key.split("/")[0] in INITIAL}
        for layer in {key.split("/", 1)[1] for key in values if "/" in key} if compare else ():
            self.remember(layer, values)

    def kept(self, layer: str, values: Mapping[str, float], label_rank: float = math.nan) -> dict[str, float]:
        """What a layer kept; nan where there is nothing to compare with.

        Args:
            layer: its name.
            values: the statistics of an evaluation.
            label_rank: effective rank of the labels; nan without labels.
        """
        dimensions, spread = _measures(layer, values)
        most = self.best.get(f"dimensions/{layer}", math.nan)
        if label_rank > 0:
            most = min(most, label_rank)
        kept = [
            _share(dimensions, most),
            _share(spread, self.best.get(f"spread/{layer}", math.nan)),
        ]
        known = [value for value in kept if not math.isnan(value)]
        return {
            f"dimensions_kept/{layer}": kept[0],
            f"spread_kept/{layer}": kept[1],
            f"kept/{layer}": min(known, default=math.nan),
        }

    def compare(
        self, layers: Sequence[str], values: Mapping[str, float], label_rank: float = math.nan
    ) -> dict[str, float]:
        """What each layer kept, and with labels at least what a later one kept.

        Args:
            layers: their names, in the order of the network.
            values: the statistics of an evaluation.
            label_rank: effective rank of the labels; nan without labels.
        """
        found: dict[str, float] = {}
        later = 0.0
        for layer in reversed(layers):
            found |= self.kept(layer, values, label_rank)
            own = found[f"kept/{layer}"]
            if label_rank > 0 and not math.isnan(own):
                later = found[f"kept/{layer}"] = max(own, later)
        return found

    def why(self, layer: str) -> str:
        """Why a comparison is nan."""
        return FEW if f"dimensions/{layer}" in self.best else NOTHING

    def remember(self, layer: str, values: Mapping[str, float]) -> None:
        """Let an evaluation count among those that later ones are compared with."""
        for name, value in zip(("dimensions", "spread"), _measures(layer, values), strict=True):
            if not math.isnan(value):
                self.best[f"{name}/{layer}"] = max(value, self.best.get(f"{name}/{layer}", 0.0))

    def state_dict(self) -> dict[str, Any]:
        """Plain numbers."""
        return {"initial": dict(self.initial), "best": dict(self.best)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on where the checkpoint stood."""
        self.initial, self.best = dict(state["initial"]), dict(state["best"])


def _measures(layer: str, values: Mapping[str, float]) -> tuple[float, float]:
    """Dimensions and spread of a layer; nan where they are undefined."""
    dimensions = values.get(f"effective_rank/{layer}", math.nan)
    spread = 1 - values.get(f"mean_cosine/{layer}", math.nan)
    if dimensions == 0 and math.isnan(spread):  # constant at zero, where nothing has a direction
        spread = 0.0
    return dimensions, spread if math.isnan(spread) else max(spread, 0.0)


def _share(value: float, most: float) -> float:
    return min(value / most, 1.0) if most > 0 else math.nan
