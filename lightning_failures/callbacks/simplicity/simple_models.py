"""The simple models that a network is compared with: fitted once, in closed form, and fixed for the run."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from lightning_failures.callbacks.simplicity.cues import CueBins
from lightning_failures.callbacks.simplicity.samples import Samples
from lightning_failures.functional.discriminant import Discriminant
from lightning_failures.functional.ladder import Rung
from lightning_failures.interventions.changes import RawUnits

__all__ = ["RANKS", "SimpleModels"]

RANKS = (1, 2, 4, 8)  # numbers of principal directions that are exchanged


@dataclass
class SimpleModels:
    """The rungs of the ladder, the bins of the cues and the directions that stay fixed for the run."""

    rungs: dict[str, Rung]  # lowest first; the user's cues are not among them
    bins: dict[str, CueBins]
    image_directions: Tensor  # (b r) principal directions of the mean spectra
    pixel_directions: Tensor | None  # (b r) those of the pixels' spectra
    chance: Tensor  # () share of the largest class
    sides: tuple[int, ...]  # of an image: (h, w), (t,) or none
    logits: int  # 1 for two classes, else their number
    pixels: bool  # whether labels are those of pixels
    units: RawUnits | None  # None: unknown
    left_out: dict[str, str] = field(default_factory=dict)  # cue -> why

    @property
    def defined(self) -> bool:
        """Whether there were images enough for directions."""
        return bool(self.image_directions.isfinite().all())

    @property
    def linear_name(self) -> str:
        """Name of the rung that is linear in the mean spectrum."""
        return "mean_color" if "mean_color" in self.rungs else "mean_spectrum"

    @property
    def linear(self) -> Discriminant:
        """The linear model of the mean spectrum."""
        return self.rungs[self.linear_name].model

    @property
    def names(self) -> list[str]:
        """The rungs with the user's cues, lowest first: a cue is one number, as the total absorbance is."""
        own = [name for name in self.bins if name not in self.rungs]
        first = [name for name in self.rungs if name == "total_absorbance"]
        return [*first, *own, *(name for name in self.rungs if name not in first)]

    def predict(self, samples: Samples) -> dict[str, Tensor]:
        """The class that each rung predicts, -1 where it is undefined; name -> (m), int64."""
        return {
            name: self.rungs[name].predict(samples.features)
            if name in self.rungs
            else self.bins[name].predict(samples.cues[name])
            for name in self.names
        }

    @property
    def blind(self) -> bool:
        """Whether raw units are unknown."""
        return self.units is None

    def to(self, device: torch.device) -> "SimpleModels":
        """The same on a device."""
        if self.image_directions.device == device:
            return self
        return SimpleModels.from_state(self.state_dict(), device)

    def state_dict(self) -> dict[str, Any]:
        """Plain containers."""
        return {
            "rungs": {name: (rung.features, *rung.model) for name, rung in self.rungs.items()},
            "bins": {name: (cut.edges, cut.labels) for name, cut in self.bins.items()},
            "tensors": (self.image_directions, self.pixel_directions, self.chance),
            "sides": list(self.sides),
            "logits": self.logits,
            "pixels": self.pixels,
            "units": None if self.units is None else tuple(self.units),
            "left_out": dict(self.left_out),
        }

    @classmethod
    def from_state(cls, state: Mapping[str, Any], device: torch.device | None = None) -> "SimpleModels":
        """What :meth:`state_dict` gave."""

        def here(value: Any) -> Any:
            return value if value is None or device is None else value.to(device)

        rungs = {
            name: Rung(features, Discriminant(here(weight), here(bias)))
            for name, (features, weight, bias) in state["rungs"].items()
        }
        bins = {name: CueBins(here(edges), here(labels)) for name, (edges, labels) in state["bins"].items()}
        units = None if state["units"] is None else RawUnits(*map(here, state["units"]))
        image, pixel, chance = map(here, state["tensors"])
        logits, pixels, left_out = state["logits"], state["pixels"], dict(state["left_out"])
        return cls(rungs, bins, image, pixel, chance, tuple(state["sides"]), logits, pixels, units, left_out)
