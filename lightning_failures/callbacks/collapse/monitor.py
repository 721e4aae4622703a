"""Whether features and predictions collapse, live."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Unpack

import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.utilities import rank_zero_info
from torch import Tensor

from lightning_failures.callbacks.collapse.class_geometry import ClassGeometry
from lightning_failures.callbacks.collapse.figures import LayerCourse, layer_figure
from lightning_failures.callbacks.collapse.group_dimensions import GroupDimensions
from lightning_failures.callbacks.collapse.kept import CollapseReference
from lightning_failures.callbacks.collapse.layers import Shape, WatchedLayers, alike
from lightning_failures.callbacks.collapse.rules import RULES
from lightning_failures.callbacks.collapse.terms import TERMS
from lightning_failures.callbacks.collapse.training_window import TrainingWindow
from lightning_failures.callbacks.evaluation_context import EvaluationContext
from lightning_failures.callbacks.monitor import Monitor, MonitorOptions
from lightning_failures.metrics.layer_probes import LayerProbes
from lightning_failures.metrics.prediction_collapse import PredictionCollapse
from lightning_failures.metrics.similarity import CrossLayerCKA
from lightning_failures.observe.factor_reader import FactorReader, FactorSource
from lightning_failures.observe.layers import PENULTIMATE
from lightning_failures.observe.observation import Observation
from lightning_failures.observe.pixels import rows_of

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["CollapseMonitor"]

#: Statistics of predictions that say nothing without labels.
NEED_LABELS = ("label_effective_rank", "label_classes", "class_share", "dominant_excess", "accuracy", "chance")

#: Shapes of the layers, classes, whether there are labels, the head, names of the factors.
Description = tuple[dict[str, Shape], int | None, bool, str | None, tuple[str, ...] | None]


class CollapseMonitor(Monitor):
    """Logs ranks of each layer's features, ``failures/collapse/effective_rank/<layer>``, and of the centred logits.

    *Reference*: the untrained network, ``initial/<statistic>/<layer>``, from the batches of the sanity check. Without
    one, it is from the first training batch and compared with nothing, since dropout and batch norm work differently
    there. ``kept/<layer>`` is what a layer still has of the most that it had, then or at any evaluation; see
    :class:`.CollapseReference`. It is what the rule
    ``representation_collapse`` looks at.

    *Labels*: with them, neural collapse of the penultimate layer, and, where two or more layers are named, the
    accuracy of closed-form linear probes layer by layer, so that :attr:`information_lost` names the layer where
    information is lost. Without them, what needs them is left out, which is said once in the log.

    *Two views*: a layer that a step calls k times, as self-supervised steps do, counts all of its rows; name it, since
    the input of a classifier head that is called twice is an error. Two views give LiDAR too.

    *Segmentation*: logits (n c h w) with a label a pixel are read at 16 pixels of each image, the same ones in every
    evaluation of the same batches; ``images`` then counts pixels.

    Args:
        layers: names and globs of submodules (``"layer*"``), ``"feature_info"`` for the stages of a timm model,
            ``"penultimate"`` for the input of the classifier head; see
            :func:`.find_layers`. Maps and tokens are pooled to one row an image. None:
            the penultimate layer.
        factors: also log the dimensions of the images with each factor, ``factor_dimension/<factor>``; see
            :class:`.FactorErrorMonitor`.
        by_class: also log the dimensions of each class, ``class_dimension/<class>``, of the penultimate layer. With or
            without factors, a group that fills few dimensions is one that the network knows by a single cue.
        similarity: also log how alike the layers are, ``cka/<layer>~<later layer>``; the sums take 8 D^2 bytes for D
            features in all layers together.
        every_n_steps: also log the spectra of training features, ``failures/collapse/train/<statistic>/<layer>``,
            every so many training batches, from the last 8 of them; None: not.
        options: see :class:`.Monitor`.
    """

    noun = "collapse"
    terms = TERMS
    rules = RULES

    def __init__(
        self,
        layers: str | Sequence[str] | None = None,
        *,
        factors: FactorSource | None = None,
        by_class: bool = False,
        similarity: bool = False,
        every_n_steps: int | None = None,
        **options: Unpack[MonitorOptions],
    ) -> None:
        super().__init__(**options)
        if layers is not None:
            self.probe.listen_also(layers)
        self.layers, self.untrained = WatchedLayers(), WatchedLayers()
        self.window = TrainingWindow(every_n_steps)
        self.predictions: PredictionCollapse | None = None
        self.geometry: ClassGeometry | None = None
        self.probes: LayerProbes | None = None
        self.groups: GroupDimensions | None = None
        self.alignment: CrossLayerCKA | None = None
        self.by_class, self.similarity = by_class, similarity
        self._factors = None if factors is None else FactorReader(factors)
        self.reference, self.course = CollapseReference(), LayerCourse()
        self.train_values: dict[str, Tensor] = {}
        self._labelled: bool | None = None
        self._classes: int | None = None
        self._previous: Tensor | None = None
        self._head: str | None = None
        self._first = self._knows_untrained = False

    @property
    def information_lost(self) -> str | None:
        """The layer whose probe is less accurate than that of the layer before, by the most; None where none is."""
        return None if self.probes is None else self.probes.lost

    # -- the untrained network, and training

    def glance(self, seen: Observation) -> None:
        """Add a batch of the sanity check to the untrained network's."""
        if not self._knows_untrained:
            self.untrained.update(seen, rows_of(seen).features)

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Compute and log; after the sanity check, keep the untrained network's statistics."""
        if trainer.sanity_checking and not self._knows_untrained:
            self._know_untrained(trainer)
        super().on_validation_epoch_end(trainer, pl_module)

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        """Begin to listen where this batch is looked at."""
        self._first = trainer.global_step == 0 and batch_idx == 0 and not self._knows_untrained
        if not self.idle and (self._first or self.window.open):
            with self.guard():
                self.probe.attach(pl_module, self)
                self.probe.new_batch()

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Add the batch's features, and log them at the cadence."""
        if not self.idle and (self._first or self.window.open):
            with self.guard():
                found = self.probe.discovered
                seen = self.probe.observe_features(batch) if found else self.probe.observe(pl_module, outputs, batch)
                rows = rows_of(seen).features
                if self._first and not seen.empty:
                    self.untrained.update(seen, rows)
                if self.window.open and not seen.empty:
                    self.window.layers.update(seen, rows)
                self.probe.detach(self)
        if self._first:
            self._know_untrained(trainer)
        if self.window.step():
            self._log_training(EvaluationContext.of(trainer, pl_module))

    def _know_untrained(self, trainer: Trainer) -> None:
        self._knows_untrained = True
        shapes = self.ranks.first(None if self.failure else self.untrained.shapes or None)
        if self.ranks.retired or not shapes:
            return
        with self.guard():
            self.untrained.build(shapes)
            values = {key: float(value) for key, value in self.untrained.compute().items()}
            self.reference.start(values, compare=trainer.sanity_checking)
            self.untrained = WatchedLayers()

    def _log_training(self, now: EvaluationContext) -> None:
        shapes = self.ranks.first(None if self.failure else self.window.layers.shapes or None)
        if self.ranks.retired or not shapes:
            return
        with self.guard():
            self.window.layers.build(shapes)
            self.train_values = self.window.layers.compute()
            self.window.layers.reset()
            self.log_values(now, {f"train/{key}": value for key, value in self.train_values.items()}, now=True)

    # -- an evaluation

    def begin(self, evaluation: EvaluationContext) -> None:
        """Reset the sums."""
        for part in (self.layers, self.predictions, self.geometry, self.probes, self.groups, self.alignment):
            if part is not None:
                part.reset()

    def update(self, evaluation: EvaluationContext, seen: Observation, batch_idx: int) -> None:
        """Add the features and logits of one batch."""
        rows = rows_of(seen, seed=batch_idx)
        self.layers.update(seen, rows.features)
        logits, labels = rows.logits, rows.targets if rows.targets is not None and rows.targets.ndim == 1 else None
        if self._labelled is None:
            self._labelled = labels is not None
        if logits is not None:
            self._classes = logits.shape[1]
        self.build(self.describe())
        if logits is not None and self.predictions is not None:
            self.predictions.to(logits.device).update(logits, labels)
        if labels is not None and self.geometry is not None:
            self.geometry.update(rows.features[PENULTIMATE], labels)
        if labels is not None and self.probes is not None:
            self.probes.update(rows.features, labels, evaluation.places(seen, batch_idx))
        if self.groups is not None:
            self.groups.update(rows.features[PENULTIMATE], labels, seen, evaluation.rows, batch_idx)
        if self.alignment is not None:
            compared = {name: rows.features[name] for name in self.alignment.layers}
            self.alignment.to(next(iter(compared.values())).device).update(compared)

    def describe(self) -> Any:
        """Shape of each layer, the number of classes, whether there are labels, the head and the factors."""
        if not self.layers.shapes and self._classes is None:
            return None
        names = None if self._factors is None else self._factors.names
        return self.layers.shapes, self._classes, bool(self._labelled), self.probe.head, names

    def build(self, description: Description) -> None:
        """Make the metrics that are not there yet."""
        shapes, classes, labelled, head, factors = description
        self.layers.build(shapes)
        self._classes, self._labelled, self._head = classes, labelled, head
        if self.groups is None:
            by_class = classes if labelled and self.by_class else None
            self.groups = GroupDimensions.of(shapes.get(PENULTIMATE), by_class, self._factors)
        if self.groups is not None:
            self.groups.build(factors)
        if self.similarity and self.alignment is None and len(alike(shapes)) > 1:
            self.alignment = CrossLayerCKA(alike(shapes))
        if classes is None or self.predictions is not None:
            return
        self.predictions = PredictionCollapse(classes)
        if not labelled:
            rank_zero_info(
                f"CollapseMonitor: no labels of one class a row, so {', '.join(NEED_LABELS)}, neural collapse and "
                "layer probes are left out."
            )
            return
        pixels = any(shape.pixels for shape in shapes.values())  # labels are of pixels then
        widths = {name: shape.width for name, shape in shapes.items() if shape.pixels == pixels}
        if PENULTIMATE in widths:
            self.geometry = ClassGeometry(classes, widths[PENULTIMATE], self._previous)
        if len(widths) > 1:
            self.probes = LayerProbes(widths, classes)

    def compute(self, evaluation: EvaluationContext) -> dict[str, Tensor]:
        """Ranks by layer, those of the predictions, and what was kept of the run's best."""
        values, self.undefined = self.layers.compute(), dict(self.layers.undefined)
        label_rank = math.nan
        if self.predictions is not None:
            found = self.predictions.compute()
            label_rank = float(found["label_effective_rank"])
            found = {key: value for key, value in found.items() if self._labelled or key not in NEED_LABELS}
            values |= found
            self.undefined |= {key: why for key, why in self.predictions.undefined.items() if key in found}
        if self.geometry is not None:
            values |= self.geometry.compute(getattr(evaluation.module.get_submodule(self._head or ""), "weight", None))
            self.undefined |= self.geometry.undefined
        for part in (self.probes, self.groups, self.alignment):
            if part is not None:
                values |= {key: value for key, value in part.compute().items() if "/" in key}  # not counts again
                self.undefined |= {key: why for key, why in part.undefined.items() if "/" in key}
        return values | self._compare(values, label_rank, remember=evaluation.fitting)

    def _compare(self, values: Mapping[str, Tensor], label_rank: float, *, remember: bool) -> dict[str, Tensor]:
        plain = {key: float(value) for key, value in values.items()}
        layers = list(self.layers.shapes)
        compared = self.reference.compare(layers, plain, label_rank)
        undefined = {key: key.split("/", 1)[1] for key, value in compared.items() if math.isnan(value)}
        self.undefined |= {key: self.reference.why(layer) for key, layer in undefined.items()}
        for layer in layers if remember else ():
            self.reference.remember(layer, plain)
        compared |= {f"initial/{key}": value for key, value in self.reference.initial.items()}
        return {key: torch.tensor(value, dtype=torch.float64) for key, value in compared.items()}

    def draw(
        self, evaluation: EvaluationContext, values: Mapping[str, float]
    ) -> "Mapping[str, Callable[[], Figure | None]]":
        """The layers over the evaluations."""
        if not evaluation.fitting:
            return {}
        self.course.add(evaluation.epoch, values, self.layers.eigenvalues, self.information_lost)
        return {"layers": lambda: layer_figure(self.course)}

    # -- resume

    def state_dict(self) -> dict[str, Any]:
        """The reference, and the course of the layers; plain containers."""
        previous = self._previous if self.geometry is None else self.geometry.previous
        return {"reference": self.reference.state_dict(), "course": self.course.state_dict(), "previous": previous}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on where the checkpoint stood."""
        self.reference.load_state_dict(state_dict["reference"])
        self.course = LayerCourse.from_state(state_dict["course"])
        self._previous = state_dict["previous"]
        self._knows_untrained = True
