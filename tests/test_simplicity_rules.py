"""When the findings of simplicity are raised, stay and clear."""

import math

import pytest

from lightning_failures import FailureDiagnosis
from lightning_failures.records import Evaluation

KEY = "failures/simplicity/"
CUE = {"transplant": 0.9, "transplant_low": 0.45, "transplant_own": 0.05, "all_there_is": 0.0, "without": 0.3}
CUE |= {"without_low": 0.2, "transplant_excess_low": 0.7}
OF_A_CUE = {"eta2": 0.95, "eta2_within": 0.8, "explained_adjusted": 0.99, "reach": 0.92}
SCALARS = {"model_accuracy": 0.91, "chance": 0.26, "best_reach": 0.95, "low": -0.1}


def findings(course, **changes):
    """What is raised and cleared over values of one cue's reliance, one per epoch."""
    diagnosis = FailureDiagnosis(announce="nothing")
    for epoch, reliance in enumerate(course):
        values = {f"{KEY}{name}": value for name, value in (SCALARS | changes).items()}
        values |= {f"{KEY}{name}/total_absorbance": value for name, value in CUE.items()}
        values[f"{KEY}reliance/total_absorbance"] = reliance
        diagnosis.evaluate(Evaluation(epoch, 100 * epoch, values))
    return [(found.kind, found.subject, found.epoch, found.cleared) for found in diagnosis.history]


RELIANCE = ("simple_cue_reliance", "total_absorbance")


@pytest.mark.parametrize(
    ("course", "expected"),
    [
        ([0.9] * 3, []),
        ([0.9] * 4, [(*RELIANCE, 3, None)]),
        ([0.9, 0.9, 0.9, 0.32, 0.9], []),
        ([0.9] * 4 + [0.32] * 9, [(*RELIANCE, 3, None)]),
        ([0.9] * 4 + [0.2] + [0.32] + [0.2], [(*RELIANCE, 3, None)]),
        ([0.9] * 4 + [0.2] * 2, [(*RELIANCE, 3, 5)]),
        ([0.9, 0.9, 0.9, math.nan, math.nan, 0.9, math.nan, 0.9], [(*RELIANCE, 5, None)]),
        ([0.25] * 9, []),
    ],
)
def test_reliance_needs_two_evaluations_from_the_third_epoch_on_and_as_many_to_clear(course, expected):
    assert findings(course) == expected


def test_at_chance_nothing_is_said_since_an_untrained_network_hangs_on_the_dominant_direction():
    assert findings([1.0] * 9, model_accuracy=0.3, best_reach=0.3) == []
    course = {"own/1": 1.0, "own_low/1": 0.9, "own_high/1": 1.0, "donor/1": 0.0, "pairs": 128.0}
    course["all_there_is/first_direction"] = 0.0
    assert findings([0.0] * 9, model_accuracy=0.3, best_reach=0.3, **course) == []
    assert findings([0.0] * 9, **course) == [("one_dimensional_predictions", "", 2, None)]


def test_what_goes_with_the_labels_alone_decides_nothing():
    assert findings([0.1] * 9) == []
    values = {f"{KEY}{name}": value for name, value in SCALARS.items()}
    values |= {f"{KEY}{name}/scanner": value for name, value in (OF_A_CUE | {"reliance": 0.1}).items()}
    diagnosis = FailureDiagnosis(announce="nothing")
    for epoch in range(9):
        diagnosis.evaluate(Evaluation(epoch, 100 * epoch, values))
    assert diagnosis.history == []  # though eta2 is 0.95 and the cue explains 0.99 of the information


def test_untapped_information_needs_a_difference_that_is_sure():
    evidence = {"reference_accuracy": 0.9, "difference": 0.3, "high": 0.4, "p_value": 1e-9, "images": 500.0}
    assert findings([0.0] * 6, low=0.04, **evidence) == []
    assert findings([0.0] * 6, low=0.2, **evidence) == [("untapped_information", "", 3, None)]


def severities(**changes):
    """Kind and severity of what stands after enough evaluations of a network that hangs on one scalar."""
    diagnosis = FailureDiagnosis(["one_dimensional_predictions", "simple_cue_reliance"], announce="nothing")
    course = {"own/1": 1.0, "own_low/1": 0.9, "own_high/1": 1.0, "donor/1": 0.0, "pairs": 128.0}
    course["all_there_is/first_direction"] = 0.0
    course |= {f"{name}/total_absorbance": value for name, value in (CUE | {"reliance": 0.95}).items()}
    for epoch in range(9):
        values = {f"{KEY}{name}": value for name, value in (SCALARS | course | changes).items()}
        diagnosis.evaluate(Evaluation(epoch, 100 * epoch, values))
    return {finding.kind: finding.severity for finding in diagnosis.findings}


def test_a_scalar_that_may_be_the_task_is_a_warning():
    beside = {"reach/first_component": 0.93, "reference_accuracy": 0.95}
    of_the_task = {"one_dimensional_predictions": "warning", "simple_cue_reliance": "warning"}
    assert severities(**beside) == of_the_task
    # not trained to its end, it is below a linear model, which needs no more than the scalar either
    assert severities(**beside, low=0.2, model_accuracy=0.6) == of_the_task
    assert severities(low=0.2) == of_the_task  # nothing is known of the rungs


def test_a_scalar_beside_which_nothing_else_was_found_is_not_spoken_of():
    nothing = {"all_there_is/total_absorbance": 1.0, "all_there_is/first_direction": 1.0}
    assert severities(**nothing) == {}
    assert severities(**nothing | {"all_there_is/first_direction": 0.0}).keys() == {"one_dimensional_predictions"}


def test_a_scalar_beside_which_more_was_to_be_had_is_a_failure():
    more = {"reach/first_component": 0.41, "reference_accuracy": 0.66, "without_low/total_absorbance": 0.6}
    found = severities(**more, low=0.2, model_accuracy=0.42)
    assert found == {"one_dimensional_predictions": "failure", "simple_cue_reliance": "failure"}


def test_a_network_at_chance_in_validation_that_learnt_a_shortcut_is_told():
    at_chance = {"model_accuracy": 0.27, "best_reach": 0.27}
    assert findings([0.9] * 9, **at_chance) == []
    course = {f"{KEY}{name}": value for name, value in (SCALARS | at_chance).items()}
    course |= {f"{KEY}{name}/colour": value for name, value in (CUE | {"reliance": 0.9}).items()}
    diagnosis = FailureDiagnosis(announce="nothing")
    for epoch in range(9):
        diagnosis.evaluate(Evaluation(epoch, 100 * epoch, course | {"failures/causes/training_accuracy": 0.98}))
    (finding,) = diagnosis.findings
    assert (finding.kind, finding.subject, finding.rule) == (
        "simple_cue_reliance",
        "colour",
        "simple_cue_reliance_at_chance",
    )
    assert "The accuracy is 0.980 on training images" in finding.message


def of_a_class(**changes):
    """What stands after enough evaluations of a network of which one class follows the cue."""
    course = {"class_reliance": 0.97, "class_reliance_low": 0.55, "reliant_class": 7.0}
    course |= {"transplant": 0.09, "transplant_own": 0.85, "reliance": 0.09} | changes
    diagnosis = FailureDiagnosis(announce="nothing")
    for epoch in range(9):
        values = {f"{KEY}{name}": value for name, value in SCALARS.items()}
        values |= {f"{KEY}{name}/grey_level": value for name, value in (CUE | course).items()}
        diagnosis.evaluate(Evaluation(epoch, 100 * epoch, values))
    return diagnosis.findings


def test_a_class_that_hangs_on_a_cue_is_a_warning_that_names_it():
    (finding,) = of_a_class()
    assert (finding.kind, finding.subject, finding.severity) == ("simple_cue_reliance", "grey_level", "warning")
    assert "97% are put into class 7" in finding.message


def test_a_cue_that_all_classes_follow_is_one_finding_and_a_class_by_chance_none():
    (finding,) = of_a_class(reliance=0.9, transplant=0.9, transplant_own=0.0)
    assert finding.rule == "simple_cue_reliance"
    assert of_a_class(class_reliance_low=0.3) == []
    assert of_a_class(class_reliance=0.7) == []


def test_a_class_that_plainly_hangs_on_a_cue_is_named_at_once():
    course = {"class_reliance": 1.0, "reliant_class": 3.0, "transplant": 0.12}
    raised = []
    for low in (0.45, 0.55):
        diagnosis = FailureDiagnosis(announce="nothing")
        values = {f"{KEY}{name}": value for name, value in SCALARS.items()}
        values |= {f"{KEY}{name}/grey_level": value for name, value in course.items()}
        diagnosis.evaluate(Evaluation(9, 900, values | {f"{KEY}class_reliance_low/grey_level": low}))
        raised.append([finding.rule for finding in diagnosis.findings])
    assert raised == [[], ["simple_cue_reliance_of_a_class"]]


BELOW_LINEAR = {"low": 0.25, "recent_low": 0.22, "reference_accuracy": 0.52, "difference": 0.28, "high": 0.35}
BELOW_LINEAR |= {"p_value": 1e-9}


def below_a_simple_model(evaluations=4, **changes):
    """What stands after some evaluations."""
    values = SCALARS | {"model_accuracy": 0.24, "chance": 0.12, "best_reach": 0.52, "images": 500.0} | changes
    diagnosis = FailureDiagnosis(announce="nothing")
    for epoch in range(2, 2 + evaluations):
        diagnosis.evaluate(Evaluation(epoch, 100 * epoch, {f"{KEY}{name}": value for name, value in values.items()}))
    return [(finding.kind, finding.rule, finding.severity) for finding in diagnosis.findings]


def test_an_accuracy_far_below_a_simple_model_is_a_failure_though_a_linear_one_does_no_better():
    assert below_a_simple_model() == [("untapped_information", "below_simple_model", "failure")]
    assert below_a_simple_model(3) == []  # it may begin slowly
    assert below_a_simple_model(model_accuracy=0.35) == []
    assert below_a_simple_model(model_accuracy=0.13) == []  # at chance, which is told as that
    assert below_a_simple_model(**BELOW_LINEAR) == [("untapped_information", "untapped_information", "failure")]


def test_a_network_that_came_up_to_the_linear_model_a_few_evaluations_ago_is_worth_watching():
    linear = BELOW_LINEAR | {"recent_low": 0.02}
    assert below_a_simple_model(**linear) == [("untapped_information", "untapped_information", "watch")]
