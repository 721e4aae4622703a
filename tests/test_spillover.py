import io
import math

import pytest
import torch
from torch.utils.data import DataLoader, TensorDataset

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
    values = tracker.compute()
    tracker.remember((wrong[:, None] & FACTORS).sum(0), epoch)
    return values


def test_the_first_evaluation_has_nothing_to_be_compared_with_and_says_so():
    tracker = Spillover(["rare", "even"])
    values = evaluate(tracker, wrong_at(0.5, 0.5, 0), 0)
    for key in ("spillover", "spillover_ratio", "spillover_best"):
        assert math.isnan(values[f"{key}/rare"])
        assert tracker.undefined[f"{key}/rare"] == "no earlier evaluation to compare with"


def test_a_factor_that_loses_what_it_had_while_the_others_get_better_is_seen_against_its_own_best_epoch():
    tracker = Spillover(["rare", "even"])
    evaluate(tracker, wrong_at(0.5, 0.5, 0), 0)
    for epoch in (1, 2):
        values = evaluate(tracker, wrong_at(0.6, 0.2, 0), epoch)
        assert values["spillover/rare"] == 1
        assert values["spillover/even"] == 0
        assert 1 < values["spillover_risk_low/rare"] < values["spillover_risk/rare"] < 1.3
        assert values["spillover_others/rare"] < 0.5
        assert values["spillover_best/rare"] == 0
        assert tracker.best_epoch == [0, epoch]


def test_all_errors_may_become_more_where_the_factor_loses_much():
    tracker = Spillover(["rare", "even"])
    before, after = wrong_at(0.05, 0.2, 0), wrong_at(0.9, 0.15, 0)
    evaluate(tracker, before, 0)
    assert after.sum() > before.sum()
    assert evaluate(tracker, after, 1)["spillover/rare"] == 1


def test_the_reference_does_not_stay_at_an_early_epoch_where_the_network_got_better():
    tracker = Spillover(["rare", "even"])
    for epoch, (carrying, other) in enumerate([(0.7, 0.8), (0.8, 0.5), (0.3, 0.3), (0.6, 0.1)]):
        values = evaluate(tracker, wrong_at(carrying, other, 0), epoch)
    assert values["spillover_best/rare"] == 2
    assert values["spillover/rare"] == 1


def test_a_network_that_gets_better_everywhere_becomes_the_best_epoch():
    tracker = Spillover(["rare", "even"])
    for epoch, rate in enumerate((0.6, 0.5, 0.4)):
        values = evaluate(tracker, wrong_at(rate, rate, 0), epoch)
        assert not values["spillover/rare"] > 0
        assert tracker.best_epoch == [epoch, epoch]


def test_a_ratio_that_rises_while_the_errors_fall_is_no_spill_over():
    tracker = Spillover(["rare", "even"])
    evaluate(tracker, wrong_at(0.5, 0.5, 0), 0)
    values = evaluate(tracker, wrong_at(0.45, 0.2, 0), 1)
    assert values["spillover_low/rare"] > 1
    assert values["spillover/rare"] == 0
    assert tracker.best_epoch == [1, 1]


def test_a_network_that_gets_worse_everywhere_is_no_spill_over():
    tracker = Spillover(["rare", "even"])
    evaluate(tracker, wrong_at(0.3, 0.3, 0), 0)
    values = evaluate(tracker, wrong_at(0.6, 0.6, 0), 1)
    assert values["spillover_risk/rare"] > 1
    assert values["spillover/rare"] == values["spillover/even"] == 0
    assert tracker.best_epoch == [0, 0]


def test_images_in_another_order_are_not_paired_and_the_next_in_that_order_are():
    tracker = Spillover(["rare", "even"])
    evaluate(tracker, wrong_at(0.5, 0.5, 0), 0)
    values = evaluate(tracker, wrong_at(0.6, 0.6, 0), 1, TARGET.flip(0))
    assert math.isnan(values["spillover_ratio/rare"])
    assert tracker.undefined["spillover_ratio/rare"] == "the validation images came in another order than before"
    values = evaluate(tracker, wrong_at(0.7, 0.4, 0), 2, TARGET.flip(0))
    assert values["spillover_best/rare"] == 1
    assert values["spillover/rare"] == 1


def rows_of(rank, ranks):
    """Rows of the dataset of one of some processes, the first of which takes the first image."""
    return torch.arange(IMAGES)[rank::ranks]


def evaluate_rows(tracker, wrong, epoch, rows):
    tracker.begin(torch.device("cpu"))
    for some in rows.split(300):
        tracker.update(wrong[some], TARGET[some], FACTORS[some], some)
    tracker.conclude()
    values = tracker.compute()
    tracker.remember((wrong[rows, None] & FACTORS[rows]).sum(0), epoch)
    return values


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
        first, second = (evaluate(tracker, wrong_at(0.7, 0.2, epoch), epoch) for tracker in (whole, resumed))
        assert first == second
        assert second["spillover/rare"] == 1
    assert resumed.best_epoch == whole.best_epoch == [0, 1]


def test_each_factor_keeps_its_own_best_epoch_by_rows_and_over_a_resume():
    tracker = Spillover(["rare", "even"])
    rates = [(0.5, 0.6), (0.3, 0.5), (0.6, 0.2)]
    for epoch, (carrying, other) in enumerate(rates):
        order = torch.randperm(IMAGES, generator=torch.Generator().manual_seed(epoch))
        evaluate_rows(tracker, wrong_at(carrying, other, epoch), epoch, order)
    resumed = Spillover(["rare", "even"])
    resumed.load_state_dict(through_a_file(tracker.state_dict()))
    assert resumed.best_epoch == [1, 2]
    values = evaluate_rows(resumed, wrong_at(0.6, 0.2, 2), 3, torch.arange(IMAGES).flip(0))
    carrying, other = FACTORS[:, 0], ~FACTORS[:, 0]
    now, then = wrong_at(0.6, 0.2, 2), wrong_at(0.3, 0.5, 1)
    assert float(values["spillover_risk/rare"]) == float((now & carrying).sum()) / float((then & carrying).sum())
    assert float(values["spillover_others/rare"]) == float((now & other).sum()) / float((then & other).sum())
    assert values["spillover_risk/even"] == 1
    assert [float(values[f"spillover_best/{name}"]) for name in ("rare", "even")] == [1, 2]


def test_a_checkpoint_of_other_factors_is_not_gone_on_with():
    tracker, other = Spillover(["rare", "even"]), Spillover(["even", "rare"])
    evaluate(tracker, wrong_at(0.5, 0.5, 0), 0)
    other.load_state_dict(tracker.state_dict())
    assert other.best_epoch == []


def test_an_evaluation_of_fewer_images_is_compared_and_becomes_the_best_of_every_factor():
    tracker, now = Spillover(["rare", "even"]), wrong_at(0.6, 0.2, 0)
    evaluate_rows(tracker, wrong_at(0.5, 0.5, 0), 0, torch.arange(IMAGES))
    values = evaluate_rows(tracker, now, 1, torch.arange(IMAGES - 100))
    assert values["spillover/rare"] == 1
    assert tracker.best_epoch == [1, 1]
    assert evaluate_rows(tracker, now, 2, torch.arange(IMAGES - 100))["spillover_risk/rare"] == 1
    evaluate_rows(tracker, now, 3, torch.arange(IMAGES))
    assert tracker.why_not == "the validation images came in another order than before"


def test_a_test_or_validation_beside_a_fit_is_compared_and_is_never_the_best_epoch():
    monitor = FactorErrorMonitor(table(), on_error="raise")
    run = trainer([monitor])
    module, (training, validation) = Classifier(), loaders()
    run.fit(module, training, validation)
    best = monitor.counted.spillover.best
    for evaluate_again in (run.validate, run.test):
        evaluate_again(module, validation, verbose=False)
        assert math.isfinite(monitor.values["spillover_mcnemar_p/bright"])
        assert monitor.counted.spillover.best is best


def test_images_of_another_dataset_are_not_paired_though_their_targets_are_the_same():
    monitor = FactorErrorMonitor(table(), on_error="raise")
    run, module = fit([monitor], epochs=2)
    images, labels = loaders()[1].dataset.tensors
    run.test(module, DataLoader(TensorDataset(images.flip(0), labels), batch_size=8), verbose=False)
    assert monitor.values["spillover_risk/dark"].isnan()
    assert monitor.undefined["spillover_risk/dark"] == (
        "these images are of another dataset than those that the run validates on"
    )


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
    tracker, diagnosis = Spillover(["rare", "even"]), FailureDiagnosis(["factor_spillover"])
    rates = [(0.6, 0.6), (0.4, 0.5), (0.7, 0.2), (0.7, 0.2), (0.7, 0.2), (0.2, 0.2), (0.2, 0.2)]
    for epoch, (carrying, other) in enumerate(rates):
        values = evaluate(tracker, wrong_at(carrying, other, 0), epoch)
        values |= {"error/rare": torch.tensor(carrying), "error/even": torch.tensor(other)}
        logged = {f"failures/factors/{key}": float(value) for key, value in values.items()}
        diagnosis.evaluate(Evaluation(epoch, 100 * epoch, logged))
    (finding,) = diagnosis.history
    assert (finding.kind, finding.subject, finding.epoch, finding.cleared) == ("factor_spillover", "rare", 3, 6)
    assert "times the errors of epoch 1, when they had fewest" in finding.message
