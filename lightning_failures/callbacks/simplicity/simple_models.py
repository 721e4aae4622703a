"""The simple models that a network is compared with: fitted once, in closed form, on streamed training moments."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch
from torch import Tensor

from lightning_failures.callbacks.ranks import gather
from lightning_failures.callbacks.simplicity.cues import CueBins
from lightning_failures.callbacks.simplicity.simple_rows import SimpleRows, as_floats
from lightning_failures.errors import InputError
from lightning_failures.functional.discriminant import Discriminant
from lightning_failures.functional.ladder import Rung
from lightning_failures.functional.moments import ClassMoments, covariance, mean, principal_directions
from lightning_failures.interventions.changes import RawUnits
from lightning_failures.metrics.base import SumMetric
from lightning_failures.metrics.ladder import Ladder
from lightning_failures.metrics.retention import SpatialEnergy
from lightning_failures.metrics.simplicity import LinearReference
from lightning_failures.observe.pixels import pixel_rows

__all__ = ["RANKS", "SimpleReference", "SimpleStream", "StreamShape"]

RANKS = (1, 2, 4, 8)
RINGS = 8
SAMPLE = 4096  # values of each cue, of all ranks, from which its bins are cut
#: Pixels of each image whose spectra give the directions at pixel level; the same ones, however batches are cut.
PLACES = torch.tensor([[0.25, 0.25], [0.25, 0.75], [0.75, 0.25], [0.75, 0.75]])
FOR_RINGS = 8  # channels whose spatial energy is summed
CENTRED = 0.1  # share of totals of either sign from which inputs are standardised: raw units are not negative
BLIND = (
    "the inputs are standardised and no denormalize was given, so that raw units are unknown: "
    "pass denormalize=lambda x: x * std + mean"
)


class StreamShape(NamedTuple):
    """What a rank must know to make the sums, even where it saw no batch."""

    logits: int  # 1 for two classes, else their number
    widths: dict[str, int]  # features of each rung, side by side
    cues: tuple[str, ...]
    channels: int
    spatial: bool  # inputs (n b h w)
    pixels: bool  # labels a pixel
    units: RawUnits

    @property
    def classes(self) -> int:
        """Number of classes c."""
        return max(2, self.logits)


@dataclass
class SimpleReference:
    """Everything that stays fixed for the run."""

    rungs: dict[str, Rung]  # lowest first; the user's cues are not among them
    bins: dict[str, CueBins]
    image: Tensor  # (b r) principal directions of the mean spectra
    by_pixel: Tensor | None  # (b r) those of the pixels' spectra
    rings: Tensor | None  # (R + 1)
    chance: Tensor  # ()
    level: Tensor  # () mean total over the channels, in raw units
    logits: int  # 1 for two classes, else their number
    pixels: bool  # whether labels are those of pixels
    units: RawUnits | None  # None: unknown
    left_out: dict[str, str] = field(default_factory=dict)  # cue -> why

    @property
    def defined(self) -> bool:
        """Whether there were images enough for directions."""
        return bool(self.image.isfinite().all())

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

    def predict(self, rows: SimpleRows) -> dict[str, Tensor]:
        """The class that each rung predicts, -1 where it is undefined; name -> (m), int64."""
        return {
            name: self.rungs[name].predict(rows.features)
            if name in self.rungs
            else self.bins[name].predict(rows.cues[name])
            for name in self.names
        }

    @property
    def blind(self) -> bool:
        """Whether raw units are unknown."""
        return self.units is None

    def to(self, device: torch.device) -> "SimpleReference":
        """The same on a device."""
        if self.image.device == device:
            return self
        return SimpleReference.from_state(self.state_dict(), device)

    def state_dict(self) -> dict[str, Any]:
        """Plain containers."""
        return {
            "rungs": {name: (rung.features, *rung.model) for name, rung in self.rungs.items()},
            "bins": {name: (cut.edges, cut.labels) for name, cut in self.bins.items()},
            "tensors": (self.image, self.by_pixel, self.rings, self.chance, self.level),
            "logits": self.logits,
            "pixels": self.pixels,
            "units": None if self.units is None else tuple(self.units),
            "left_out": dict(self.left_out),
        }

    @classmethod
    def from_state(cls, state: Mapping[str, Any], device: torch.device | None = None) -> "SimpleReference":
        """What :meth:`state_dict` gave."""

        def here(value: Any) -> Any:
            return value if value is None or device is None else value.to(device)

        rungs = {
            name: Rung(features, Discriminant(here(weight), here(bias)))
            for name, (features, weight, bias) in state["rungs"].items()
        }
        bins = {name: CueBins(here(edges), here(labels)) for name, (edges, labels) in state["bins"].items()}
        units = None if state["units"] is None else RawUnits(*map(here, state["units"]))
        image, by_pixel, rings, chance, level = map(here, state["tensors"])
        logits, pixels, left_out = state["logits"], state["pixels"], dict(state["left_out"])
        return cls(rungs, bins, image, by_pixel, rings, chance, level, logits, pixels, units, left_out)


class SimpleStream:
    """Sums over the training batches, from which :meth:`fix` makes the reference.

    Args:
        shape: what is summed.
        share: part of the sample of cues that this rank keeps.
    """

    def __init__(self, shape: StreamShape, share: float = 1.0) -> None:
        self.shape = shape
        self.ladder = Ladder(shape.classes, shape.widths)
        self.pixels = LinearReference(1, shape.channels) if shape.spatial else None
        self.energy = SpatialEnergy(RINGS) if shape.spatial else None
        self._sample: list[tuple[Tensor, Tensor]] = []
        self._room = int(SAMPLE * share)

    def update(self, inputs: Tensor, rows: SimpleRows) -> None:
        """Add one training batch, without a device synchronisation."""
        home = rows.target.device
        self._go(home)
        self.ladder.update(rows.features, rows.target)
        if self.pixels is not None and self.energy is not None:
            spectra = pixel_rows(as_floats(inputs), PLACES.expand(len(inputs), -1, -1)).to(home)
            one = torch.zeros(len(spectra), dtype=torch.int64, device=home)
            self.pixels.update(spectra, one)
            some = torch.linspace(0, inputs.shape[1] - 1, min(FOR_RINGS, inputs.shape[1])).round().long()
            self.energy.update(as_floats(inputs[:, some.tolist()]))
        if self._room > 0 and self.shape.cues:
            values = torch.stack([rows.cues[name] for name in self.shape.cues], 1)[: self._room]
            self._sample.append((values, rows.target[: self._room]))
            self._room -= len(values)

    def fix(self, device: torch.device, user_cues: Sequence[str], denormalized: bool) -> SimpleReference:
        """The reference, from the sums of all ranks; every rank must call it.

        Args:
            device: where the module is.
            user_cues: those of the cues that are the user's.
            denormalized: whether raw units were given.
        """
        self._go(device)
        rungs, spectra, chance = self.ladder.rungs(), self.ladder.spectra(), self.ladder.chance()
        level = mean(self.ladder.block("total_absorbance").all)[0]
        values, target = self._gather()
        totals = values[:, 0]  # of the standard cue, which stands first
        negative = float((totals < 0).double().mean()) if len(totals) else 0.0
        blind = not denormalized and min(negative, 1 - negative) > CENTRED
        bins, left_out = {}, {}
        for name, column in zip(self.shape.cues, values.T, strict=True):
            if blind and name not in user_cues:
                left_out[name] = BLIND
                continue
            sample = column if name in user_cues else column.float()  # so that rounding is no variation
            try:
                bins[name] = CueBins.fit(sample, target, self.shape.classes)
            except InputError as error:
                left_out[name] = str(error)
        if blind:
            del rungs["total_absorbance"]
        edges = None if self.energy is None else torch.stack(list(self.energy.compute().values()))
        reference = SimpleReference(
            rungs,
            bins,
            _top(spectra),
            None if self.pixels is None else self.pixels.directions()[:, : max(RANKS)],
            None if edges is None or bool(edges.isnan().any()) else edges,
            chance,
            level,
            self.shape.logits,
            self.shape.pixels,
            None if blind else self.shape.units,
            left_out,
        )
        return reference.to(device)

    def _go(self, device: torch.device) -> None:
        """Move the sums, where they are elsewhere: asking takes much less time than moving."""
        for metric in (self.ladder, self.pixels, self.energy):
            if metric is not None and metric.where != device:
                metric.to(device)

    def _gather(self) -> tuple[Tensor, Tensor]:
        """The samples of all ranks, on the CPU."""
        values = [part.cpu() for part, _ in self._sample] or [torch.zeros(0, len(self.shape.cues), dtype=torch.float64)]
        mine = torch.cat(values), torch.cat([torch.zeros(0, dtype=torch.int64), *(t.cpu() for _, t in self._sample)])
        said = gather(mine)
        return torch.cat([one for one, _ in said]), torch.cat([other for _, other in said])

    # -- resume

    def state_dict(self) -> dict[str, Any]:
        """The sums so far; plain containers."""
        kept = {"ladder": self.ladder, "pixels": self.pixels, "energy": self.energy}
        sums = {name: tuple(metric.sums) for name, metric in kept.items() if metric is not None}
        shape = (*self.shape[:-1], tuple(self.shape.units))  # plain tuples: weights_only=True knows no others
        return {"shape": shape, "sums": sums, "sample": [(v.cpu(), t.cpu()) for v, t in self._sample]}

    @classmethod
    def from_state(cls, state: Mapping[str, Any], share: float = 1.0) -> "SimpleStream":
        """Go on where :meth:`state_dict` stood."""
        shape = StreamShape(*state["shape"])
        stream = cls(shape._replace(units=RawUnits(*shape.units)), share)
        metrics: dict[str, SumMetric[Any] | None] = {
            "ladder": stream.ladder,
            "pixels": stream.pixels,
            "energy": stream.energy,
        }
        for name, metric in metrics.items():
            if metric is not None:
                metric.add(type(metric.sums)(*state["sums"][name]))
        stream._sample = list(state["sample"])
        stream._room -= sum(len(values) for values, _ in stream._sample)
        return stream


def _top(spectra: ClassMoments) -> Tensor:
    matrix = covariance(spectra.all)
    defined = bool(matrix.isfinite().all())
    directions = principal_directions(matrix) if defined else torch.full_like(matrix, torch.nan)
    return directions[:, : max(RANKS)]
