import io
import math

import pytest
import torch

from lightning_failures import FactorErrorMonitor, FailureDiagnosis
from lightning_failures.callbacks.factors import Spillover
from lightning_failures.records import Evaluation
from tests.runs import Classifier, fit, loaders, table, trainer

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
        assert tracker.best.epoch == 0


def test_a_network_that_gets_better_everywhere_becomes_the_best_epoch():
    tracker = Spillover(["rare", "even"])
    for epoch, rate in enumerate((0.6, 0.5, 0.4)):
        values = evaluate(tracker, wrong_at(rate, rate, 0), epoch)
        assert not values["spillover/rare"] > 0
        assert tracker.best.epoch == epoch


def test_a_ratio_that_rises_while_the_errors_fall_does_not_hold_the_best_epoch():
    tracker = Spillover(["rare", "even"])
    evaluate(tracker, wrong_at(0.5, 0.5, 0), 0)
    values = evaluate(tracker, wrong_at(0.45, 0.2, 0), 1)
    assert values["spillover/rare"] == 1
    assert values["spillover_risk/rare"] < 1
    assert tracker.best.epoch == 1


def test_a_worse_epoch_does_not_become_the_best():
    tracker = Spillover(["rare", "even"])
    evaluate(tracker, wrong_at(0.3, 0.3, 0), 0)
    evaluate(tracker, wrong_at(0.4, 0.4, 1), 1)
    assert (tracker.best.epoch, tracker.best.error) == (0, float(wrong_at(0.3, 0.3, 0).double().mean()))


def test_images_in_another_order_are_not_paired():
    tracker = Spillover(["rare", "even"])
    evaluate(tracker, wrong_at(0.5, 0.5, 0), 0)
    values = evaluate(tracker, wrong_at(0.4, 0.4, 0), 1, TARGET.flip(0))
    assert math.isnan(values["spillover_ratio/rare"])
    assert tracker.undefined["spillover_ratio/rare"] == "the validation images came in another order than before"


def rows_of(rank, ranks):
    """Rows of the dataset of one of some processes, the first of which takes the first image."""
    return torch.arange(IMAGES)[rank::ranks]


def evaluate_rows(tracker, wrong, epoch, rows):
    tracker.begin(torch.device("cpu"))
    for some in rows.split(300):
        tracker.update(wrong[some], TARGET[some], FACTORS[some], some)
    tracker.conclude()
    return tracker.compute(wrong[rows].double().mean(), epoch)


def test_images_are_paired_by_their_row_in_whatever_order_they_come():
    before, now = wrong_at(0.5, 0.5, 0), wrong_at(0.6, 0.2, 1)
    straight, mixed = Spillover(["rare", "even"]), Spillover(["rare", "even"])
    for tracker, order in ((straight, torch.arange(IMAGES)), (mixed, torch.randperm(IMAGES))):
        evaluate_rows(tracker, before, 0, torch.arange(IMAGES))
        tracker.values = evaluate_rows(tracker, now, 1, order)
    assert straight.values == mixed.values
    both = now & before
    carrying = FACTORS[:, 0]
    expected = float((now & carrying).sum()) / float((before & carrying).sum())
    assert float(straight.values["spillover_risk/rare"]) == pytest.approx(expected)
    assert 0 < float(both.sum()) < float(now.sum())  # pairing matters


def through_a_file(state):
    file = io.BytesIO()
    torch.save(state, file)
    file.seek(0)
    return torch.load(file, weights_only=True)


def test_a_run_that_goes_on_compares_with_the_best_epoch_before():
    whole, resumed = Spillover(["rare", "even"]), Spillover(["rare", "even"])
    evaluate(whole, wrong_at(0.5, 0.5, 0), 0)
    resumed.load_state_dict(through_a_file(whole.state_dict()))
    for epoch in (1, 2):
        first, second = (evaluate(tracker, wrong_at(0.6, 0.2, epoch), epoch) for tracker in (whole, resumed))
        assert first == second
        assert second["spillover/rare"] == 1
    assert resumed.best.epoch == 0


def test_a_rank_finds_its_images_in_the_best_epoch_of_another_number_of_ranks():
    one, halves = Spillover(["rare", "even"]), [Spillover(["rare", "even"]) for _ in range(2)]
    evaluate_rows(one, wrong_at(0.5, 0.5, 0), 0, torch.arange(IMAGES))
    now, counts = wrong_at(0.6, 0.2, 1), []
    for rank, tracker in enumerate(halves):
        tracker.load_state_dict(through_a_file(one.state_dict()))
        evaluate_rows(tracker, now, 1, rows_of(rank, 2))
        assert not tracker.why_not
        counts.append(tracker.metric.sums)
    evaluate_rows(one, now, 1, torch.arange(IMAGES))
    for of_one, first, second in zip(one.metric.sums, *counts, strict=True):
        torch.testing.assert_close(of_one, first + second)


def test_images_in_an_order_of_their_own_are_not_paired_across_numbers_of_ranks():
    one, half = Spillover(["rare", "even"]), Spillover(["rare", "even"])
    evaluate(one, wrong_at(0.5, 0.5, 0), 0)
    half.load_state_dict(through_a_file(one.state_dict()))
    half.begin(torch.device("cpu"))
    rows = rows_of(0, 2)
    half.update(wrong_at(0.4, 0.4, 1)[rows], TARGET[rows], FACTORS[rows])
    half.conclude(0, 2)
    assert half.why_not == "the validation images came in another order than before"


def test_a_run_from_a_checkpoint_has_spillover_at_its_first_evaluation(tmp_path):
    before, _ = fit([FactorErrorMonitor(table(), on_error="raise")], epochs=1)
    before.save_checkpoint(tmp_path / "run.ckpt")
    monitor = FactorErrorMonitor(table(), on_error="raise")
    trainer([monitor]).fit(Classifier(), *loaders(), ckpt_path=tmp_path / "run.ckpt", weights_only=True)
    assert math.isfinite(monitor.values["spillover_mcnemar_p/bright"])
    assert len(monitor.counted.spillover.best.target) == 30


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
