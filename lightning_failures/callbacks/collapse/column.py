"""Collapse as the report shows it."""

import math

from lightning_failures.callbacks.collapse.rules import RULES
from lightning_failures.callbacks.collapse.terms import TERMS
from lightning_failures.records.numbers import number
from lightning_failures.records.run_record import RunRecord
from lightning_failures.reporting.column import Column, Medium, Proof, Tile, last_figure
from lightning_failures.reporting.proof import Trace, traces

__all__ = ["COLLAPSE"]

KEY = "failures/collapse/"
FAMILY = f"{KEY}label_balanced_error/"


def _tiles(record: RunRecord) -> list[Tile]:
    """Effective rank of the last layer, and the worst of several labels."""
    layers = record.matching(f"{KEY}effective_rank/*")
    labels = [
        Tile("Worst balanced error", f"{error:.2f}", f"label {label}", record.series(f"{FAMILY}{label}")[1])
        for label, error in [_worst_label(record)]
        if label
    ]
    return labels + [
        Tile("Effective rank", number(rank), layer, record.series(f"{KEY}effective_rank/{layer}")[1])
        for layer, rank in list(layers.items())[-1:]
    ]


def _worst_label(record: RunRecord) -> tuple[str, float]:
    """The label of the highest balanced error; no name where there is none."""
    errors = {label: error for label, error in record.matching(f"{FAMILY}*").items() if math.isfinite(error)}
    return max(errors.items(), key=lambda each: each[1], default=("", math.nan))


def _told_of_labels(record: RunRecord) -> str:
    label, error = _worst_label(record)
    return f"{error:.2f} (label {label})" if label else ""


_CLASSES = traces(
    "effective classes",
    "As how many equally frequent classes the predictions are varied, and the labels of the same images.",
    Trace("predictions", f"{KEY}effective_classes"),
    Trace("labels", f"{KEY}label_classes"),
)

COLLAPSE = Column(
    "collapse",
    TERMS,
    RULES,
    title="Classes and features",
    proofs=(Proof(("class_collapse",), _CLASSES),),
    tiles=_tiles,
    rows=(
        ("Effective predicted classes", last_figure(f"{KEY}effective_classes", ".1f")),
        ("Effective rank of the logits", last_figure(f"{KEY}logit_effective_rank", ".1f")),
        ("Worst balanced error of a label", _told_of_labels),
    ),
    media=(
        Medium("layers", "picture", "Layers over the evaluations"),
        Medium("labels", "table", "The worst labels, where an image has several"),
    ),
)
