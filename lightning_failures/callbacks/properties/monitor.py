"""Whether a model fails on dark, blurred, noisy, ... images, live and without any annotation."""

import math
from collections.abc import Mapping
from typing import Any, NamedTuple, Unpack

import torch
from lightning.pytorch import LightningModule, Trainer
from torch import Tensor

from lightning_failures.callbacks.evaluation_context import EvaluationContext
from lightning_failures.callbacks.monitor import Monitor, MonitorOptions
from lightning_failures.callbacks.properties.rules import RULES
from lightning_failures.callbacks.properties.terms import LOGGED, NO_EDGES, NO_IMAGES, TERMS
from lightning_failures.callbacks.ranks import gather
from lightning_failures.functional.image_properties import (
    SPECTRUM,
    PropertyEdges,
    carries,
    image_properties,
    property_edges,
    spectral_angle,
)
from lightning_failures.metrics.adjustment import ClassAdjustedErrorRatio
from lightning_failures.observe.batch_fields import Field
from lightning_failures.observe.group_reader import GroupReader, GroupSource
from lightning_failures.observe.observation import Observation
from lightning_failures.observe.reference_batch import mean_spectra
from lightning_failures.records.finding import Finding

__all__ = ["PropertyErrorMonitor"]

#: Training images, over all ranks, whose properties say where the edges are; and fewest of them.
MOST, FEWEST = 512, 20


class Edges(NamedTuple):
    """What was fixed on training images."""

    factors: list[PropertyEdges]
    spectrum: Tensor | None  # (b) their mean spectrum; None where there are too few channels for one


class PropertyErrorMonitor(Monitor):
    """Logs, under ``failures/properties/``, how much more often images of a property are wrong, for each property.

    Nobody needs to annotate anything: each image has a brightness, a contrast, a sharpness, noise, an object of some
    size, of three channels colours, of five and more a spectrum; see :func:`.image_properties`. A tenth of the training
    images is *dark*, another *bright*, and so on; the edges are fixed on the training images of the first epoch, as the
    step saw them, and stay for the run. ``error/dark`` is the error rate of the evaluated images beyond that edge, and
    ``difference/dark`` how much more that is than of other images *of the same classes*, so that a class that is dark
    is not called so; with ``difference_low/dark``, ``difference_high/dark`` and ``cmh_p_value/dark``, adjusted for the
    number of properties. ``edge/dark`` is where the edge is.

    Args:
        groups: which images belong together; see :class:`.FactorErrorMonitor`. None: images are independent.
        ids: path or callable into the batch that gives each image's id, where groups go by id.
        options: see :class:`.Monitor`.

    Example:
        >>> monitor = PropertyErrorMonitor(groups="patient")
        >>> monitor.key("difference/dark")
        'failures/properties/difference/dark'
    """

    noun = "properties"
    watches = "errors by brightness, sharpness and other properties of the image"
    reads_batches = True
    tasks = ("multiclass", "binary")
    terms = TERMS
    rules = RULES
    held_out = ("*",)

    def __init__(
        self, *, groups: GroupSource | None = None, ids: Field | None = None, **options: Unpack[MonitorOptions]
    ) -> None:
        super().__init__(**options)
        self.groups = None if groups is None else GroupReader(groups, ids, type(self).__name__)
        self.edges: Edges | None = None  #: from the first evaluation after training images were seen
        self.metric: ClassAdjustedErrorRatio | None = None
        self._kept: list[dict[str, Tensor]] = []  # of training images
        self._spectra: list[Tensor] = []
        self._carried: list[Tensor] = []  # of each batch of the last evaluation; (n f), bool
        self._seen = self._images = 0
        self._counted = self._none_are_images = False
        self._cannot: str | None = None

    @property
    def refusal(self) -> str | None:
        """Why nothing can be told."""
        return self._cannot

    def check(self) -> None:
        """Nothing is asked for: what it needs and does not find is said in the verdict, since nobody asked for it."""

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Forget the edges before a new fit, whose images may be others; a checkpoint brings its own after this."""
        super().setup(trainer, pl_module, stage)
        if stage == "fit":
            self.edges, self.metric, self._cannot = None, None, None
            self._kept, self._spectra = [], []
            self._seen = self._images = 0
            self._none_are_images = False

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Keep the properties of some training images."""
        super().on_train_batch_end(trainer, pl_module, outputs, batch, batch_idx)
        most = -(-MOST // trainer.world_size)
        enough = self.edges is not None or self._images >= most or self._none_are_images
        if self.idle or enough or self.unserved or not self.probe.settled:
            return
        with self.guard():
            seen = self.probe.read_batch(batch)
            if seen.inputs is None or seen.empty:
                return
            if seen.inputs.ndim != 4:
                self._none_are_images = True
                return
            self._seen += 1
            batches = float(trainer.num_training_batches)  # infinite where it is not known
            share = self._seen / batches if 0 < batches < math.inf else 1.0
            count = min(max(1, round(share * most) - self._images), len(seen.inputs))
            images = seen.inputs[:count].detach()
            self._kept.append(image_properties(images))
            if images.shape[1] >= SPECTRUM:
                self._spectra.append(mean_spectra(images))
            self._images += count

    # -- an evaluation

    def begin(self, evaluation: EvaluationContext) -> None:
        """Fix the edges at the first evaluation that training images were seen before."""
        if self.edges is None and evaluation.fitting:
            self._fix()
        if self.metric is not None:
            self.metric.to(evaluation.device).reset()
        self._counted, self._carried = False, []
        if self.edges is None:
            self._cannot = NO_IMAGES if self._none_are_images else NO_EDGES

    def _fix(self) -> None:
        """Find the edges from the training images of all ranks; every rank takes part."""
        mine = None
        if self._kept and self.failure is None:
            values = {name: torch.cat([one[name] for one in self._kept]).cpu() for name in self._kept[0]}
            mine = values, torch.cat(self._spectra).cpu() if self._spectra else None
        parts = [part for part in gather(mine) if part is not None]
        if sum(len(values["brightness"]) for values, _ in parts) < FEWEST:
            return
        names = [name for name in parts[0][0] if all(name in values for values, _ in parts)]
        values = {name: torch.cat([values[name] for values, _ in parts]) for name in names}
        spectrum = None
        if all(spectra is not None for _, spectra in parts):
            spectra = torch.cat([spectra for _, spectra in parts])
            spectrum = spectra[spectra.isfinite().all(1)].mean(0)
            values["spectral_angle"] = spectral_angle(spectra, spectrum)
        self.edges, self._cannot = Edges(property_edges(values), spectrum), None
        self._kept, self._spectra = [], []
        if not self.edges.factors:
            self._cannot = "the training images are too much alike in every property"

    def carriers(self, finding: Finding) -> Tensor | None:
        """The images that have the property of a finding."""
        names = [] if self.edges is None else [edge.factor for edge in self.edges.factors]
        if not self._carried or finding.subject not in names:
            return None
        return torch.cat(self._carried)[:, names.index(finding.subject)]

    def update(self, evaluation: EvaluationContext, seen: Observation, batch_idx: int) -> None:
        """Count the errors of one batch by property."""
        edges = self.edges
        if edges is None or not edges.factors:
            return
        images, targets, logits = seen.inputs, seen.targets, seen.logits
        if images is None or targets is None or logits is None or images.ndim != 4:
            lacking = "labels" if targets is None else "logits" if logits is None else "images"
            self._cannot = f"no {lacking} were found"
            return
        values = image_properties(images)
        if edges.spectrum is not None:
            values["spectral_angle"] = spectral_angle(
                mean_spectra(images), edges.spectrum.to(images.device, non_blocking=True)
            )
        self.build(self.probe.classes or logits.shape[1])
        assert self.metric is not None
        groups = None
        if self.groups is not None:
            groups = evaluation.read(self.groups, seen, batch_idx)
        carried = carries(values, edges.factors)
        self._carried.append(carried)
        self.metric.to(logits.device).update(logits, targets, carried, targets >= 0, groups)
        self._counted = True

    def describe(self) -> int | None:
        """Number of classes; None where nothing was counted."""
        return self.metric.num_classes if self.metric is not None and self._counted else None

    def build(self, description: Any) -> None:
        """Make the metric."""
        if self.metric is None and self.edges is not None:
            self.metric = ClassAdjustedErrorRatio([edge.factor for edge in self.edges.factors], description)

    def compute(self, evaluation: EvaluationContext) -> dict[str, Tensor]:
        """Error rates within classes."""
        assert self.metric is not None
        assert self.edges is not None
        found = self.metric.compute()
        self.undefined = {key: why for key, why in self.metric.undefined.items() if key.partition("/")[0] in LOGGED}
        edges = {f"edge/{edge.factor}": torch.tensor(edge.edge, dtype=torch.float64) for edge in self.edges.factors}
        return {key: value for key, value in found.items() if key.partition("/")[0] in LOGGED} | edges

    # -- resume

    def state_dict(self) -> dict[str, Any]:
        """The edges; plain containers, empty before they are fixed."""
        if self.edges is None:
            return {}
        spectrum = None if self.edges.spectrum is None else self.edges.spectrum.tolist()
        return {"factors": [list(edge) for edge in self.edges.factors], "spectrum": spectrum}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Go on with the edges of the checkpoint."""
        if state_dict:
            spectrum = state_dict["spectrum"]
            factors = [PropertyEdges(*edge) for edge in state_dict["factors"]]
            self.edges = Edges(factors, None if spectrum is None else torch.tensor(spectrum))
            self._cannot = None
