"""Simplicity as the report shows it."""

import math

from lightning_failures.callbacks.simplicity.record_figures import accuracy_figure, accuracy_limits, interchange_figure
from lightning_failures.callbacks.simplicity.rules import RULES
from lightning_failures.callbacks.simplicity.terms import TERMS
from lightning_failures.functional.transplants import CARRIES
from lightning_failures.records.numbers import number
from lightning_failures.records.run_record import RunRecord
from lightning_failures.reporting.column import Chart, Column, Medium, Proof, Reference, Tile, last_figure
from lightning_failures.reporting.proof import Trace, from_chart, traces
from lightning_failures.reporting.sentences import accuracy_key, headline, on_which

__all__ = ["SIMPLICITY"]

_OWN = "failures/simplicity/own/1"
_REFERENCE = "reference_accuracy"


def _accuracy_label(record: RunRecord) -> str | None:
    if accuracy_key(record) is None:
        return None
    return f"Accuracy of {record.name} by epoch. {headline(record, [SIMPLICITY])}"


def _accuracy_caption(record: RunRecord) -> str:
    compared = (
        "Dashed: a linear model fitted in closed form, on the same images. Bars or band: paired 95% interval of the "
        "difference, drawn around the network; clear of the dashed line, the difference is more than chance. "
    )
    compared *= f"failures/simplicity/{_REFERENCE}" in record.last_values()
    of = f"Accuracy {on_which(record)}" if record.evaluated else "Validation accuracy"
    of = "Accuracy on training batches" if record.no_validation else of
    return f"{of}. {compared}Numbered: where findings were first raised (hollow: cleared since)."


def _interchange_label(record: RunRecord) -> str | None:
    if _OWN not in record.last_values():
        return None
    own = number(record.last(_OWN))
    return f"Interchange of {record.name} by epoch. At the end one direction decides {own} of pairs."


def _tiles(record: RunRecord) -> list[Tile]:
    own = record.last(_OWN)
    tiles = _all_that_was_found(record)
    if math.isfinite(own):
        tiles.append(Tile("One direction decides", f"{own:.2f}", "of image pairs", record.series(_OWN)[1]))
    return tiles


def _all_that_was_found(record: RunRecord) -> list[Tile]:
    """Contents that the network leans on of which no finding tells, since nothing else was found in the images."""
    tiles = []
    for content, nothing in record.matching("failures/simplicity/all_there_is/*").items():
        key = f"failures/simplicity/transplant/{content}"
        if nothing >= 0.5 and record.last(f"failures/simplicity/reliance/{content}") >= CARRIES:
            audited = {"alone": "alone", "without": "without it"}
            found = {words: record.last(f"failures/simplicity/audit_{of}/{content}") for of, words in audited.items()}
            said = [f"{value:.2f} {words}" for words, value in found.items() if math.isfinite(value)]
            audit = f"; the audit: {', '.join(said)}" if said else ""
            note = f"of predictions follow it, which is all that was found{audit}"
            tiles.append(Tile(f"Leans on {content}", f"{record.last(key):.2f}", note, record.series(key)[1]))
    return tiles


_ACCURACY = Chart(
    "accuracy",
    _accuracy_caption,
    _accuracy_label,
    accuracy_figure,
    scale=accuracy_limits,
    marks_findings=True,
)

_INTERCHANGE = Chart(
    "interchange",
    "Whose prediction comes out when a donor image takes over the receiver's place on the one main direction "
    "of the data. Near 1 for \u201cone direction decides\u201d, the decisions hang on one number per image.",
    _interchange_label,
    interchange_figure,
)

_BELOW_SIMPLE = traces(
    "accuracy",
    "Accuracy of the network, and of the best of the simple models that were fitted on the same training images, on "
    "the same images.",
    Trace("network", "failures/simplicity/model_accuracy"),
    Trace("simple model", "failures/simplicity/best_reach"),
)
_CUE = traces(
    "share of the images",
    "Images that are given the {subject} of another one and nothing else: how many are predicted as that other one, "
    "and how many as before.",
    Trace("as the other", "failures/simplicity/transplant/*"),
    Trace("as before", "failures/simplicity/transplant_own/*"),
    whole=True,
)
_CUE_OF_CLASS = traces(
    "share of the images",
    "Images that are given the {subject} of an image of one class: how many are put into that class; and how many "
    "follow it over all classes.",
    Trace("of one class", "failures/simplicity/class_reliance/*"),
    Trace("of all classes", "failures/simplicity/transplant/*"),
    whole=True,
)
_PROOFS = (
    Proof(("untapped_information",), from_chart(_ACCURACY)),
    Proof(("below_simple_model",), _BELOW_SIMPLE),
    Proof(("one_dimensional_predictions",), from_chart(_INTERCHANGE)),
    Proof(("simple_cue_reliance", "simple_cue_reliance_at_chance"), _CUE, images=True),
    Proof(("simple_cue_reliance_of_a_class",), _CUE_OF_CLASS, images=True),
)

SIMPLICITY = Column(
    "simplicity",
    TERMS,
    RULES,
    title="Simple cues and simple models",
    proofs=_PROOFS,
    charts=(_ACCURACY, _INTERCHANGE),
    tiles=_tiles,
    rows=(
        ("Linear reference", last_figure(f"failures/simplicity/{_REFERENCE}", ".3f")),
        ("One direction decides", last_figure(_OWN, ".3f")),
        ("The rest decides", last_figure("failures/simplicity/donor/1", ".3f")),
    ),
    reference=Reference(_REFERENCE, "linear model", "of each channel's mean"),
    media=(
        Medium("accuracy", "picture", "Accuracy of the network and of the linear model, with findings marked"),
        Medium("transplants", "picture", "Images whose prediction moves with one content"),
        Medium(
            "regions", "picture", "Which regions of the image the predictions follow, where one decides a tenth or more"
        ),
        Medium("ladder", "picture", "How far simple models explain the predictions"),
        Medium("decision_dimension_figure", "picture", "How many directions decide"),
        Medium(
            "worst_cue", "picture", "Predictions over the cue that explains most of them, where that is a tenth or more"
        ),
        Medium("table", "table", "Simple models: how far they reach, and what they explain"),
    ),
)
