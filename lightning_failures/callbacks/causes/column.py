"""Causes as the report shows them."""

from lightning_failures.callbacks.causes.rules import LABELS_RENAMED, RULES
from lightning_failures.callbacks.causes.terms import TERMS
from lightning_failures.reporting.column import Column, Proof, last_figure
from lightning_failures.reporting.proof import Maker, Trace, traces

__all__ = ["CAUSES_COLUMN"]
_KEY, _FAMILIES = "failures/causes/", ("factor", "group")
_VALIDATION = Trace("validation", f"{_KEY}validation_accuracy", f"{_KEY}validation_low", f"{_KEY}validation_high")
_TRAINING = Trace("training", f"{_KEY}training_accuracy")
_GAP = traces(
    "accuracy in evaluation",
    "Accuracy on validation images, with its 95% interval, and on images of training, both as they are evaluated.",
    _VALIDATION,
    _TRAINING,
)
_CHANCE = traces(
    "accuracy in evaluation",
    "Accuracy on validation images, with its 95% interval, on images of training, and what always naming the most "
    "frequent class gives.",
    _VALIDATION,
    Trace("chance", f"{_KEY}chance", level=True),
    _TRAINING,
)


def _undone(name: str, what: str) -> Maker:
    return traces(
        "accuracy",
        f"Accuracy on the same validation images, as they are and {what}, each with its 95% interval.",
        Trace("as it is", f"{_KEY}before/{name}", f"{_KEY}before_low/{name}", f"{_KEY}before_high/{name}"),
        Trace("undone", f"{_KEY}after/{name}", f"{_KEY}after_low/{name}", f"{_KEY}after_high/{name}"),
    )


def _by_kind(family: str) -> Maker:
    return traces(
        "accuracy",
        "Accuracy on the images of {subject}, as they are and prepared as the others, each with its 95% interval.",
        *(
            Trace(said, f"{key}/*", f"{key}_low/*", f"{key}_high/*")
            for said, key in (
                ("as they are", f"{_KEY}{family}_before"),
                ("as the others", f"{_KEY}{family}_after"),
            )
        ),
    )


CAUSES_COLUMN = Column(
    "causes",
    TERMS,
    RULES,
    title="Training beside validation",
    proofs=(
        Proof(("generalisation_gap", "proven_mismatch"), _GAP),
        Proof(("no_learning",), _CHANCE),
        Proof(("evaluation_gap",), _undone("evaluation_mode", "with the network in the other mode")),
        Proof((LABELS_RENAMED,), _undone("labels", "once classes have other names")),
        *(Proof((f"{family}_inputs_differ",), _by_kind(family)) for family in _FAMILIES),
        Proof(("validated_in_training_mode", "inputs_differ", "channels_faulty"), None),
        Proof(tuple(f"{family}_channels_faulty" for family in _FAMILIES), None),
    ),
    rows=(
        ("Accuracy on training images", last_figure("failures/causes/training_accuracy", ".3f")),
        ("Gap between training and validation", last_figure("failures/causes/gap", ".3f")),
    ),
)
