"""What streams off the training batches until the simple models are fixed: sums, and some values of each cue."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor

from lightning_failures.callbacks.ranks import gather
from lightning_failures.callbacks.simplicity.cues import CueBins
from lightning_failures.callbacks.simplicity.samples import SampleReader, Samples, as_floats
from lightning_failures.callbacks.simplicity.simple_models import RANKS, SimpleModels
from lightning_failures.errors import InputError
from lightning_failures.functional.moments import ClassMoments, covariance, principal_directions
from lightning_failures.interventions.changes import RawUnits
from lightning_failures.metrics.base import SumMetric
from lightning_failures.metrics.ladder import Ladder
from lightning_failures.metrics.simplicity import LinearReference
from lightning_failures.observe.observation import Observation
from lightning_failures.observe.pixels import pixel_rows

__all__ = ["StreamShape", "TrainingStream", "TrainingSums"]

CUE_VALUES = 4096  # values of each cue, of all ranks, from which its bins are cut
#: Pixels of each image whose spectra give the directions at pixel level; the same ones, however batches are cut.
PLACES = torch.tensor([[0.25, 0.25], [0.25, 0.75], [0.75, 0.25], [0.75, 0.75]])
CENTRED = 0.1  # share of totals of either sign from which inputs are standardised: raw units are not negative
BLIND = (
    "the inputs are standardised and no denormalize was given, so that raw units are unknown: "
    "pass denormalize=(mean, std)"
)


class StreamShape(NamedTuple):
    """What a rank must know to make the sums, even where it saw no batch."""

    logits: int  # 1 for two classes, else their number
    widths: dict[str, int]  # features of each rung, side by side
    cues: tuple[str, ...]
    channels: int
    sides: tuple[int, ...]  # of an image: (h, w), (t,) or none
    pixels: bool  # labels per pixel
    units: RawUnits

    @property
    def spatial(self) -> bool:
        """Whether inputs are images (n b h w)."""
        return len(self.sides) == 2

    @property
    def classes(self) -> int:
        """Number of classes c."""
        return max(2, self.logits)


class TrainingSums(NamedTuple):
    """The sums of a stream; inputs without space have the first alone."""

    ladder: Ladder
    pixels: LinearReference | None  # of the pixels' spectra, as one class

    @classmethod
    def zero(cls, shape: StreamShape) -> "TrainingSums":
        """Of no batch."""
        pixels = LinearReference(1, shape.channels) if shape.spatial else None
        return cls(Ladder(shape.classes, shape.widths), pixels)

    def named(self) -> dict[str, SumMetric[Any]]:
        """Those that there are, by name."""
        return {name: metric for name, metric in self._asdict().items() if metric is not None}

    def go(self, device: torch.device) -> None:
        """Move the sums, where they are elsewhere: asking takes much less time than moving."""
        for metric in self.named().values():
            if metric.where != device:
                metric.to(device)


class TrainingStream:
    """Sums over the training batches, on which :meth:`fit` fits the simple models.

    Args:
        reader: of the samples of a batch.
    """

    def __init__(self, reader: SampleReader) -> None:
        self.reader = reader
        self.shape: StreamShape | None = None  #: None before the first batch
        self.sums: TrainingSums | None = None
        self.trained = 0  #: classes that had training images, once the simple models are fitted
        self._values: list[tuple[Tensor, Tensor]] = []  # of the cues (m q) with their classes (m)

    def update(self, seen: Observation, logits: int, processes: int = 1) -> None:
        """Add one training batch, without a device synchronisation.

        Args:
            seen: the batch.
            logits: 1 for two classes, else their number.
            processes: of the run, which share the sample of cues.
        """
        samples = self.reader.read(seen)
        inputs = as_floats(seen.require_inputs("SimplicityBiasMonitor"))
        if self.shape is None or self.sums is None:
            self.shape = self._shape_of(seen, inputs, samples, logits)
            self.sums = TrainingSums.zero(self.shape)
        home = samples.target.device
        self.sums.go(home)
        self.sums.ladder.update(samples.features, samples.target)
        if self.sums.pixels is not None:
            spectra = pixel_rows(inputs, PLACES.expand(len(inputs), -1, -1)).to(home)
            self.sums.pixels.update(spectra, torch.zeros(len(spectra), dtype=torch.int64, device=home))
        room = CUE_VALUES // processes - sum(len(values) for values, _ in self._values)
        if room > 0 and self.shape.cues:
            values = torch.stack([samples.cues[name] for name in self.shape.cues], 1)
            self._values.append((values[:room], samples.target[:room]))

    def _shape_of(self, seen: Observation, inputs: Tensor, samples: Samples, logits: int) -> StreamShape:
        assert seen.targets is not None
        assert self.reader.units is not None
        widths = {name: part.shape[1] for name, part in samples.features.items()}
        units = RawUnits(*(part.cpu() for part in self.reader.units))
        pixels = seen.targets.ndim == 3
        return StreamShape(logits, widths, tuple(samples.cues), inputs.shape[1], tuple(inputs.shape[2:]), pixels, units)

    def fit(self, shape: StreamShape, device: torch.device) -> SimpleModels:
        """The simple models, from the sums of all ranks, which are then forgotten; every rank must call it.

        Args:
            shape: of the stream of the first rank that saw a batch.
            device: where the module is.
        """
        sums = self.sums or TrainingSums.zero(shape)
        sums.go(device)
        rungs, spectra, chance = sums.ladder.rungs(), sums.ladder.spectra(), sums.ladder.chance()
        self.trained = int((spectra.counts > 0).sum())
        values, target = self._gather(len(shape.cues))
        blind = self.reader.denormalize is None and _centred(values[:, 0])  # the standard cue stands first
        bins, left_out = {}, {}
        for name, column in zip(shape.cues, values.T, strict=True):
            own = name in self.reader.own_cues
            if blind and not own:
                left_out[name] = BLIND
                continue
            try:  # in float32, so that rounding is no variation
                bins[name] = CueBins.fit(column if own else column.float(), target, shape.classes)
            except InputError as error:
                left_out[name] = str(error)
        if blind:
            del rungs["total_absorbance"]
        models = SimpleModels(
            rungs,
            bins,
            _most_varying(spectra),
            None if sums.pixels is None else sums.pixels.directions()[:, : max(RANKS)],
            chance,
            shape.sides,
            shape.logits,
            shape.pixels,
            None if blind else shape.units,
            left_out,
        )
        self.shape, self.sums, self._values = None, None, []
        return models.to(device)

    def _gather(self, cues: int) -> tuple[Tensor, Tensor]:
        """Values of the cues (m q) and their classes (m) of all ranks, on the CPU."""
        values = [torch.zeros(0, cues, dtype=torch.float64), *(part.cpu() for part, _ in self._values)]
        target = [torch.zeros(0, dtype=torch.int64), *(part.cpu() for _, part in self._values)]
        said = gather((torch.cat(values), torch.cat(target)))
        return torch.cat([one for one, _ in said]), torch.cat([other for _, other in said])

    # -- resume

    def state_dict(self) -> dict[str, Any]:
        """The sums so far; plain containers, empty before the first batch."""
        if self.shape is None or self.sums is None:
            return {}
        sums = {name: tuple(metric.sums) for name, metric in self.sums.named().items()}
        shape = (*self.shape[:-1], tuple(self.shape.units))  # plain tuples: weights_only=True knows no others
        return {"shape": shape, "sums": sums, "values": [(v.cpu(), t.cpu()) for v, t in self._values]}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on where the checkpoint stood."""
        shape = StreamShape(*state["shape"])
        self.shape = shape._replace(units=RawUnits(*shape.units))
        self.sums = TrainingSums.zero(self.shape)
        for name, metric in self.sums.named().items():
            metric.add(type(metric.sums)(*state["sums"][name]))
        self._values = list(state["values"])


def _centred(totals: Tensor) -> bool:
    """Whether totals (m) are of either sign."""
    negative = float((totals < 0).double().mean()) if len(totals) else 0.0
    return min(negative, 1 - negative) > CENTRED


def _most_varying(spectra: ClassMoments) -> Tensor:
    matrix = covariance(spectra.all)
    defined = bool(matrix.isfinite().all())
    directions = principal_directions(matrix) if defined else torch.full_like(matrix, torch.nan)
    return directions[:, : max(RANKS)]
