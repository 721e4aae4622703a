"""The examination at the end of a run, of what its last evaluation left: a verdict on everything."""

import math

import pytest
import torch
from lightning.pytorch import Callback
from lightning.pytorch.callbacks import WeightAveraging
from torch import nn

from lightning_failures import ChannelAttributionMonitor, FailureDiagnosis, Rule, SimplicityBiasMonitor
from lightning_failures.callbacks.findings import RuleStreaks
from lightning_failures.errors import InputError
from lightning_failures.records import Evaluation
from tests.runs import Classifier, fit, hooks_on, loaders

HEADLINE = "failures/simplicity/donor/1"
EVIDENCE = {"donor": HEADLINE}


class Logits(Classifier):
    """Tells classes apart from the beginning, so that images can be given each other's coordinates."""

    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(nn.Flatten(), nn.Linear(150, 3))
        with torch.no_grad():
            self.net[1].weight.copy_(torch.eye(6)[:3].repeat_interleave(25, 1))
            self.net[1].bias.zero_()


def monitors(*rules, **options):
    """At a long cadence, nothing but the end is examined after the first evaluation."""
    options = {"budget": None, "every_n_epochs": 9, "on_error": "raise"} | options
    diagnosis = FailureDiagnosis(list(rules) or None, announce="nothing")
    return SimplicityBiasMonitor(**options), ChannelAttributionMonitor(**options), diagnosis


def rule(**fields):
    return Rule(kind="own_rule", when=f"{HEADLINE} >= 0", message="{donor:.2f}", evidence=EVIDENCE, warmup=1, **fields)


def test_what_the_last_evaluation_left_is_examined_and_joins_it_in_the_record():
    simple, channels, diagnosis = monitors()
    run, module = fit([simple, channels, diagnosis], Logits(), epochs=3)
    last, before = diagnosis.record.evaluations[-1], diagnosis.record.evaluations[-2]
    assert math.isnan(before.values[HEADLINE])
    assert last.values[HEADLINE] == float(simple.values["donor/1"])
    assert last.values["failures/channels/largest_change"] == float(channels.values["largest_change"])
    assert simple.examination.left_over == ()
    assert channels.course.profiles[-1].epoch == last.epoch == 2
    assert run.callback_metrics["val_loss"] == last.values["val_loss"]
    assert diagnosis.record.not_watched == {}
    assert hooks_on(module) == 0


def test_a_plain_case_is_raised_at_the_end_and_one_that_is_not_takes_its_evaluations():
    plain, patient = rule(name="plain", plain_when=f"{HEADLINE} < 2"), rule(name="patient")
    *parts, diagnosis = monitors(plain, patient)
    fit([*parts, diagnosis], Logits(), epochs=3)
    assert [(finding.rule, finding.epoch) for finding in diagnosis.history] == [("plain", 2)]
    assert diagnosis.history[0].step == diagnosis.record.evaluations[-1].step == 18


def test_a_rule_that_spoke_at_the_last_evaluation_does_not_count_it_twice():
    logged = Rule(kind="own_rule", when="val_loss > 0", message="{val_loss:.1f}", warmup=0, persistence=4)
    *parts, diagnosis = monitors(logged)
    fit([*parts, diagnosis], Logits(), epochs=3)
    assert diagnosis.history == []
    assert diagnosis.streaks.lengths == {"own_rule:": 3}


def test_a_run_that_is_examined_throughout_is_not_examined_again():
    simple, channels, diagnosis = monitors(budget=1e9, every_n_epochs=1)
    fit([simple, channels, diagnosis], Logits(), epochs=3)
    assert simple.completed == channels.completed == {}
    assert [profile.epoch for profile in channels.course.profiles] == [0, 1, 2]


def test_training_is_bitwise_the_same():
    _, alone = fit([], Logits(), epochs=2)
    _, watched = fit(list(monitors()), Logits(), epochs=2)
    for (name, plain), (_, with_us) in zip(alone.state_dict().items(), watched.state_dict().items(), strict=True):
        assert torch.equal(plain, with_us), name
    assert watched.training == alone.training


@pytest.mark.parametrize("first", [True, False])
def test_averaged_weights_are_examined_whoever_stands_first(first):
    class Average(WeightAveraging):
        def should_update(self, step_idx=None, epoch_idx=None):
            return step_idx is not None

    seen = []

    class Recording(SimplicityBiasMonitor):
        def _examine(self, model, inputs):
            seen.append(model(inputs).detach().clone())
            super()._examine(model, inputs)

    simple = Recording(budget=None, every_n_epochs=9, on_error="raise")
    callbacks = [Average(), simple] if first else [simple, Average()]
    _, module = fit(callbacks, Logits(), epochs=2)
    with torch.no_grad():
        expected = module.net(simple.examining.inputs(torch.device("cpu")))
    torch.testing.assert_close(seen[-1], expected)


def test_a_run_that_breaks_off_is_not_examined():
    class Breaks(Callback):
        def on_train_epoch_start(self, trainer, module):
            if trainer.current_epoch == 2:
                raise RuntimeError("cut")

    simple, channels, diagnosis = monitors()
    with pytest.raises(RuntimeError, match="cut"):
        fit([simple, channels, diagnosis, Breaks()], Logits(), epochs=3)
    assert simple.completed == {}


def test_counts_that_were_zero_are_completed_and_what_stands_is_said_with_them():
    key = "failures/simplicity/pairs"
    counted = Rule(kind="own_rule", when=f"{key} >= 0", message="{pairs:.0f} pairs", warmup=0)
    *parts, diagnosis = monitors(counted)
    fit([*parts, diagnosis], Logits(), epochs=3)
    simple, pairs = parts[0], diagnosis.record.evaluations[-1].values[key]
    assert diagnosis.record.evaluations[-2].values[key] == 0
    assert pairs == float(simple.values["pairs"]) > 0
    (finding,) = diagnosis.findings
    assert (finding.latest or finding.message) == f"{pairs:.0f} pairs"


def ending(*lows, **fields):
    """A run whose evaluations logged these, one per epoch after the warm-up, as it ends; and the diagnosis."""
    rule = Rule(kind="factor_failure", when="low/* > 1", message="{subject} at {low:.1f}", persistence=3, **fields)
    streaks, history = RuleStreaks(), []
    for epoch, low in enumerate(lows, 2):
        now = Evaluation(epoch, 100 * epoch, {"low/dark": low})
        streaks.apply([rule], now, history)
    return history, streaks.close([rule], now, history)


def test_what_holds_at_the_last_evaluation_and_not_at_enough_is_worth_watching():
    history, open_ones = ending(0.0, 2.0, 0.0, 3.0)
    assert history == []
    (finding,) = open_ones
    assert (finding.severity, finding.message, finding.epoch) == ("watch", "dark at 3.0", 5)
    assert finding.criterion.endswith("at 1 evaluation")
    assert ending(2.0, 2.0, 0.0)[1] == []  # held before, and no more
    raised, open_ones = ending(2.0, 2.0, 2.0)
    assert ([finding.severity for finding in raised], open_ones) == (["failure"], [])


def test_what_chance_does_not_give_keeps_its_severity_at_the_last_evaluation_and_waits_at_any_before():
    sure = {"severity": "watch", "severe_when": {"failure": "low/* > 2"}, "last_when": "low/* > 2.5"}
    assert [finding.severity for finding in ending(0.0, 3.0, **sure)[1]] == ["failure"]
    assert [finding.severity for finding in ending(0.0, 2.2, **sure)[1]] == ["watch"]
    history, open_ones = ending(3.0, 0.0, **sure)
    assert history == open_ones == []
    with pytest.raises(InputError, match=r"^Rule\(own_rule\).last_when: more stars than in when; given 'b/\* > 1'"):
        Rule(kind="own_rule", when="a > 1", last_when="b/* > 1", message="")


def test_what_has_ended_by_the_last_evaluation_is_cleared_and_what_lies_between_stands():
    rule = Rule(
        kind="factor_failure", when="low/* > 1", clear="low/* <= 0.5", message="{subject} at {low:.1f}", persistence=2
    )
    for last, cleared in ((0.4, 4), (0.8, None), (float("nan"), None)):
        streaks, history = RuleStreaks(), []
        for epoch, low in enumerate((2.0, 2.0, last), 2):
            now = Evaluation(epoch, 100 * epoch, {"low/dark": low})
            streaks.apply([rule], now, history)
        streaks.end([rule], now, history)
        assert [finding.cleared for finding in history] == [cleared]
        own = RuleStreaks([rule])
        history = [history[0].with_cleared(None)]
        own.end([rule], now, history)
        assert history[0].standing


def test_of_the_users_own_rules_none_is_worth_watching_before_its_evaluations():
    own = Rule(kind="own_rule", when="val_loss > 0", message="{val_loss:.1f}", warmup=0, persistence=9)
    *parts, diagnosis = monitors(own)
    fit([*parts, diagnosis], Logits(), epochs=3)
    assert diagnosis.history == diagnosis.unconfirmed == []


def test_a_run_that_goes_on_has_yet_to_confirm_what_its_last_evaluation_alone_told():
    patient = Rule(kind="own_rule", when="val_loss > 0", message="{val_loss:.1f}", warmup=0, persistence=9)
    *parts, diagnosis = monitors(patient)
    diagnosis.streaks.own = []  # as a standard rule
    run, module = fit([*parts, diagnosis], Logits(), epochs=2)
    assert [finding.severity for finding in diagnosis.findings] == ["watch"]
    assert diagnosis.state_dict()["record"]["findings"] == []
    run.fit_loop.max_epochs = 3
    diagnosis.rules = ()
    run.fit(module, *loaders())
    assert diagnosis.history == []
