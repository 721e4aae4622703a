"""The perturbation monitor on tiny Lightning runs."""

import pytest
import torch

from lightning_failures import FactorErrorMonitor, PairedErrorRatio, PerturbationMonitor
from lightning_failures.callbacks.factors import FACTORS
from lightning_failures.records import find_term
from tests.runs import dataset, fit, table


@pytest.mark.parametrize("images", [None, 30])
def test_perturbations_are_compared_with_the_clean_images_one_by_one(images):
    monitor = PerturbationMonitor(["darker", "blur"], images=images, budget=1e9, on_error="raise")
    run, module = fit([monitor], epochs=3)
    clean, labels = dataset(30, seed=1).tensors
    with torch.no_grad():
        before = module.eval().net(clean).argmax(1) != labels
        after = module.net(0.5 * clean).argmax(1) != labels
    expected = after.sum() / before.sum()
    assert float(run.callback_metrics["failures/factors/perturbed_ratio/darker"]) == pytest.approx(float(expected))
    assert "failures/factors/perturbed_low/blur" in run.callback_metrics


@pytest.mark.parametrize("images", [None, 30])
def test_intervals_of_changed_images_count_groups_where_these_are_given(images):
    groups = [row % 6 for row in range(30)]
    monitor, plain = (
        PerturbationMonitor(["darker"], images=images, budget=1e9, groups=given, on_error="raise")
        for given in (groups, None)
    )
    _, module = fit([monitor], epochs=14)
    fit([plain], epochs=14)
    (clean, labels), of = dataset(30, seed=1).tensors, torch.tensor(groups)
    if images is not None:
        kept = monitor.examining.batch
        clean, labels, of = kept.inputs, kept.targets, kept.groups
    metric = PairedErrorRatio(["darker"])
    with torch.no_grad():
        before, after = module.eval().net(clean), module.net(0.5 * clean)
    metric.update(after, before, labels, torch.ones(len(of), 1, dtype=torch.bool), groups=of)
    expected = metric.compute()
    assert monitor.values["perturbed_groups"] == 6
    for ours, theirs in (("low", "risk_ratio_low"), ("high", "risk_ratio_high"), ("mcnemar_p", "mcnemar_p")):
        torch.testing.assert_close(monitor.values[f"perturbed_{ours}/darker"], expected[f"{theirs}/darker"])
    assert monitor.values["perturbed_ratio/darker"] == plain.values["perturbed_ratio/darker"]
    assert monitor.values.keys() - plain.values.keys() == {"perturbed_groups"}
    assert monitor.values["perturbed_high/darker"] != plain.values["perturbed_high/darker"]


def test_changed_images_of_three_groups_have_no_interval_and_say_why():
    monitor = PerturbationMonitor(["darker"], groups=[row % 3 for row in range(30)], budget=1e9, on_error="raise")
    fit([monitor], epochs=14)
    assert bool(monitor.values["perturbed_low/darker"].isnan())
    assert "fewer than 4 groups" in monitor.undefined["perturbed_low/darker"]


def test_perturbations_leave_the_trained_weights_bitwise_the_same():
    _, alone = fit([])
    _, watched = fit([PerturbationMonitor(on_error="raise")])
    for (name, plain), (_, with_us) in zip(alone.state_dict().items(), watched.state_dict().items(), strict=True):
        assert torch.equal(plain, with_us), name


def test_an_unknown_perturbation_is_an_error_at_construction():
    with pytest.raises(LookupError, match="there is no such perturbation; given fog"):
        PerturbationMonitor(["fog"])


def test_each_logged_key_of_the_monitors_of_factors_has_a_term_and_no_term_is_dead():
    monitors = [FactorErrorMonitor(table(), on_error="raise"), PerturbationMonitor(["darker"], on_error="raise")]
    run, _ = fit(monitors, epochs=2)
    logged = [
        key.removeprefix("failures/factors/") for key in run.callback_metrics if key.startswith("failures/factors/")
    ]
    explained = {key: find_term(FACTORS.terms, key) for key in logged}
    assert [key for key, term in explained.items() if term is None] == []
    absent = [term.key for term in FACTORS.terms if term not in explained.values()]
    of_groups = ("groups/", "perturbed_groups")  # which stand where groups are given
    dead = [key for key in absent if not key.startswith(of_groups)]
    assert dead == [term.key for term in FACTORS.terms if term.key.startswith("mean_error")]  # of other tasks
    monitor = FactorErrorMonitor(table(), task="regression", targets=lambda batch: batch[0].mean((1, 2, 3)))
    assert all(monitor.key(key.replace("*", "dark")) for key in dead)
    assert explained["error_ratio/worst"].name == "Worst error ratio"
    headlines = [term.key for term in FACTORS.terms if term.headline]
    assert headlines[:2] == ["error_ratio/*", "error_ratio/worst"]
    assert headlines[2:] == ["mean_error_ratio/*", "mean_error_ratio/worst", "mean_error/all"]


def test_each_reason_for_an_undefined_figure_is_one_that_its_term_gives():
    monitor = FactorErrorMonitor(table(), on_error="raise")
    fit([monitor], epochs=1)
    assert all(find_term(FACTORS.terms, key).when_nan for key in monitor.undefined)
    assert {"spillover/dark", "spillover_mcnemar_p/bright"} <= set(monitor.undefined)
