"""The examination of a model on the reference batch: interchange and transplants, in turns."""

import math
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor

from lightning_failures.callbacks.simplicity.contents import (
    FEW,
    PATTERNS,
    STATISTICS,
    Refinement,
    cells,
    neighbours,
    richness,
    unexplained,
)
from lightning_failures.callbacks.simplicity.simple_models import RANKS, SimpleModels
from lightning_failures.callbacks.simplicity.turns import Turns
from lightning_failures.functional.interchange import Level
from lightning_failures.functional.transplants import CARRIES, NOT_RUN, control_rows, leads
from lightning_failures.interventions.changes import Transplant
from lightning_failures.interventions.interventions import as_labels, interchange, predict_transplants
from lightning_failures.interventions.transplants import (
    cue_exchanges,
    exchange_cell,
    exchange_channel_statistics,
    exchange_channels,
    exchanges,
)
from lightning_failures.metrics.base import SumMetric
from lightning_failures.metrics.cues import CueSwapByClass
from lightning_failures.metrics.simplicity import DecisionDimension
from lightning_failures.metrics.transplants import TransplantShares
from lightning_failures.observe.reference_batch import donor_rows

__all__ = ["PARTS_IN_WORDS", "BaseRun", "Examination", "Moved"]

LATER = "left to a later evaluation, or to the end of the run, by the budget of extra forward passes"
NOT_YET = "finer parts of the image, or single channels, are looked at first"
COARSE = "several channels, or a quarter of the image, are no simple cue; finer parts are looked at where they lead"
IS_THE_SPECTRUM = "the mean and deviation of many channels are what a spectrum is, and no simple cue"

#: What each part looks at, in the words of the verdict.
PARTS_IN_WORDS = {
    "headline": "exchanging the first direction",
    "contents": "exchanging contents of images",
    "channels": "exchanging single channels",
    "regions": "exchanging regions",
    "image_ranks": "exchanging several directions",
    "pixel_ranks": "exchanging directions pixel by pixel",
}

#: Statistics of an interchange, and of a transplant, that are logged.
SHARES = ("own", "own_low", "own_high")
MOVED = {
    "donor": "transplant",
    "donor_low": "transplant_low",
    "own": "transplant_own",
    "excess": "transplant_excess",
    "excess_low": "transplant_excess_low",
}

Model = Callable[[Tensor], Tensor]


class BaseRun(NamedTuple):
    """The model on the reference batch as it is, which every part compares with; n images, or maps of them."""

    model: Model
    inputs: Tensor  # (n b h w), (n b t) or (n b)
    logits: Tensor  # (n c), or (n c h w)
    preds: Tensor  # (n), or (n h w); int64
    donors: Tensor  # (n) int64, the image that is given something of each image
    target: Tensor  # (n), or (n h w); int64
    groups: Tensor | None = None  # (n) int64, which images belong together


class Moved(NamedTuple):
    """What was predicted when one content was last exchanged, on this rank; k pairs of images that have one label."""

    images: int  # of the reference batch
    receivers: Tensor  # (k) int64, rows
    donors: Tensor  # (k) int64, rows
    own: Tensor  # (k) int64, what is predicted for the receivers
    donor: Tensor  # (k) int64, for the donors
    preds: Tensor  # (k) int64, for the receivers with the content


class Part(NamedTuple):
    """One part of an examination."""

    run: Callable[[BaseRun], None]
    metric: SumMetric[Any]
    logged: Mapping[str, str]  # statistics of the metric -> as which they are logged
    passes: int  # forward passes of an image
    every: int = 1  # which images: every so many-th


class Examination:
    """Everything that needs further forward passes of the reference batch, in parts that may run separately.

    ``headline``: interchange on the first direction. ``contents``: transplants of the total absorbance or the grey
    level, of the statistics of channels and of patterns in space. ``channels`` and ``regions``: transplants of groups
    of channels (their means and deviations, where there are more than four) and of quarters of the image, and within
    the one that leads of its parts, see :class:`.Refinement`; of every other image. ``image_ranks`` and
    ``pixel_ranks``: interchange on 1, 2, 4 and 8 directions. What does not fit the inputs or the labels is left out.
    Donors are images of the same rank.

    Args:
        models: give directions and raw units.
        images: of the reference batch on this rank.
        turns: when each part is next.
        names: of the channels; None: by number.
    """

    def __init__(self, models: SimpleModels, images: int, turns: Turns, names: Sequence[str] | None = None) -> None:
        shape = (len(models.image_directions), *models.sides)
        self.models, self.turns, self.channels = models, turns, shape[0]
        classes = len(models.linear.bias)
        self.ranks = tuple(sorted({*(r for r in RANKS if r <= self.channels), min(max(RANKS), self.channels)}))
        example = torch.zeros(1, *shape)
        kinds = (*STATISTICS, *(PATTERNS if len(shape) == 3 else ()))
        if self.channels != 3 or models.units is None:  # of others it is the channels' statistics; it needs raw units
            kinds = tuple(kind for kind in kinds if kind != "colour")
        swaps = {} if models.units is None else cue_exchanges(models.units, self.channels)
        self.swaps = {name: swap for name, swap in swaps.items() if name in models.bins}  # else it is constant
        made, _ = exchanges({k: k for k in kinds}, example, models.units, maps=models.pixels)
        self.exchanges: dict[str, Transplant] = {**self.swaps, **made}
        self.contents = tuple(self.exchanges)
        self.searches: dict[str, Refinement] = {}
        self.numbers: dict[str, str] = {}  #: channel by its name -> by its number
        self.places: dict[str, tuple[int, int, int]] = {}  # of regions: grid, row and column
        if self.channels > FEW:
            called = names or [str(k) for k in range(self.channels)]
            self.numbers = {f"channel {name}": f"channel {k}" for k, name in enumerate(called)}
            groups, members = neighbours(called)
            # a label of a pixel may stand in the pixel; that of an image read from a pattern is no simple thing
            exchange = exchange_channels if models.pixels else exchange_channel_statistics
            self.exchanges |= {name: exchange(which) for name, which in members.items()}
            self.searches["channels"] = Refinement(groups)
        if len(shape) == 3 and min(shape[1:]) > 1 and not models.pixels:
            quarters, self.places = cells(*shape[1:])
            self.exchanges |= {name: exchange_cell(*place) for name, place in self.places.items()}
            self.searches["regions"] = Refinement(quarters)
        self.moved: dict[str, Moved] = {}  #: content -> what there is to be seen of it
        self.known: dict[str, tuple[float, float]] = {}  #: content -> donor share and own share, when last looked at
        self.by_class = CueSwapByClass(list(self.swaps), classes)
        several = DecisionDimension(self.ranks)
        dimension, by_rank = "decision_dimension", len(self.ranks)
        parts = {
            "headline": Part(
                self._headline, DecisionDimension((1,)), _as_they_are(*SHARES, "donor", "pairs"), passes=1
            ),
            "contents": Part(
                partial(self._transplant, "contents"), TransplantShares(self.contents), MOVED, len(self.contents)
            ),
        }
        for name, search in self.searches.items():
            most = max(len(search.coarse), *map(len, search.coarse.values())) + len(search.led)
            run = partial(self._transplant, name)
            parts[name] = Part(run, TransplantShares(search.parts), MOVED, most, every=2)
        parts["image_ranks"] = Part(self._image_ranks, several, _as_they_are(*SHARES, dimension), by_rank)
        if models.pixel_directions is not None:
            logged = {key: f"pixel_{key}" for key in (*SHARES, dimension)}
            parts["pixel_ranks"] = Part(self._pixel_ranks, DecisionDimension(self.ranks), logged, by_rank)
        self.parts = parts
        self.work = {name: part.passes * -(-images // part.every) for name, part in parts.items()}
        self.plan: tuple[str, ...] = ()
        self.done: tuple[str, ...] = ()  #: parts that were examined at this evaluation

    # -- an evaluation

    def begin(self, device: torch.device) -> None:
        """Forget all images, and plan nothing."""
        self.plan = self.done = ()
        for name, search in self.searches.items():
            self.parts[name] = self.parts[name]._replace(metric=TransplantShares(search.parts))
        for metric in (*(part.metric for part in self.parts.values()), self.by_class):
            metric.to(device).reset()

    def fits(self, left: float) -> tuple[str, ...]:
        """The parts that fit into some forward passes of an image; see :meth:`.Turns.choose`."""
        urgent = [name for name, search in self.searches.items() if search.searching]
        return self.turns.choose(self.work, left, ("contents", *urgent))

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

    def run(
        self,
        model: Model,
        inputs: Tensor,
        target: Tensor,
        seconds: float | None = None,
        groups: Tensor | None = None,
    ) -> None:
        """Do what is planned.

        Args:
            model: from inputs to logits, without gradients.
            inputs: this rank's reference batch; (n b h w), (n b t) or (n b).
            target: (n) or (n h w), int64.
            seconds: that it may take: a part that would go beyond, by how long those before took, is left out; None: it
                takes what it takes.
            groups: which images belong together; (n), int64; None: they are independent.
        """
        began = time.perf_counter()
        model, spent = _of_size(model, target), float(len(target))
        logits = model(inputs)
        preds = as_labels(logits)
        n = len(preds)
        donors = donor_rows(preds) if preds.ndim == 1 else torch.arange(n, device=preds.device).roll(n // 2)
        base = BaseRun(model, inputs, logits, preds, donors, target, groups)
        for name in self.plan:
            took = time.perf_counter() - began
            if seconds is None or not self.done or took * (1 + self.work[name] / spent) <= seconds:
                self.parts[name].run(base)
                self.done = (*self.done, name)
                spent += self.work[name]

    # -- the parts

    def _headline(self, base: BaseRun) -> None:
        self._interchange("headline", self.models.image_directions[:, :1], base, (1,))

    def _transplant(self, part: str, base: BaseRun) -> None:
        metric = self.parts[part].metric
        assert isinstance(metric, TransplantShares)
        some = slice(None, None, self.parts[part].every)
        receivers, own, donors = base.inputs[some], base.preds[some], base.donors[some]
        made = {name: self.exchanges[name] for name in metric.contents}
        moved = predict_transplants(base.model, receivers, base.inputs[donors], made)
        control, alike = None, None
        led = [name for name in metric.contents if leads(*self.known.get(name, (math.nan, math.nan)))]
        if led:  # of the others the donor share says enough
            rows, control = control_rows(base.preds)[some], torch.full_like(moved, NOT_RUN)
            alike, places = base.preds[rows] == own, [metric.contents.index(name) for name in led]
            given = {name: made[name] for name in led}
            control[..., places] = predict_transplants(base.model, receivers, base.inputs[rows], given)
        groups = None if base.groups is None else base.groups[some]
        metric.update(own, base.preds[donors], moved, control, alike, groups)
        if own.ndim == 1:
            which, theirs = torch.arange(len(base.preds))[some], base.preds[donors].cpu()
            for k, name in enumerate(metric.contents):
                self.moved[name] = Moved(len(base.preds), which, donors.cpu(), own.cpu(), theirs, moved[:, k].cpu())
        if part == "contents" and self.swaps:
            swapped = moved[..., [metric.contents.index(name) for name in self.swaps]]
            self.by_class.update(base.preds[donors], own, swapped)

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

    # -- what came out

    def compute(self) -> tuple[dict[str, Tensor], dict[str, str]]:
        """Statistic -> value, of all ranks, and why those that are nan are; a part that did not run is nan."""
        values: dict[str, Tensor] = {}
        undefined: dict[str, str] = {}
        found = [(name, part.metric, part.logged) for name, part in self.parts.items()]
        if self.swaps:
            by_class = _as_they_are("class_reliance", "class_reliance_low", "reliant_class")
            found.append(("contents", self.by_class, by_class))
        for part, metric, logged in found:
            computed, why = metric.compute(), metric.undefined
            for key, value in computed.items():
                statistic, slash, subject = key.partition("/")
                name = f"{logged.get(statistic)}{slash}{subject}"
                if statistic in logged and name not in values:  # own/1 is the headline's, which runs first
                    if (part in self.searches or statistic.startswith("excess")) and bool(value.isnan()):
                        continue  # of parts that are looked at by turns, and of a control that was not run
                    values[name] = value
                    if key in why:
                        undefined[name] = why[key] if part in self.done else LATER
        return self._learn(values, undefined)

    def _learn(self, values: dict[str, Tensor], undefined: dict[str, str]) -> tuple[dict[str, Tensor], dict[str, str]]:
        """Add what each content carries beyond poorer ones, and go on with the searches by it."""
        now = {}
        for name in self.exchanges:
            shares = [values.get(f"{key}/{name}") for key in ("transplant", "transplant_own")]
            if all(share is not None and not bool(share.isnan()) for share in shares):
                now[name] = (float(shares[0]), float(shares[1]))  # type: ignore[arg-type]
        self.known |= now
        for search in self.searches.values():
            mine = {name: now[name] for name in search.parts if name in now}
            if mine:
                search.learn(mine)
        beyond = self._beyond()
        for name in (*self.contents, *(name for name in now if name not in self.contents)):
            key, why = f"reliance/{name}", undefined.get(f"transplant/{name}")
            value = beyond.get(name, math.nan) if name in now else math.nan
            if no_cue := self._no_cue(name):
                value, why = math.nan, no_cue
            elif value >= CARRIES and leads(*now[name]) and self._may_be_finer(name):
                value, why = math.nan, NOT_YET
            values[key] = torch.tensor(value, dtype=torch.float64)
            if math.isnan(value):
                undefined[key] = why or LATER
        return values, undefined

    @property
    def leading(self) -> dict[str, Transplant]:
        """The contents that carry the decision, and no poorer one does, as far as is known; what exchanges each."""
        named = [name for name, share in self._beyond().items() if share >= CARRIES and leads(*self.known[name])]
        return {
            name: self.exchanges[name] for name in named if self._no_cue(name) is None and not self._may_be_finer(name)
        }

    def _beyond(self) -> dict[str, float]:
        """What each content carries beyond poorer ones; a coarse part is none, and explains no other."""
        return unexplained({name: self.known[name] for name in self.known if not self._coarse(name)})

    def _coarse(self, content: str) -> bool:
        return any(content in search.coarse and not search.finest(content) for search in self.searches.values())

    def _may_be_finer(self, content: str) -> bool:
        """Whether a poorer part is still looked for, which may explain a content."""
        sought = [
            search.coarse[search.within][0] for search in self.searches.values() if search.within and search.searching
        ]
        return any(richness(part) < richness(content) for part in sought)

    def _no_cue(self, content: str) -> str | None:
        """Why a content that carries the decision is no simple cue; None where it is one."""
        if content == "channel_statistics" and self.channels > FEW:
            return IS_THE_SPECTRUM
        return COARSE if self._coarse(content) else None

    @property
    def boxes(self) -> dict[str, tuple[int, int, int, int]]:
        """Where the regions that were looked at lie, coarse ones first: first row, end, first column, end."""
        found = {}
        for name in sorted(self.places, key=lambda name: self.places[name][0]):
            if name in self.known:
                grid, row, column = self.places[name]
                height, width = self.models.sides
                edges = [
                    (place * side // grid, (place + 1) * side // grid)
                    for place, side in ((row, height), (column, width))
                ]
                found[name] = (*edges[0], *edges[1])
        return found

    # -- resume

    def state_dict(self) -> dict[str, Any]:
        """What is known of each content, and where the searches stand; plain containers."""
        searches = {name: search.state_dict() for name, search in self.searches.items()}
        return {"known": {name: list(shares) for name, shares in self.known.items()}, "searches": searches}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on where the checkpoint stood."""
        self.known = {name: (shares[0], shares[1]) for name, shares in state["known"].items()}
        for name, search in self.searches.items():
            if name in state["searches"]:
                search.load_state_dict(state["searches"][name])


def _as_they_are(*statistics: str) -> dict[str, str]:
    return {statistic: statistic for statistic in statistics}


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
