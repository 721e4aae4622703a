import math

import torch

from lightning_failures import FailureDiagnosis
from lightning_failures.callbacks.factors import Spillover
from lightning_failures.records import Evaluation

IMAGES = 2000
TARGET = torch.arange(IMAGES) % 7
FACTORS = torch.stack([torch.arange(IMAGES) < 400, torch.arange(IMAGES) % 2 == 0], 1)


def wrong_at(carrying, other, seed):
    """Errors at one rate on the images of the first factor, and at another on the rest."""
    chance = torch.rand(IMAGES, generator=torch.Generator().manual_seed(seed))
    return chance < torch.where(FACTORS[:, 0], carrying, other)


def evaluate(tracker, wrong, epoch, target=TARGET):
    tracker.begin(torch.device("cpu"))
    for rows in torch.arange(IMAGES).split(300):
        tracker.update(wrong[rows], target[rows], FACTORS[rows])
    tracker.conclude()
    return tracker.compute(wrong.double().mean(), epoch)


def test_the_first_evaluation_has_nothing_to_be_compared_with_and_says_so():
    tracker = Spillover(["rare", "even"])
    values = evaluate(tracker, wrong_at(0.5, 0.5, 0), 0)
    assert math.isnan(values["spillover_ratio/rare"])
    assert tracker.undefined["spillover_ratio/rare"] == "no earlier evaluation to compare with"


def test_a_factor_that_falls_behind_a_better_epoch_is_seen_and_the_best_epoch_waits():
    tracker = Spillover(["rare", "even"])
    evaluate(tracker, wrong_at(0.5, 0.5, 0), 0)
    for epoch in (1, 2):
        values = evaluate(tracker, wrong_at(0.6, 0.2, 0), epoch)
        assert values["spillover/rare"] == 1
        assert values["spillover/even"] == 0
        assert values["spillover_low/rare"] > 1
        assert tracker.best_epoch == 0


def test_a_network_that_gets_better_everywhere_becomes_the_best_epoch():
    tracker = Spillover(["rare", "even"])
    for epoch, rate in enumerate((0.6, 0.5, 0.4)):
        values = evaluate(tracker, wrong_at(rate, rate, 0), epoch)
        assert not values["spillover/rare"] > 0
        assert tracker.best_epoch == epoch


def test_a_ratio_that_rises_while_the_errors_fall_does_not_hold_the_best_epoch():
    tracker = Spillover(["rare", "even"])
    evaluate(tracker, wrong_at(0.5, 0.5, 0), 0)
    values = evaluate(tracker, wrong_at(0.45, 0.2, 0), 1)
    assert values["spillover/rare"] == 1
    assert values["spillover_risk/rare"] < 1
    assert tracker.best_epoch == 1


def test_a_worse_epoch_does_not_become_the_best():
    tracker = Spillover(["rare", "even"])
    evaluate(tracker, wrong_at(0.3, 0.3, 0), 0)
    evaluate(tracker, wrong_at(0.4, 0.4, 1), 1)
    assert (tracker.best_epoch, tracker.best_error) == (0, float(wrong_at(0.3, 0.3, 0).double().mean()))


def test_images_in_another_order_are_not_paired():
    tracker = Spillover(["rare", "even"])
    evaluate(tracker, wrong_at(0.5, 0.5, 0), 0)
    values = evaluate(tracker, wrong_at(0.4, 0.4, 0), 1, TARGET.flip(0))
    assert math.isnan(values["spillover_ratio/rare"])
    assert tracker.undefined["spillover_ratio/rare"] == "the validation images came in another order than before"


def test_the_finding_comes_after_two_evaluations_and_goes_when_the_factor_has_caught_up():
    tracker, diagnosis = Spillover(["rare", "even"]), FailureDiagnosis()
    rates = [(0.6, 0.6), (0.5, 0.5), (0.7, 0.2), (0.7, 0.2), (0.7, 0.2), (0.2, 0.2), (0.2, 0.2)]
    for epoch, (carrying, other) in enumerate(rates):
        values = evaluate(tracker, wrong_at(carrying, other, 0), epoch)
        values |= {"error_ratio/rare": torch.tensor(1.0), "error_ratio/even": torch.tensor(1.0)}
        logged = {f"failures/factors/{key}": float(value) for key, value in values.items()}
        diagnosis.evaluate(Evaluation(epoch, 100 * epoch, logged))
    (finding,) = diagnosis.history
    assert (finding.kind, finding.subject, finding.epoch, finding.cleared) == ("factor_spillover", "rare", 3, 6)
