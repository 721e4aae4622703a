"""The parts of a collapse monitor: all that one evaluation adds up, made when the first batch shows what there is."""

from typing import Any, NamedTuple

from lightning.pytorch import LightningModule
from lightning.pytorch.utilities import rank_zero_info
from torch import Tensor

from lightning_failures.callbacks.collapse.class_geometry import ClassGeometry
from lightning_failures.callbacks.collapse.group_dimensions import GroupDimensions
from lightning_failures.callbacks.collapse.layers import Shape, WatchedLayers, alike
from lightning_failures.callbacks.evaluation_context import EvaluationContext
from lightning_failures.metrics.labels import LabelErrors
from lightning_failures.metrics.layer_probes import LayerProbes
from lightning_failures.metrics.prediction_collapse import PredictionCollapse
from lightning_failures.metrics.similarity import CrossLayerCKA
from lightning_failures.observe.factor_reader import FactorReader
from lightning_failures.observe.layers import PENULTIMATE
from lightning_failures.observe.observation import Observation
from lightning_failures.observe.pixels import rows_of
from lightning_failures.observe.sharded_weights import gathered
from lightning_failures.records.keys import RESERVED

__all__ = ["CollapseParts", "Description"]

#: Statistics of predictions that say nothing without labels.
NEED_LABELS = (
    "label_effective_rank",
    "label_classes",
    "class_share",
    "dominant_excess",
    "classes_never_given",
    "accuracy",
    "chance",
)

#: Statistics of predictions that are logged. Left out are the participation ratio of the logits, which have their
#: effective rank, and the conditional perplexity, which is the sharpness in classes.
PREDICTION_STATISTICS = (
    *NEED_LABELS,
    "largest_class_never_given",
    "effective_classes",
    "logit_effective_rank",
    "logit_top1_share",
    "marginal_perplexity",
    "sharpness",
    "images",
    "unlabelled",
    "non_finite",
)

#: Features above which a layer that is watched alone gets no probe: with 2048 it takes half a millisecond an image on
#: one core, with 1024 less than 0.1. Of several layers each gets one, to compare them.
MOST_PROBED = 1024


#: Labels up to which each one's figures are logged; of more, those of all together and the table of the worst.
MOST_LABELS = 100

#: Rows of the table of labels.
MOST_ROWS = 20


class Description(NamedTuple):
    """What the parts are made from; plain, and equal on all ranks."""

    shapes: dict[str, Shape]  # of each layer's rows
    classes: int | None  # columns of the logits; None without logits
    labelled: bool  # whether there is one class per row
    head: str | None  # name of the classifier
    factors: tuple[str, ...] | None
    labels: int | None = None  # number of labels that an image has several of; None: it has one class, or none


class CollapseParts:
    """Watched layers, predictions, labels, geometry of the classes, probes, groups, and how alike the layers are.

    Each part has sums and one ``compute``; those that a run cannot have stay None.

    Args:
        factors: reader of the factors that images carry; None: no dimensions by factor.
        by_class: whether to tell the dimensions of each class.
        similarity: whether to compare the layers with each other.
    """

    def __init__(self, factors: FactorReader | None, *, by_class: bool, similarity: bool) -> None:
        self.layers = WatchedLayers()
        self.predictions: PredictionCollapse | None = None
        self.geometry: ClassGeometry | None = None
        self.probes: LayerProbes | None = None
        self.groups: GroupDimensions | None = None
        self.alignment: CrossLayerCKA | None = None
        self.labels: LabelErrors | None = None
        self.undefined: dict[str, str] = {}
        self._factors, self._by_class, self._similarity = factors, by_class, similarity
        self._classes: int | None = None
        self._labelled: bool | None = None
        self._several: int | None = None  # labels of which an image has several
        self._head: str | None = None
        self._subspace: Tensor | None = None  # of the evaluation before a resume
        self._weight: Tensor | None = None  # of the classifier, as it was evaluated

    @property
    def subspace(self) -> Tensor | None:
        """Main subspace of the penultimate features at the last evaluation; (d k)."""
        return self._subspace if self.geometry is None else self.geometry.previous

    @subspace.setter
    def subspace(self, value: Tensor | None) -> None:
        self._subspace = value

    @property
    def not_watched(self) -> dict[str, str]:
        """What there is no part for, and why; empty before the first batch."""
        if self._labelled is None:
            return {}
        found = {} if self._classes is not None else {"collapse of the predictions": "no logits were found"}
        return found if self._labelled else found | {"geometry of the classes": "no labels of one class per row"}

    def reset(self) -> None:
        """Begin an evaluation."""
        self._weight = None
        parts = (self.layers, self.predictions, self.labels, self.geometry, self.probes, self.groups, self.alignment)
        for part in parts:
            if part is not None:
                part.reset()

    def update(self, evaluation: EvaluationContext, seen: Observation, batch_idx: int, head: str | None) -> None:
        """Add one batch.

        Args:
            evaluation: that it belongs to.
            seen: what the batch showed.
            batch_idx: which batch it is.
            head: name of the classifier.
        """
        rows = rows_of(seen, seed=batch_idx)
        self.layers.update(seen, rows.features)
        logits, labels = rows.logits, rows.targets if rows.targets is not None and rows.targets.ndim == 1 else None
        if self._labelled is None:
            self._labelled = labels is not None
        if logits is not None:
            self._classes = logits.shape[1]
        if seen.answers is not None:
            self._several = seen.answers.labels.shape[1]
        self.build(self.describe(head))
        if seen.answers is not None and self.labels is not None:
            self.labels.to(seen.answers.scores.device).update(*seen.answers)
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

    def describe(self, head: str | None) -> Description | None:
        """What this rank's batches showed; None before the first.

        Args:
            head: name of the classifier.
        """
        if not self.layers.shapes and self._classes is None and self._several is None:
            return None
        names = None if self._factors is None else self._factors.names
        return Description(self.layers.shapes, self._classes, bool(self._labelled), head, names, self._several)

    def build(self, description: Description | None) -> None:
        """Make the parts that are not there yet, also on a rank that saw no batch."""
        if description is None:
            return
        shapes, classes, labelled, head, factors, several = description
        self.layers.build(shapes)
        if several is not None and self.labels is None:
            self.labels = LabelErrors(several, k=MOST_ROWS)
        self._several = several
        self._classes, self._labelled, self._head = classes, labelled, head
        if self.groups is None:
            by_class = classes if labelled and self._by_class else None
            self.groups = GroupDimensions.of(shapes.get(PENULTIMATE), by_class, self._factors)
        if self.groups is not None:
            self.groups.build(factors)
        if self._similarity and self.alignment is None and len(alike(shapes)) > 1:
            self.alignment = CrossLayerCKA(alike(shapes))
        if classes is None or self.predictions is not None:
            return
        self.predictions = PredictionCollapse(classes)
        if not labelled:
            rank_zero_info(
                f"CollapseMonitor: no labels of one class per row, so {', '.join(NEED_LABELS)}, neural collapse and "
                "layer probes are left out."
            )
            return
        pixels = any(shape.pixels for shape in shapes.values())  # labels are of pixels then
        widths = {name: shape.width for name, shape in shapes.items() if shape.pixels == pixels}
        if PENULTIMATE in widths:
            self.geometry = ClassGeometry(classes, widths[PENULTIMATE], self._subspace)
        if len(widths) > 1 or any(width <= MOST_PROBED for width in widths.values()):
            self.probes = LayerProbes(widths, classes)

    def conclude(self, module: LightningModule) -> None:
        """Keep the weight of the classifier as it was evaluated.

        Args:
            module: holds the classifier.
        """
        weight = self._weight_of(module)
        self._weight = weight.detach().clone() if isinstance(weight, Tensor) and self.geometry is not None else None

    def _weight_of(self, module: LightningModule) -> Any:
        return getattr(module.get_submodule(self._head or ""), "weight", None)

    def compute(self, module: LightningModule) -> dict[str, Tensor]:
        """Every statistic that is logged, of all ranks; fills :attr:`undefined`.

        Args:
            module: holds the classifier.
        """
        values, undefined = self.layers.compute(), dict(self.layers.undefined)
        if self.predictions is not None:
            values |= {key: value for key, value in self.predictions.compute().items() if self._says(key)}
            undefined |= self.predictions.undefined
        if self.geometry is not None:
            # a rank that saw no batch learns only now that there is a geometry, and of which classifier
            weight = self._weight_of(module) if self._weight is None else self._weight
            values |= self.geometry.compute(gathered(weight))
            undefined |= self.geometry.undefined
        if self.labels is not None:
            values |= {key: value for key, value in self.labels.compute().items() if self._tells(key)}
            undefined |= self.labels.undefined
        for part in (self.probes, self.groups, self.alignment):
            if part is not None:
                values |= {key: value for key, value in part.compute().items() if "/" in key}  # not counts again
                undefined |= part.undefined
        self.undefined = {key: why for key, why in undefined.items() if key in values}
        return values

    def _tells(self, key: str) -> bool:
        """Whether a figure of labels is logged: those of each one where they are few."""
        return (self._several or 0) <= MOST_LABELS or key.rpartition("/")[2] in RESERVED or "/" not in key

    def _says(self, statistic: str) -> bool:
        """Whether a statistic of the predictions is logged."""
        return statistic in PREDICTION_STATISTICS and (bool(self._labelled) or statistic not in NEED_LABELS)
