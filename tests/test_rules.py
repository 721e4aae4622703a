import dataclasses
import math

import pytest

from lightning_failures import FailureDiagnosis, Rule, standard_rules
from lightning_failures.errors import InputError
from lightning_failures.records import STEPS_TO_LEARN, Evaluation

RULE = Rule(
    kind="factor_failure",
    when=["low/* > 1.5"],
    clear=["low/* <= 1.2"],
    evidence={"low": "low/*"},
    message="{subject} at {low:.1f}",
    warmup=1,
    persistence=2,
)


def run(rule, *values):
    """One evaluation an epoch; returns the diagnosis after the last."""
    diagnosis = FailureDiagnosis([rule])
    for epoch, value in enumerate(values):
        diagnosis.evaluate(Evaluation(epoch, 10 * epoch, value if isinstance(value, dict) else {"low/dark": value}))
    return diagnosis


def spans(diagnosis):
    return [(finding.subject, finding.epoch, finding.cleared) for finding in diagnosis.history]


def test_a_finding_needs_persistence_after_the_warmup():
    assert spans(run(RULE, 2.0, 2.0)) == []
    assert spans(run(RULE, 2.0, 2.0, 2.0)) == [("dark", 2, None)]
    assert spans(run(RULE, 1.0, 2.0, 1.0, 2.0, 1.0, 2.0)) == []


PLAIN = dataclasses.replace(RULE, persistence=3, plain_when=["low/* > 4"])


def test_one_evaluation_is_enough_where_the_case_is_plain():
    assert spans(run(PLAIN, 1.0, 4.1)) == [("dark", 1, None)]
    assert spans(run(PLAIN, 1.0, 3.9, 3.9)) == []
    assert spans(run(PLAIN, 1.0, 1.6, 4.1)) == [("dark", 2, None)]  # at one that is plain, after one that is not
    assert spans(run(PLAIN, 1.0, 1.6, 1.6, 1.6)) == [("dark", 3, None)]
    assert spans(run(PLAIN, 9.0)) == []  # the warm-up is not cut short


def test_a_plain_case_is_one_in_which_the_rule_holds_and_it_is_cleared_with_patience():
    below = dataclasses.replace(PLAIN, plain_when=["low/* < 9"])
    assert spans(run(below, 1.0, 1.4)) == []
    assert spans(run(below, 1.0, 1.6, 1.0, 1.0)) == [("dark", 1, None)]
    assert spans(run(below, 1.0, 1.6, 1.0, 1.0, 1.0)) == [("dark", 1, 4)]
    assert spans(run(dataclasses.replace(PLAIN, plain_when=["sure/* > 1"]), 1.0, 9.0, 9.0)) == []  # a missing value


def test_a_plain_case_says_what_makes_it_plain():
    assert run(PLAIN, 1.0, 4.5).findings[0].criterion == (
        "low/dark = 4.5 > 1.5, at 1 evaluation, which is enough where low/dark = 4.5 > 4"
    )
    assert run(PLAIN, 1.0, 1.6, 1.6, 1.6).findings[0].criterion == "low/dark = 1.6 > 1.5, at 3 evaluations in a row"


def test_a_star_in_plain_when_stands_for_a_subject():
    with pytest.raises(InputError) as error:
        Rule(kind="own_rule", when="a > 1", plain_when="b/* > 1", message="")
    assert str(error.value).startswith("Rule(own_rule).plain_when: more stars than in when; given 'b/* > 1'. Put the ")


def test_a_warmup_is_over_when_its_epochs_and_its_steps_are_both_passed():
    short = dataclasses.replace(RULE, warmup_steps=30)  # ten steps an epoch: epoch 3 is the first that counts
    assert spans(run(short, *[2.0] * 4)) == []
    assert spans(run(short, *[2.0] * 5)) == [("dark", 4, None)]
    assert spans(run(dataclasses.replace(short, warmup=5), *[2.0] * 7)) == [("dark", 6, None)]


def test_a_finding_carries_its_figures_and_words():
    finding = run(RULE, 1.0, 1.6, 1.7).findings[0]
    assert (finding.message, finding.step, dict(finding.evidence)) == ("dark at 1.7", 20, {"low": 1.7})


def test_between_raising_and_clearing_a_finding_stays():
    assert spans(run(RULE, 0, 2.0, 2.0, 1.3, 1.3, 1.3)) == [("dark", 2, None)]
    assert spans(run(RULE, 0, 2.0, 2.0, 1.1, 1.3, 1.1)) == [("dark", 2, None)]
    diagnosis = run(RULE, 0, 2.0, 2.0, 1.1, 1.1)
    assert spans(diagnosis) == [("dark", 2, 4)]
    assert diagnosis.findings == []


def test_a_finding_may_come_again_after_it_was_cleared():
    assert spans(run(RULE, 0, 2.0, 2.0, 1.1, 1.1, 2.0, 2.0)) == [("dark", 2, 4), ("dark", 6, None)]


def test_subjects_are_counted_apart():
    values = [{"low/a": 2.0, "low/b": 1.0}, {"low/a": 2.0, "low/b": 2.0}, {"low/a": 2.0, "low/b": 2.0}]
    assert spans(run(RULE, *values)) == [("a", 2, None), ("b", 2, None)]


def test_an_evaluation_without_the_value_changes_nothing():
    assert spans(run(RULE, 0, 2.0, {}, {"low/dark": math.nan}, 2.0)) == [("dark", 4, None)]


def test_conditions_with_fewer_stars_take_the_first_names():
    rule = Rule(
        kind="own_rule",
        when=["high/*/* > low/*/* + 1", "seen/* > 9"],
        message="{high:.1f} {seen}",
        evidence={"high": "high/*/*", "seen": "seen/*"},
        warmup=0,
        persistence=1,
    )
    values = {"high/a/x": 3.0, "low/a/x": 1.0, "high/b/x": 3.0, "low/b/x": 1.0, "seen/a": 10.0, "seen/b": 9.0}
    assert rule.subjects(values) == ["a/x", "b/x"]
    (finding,) = run(rule, values).findings
    assert (finding.subject, finding.message) == ("a, x", "3.0 10.0")
    assert finding.criterion == "high/a/x = 3 > low/a/x + 1 (now 2), seen/a = 10 > 9, at 1 evaluation"


def test_the_state_survives_a_resume_in_plain_containers():
    whole = run(RULE, 0, 2.0, 2.0, 1.1, 1.1)
    first, second = run(RULE, 0, 2.0), FailureDiagnosis([RULE])
    second.load_state_dict(first.state_dict())
    for epoch, value in ((2, 2.0), (3, 1.1), (4, 1.1)):
        second.evaluate(Evaluation(epoch, 10 * epoch, {"low/dark": value}))
    assert second.history == whole.history


def test_a_rule_with_an_unknown_kind_lists_the_kinds():
    with pytest.raises(InputError, match=r"Rule: there is no kind 'bad_luck'; given bad_luck. Use one of one_dim"):
        Rule(kind="bad_luck", when=["a > 1"], evidence={}, message="")


def test_a_message_that_names_no_evidence_is_an_error():
    with pytest.raises(InputError) as error:
        Rule(kind="factor_failure", when=["a > 1"], evidence={"a": "a"}, message="{a} and {b}")
    assert str(error.value) == (
        "Rule(factor_failure): the message names b; given evidence a. Name evidence, or {subject}."
    )


@pytest.mark.parametrize("rule", standard_rules(), ids=lambda rule: rule.kind)
def test_every_standard_rule_says_where_its_thresholds_come_from_and_what_to_try(rule):
    assert rule.source
    assert rule.advice
    if rule.kind in ("generalisation_gap", "not_finite", "training_fault", "data_fault") and not rule.warmup:
        return  # what is proven on the spot, or is wrong whatever the epoch, need not wait
    assert rule.warmup >= 1
    assert rule.warmup_steps == (0 if rule.kind == "representation_collapse" else STEPS_TO_LEARN)
    assert rule.persistence >= 2


def found_at(steps_an_epoch, epochs=20, low=0.1):
    """Epoch at which the standard rules find what is there from the first evaluation on; None where they do not."""
    diagnosis = FailureDiagnosis()
    for epoch in range(epochs):
        now = Evaluation(epoch, steps_an_epoch * (epoch + 1), {"failures/simplicity/low": low, **UNTAPPED})
        diagnosis.evaluate(now)
    return next((finding.epoch for finding in diagnosis.history), None)


UNTAPPED = {
    f"failures/simplicity/{name}": 0.5
    for name in ("model_accuracy", "reference_accuracy", "difference", "high", "p_value", "images")
}


def test_an_early_epoch_is_not_called_a_failure():
    assert found_at(1000, epochs=2) is None
    assert found_at(1000) == 3


def test_a_plain_failure_is_called_at_the_first_evaluation_that_counts():
    assert found_at(1000, low=0.5) == 2
    assert found_at(8, low=0.5) == 7  # step 64


def test_an_epoch_of_few_steps_is_still_an_early_one():
    assert found_at(8) == 8  # steps 64 and 72: the first two evaluations past the steps of the warm-up
    assert found_at(30) == 3  # an epoch of 20 steps and more has passed them by the third evaluation
    assert found_at(20) == 3


SEVERE = dataclasses.replace(RULE, severity="watch", severe_when={"failure": "low/* > 4", "warning": ["low/* > 3"]})


def severities(*values):
    """Severity of the first finding after each evaluation; empty before it is raised."""
    diagnosis, seen = FailureDiagnosis([SEVERE]), []
    for epoch, value in enumerate(values):
        raised = diagnosis.evaluate(Evaluation(epoch, 10 * epoch, {"low/dark": value}))
        seen.append((diagnosis.history[0].severity if diagnosis.history else "", bool(raised)))
    assert len(diagnosis.history) <= 1  # never two findings on one subject
    return seen


def test_a_finding_has_the_worst_severity_whose_conditions_held_long_enough():
    assert severities(2, 2, 2)[-1] == ("watch", True)
    assert severities(2, 3.5, 3.5)[-1] == ("warning", True)
    assert severities(2, 5, 5)[-1] == ("failure", True)
    assert severities(2, 3.5, 5)[-1] == ("warning", True)  # what held at both is a warning


def test_a_severity_rises_and_falls_after_as_many_evaluations_as_raise_a_finding():
    rising = severities(2, 2, 2, 5, 5)
    assert rising[2:] == [("watch", True), ("watch", False), ("failure", True)]
    assert severities(2, 5, 5, 2, 5, 2)[-1] == ("failure", False)
    assert severities(2, 5, 5, 2, 2)[-1] == ("watch", False)


def test_a_finding_that_became_more_severe_says_it_with_the_figures_of_then():
    diagnosis = run(SEVERE, 2, 2, 2, 5, 5.5)
    (finding,) = diagnosis.findings
    assert (finding.epoch, finding.message, finding.latest) == (2, "dark at 2.0", "dark at 5.5")
    assert finding.criterion == "low/dark = 5.5 > 1.5, low/dark = 5.5 > 4, at 2 evaluations in a row"


@pytest.mark.parametrize(
    ("severe_when", "said"),
    [
        ({"watch": "low/* > 2"}, "Rule(own).severe_when: no worse severity than warning; given watch. Use failure."),
        (
            {"failure": []},
            "Rule(own).severe_when['failure']: no condition; given []. Write one such as 'val_loss > 2'.",
        ),
        (
            {"failure": "high/*/* > 2"},
            "Rule(own).severe_when['failure']: more stars than in when; given 'high/*/* > 2'. Put the star into a "
            "condition of when too, or leave it out: a star elsewhere stands for the same name.",
        ),
        (
            ["failure"],
            "Rule(own).severe_when: a mapping of severities to conditions is needed, not a list; given ['failure']. "
            "Write the severity, then its conditions: {failure: val_loss > 9}.",
        ),
        (
            {"failure": 2},
            "Rule(own).severe_when['failure']: a condition or a list of them is needed, not a whole number; given 2. "
            "Write one such as 'val_loss > 2'.",
        ),
    ],
)
def test_severities_that_no_finding_can_have_are_refused(severe_when, said):
    with pytest.raises(InputError) as error:
        Rule(kind="own_rule", name="own", when="low/* > 1", message="", severity="warning", severe_when=severe_when)
    assert str(error.value) == said
