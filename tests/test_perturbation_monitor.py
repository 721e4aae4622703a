"""The perturbation monitor on tiny Lightning runs."""

import pytest
import torch

from lightning_failures import PerturbationMonitor
from tests.runs import dataset, fit


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


def test_perturbations_leave_the_trained_weights_bitwise_the_same():
    _, alone = fit([])
    _, watched = fit([PerturbationMonitor(on_error="raise")])
    for (name, plain), (_, with_us) in zip(alone.state_dict().items(), watched.state_dict().items(), strict=True):
        assert torch.equal(plain, with_us), name


def test_an_unknown_perturbation_is_an_error_at_construction():
    with pytest.raises(LookupError, match="there is no such perturbation; given fog"):
        PerturbationMonitor(["fog"])
