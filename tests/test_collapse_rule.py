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


def some_classes_never(given: int) -> dict[str, float]:
    """Figures of a network that is right on the first classes of ten, 30 images each, and names the first otherwise."""
    labels = torch.arange(300) % 10
    metric = PredictionCollapse(10)
    metric.update(8.0 * torch.nn.functional.one_hot(torch.where(labels < given, labels, 0), 10), labels)
    return {key: float(value) for key, value in metric.compute().items()}


def test_classes_that_no_image_is_put_into_are_told_with_the_largest() -> None:
    (finding,) = judged("never_given", *[some_classes_never(7)] * 4).findings
    assert (finding.kind, finding.severity) == ("class_collapse", "warning")
    assert finding.message == (
        "No image is put into some of the classes, though each of these is the label of 20 of the 300 images or more. "
        "In all 3; the one with most images is class 7. The accuracy is 0.700."
    )


def test_a_network_that_gives_every_class_and_one_that_collapsed_altogether_raise_nothing_of_single_classes() -> None:
    assert judged("never_given", *[some_classes_never(10)] * 6).history == []
    assert judged("never_given", *[predictions(6.0)] * 6).history == []  # the rule class_collapse speaks


@pytest.mark.parametrize(("accuracy", "raised"), [(0.66, True), (0.8, False), (0.1, False)])
def test_a_head_far_below_a_linear_model_of_its_own_features_leaves_information_untapped(
    accuracy: float, raised: bool
) -> None:
    values = {"accuracy": accuracy, "probe_accuracy/penultimate": 0.95, "chance": 0.1, "images": 500, "non_finite": 0}
    found = judged("below_its_features", *[values] * 4).findings
    assert [finding.kind for finding in found] == ["untapped_information"] * raised
    if found:
        assert found[0].message == (
            "The network's last layer makes less of its features than they hold: the accuracy is 0.660 on 500 "
            "validation images, and a linear model of the same features, fitted on every other image, has 0.950 on the "
            "rest."
        )


def test_a_head_that_catches_up_within_four_evaluations_is_no_finding() -> None:
    begins = {"accuracy": 0.3, "probe_accuracy/penultimate": 0.9, "chance": 0.1, "images": 500.0, "non_finite": 0.0}
    assert judged("below_its_features", begins, begins, begins, begins | {"accuracy": 0.75}).history == []
