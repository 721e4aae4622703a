"""A run of seconds: how much the monitors may take of it, and that they examine what they can."""

import math
import time
from types import SimpleNamespace

import pytest
import torch
from lightning.pytorch import Callback
from torch import nn
from torch.utils.data import DataLoader

from lightning_failures import (
    ChannelAttributionMonitor,
    FailureDiagnosis,
    SimplicityBiasMonitor,
)
from lightning_failures.callbacks.budget import last_limit
from lightning_failures.callbacks.ration import ADVANCE, Ration, progress
from lightning_failures.callbacks.reference_examination import BRAKED, NO_TIME, SPENT
from lightning_failures.errors import InputError
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


def test_a_slow_network_is_not_examined_before_its_own_passes_allow_it_and_the_reason_is_said():
    (simple, channels), module = run(0.01)
    # a run of 448 passes allows 45 ahead and 18 by the share; at its end there is less than a second
    # the sanity check, the evaluation, and for each monitor 32 images by which it sees that it can run them again
    assert module.waits.passed == 64 + 128 + 2 * 32
    assert math.isnan(simple.values["own/1"])
    assert simple.undefined["own/1"] == NO_TIME
    assert channels.not_watched == {"which bands the predictions depend on": NO_TIME}
    assert simple.not_watched == {"what decides the predictions, at the end of the run": NO_TIME}


def test_a_network_in_between_is_examined_on_as_many_images_as_its_own_passes_allow():
    monitor = SimplicityBiasMonitor(on_error="raise")
    monitor.on_train_end = lambda *_: None
    fit([monitor], Slow(0.0), data=DATA, epochs=12)
    images = len(monitor.examining.inputs(torch.device("cpu")))
    assert 32 <= images < 128
    assert len(monitor.examining.targets) == images
    budget, own = monitor.examining.budget, 64 + 11 * (3 * 64 + 128) + 3 * 64
    assert budget.own == own  # the sanity check, and each epoch with forward and backward of an image
    assert 0 < budget.spent <= 0.1 * own + 0.05 * own
    assert monitor.examining.why_not in (None, SPENT)


def test_with_time_enough_the_whole_reference_batch_is_examined_as_before():
    monitors, _ = run(0.0, budget=1e9)
    assert [len(monitor.examining.inputs(torch.device("cpu"))) for monitor in monitors] == [64, 128]


class Clock:
    """Runs so much faster or slower than the real one."""

    def __init__(self, pace):
        self.pace = pace

    def perf_counter(self):
        return self.pace * time.perf_counter()


@pytest.fixture
def clock(monkeypatch):
    def set_to(pace):
        for module in ("budget", "monitor", "error_guard", "simplicity.examination"):
            monkeypatch.setattr(f"lightning_failures.callbacks.{module}.time", Clock(pace))

    return set_to


def test_the_same_run_on_a_slow_and_on_a_fast_machine_has_the_same_evaluations_examined(clock):
    seen = []
    for pace in (0.01, 3.0):
        clock(pace)
        diagnosis = FailureDiagnosis(announce="nothing")
        monitors = [SimplicityBiasMonitor(on_error="raise"), ChannelAttributionMonitor(on_error="raise"), diagnosis]
        fit(monitors, data=DATA, epochs=12)
        evaluations = [each.values for each in diagnosis.record.evaluations[:-1]]
        seen.append([{key: repr(value) for key, value in values.items()} for values in evaluations])
        seen[-1].append([monitor.examining.budget.spent for monitor in monitors[:2]])
        bands = ["failures/channels/largest_change" in values for values in evaluations]
        assert 0 < sum(bands) < len(bands)
    assert seen[0] == seen[1]


def test_the_clock_is_an_emergency_brake_and_says_so():
    simple = SimplicityBiasMonitor(on_error="raise", budget=1e9)
    simple.on_train_end = lambda *_: None

    class Stuck(Callback):
        def on_validation_start(self, trainer, module):
            simple.examining.budget.clock.spent = 11.0  # seconds of a run that takes less

    fit([Stuck(), simple], Classifier(), data=DATA, epochs=2)
    assert simple.examining.examined  # a share that is never passed

    simple.examining.budget.clock.share = 0.05
    fit([Stuck(), simple], Classifier(), data=DATA, epochs=1)
    assert simple.undefined["own/1"] == BRAKED


def ration(own, share, expected=math.inf):
    """A ration of a run that has made so many passes."""
    made = Ration(share)
    made.own, made.expected = own, expected
    return made


def test_a_share_of_the_passes_of_the_run_is_allowed_and_an_advance_that_a_short_run_has_less_of():
    assert ration(10_000, 0.025).left == ADVANCE + 250
    assert ration(1_000, 0.025, expected=12_000).left == 1_200 + 25
    assert ration(1_000, 0.025).turn == (ADVANCE + 25) / 2
    spent = ration(10_000, 0.025)
    spent.spent = ADVANCE + 250
    assert not spent.allows


def test_without_a_share_there_is_one_turn():
    nothing = ration(10_000, 0.0)
    assert (nothing.allows, nothing.turn) == (True, ADVANCE)
    nothing.spent = 1
    assert not nothing.allows


def test_a_share_below_0_is_refused():
    with pytest.raises(InputError, match="the share is negative"):
        Ration(-0.1)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"max_epochs": 4}, 0.25),
        ({"max_steps": 12}, 0.5),
        ({"max_epochs": -1}, math.nan),
        ({"max_epochs": 4, "num_training_batches": math.inf}, math.nan),
        ({"max_epochs": 4, "accumulate_grad_batches": 2}, 0.5),
    ],
)
def test_how_far_a_run_is_goes_by_its_steps(options, expected):
    usual = {"max_steps": -1, "max_epochs": None, "num_training_batches": 6, "accumulate_grad_batches": 1}
    run = SimpleNamespace(global_step=6, **(usual | options))
    assert progress(run) == pytest.approx(expected, nan_ok=True)


def test_the_last_examination_of_a_short_run_stays_within_a_second_and_of_a_long_one_within_a_tenth():
    assert last_limit(5, 0.3) == pytest.approx(0.5)
    assert last_limit(5, 2.0) == pytest.approx(0.25)
    assert last_limit(600, 20.0) == 60
