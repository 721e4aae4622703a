"""A run of seconds: how much the monitors may take of it, and that they examine what they can."""

import math
import time

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader

from lightning_failures import ChannelAttributionMonitor, SimplicityBiasMonitor, failure_monitors
from lightning_failures.callbacks.budget import EXAMINED, Budget
from tests.runs import Classifier, dataset, fit, hooks_on

DATA = (
    DataLoader(dataset(64), batch_size=32, shuffle=True),
    DataLoader(dataset(128, seed=1), batch_size=32),
)


class Slow(Classifier):
    """Takes its time for each image."""

    def __init__(self, seconds):
        super().__init__()

        class Waits(nn.Module):
            passed = 0

            def forward(self, x):
                if not torch.is_grad_enabled():
                    Waits.passed += len(x)
                    time.sleep(seconds * len(x))
                return x

        self.waits = Waits
        self.net = nn.Sequential(Waits(), *self.net)


def run(seconds, epochs=1, **options):
    monitors = [
        SimplicityBiasMonitor(on_error="raise", **options),
        ChannelAttributionMonitor(on_error="raise", **options),
    ]
    _, module = fit(monitors, Slow(seconds), data=DATA, epochs=epochs)
    assert hooks_on(module) == 0
    return monitors, module


def test_a_slow_network_is_not_examined_before_there_is_time_for_it_and_the_reason_is_said():
    (simple, channels), module = run(0.005)
    assert module.waits.passed == 64 + 128  # the sanity check and the evaluation: not one pass more
    assert math.isnan(simple.values["own/1"])
    assert simple.undefined["own/1"] == "the time budget was spent"
    assert channels.not_watched == {"which bands the predictions depend on": "the time budget was spent"}


def test_a_network_in_between_is_examined_on_as_many_images_as_there_is_time_for():
    (simple, _), module = run(0.0005)
    extra = module.waits.passed - 64 - 128
    assert 0.0005 * extra <= 2 * EXAMINED
    assert 32 <= len(simple.examining.inputs(torch.device("cpu"))) < 128
    assert len(simple.examining.targets) == len(simple.examining.inputs(torch.device("cpu")))
    assert simple.examining.why_not is None


def test_with_time_enough_the_whole_reference_batch_is_examined_as_before():
    monitors, _ = run(0.0, budget=1e9)
    assert [len(monitor.examining.inputs(torch.device("cpu"))) for monitor in monitors] == [128, 128]


def test_all_monitors_together_take_less_than_a_second_of_a_run_of_seconds():
    monitors = failure_monitors(factors={"first": lambda batch: batch[1] == 0}, on_error="raise")
    began = time.process_time()
    fit(monitors, Classifier(), data=DATA, epochs=3)
    whole = time.process_time() - began
    began = time.process_time()
    fit([], Classifier(), data=DATA, epochs=3)
    assert whole - (time.process_time() - began) < 1.0


def begun(seconds, share, at_once=0.1):
    """A budget of a run that began so many seconds ago."""
    budget = Budget(share, at_once)
    budget._began -= seconds
    return budget


def test_in_the_first_minute_a_share_of_its_first_seconds_may_be_taken_and_after_it_of_all():
    assert begun(4, 0.025).left == pytest.approx(0.1, abs=0.001)
    assert begun(50, 0.025).left == pytest.approx(0.2, abs=0.001)
    assert begun(61, 0.025).left == pytest.approx(1.525, abs=0.001)
    assert begun(50, 0.025, at_once=None).left == pytest.approx(1.25, abs=0.001)


def test_one_turn_goes_little_beyond_its_share_and_the_next_waits_for_it():
    budget = begun(2, 0.025)
    assert (budget.allows, budget.turn) == (True, 0.1)
    budget.spent = 0.1
    assert not budget.allows
    assert begun(200, 0.025).turn == pytest.approx(5, abs=0.01)
    assert begun(2, 0.0).turn == 0.1
    assert math.isinf(begun(2, 0.025, at_once=None).turn)
