"""A run on a clock of its own: what its monitors examine follows from what a pass takes, within the budget."""

import math
from types import SimpleNamespace

import pytest
import torch
from lightning.pytorch import Callback
from torch import nn
from torch.utils.data import DataLoader

from lightning_failures import failure_monitors
from lightning_failures.callbacks.budget import Budget
from lightning_failures.callbacks.evaluation_context import progress
from tests.runs import Classifier, dataset, fit, hooks_on

DATA = (
    DataLoader(dataset(64), batch_size=32, shuffle=True),
    DataLoader(dataset(128, seed=1), batch_size=32),
)


class Clock:
    """Goes on by what passes of images and training steps take, and not by itself."""

    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now


class Slow(Classifier):
    """Takes so many seconds of a clock for each image, and three times as many in training."""

    def __init__(self, clock, seconds):
        super().__init__()

        class Takes(nn.Module):
            def forward(self, x):
                clock.now += seconds * len(x) * (3 if torch.is_grad_enabled() else 1)
                return x

        self.net = nn.Sequential(Takes(), *self.net)


class Seen(Callback):
    """Which evaluations were watched, and what was spent and allowed at each."""

    def __init__(self, budget):
        self.budget, self.rows = budget, []

    def on_validation_end(self, trainer, module):
        if not trainer.sanity_checking:
            known = "failures/simplicity/own/1" in trainer.callback_metrics
            self.rows.append((self.budget.seconds(), self.budget.limit, known))


def run(seconds, *, epochs, share=0.03):
    clock = Clock()
    callbacks = failure_monitors(budget=share, on_error="raise")
    budget = callbacks[-1].budget
    budget.clock = clock
    callbacks[-1].announce, seen = "nothing", Seen(budget)
    _, module = fit([*callbacks, seen], Slow(clock, seconds), data=DATA, epochs=epochs)
    assert hooks_on(module) == 0
    return callbacks, budget, seen.rows


@pytest.mark.parametrize(("seconds", "epochs"), [(0.05, 5), (0.02, 12), (0.3, 3)])
def test_all_monitors_keep_to_the_budget_at_every_evaluation_and_at_the_end(seconds, epochs):
    callbacks, budget, rows = run(seconds, epochs=epochs)
    assert budget.own > 70
    assert all(spent <= limit for spent, limit, _ in rows)
    assert budget.seconds() <= 0.03 * budget.own
    record = callbacks[-1].record
    assert record.monitor_seconds == pytest.approx(budget.seconds())
    assert record.seconds_by_monitor == budget.by_monitor()
    assert record.budget == 0.03


def test_of_a_run_of_some_minutes_each_headline_is_examined():
    callbacks, budget, _ = run(0.02, epochs=20, share=0.3)
    assert budget.own > 120
    assert budget.seconds() <= 0.3 * budget.own
    for key in ("simplicity/own/1", "channels/largest_change", "causes/training_accuracy"):
        values = [each.values.get(f"failures/{key}", math.nan) for each in callbacks[-1].record.evaluations]
        assert any(not math.isnan(value) for value in values), key


def test_a_network_too_slow_for_its_run_is_not_examined_and_the_verdict_says_why():
    callbacks, budget, _ = run(2.0, epochs=1)
    assert budget.seconds() <= max(1.8, 0.03 * budget.own)
    said = callbacks[-1].record.not_watched
    why = f"not yet examined: the budget of 3% of {budget.own:,.0f} s was spent"
    assert said["which bands the predictions depend on"] == why
    assert callbacks[2].course is None


def test_without_a_limit_every_evaluation_is_examined_in_full():
    callbacks, _, rows = run(1.0, epochs=3, share=None)
    assert [known for *_, known in rows] == [True, True, True]
    for monitor in callbacks[1], callbacks[2]:
        assert monitor.examining.examined
    assert len(callbacks[2].examining.inputs(torch.device("cpu"))) == 128
    assert callbacks[-1].record.not_watched == {}
    assert callbacks[-1].record.budget is None


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
    trainer = SimpleNamespace(global_step=6, **(usual | options))
    assert progress(trainer) == pytest.approx(expected, nan_ok=True)


def test_a_budget_may_be_shared_with_monitors_of_ones_own():
    from lightning_failures import CollapseMonitor

    budget = Budget(0.02)
    assert CollapseMonitor(budget=budget).budget is budget
    assert CollapseMonitor().budget.share == 0.03
