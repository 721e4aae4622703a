import math

import pytest

from lightning_failures import FailureDiagnosis, Rule
from lightning_failures.callbacks.findings import ValidationMetric, find_metric, turning_epoch
from lightning_failures.errors import InputError
from lightning_failures.records import Evaluation, RunRecord
from lightning_failures.reporting.sentences import lead, when

RUN = RunRecord("run")
RULE = Rule(kind="own_rule", name="low", when="a > 1", message="a is {a}", warmup=0, persistence=1)


def record(values, key="val_loss"):
    return RunRecord("run", [Evaluation(i, 10 * i, {key: value}) for i, value in enumerate(values)])


@pytest.mark.parametrize(
    ("losses", "epoch"),
    [
        ([3, 2, 1], None),
        ([3, 2, 1, 1.5], None),
        ([3, 2, 1, 1.5, 1.2], 3),
        ([3, 2, 1, 1, 1], None),
        ([1, 1, 1, 1, 1, 1], None),
        ([3, 2, 1, 1, 1, 1.5, 1.2], 5),
        ([3, 2, 1, 1.5, 1], None),
        ([1, 2, 3, 0.5, 4], None),
        ([3, math.nan, 1, math.nan, 2], 3),
        ([math.nan], None),
        ([], None),
    ],
)
def test_a_metric_turns_after_its_last_best_once_two_evaluations_are_worse(losses, epoch):
    assert turning_epoch(record(losses), ValidationMetric("val_loss", True)) == epoch
    assert turning_epoch(record([-x for x in losses], "acc"), ValidationMetric("acc", False)) == epoch


def test_a_loss_is_found_before_an_accuracy():
    assert find_metric(["x", "val_acc", "val_loss"]) == ValidationMetric("val_loss", True)
    assert find_metric(["x", "val_acc"]) == ValidationMetric("val_acc", False)
    assert find_metric(["x"]) is None


def after(losses, raised, **options):
    """The finding at the end of a run in which it was raised at an epoch."""
    diagnosis = FailureDiagnosis([RULE], **options)
    for epoch, loss in enumerate(losses):
        diagnosis.evaluate(
            Evaluation(epoch, 10 * epoch, {"val_loss": loss, "acc": -loss, "a": 2.0 * (epoch >= raised)})
        )
    return diagnosis.history[0]


def test_a_finding_says_how_long_it_came_before_the_validation_metric_turned():
    falling_then_rising = [5, 4, 3, 2, 3, 4]
    early, late = after(falling_then_rising, 1), after(falling_then_rising, 5)
    assert (early.metric, early.lead, lead(early)) == ("val_loss", 3, "3 epochs before val_loss got worse")
    assert (late.lead, lead(late)) == (-1, "1 epoch after val_loss got worse")
    assert lead(after(falling_then_rising, 4)) == "as val_loss got worse"
    assert when(early, RUN) == "since epoch 1 (step 10), 3 epochs before val_loss got worse"
    still = after([5, 4, 3, 2], 1)
    assert (still.lead, lead(still)) == (None, "val_loss has not got worse")


def test_a_metric_that_never_gets_worse_than_its_best_has_not_turned():
    perfect = after([0.0] * 8, 6, metric="max acc")
    assert (perfect.metric, perfect.lead, lead(perfect)) == ("acc", None, "acc has not got worse")


def test_the_validation_metric_can_be_named():
    assert after([5, 4, 3, 2, 3, 4], 1, metric="max acc").metric == "acc"
    with pytest.raises(InputError) as error:
        FailureDiagnosis(metric="acc")
    assert str(error.value) == (
        "FailureDiagnosis: an order that cannot be read; given 'acc'. Write 'min KEY' or 'max KEY'."
    )


def test_a_finding_says_what_was_compared_with_what():
    finding = after([1, 1], 1)
    assert (finding.rule, finding.criterion) == ("low", "a = 2 > 1, at 1 evaluation")
    rule = Rule(kind="own_rule", when="x/* >= y/* + 1", message="{subject}", warmup=0, persistence=2)
    diagnosis = FailureDiagnosis([rule])
    for epoch in range(2):
        diagnosis.evaluate(Evaluation(epoch, epoch, {"x/dark": 3.0, "y/dark": 1.5}))
    assert diagnosis.findings[0].criterion == "x/dark = 3 >= y/dark + 1 (now 2.5), at 2 evaluations in a row"
