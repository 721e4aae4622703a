"""Screening to first order with exact checks, and deletion and insertion curves."""

import pytest
import torch

from lightning_failures import attribute_channels
from lightning_failures.attribution import deletion_curves, screen_channels
from tests.networks import Bent, Mean, batch

REPLACING = ["ablation", "shapley", "permutation", "conditional_permutation", "window_conditional_permutation"]
GRADIENTS = ["gradient_x_input", "integrated_gradients", "expected_gradients"]


# -- screening and curves


def test_screening_is_exact_on_the_top_and_on_random_others() -> None:
    inputs, targets = batch(channels=12)
    model = Bent(12)
    found = screen_channels(model, inputs, targets, top=3, random=4)
    exact = attribute_channels(model, inputs, targets)
    first = attribute_channels(model, inputs, targets, "gradient_x_input")
    checked = torch.cat([found.top, found.random])
    assert len(checked.unique()) == 7
    assert torch.equal(found.top, first.values.abs().topk(3).indices)
    assert torch.allclose(found.exact.changes, exact.changes[:, checked], atol=1e-6)
    assert found.exact.names == tuple(exact.names[band] for band in checked.tolist())
    pairs = torch.stack([first.changes[:, checked].flatten(), exact.changes[:, checked].flatten()])
    assert float(found.agreement) == pytest.approx(float(torch.corrcoef(pairs)[0, 1]))
    worst = exact.values[found.top].abs().min()
    assert float(found.missed) == pytest.approx(float((exact.values[found.random].abs() > worst).double().mean()))


def test_screening_agrees_wholly_with_a_linear_model() -> None:
    inputs, _ = batch(channels=8)
    model = Mean([1.0, -2.0, 0.3, 0.7, 0.1, 2.0, -0.4, 0.2])
    found = screen_channels(model, inputs, torch.ones(6, dtype=torch.int64), top=2, random=4, output="logit")
    assert float(found.agreement) == pytest.approx(1)
    assert float(found.agreement_random) == pytest.approx(1)


def test_screening_everything_misses_nothing_that_can_be_said() -> None:
    inputs, targets = batch(channels=4)
    found = screen_channels(Bent(4), inputs, targets, top=8, random=8)
    assert len(found.exact.names) == 4
    assert bool(found.missed.isnan())
    assert bool(found.agreement_random.isnan())


def test_curves_start_and_end_where_they_must_and_a_right_order_beats_chance() -> None:
    inputs, _ = batch(images=16, channels=10)
    model = Mean([5.0, 4.0, 3.0, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1])
    targets = torch.ones(16, dtype=torch.int64)
    profile = attribute_channels(model, inputs, targets, baseline="zero", output="logit")
    curves = deletion_curves(model, inputs, targets, profile, "zero", orders=8)
    everything = float(profile.values.sum())
    assert curves.fraction.tolist() == pytest.approx([step / 10 for step in range(11)])
    for curve in (curves.deletion, curves.random):
        assert float(curve[0]) == pytest.approx(0, abs=1e-6)
        assert float(curve[-1]) == pytest.approx(everything, rel=1e-5)
    assert float(curves.insertion[0]) == pytest.approx(everything, rel=1e-5)
    assert float(curves.insertion[-1]) == pytest.approx(0, abs=1e-5)
    largest = profile.values.sort(descending=True).values
    assert torch.allclose(curves.deletion[1:], largest.cumsum(0), atol=1e-4)
    assert torch.allclose(curves.insertion, everything - curves.deletion, atol=1e-4)
    assert float(curves.deletion_area) > float(curves.random_area) > float(curves.insertion_area)
