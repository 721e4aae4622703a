"""What the logged figures about collapse mean: the words of the metrics that compute them, by layer."""

from collections.abc import Iterable, Sequence
from typing import Any

from lightning_failures.callbacks.collapse.class_geometry import CLASS_STATISTICS
from lightning_failures.callbacks.collapse.layers import LAYER_STATISTICS
from lightning_failures.callbacks.collapse.parts import PREDICTION_STATISTICS
from lightning_failures.callbacks.collapse.run_best import INITIAL
from lightning_failures.metrics.collapse import FeatureSpectrum
from lightning_failures.metrics.dormant_units import DormantUnits
from lightning_failures.metrics.grouped_dimension import GroupedDimension
from lightning_failures.metrics.kept import FeaturesKept
from lightning_failures.metrics.labels import LabelErrors
from lightning_failures.metrics.layer_probes import LayerProbes
from lightning_failures.metrics.neural_collapse import NeuralCollapse
from lightning_failures.metrics.prediction_collapse import PredictionCollapse
from lightning_failures.metrics.similarity import CrossLayerCKA, LiDAR, SubspaceOverlap
from lightning_failures.records.headlines import told_by
from lightning_failures.records.term import Term

__all__ = ["TERMS"]

#: What differs from the metrics' own words, where a monitor knows more or has a longer name to make of it.
_IN_A_RUN: dict[str, dict[str, Any]] = {
    "kept": {
        "meaning": "Geometric mean of two shares: of the dimensions above the first that the layer had, untrained or "
        "at an earlier evaluation, and not more than the labels need; and of the most angular spread that its features "
        "had. With labels, at least what a later layer kept; where a step shows two views of each image, at most what "
        "its features fill.",
    },
    "participation_ratio_unbiased": {"name": "Unbiased participation ratio"},
    "feature_spread": {"name": "Feature spread"},
    "images": {"name": "Number of images"},
    "non_finite": {"name": "Number of images that are not finite"},
    "probe_accuracy/*": {
        "direction": "where it drops from one layer to the next, information is lost; that of the penultimate layer "
        "well above the accuracy: the head wastes what its features hold",
    },
}


def _declared(terms: Iterable[Term], statistics: Sequence[str]) -> list[Term]:
    """The terms of some statistics, in the order of these."""
    found = {term.key: term for term in terms}
    known = [found[statistic] for statistic in statistics if statistic in found]
    return [term._replace(**_IN_A_RUN.get(term.key, {})) for term in known]


def _detail(term: Term, form: str, name: str, meaning: str) -> Term:
    """The same figure at another time."""
    return term.of(form, name)._replace(meaning=f"{meaning} {term.meaning}")


_LAYER = _declared((*FeatureSpectrum.terms, *DormantUnits.terms, *LiDAR.terms), LAYER_STATISTICS)
_PREDICTIONS = _declared(PredictionCollapse.terms, PREDICTION_STATISTICS)
_CLASSES = _declared(NeuralCollapse.terms, CLASS_STATISTICS)
_KEPT = _declared(FeaturesKept.terms, ("kept", "dimensions_kept", "spread_kept"))
(_GROUP,) = _declared(GroupedDimension.terms, ("dimension/*",))
(_OVERLAP,) = _declared(SubspaceOverlap.terms, ("overlap",))

_TERMS: tuple[Term, ...] = (
    *(term.of("{}/*") for term in _KEPT),
    Term(
        "filled/*",
        "What the features of two views fill",
        "The smaller of two shares, whatever the layer had before: of 5 dimensions above the first, and of an angular "
        "spread of 0.05. Of a layer that a step calls twice, on two views of each image.",
        "0 to 1",
        "near 0: features on a line, or all in one direction",
        when_nan="fewer than two finite rows, or features without a direction",
    ),
    *(term.of("{}/*", "{} of a layer") for term in _LAYER),
    *(
        _detail(term, "initial/{}/*", "{} of a layer before training", "Of the untrained network, on a few images.")
        for term in _LAYER
        if term.key in INITIAL
    ),
    *(
        _detail(term, "train/{}/*", "{} of a layer in training", "Of the features in the last 8 training batches.")
        for term in _LAYER
    ),
    *_declared(LayerProbes.terms, [term.key for term in LayerProbes.terms]),
    *(term.of("{}/*") for term in _CLASSES),
    _OVERLAP._replace(
        key="subspace_overlap/*",
        name="Overlap with the evaluation before",
        meaning="How much of the 4 leading principal directions of a layer's features is that of the evaluation "
        "before. Random directions have 4 over the number of features.",
        direction="1: the subspace stays; near 4 over the number of features: it is another one",
        when_nan="no evaluation before this one, or fewer than 4 dimensions vary in one of the two",
    ),
    *_PREDICTIONS,
    *LabelErrors.terms,
    _GROUP._replace(
        key="class_dimension/*",
        name="Dimensions of a class",
        meaning="Participation ratio of the penultimate features of one class, without the bias of few images.",
        direction="shrinks as classes become points (neural collapse)",
    ),
    _GROUP._replace(
        key="class_dimension/smallest",
        name="Dimensions of the smallest class",
        meaning="That of the class whose features fill fewest dimensions.",
        direction="shrinks as classes become points (neural collapse)",
    ),
    _GROUP._replace(
        key="class_dimension/median",
        name="Dimensions of a middle class",
        meaning="Median of the dimensions of the classes.",
        direction="shrinks as classes become points (neural collapse)",
    ),
    _GROUP._replace(
        key="factor_dimension/*",
        name="Dimensions of a factor",
        meaning="Participation ratio of the penultimate features of the images that carry the factor, without the bias "
        "of few images.",
        direction="far below that of other factors: these images look alike to the network",
    ),
    *_declared(CrossLayerCKA.terms, ("cka/*",)),
    Term(
        "training_loss",
        "Training loss",
        "Mean of the losses that the training step gave for the batches of the evaluation; of a run alone that "
        "validates nothing, whose evaluations are of training batches.",
        "any number",
        "lower is better on these batches, and says nothing of others",
        when_nan="the training step gave no loss of one number",
    ),
)

TERMS = told_by(
    _TERMS,
    {
        "accuracy": ("accuracy", "min"),
        "kept/*": ("kept", "min"),
        "class_share": ("classes_used", "min"),
        "label_balanced_error/all": ("label_error", "max"),
        "label_balanced_error/worst": ("worst_label", "max"),
    },
    ["effective_rank/*"],
)
