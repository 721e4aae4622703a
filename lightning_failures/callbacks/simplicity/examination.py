"""The examination of a model on the reference batch: interchange, cue swaps and what it retains, in turns."""

import time
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor

from lightning_failures.callbacks.simplicity.simple_models import RANKS, SimpleModels
from lightning_failures.callbacks.simplicity.turns import Turns
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
from lightning_failures.metrics.cues import CueSwap, CueSwapByClass
from lightning_failures.metrics.retention import PatchSensitivity, Retention
from lightning_failures.metrics.simplicity import DecisionDimension
from lightning_failures.observe.reference_batch import donor_rows

__all__ = ["PARTS_IN_WORDS", "BaseRun", "Examination"]

GRID = 4  # patches along each side
LATER = "left to a later evaluation, or to the end of the run, by the budget of extra forward passes"

#: What each part looks at, in the words of the verdict.
PARTS_IN_WORDS = {
    "headline": "exchanging the first direction and the cues",
    "image_ranks": "exchanging several directions",
    "pixel_ranks": "exchanging directions pixel by pixel",
    "retention": "removing something from the images",
    "rings": "removing rings of frequencies",
    "patches": "replacing patches",
    "clones": "Gaussian clones",
}

#: Statistics of an interchange, of images that are changed, and of images without a ring, that are logged.
SHARES = ("own", "own_low", "own_high")
KEPT, LOST = ("changed_accuracy", "retained"), ("lost", "lost_low", "lost_high")

Model = Callable[[Tensor], Tensor]


class BaseRun(NamedTuple):
    """The model on the reference batch as it is, which every part compares with; n images, or maps of them."""

    model: Model
    inputs: Tensor  # (n b h w), (n b t) or (n b)
    logits: Tensor  # (n c), or (n c h w)
    preds: Tensor  # (n), or (n h w); int64
    donors: Tensor  # (n) int64, the image that is given something of each image
    target: Tensor  # (n), or (n h w); int64


class Part(NamedTuple):
    """One part of an examination."""

    run: Callable[[BaseRun], None]
    metric: SumMetric[Any]
    logged: Mapping[str, str]  # statistics of the metric -> as which they are logged
    passes: int  # forward passes of an image
    every: int = 1  # which images: every so many-th


class Examination:
    """Everything that needs further forward passes of the reference batch, in parts that may run apart.

    ``headline``: interchange on the first direction, and the cue swaps. ``image_ranks`` and ``pixel_ranks``:
    interchange on 1, 2, 4 and 8 directions. ``retention``: images with something removed. ``rings``: every other image
    without a ring of frequencies. ``patches``: every fourth image with one patch as noise. ``clones``: Gaussian clones.
    What does not fit the inputs or the labels is left out. Donors are images of the same rank.

    Args:
        models: give directions, rings and raw units.
        images: of the reference batch on this rank.
        turns: when each part is next.
    """

    def __init__(self, models: SimpleModels, images: int, turns: Turns) -> None:
        self.models, self.turns = models, turns
        classes, units = len(models.linear.bias), models.units
        channels, spatial = len(models.image_directions), models.pixel_directions is not None
        self.swaps = {} if units is None else _swaps(units, channels)
        self.changes = _changes(models) if spatial else {}
        self.rings = {} if models.rings is None else ring_changes(models.rings)
        self.ranks = tuple(sorted({*(rank for rank in RANKS if rank <= channels), min(max(RANKS), channels)}))
        self.swap, self.by_class = CueSwap(list(self.swaps)), CueSwapByClass(list(self.swaps), classes)
        dimension, by_rank = "decision_dimension", len(self.ranks)
        one, several = DecisionDimension((1,)), DecisionDimension(self.ranks)
        parts = {
            "headline": Part(self._headline, one, _as_they_are(*SHARES, "donor", "pairs"), 2 + len(self.swaps)),
            "image_ranks": Part(self._image_ranks, several, _as_they_are(*SHARES, dimension), by_rank),
        }
        if spatial:
            several = DecisionDimension(self.ranks)
            logged = {key: f"pixel_{key}" for key in (*SHARES, dimension)}
            parts["pixel_ranks"] = Part(self._pixel_ranks, several, logged, by_rank)
            changed = Retention(list(self.changes), classes)
            parts["retention"] = Part(self._retention, changed, _as_they_are(*KEPT), len(self.changes))
            patches = {"sensitivity": "patch_sensitivity"}
            parts["patches"] = Part(self._patches, PatchSensitivity(), patches, GRID**2, every=4)
        if self.rings:
            without = Retention(list(self.rings), classes)
            parts["rings"] = Part(self._rings, without, _as_they_are(*LOST), len(self.rings), every=2)
        if not models.pixels:
            clones = Retention(["gaussian_clones"], classes)
            parts["clones"] = Part(self._clones, clones, _as_they_are(*KEPT), 1)
        self.parts = parts
        self.work = {name: part.passes * -(-images // part.every) for name, part in parts.items()}
        self.plan: tuple[str, ...] = ()
        self.done: tuple[str, ...] = ()  #: parts that were examined at this evaluation

    # -- an evaluation

    def begin(self, device: torch.device) -> None:
        """Forget all images, and plan nothing."""
        self.plan = self.done = ()
        for metric in (*(part.metric for part in self.parts.values()), self.swap, self.by_class):
            metric.to(device).reset()

    def fits(self, left: float) -> tuple[str, ...]:
        """The parts that fit into some forward passes of an image; see :meth:`.Turns.choose`."""
        return self.turns.choose(self.work, left)

    def follow(self, plan: tuple[str, ...]) -> None:
        """Take a plan that all ranks share."""
        self.plan = plan
        self.turns.follow(self.parts, plan)

    @property
    def passes(self) -> float:
        """How often what is planned runs each image, with the images as they are."""
        return 1 + sum(self.parts[name].passes / self.parts[name].every for name in self.plan)

    @property
    def first_passes(self) -> float:
        """How often the first part that is planned does, with the images as they are."""
        return 1 + sum(self.parts[name].passes / self.parts[name].every for name in self.plan[:1])

    @property
    def left_over(self) -> tuple[str, ...]:
        """The parts that were not examined at this evaluation."""
        return tuple(name for name in self.parts if name not in self.done)

    def run(self, model: Model, inputs: Tensor, target: Tensor, seconds: float | None = None) -> None:
        """Do what is planned.

        Args:
            model: from inputs to logits, without gradients.
            inputs: this rank's reference batch; (n b h w), (n b t) or (n b).
            target: (n) or (n h w), int64.
            seconds: that it may take: a part that would go beyond, by how long those before took, is left out; None: it
                takes what it takes.
        """
        began = time.perf_counter()
        model, spent = _of_size(model, target), float(len(target))
        logits = model(inputs)
        preds = as_labels(logits)
        n = len(preds)
        donors = donor_rows(preds) if preds.ndim == 1 else torch.arange(n, device=preds.device).roll(n // 2)
        base = BaseRun(model, inputs, logits, preds, donors, target)
        for name in self.plan:
            took = time.perf_counter() - began
            if seconds is None or not self.done or took * (1 + self.work[name] / spent) <= seconds:
                self.parts[name].run(base)
                self.done = (*self.done, name)
                spent += self.work[name]

    # -- the parts

    def _headline(self, base: BaseRun) -> None:
        self._interchange("headline", self.models.image_directions[:, :1], base, (1,))
        if self.swaps:
            swapped = predict_transplants(base.model, base.inputs, base.inputs[base.donors], self.swaps)
            self.swap.update(base.preds, base.preds[base.donors], swapped)
            self.by_class.update(base.preds, base.preds[base.donors], swapped)

    def _image_ranks(self, base: BaseRun) -> None:
        self._interchange("image_ranks", self.models.image_directions, base, self.ranks)

    def _pixel_ranks(self, base: BaseRun) -> None:
        assert self.models.pixel_directions is not None
        self._interchange("pixel_ranks", self.models.pixel_directions, base, self.ranks, "pixel")

    def _interchange(
        self, part: str, directions: Tensor, base: BaseRun, ranks: tuple[int, ...], level: Level = "image"
    ) -> None:
        given = base.inputs[base.donors]
        swapped = interchange(base.model, base.inputs, given, directions, level, ranks)
        self.parts[part].metric.update(base.preds, base.preds[base.donors], swapped)

    def _retention(self, base: BaseRun) -> None:
        self._change("retention", self.changes, base)

    def _rings(self, base: BaseRun) -> None:
        self._change("rings", self.rings, base)

    def _change(self, part: str, changes: Mapping[str, Change], base: BaseRun) -> None:
        some = slice(None, None, self.parts[part].every)
        changed = predict_changed(base.model, base.inputs[some], changes)
        self.parts[part].metric.update(base.preds[some], changed, base.target[some])

    def _patches(self, base: BaseRun) -> None:
        patches = self.parts["patches"]
        some = slice(None, None, patches.every)
        patches.metric.update(base.logits[some], patch_logits(base.model, base.inputs[some], GRID))

    def _clones(self, base: BaseRun) -> None:
        clones = predict_clones(base.model, base.inputs, base.target)
        self.parts["clones"].metric.update(base.preds, clones[:, None], base.target)

    # -- what came out

    def compute(self) -> tuple[dict[str, Tensor], dict[str, str]]:
        """Statistic -> value, of all ranks, and why those that are nan are; a part that did not run is nan."""
        values: dict[str, Tensor] = {}
        undefined: dict[str, str] = {}
        found = [(name, part.metric, part.logged) for name, part in self.parts.items()]
        if self.swaps:
            found.append(("headline", self.swap, _as_they_are("swap_own", "swap_low", "swap_high", "swap_donor")))
            by_class = _as_they_are("class_reliance", "class_reliance_low", "reliant_class")
            found.append(("headline", self.by_class, by_class))
        for part, metric, logged in found:
            computed, why = metric.compute(), metric.undefined
            for key, value in computed.items():
                statistic, slash, subject = key.partition("/")
                name = f"{logged.get(statistic)}{slash}{subject}"
                if statistic in logged and name not in values:  # own/1 is the headline's, which runs first
                    values[name] = value
                    if key in why:
                        undefined[name] = why[key] if part in self.done else LATER
        return values, undefined


def _as_they_are(*statistics: str) -> dict[str, str]:
    return {statistic: statistic for statistic in statistics}


def _swaps(units: RawUnits, channels: int) -> dict[str, Transplant]:
    if channels != 3:
        return {"total_absorbance": total_absorbance_swap(units)}

    def swap(receivers: Tensor, donors: Tensor) -> Tensor:
        own, theirs = units.to_raw(receivers), units.to_raw(donors)
        return units.to_inputs(rescale_to(theirs, grey_level(own), grey_level(theirs)))

    return {"grey_level": swap}


def _changes(models: SimpleModels) -> dict[str, Change]:
    changes = retention_changes(models.units, float(models.mean_total))
    if models.pixels:  # their labels would have to move along
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
