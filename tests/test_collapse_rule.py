"""What the standard rules of collapse call a failure, and what they leave alone, over figures of planted values."""

import math

import pytest
import torch

from lightning_failures import FailureDiagnosis, PredictionCollapse
from lightning_failures.callbacks.collapse import RunBest
from lightning_failures.records import Evaluation

KEY = "failures/collapse/"


def judged(rule: str, *evaluations: dict[str, float]) -> FailureDiagnosis:
    """The diagnosis after these evaluations, past the warm-up."""
    diagnosis = FailureDiagnosis([rule], announce="nothing")
    for epoch, values in enumerate(evaluations, 3):
        logged = {f"{KEY}{key}": value for key, value in values.items()}
        diagnosis.evaluate(Evaluation(epoch, 100 * epoch, logged))
    return diagnosis


def predictions(scale: float, non_finite: int = 0) -> dict[str, float]:
    """Figures of a network that puts every image into class 0, as sure of it as the scale says."""
    logits = torch.zeros(200, 10)
    logits[:, 0] = scale
    logits[:non_finite, 1] = math.nan
    metric = PredictionCollapse(10)
    metric.update(logits, torch.arange(200) % 10)
    return {key: float(value) for key, value in metric.compute().items()}


def test_sure_predictions_of_one_class_are_a_collapse_and_its_message_says_how_sure() -> None:
    (finding,) = judged("class_collapse", *[predictions(6.0)] * 3).findings
    assert (finding.kind, finding.severity) == ("class_collapse", "failure")
    assert "Sharpness of the predictions: 0.93 (1: certain)" in finding.message


def test_the_largest_of_a_flat_softmax_is_no_collapse() -> None:
    values = predictions(0.1)
    assert values["class_share"] == 0
    assert values["conditional_perplexity"] > 9.9
    assert judged("class_collapse", *[values] * 6).history == []


@pytest.mark.parametrize("bad", [1, 120, 200])
def test_logits_that_are_not_finite_never_read_as_class_collapse(bad: int) -> None:
    assert judged("class_collapse", *[predictions(6.0, bad)] * 6).history == []


def features(rank: float, cosine: float, best: RunBest, label_rank: float = math.nan) -> dict[str, float]:
    """Figures of one layer called net."""
    own = {"effective_rank/net": rank, "mean_cosine/net": cosine}
    return own | best.compare(["net"], own, label_rank)


def started(rank: float, cosine: float) -> RunBest:
    """What a network had before training."""
    best = RunBest()
    best.start({"effective_rank/net": rank, "mean_cosine/net": cosine})
    return best


def test_a_narrow_cone_with_all_its_dimensions_is_no_collapse() -> None:
    narrow = features(14.1, 0.96, started(14.1, 0.6), label_rank=3.0)
    assert narrow["spread_kept/net"] == pytest.approx(0.1)
    assert judged("representation_collapse", *[narrow] * 6).history == []


@pytest.mark.parametrize(
    ("rank", "cosine", "label_rank"),
    [(1.16, 0.3, math.nan), (1.9, 0.97, 9.0), (2.5, 0.999, math.nan), (0.0, math.nan, 9.0)],
    ids=["on a line", "few dimensions and angles", "one direction", "dead"],
)
def test_features_on_a_line_or_in_one_direction_or_dead_are_a_collapse(
    rank: float, cosine: float, label_rank: float
) -> None:
    values = features(rank, cosine, started(32.0, 0.3), label_rank)
    (finding,) = judged("representation_collapse", *[values] * 3).findings
    assert finding.message.startswith("The features of net collapse, they vary in few directions: ")
    assert "nan" not in finding.message


def test_a_classifier_of_two_classes_may_put_its_features_on_a_line() -> None:
    values = features(1.05, 0.5, started(20.0, 0.3), label_rank=1.0)
    assert judged("representation_collapse", *[values] * 6).history == []
