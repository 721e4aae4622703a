"""The examination of a model on the reference batch: interchange, cue swaps and what it retains, as time allows."""

import time
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor

from lightning_failures.callbacks.simplicity.simple_models import RANKS, SimpleReference
from lightning_failures.functional.cues import grey_level, rescale_to
from lightning_failures.functional.interchange import Level
from lightning_failures.interventions.changes import (
    Change,
    RawUnits,
    Transplant,
    retention_changes,
    ring_changes,
    total_absorbance_swap,
)
from lightning_failures.interventions.interventions import (
    as_labels,
    interchange,
    patch_logits,
    predict_changed,
    predict_clones,
    predict_transplants,
)
from lightning_failures.metrics.base import SumMetric
from lightning_failures.metrics.cues import CueSwap
from lightning_failures.metrics.retention import PatchSensitivity, Retention
from lightning_failures.metrics.simplicity import DecisionDimension
from lightning_failures.observe.reference_batch import donor_rows

__all__ = ["Examination", "Outputs"]

GRID = 4  # patches along each side
PATIENCE = 5  # evaluations that a part waits before it goes ahead of the headline
MARGIN = 1.5  # on what a part is expected to take, until it has run
LATER = "left to a later evaluation by the time budget"

Model = Callable[[Tensor], Tensor]


class Outputs(NamedTuple):
    """The model's own outputs on the reference batch, and the labels."""

    model: Model
    inputs: Tensor
    logits: Tensor
    own: Tensor
    donors: Tensor
    target: Tensor


class Examination:
    """Everything that needs further forward passes of the reference batch, in parts that may run apart.

    ``headline``: interchange on the first direction, and the cue swaps. ``image_ranks`` and ``pixel_ranks``:
    interchange on 1, 2, 4 and 8 directions. ``retention``: images with something removed. ``rings``: every other image
    without a ring of frequencies. ``patches``: every fourth image with one patch as noise. ``clones``: Gaussian clones.
    What does not fit the inputs or the labels is left out. Donors are images of the same rank.

    Args:
        reference: directions, rings and raw units.
        images: of the reference batch on this rank.
    """

    def __init__(self, reference: SimpleReference, images: int) -> None:
        self.reference = reference
        classes, units, pixels = len(reference.linear.bias), reference.units, reference.pixels
        channels, spatial = len(reference.image), reference.by_pixel is not None
        self.swaps = {} if units is None else _swaps(units, channels)
        ranks = sorted({*(rank for rank in RANKS if rank <= channels), min(max(RANKS), channels)})
        self.changes = _changes(units, reference, pixels) if spatial else {}
        self.rings = ring_changes(reference.rings) if reference.rings is not None else {}
        self.ranks = tuple(ranks)
        metrics: dict[str, SumMetric[Any]] = {"headline": DecisionDimension((1,))}
        passes = {"headline": (2 + len(self.swaps), 1), "image_ranks": (len(ranks), 1)}
        metrics["image_ranks"] = DecisionDimension(self.ranks)
        if spatial:
            metrics["pixel_ranks"] = DecisionDimension(self.ranks)
            metrics["retention"] = Retention(list(self.changes), classes)
            metrics["patches"] = PatchSensitivity()
            passes |= {"pixel_ranks": (len(ranks), 1), "retention": (len(self.changes), 1), "patches": (GRID**2, 4)}
        if self.rings:
            metrics["rings"] = Retention(list(self.rings), classes)
            passes["rings"] = (len(self.rings), 2)
        if not pixels:
            metrics["clones"] = Retention(["gaussian_clones"], classes)
            passes["clones"] = (1, 1)
        self.metrics, self.swap = metrics, CueSwap(list(self.swaps))
        self._work = {name: count * -(-images // every) for name, (count, every) in passes.items()}
        self._seconds: dict[str, float] = {}
        self._waits = dict.fromkeys(metrics, 1)
        self.plan: tuple[str, ...] = ()

    # -- an evaluation

    def begin(self, device: torch.device) -> None:
        """Forget all images, and plan nothing."""
        self.plan = ()
        for metric in (*self.metrics.values(), self.swap):
            metric.to(device).reset()

    def fits(self, left: float) -> tuple[str, ...]:
        """The parts that fit into some seconds: the headline first, and then what has waited longest.

        At least one, and the headline alone until it is known how long it takes.
        """
        urgency = {name: waits * (PATIENCE if name == "headline" else 1) for name, waits in self._waits.items()}
        chosen: list[str] = []
        for name in sorted(urgency, key=lambda name: -urgency[name]):
            cost = self._cost(name)
            if not chosen or cost <= left:
                chosen.append(name)
                left -= cost
        return tuple(chosen) if self._seconds else ("headline",)

    def follow(self, plan: tuple[str, ...]) -> None:
        """Take a plan that all ranks share."""
        self.plan = plan
        for name in self._waits:
            self._waits[name] = 1 if name in plan else self._waits[name] + 1

    def run(self, model: Model, inputs: Tensor, target: Tensor) -> None:
        """Do what is planned.

        Args:
            model: from inputs to logits, without gradients.
            inputs: this rank's reference batch; (n b h w), (n b t) or (n b).
            target: (n) or (n h w), int64.
        """
        began = time.perf_counter()
        model = _of_size(model, target)
        logits = model(inputs)
        own = as_labels(logits)
        donors = donor_rows(own) if own.ndim == 1 else torch.arange(len(own), device=own.device).roll(len(own) // 2)
        seen = Outputs(model, inputs, logits, own, donors, target)
        for name in self.plan:
            getattr(self, f"_{name}")(seen)
            now = time.perf_counter()
            self._seconds[name], began = now - began, now

    def _cost(self, name: str) -> float:
        if name in self._seconds:
            return self._seconds[name]
        rate = max((seconds / self._work[part] for part, seconds in self._seconds.items()), default=0.0)
        return MARGIN * rate * self._work[name]

    # -- the parts

    def _headline(self, seen: Outputs) -> None:
        model, inputs, donors, own = seen.model, seen.inputs, seen.donors, seen.own
        swapped = interchange(model, inputs, inputs[donors], self.reference.image[:, :1])
        self.metrics["headline"].update(own, own[donors], swapped)
        if self.swaps:
            swapped = predict_transplants(model, inputs, inputs[donors], self.swaps)
            self.swap.update(own, own[donors], swapped)

    def _image_ranks(self, seen: Outputs) -> None:
        self._ranks("image_ranks", self.reference.image, seen)

    def _pixel_ranks(self, seen: Outputs) -> None:
        assert self.reference.by_pixel is not None
        self._ranks("pixel_ranks", self.reference.by_pixel, seen)

    def _ranks(self, name: str, directions: Tensor, seen: Outputs) -> None:
        inputs, given = seen.inputs, seen.inputs[seen.donors]
        level: Level = "pixel" if name == "pixel_ranks" else "image"
        swapped = interchange(seen.model, inputs, given, directions, level, self.ranks)
        self.metrics[name].update(seen.own, seen.own[seen.donors], swapped)

    def _retention(self, seen: Outputs) -> None:
        self._changed("retention", self.changes, seen, 1)

    def _rings(self, seen: Outputs) -> None:
        self._changed("rings", self.rings, seen, 2)

    def _changed(self, name: str, changes: Mapping[str, Change], seen: Outputs, every: int) -> None:
        changed = predict_changed(seen.model, seen.inputs[::every], changes)
        self.metrics[name].update(seen.own[::every], changed, seen.target[::every])

    def _patches(self, seen: Outputs) -> None:
        self.metrics["patches"].update(seen.logits[::4], patch_logits(seen.model, seen.inputs[::4], GRID))

    def _clones(self, seen: Outputs) -> None:
        clones = predict_clones(seen.model, seen.inputs, seen.target)
        self.metrics["clones"].update(seen.own, clones[:, None], seen.target)

    # -- what came out

    def compute(self) -> tuple[dict[str, Tensor], dict[str, str]]:
        """Statistic -> value, of all ranks, and why those that are nan are; a part that did not run is nan."""
        values: dict[str, Tensor] = {}
        undefined: dict[str, str] = {}
        for part, metric in self.metrics.items():
            found, why = metric.compute(), metric.undefined
            why = why if part in self.plan else dict.fromkeys(why, LATER)
            for key, value in found.items():
                name = _named(part, key)
                if name is not None:
                    values[name] = value
                    undefined |= {name: why[key]} if key in why else {}
        if self.swaps:
            values |= self.swap.compute()
            why = self.swap.undefined
            undefined |= why if "headline" in self.plan else dict.fromkeys(why, LATER)
        return values, undefined

    def state_dict(self) -> dict[str, Any]:
        """How long each part takes and has waited."""
        return {"seconds": dict(self._seconds), "waits": dict(self._waits)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on where the checkpoint stood."""
        self._seconds, self._waits = dict(state["seconds"]), {**self._waits, **state["waits"]}


def _named(part: str, key: str) -> str | None:
    """The logged key of a part's statistic; None where another part gives it, or it says nothing new."""
    if part == "image_ranks":
        return None if key.endswith("/1") or key == "pairs" else key  # those of the headline are of all images
    if part == "pixel_ranks":
        return f"pixel_{key}"
    if part == "headline":
        return None if key == "decision_dimension" else key
    if part == "patches":
        return {"sensitivity": "patch_sensitivity", "flipped": "patch_flipped"}[key]
    return None if key in ("accuracy", "chance") else key


def _swaps(units: RawUnits, channels: int) -> dict[str, Transplant]:
    if channels != 3:
        return {"total_absorbance": total_absorbance_swap(units)}

    def swap(receivers: Tensor, donors: Tensor) -> Tensor:
        own, theirs = units.to_raw(receivers), units.to_raw(donors)
        return units.to_inputs(rescale_to(theirs, grey_level(own), grey_level(theirs)))

    return {"grey_level": swap}


def _changes(units: RawUnits | None, reference: SimpleReference, pixels: bool) -> dict[str, Change]:
    changes = retention_changes(units, float(reference.level))
    if pixels:  # their labels would have to move along
        del changes["shuffled_pixels"]
    return changes


def _of_size(model: Model, target: Tensor) -> Model:
    """The model with maps of logits in the size of the labels."""
    if target.ndim < 3:
        return model

    def run(images: Tensor) -> Tensor:
        logits = model(images)
        if logits.shape[2:] == target.shape[1:]:
            return logits
        return torch.nn.functional.interpolate(logits, size=tuple(target.shape[1:]))

    return run
