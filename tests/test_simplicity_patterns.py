"""Frequencies and patches: rings that hold equal energy, and how much one patch of noise moves a model."""

import math
from itertools import pairwise

import numpy as np
import pytest
import torch
from torch import Tensor

from lightning_failures.errors import InputError
from lightning_failures.functional import (
    RingEnergy,
    noisy_patch,
    patch_sensitivity,
    radial_energy,
    remove_ring,
    ring_edges,
    sensitivity_sums,
)
from lightning_failures.interventions import patch_logits, ring_changes
from lightning_failures.metrics import PatchSensitivity, SpatialEnergy


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_rings_hold_equal_energy_and_add_up_to_the_image() -> None:
    images = draw(4, 2, 16, 16)
    energy = radial_energy(images)
    centred = images - images.mean((2, 3), keepdim=True)
    assert float(energy.energy.sum()) == pytest.approx(float(centred.square().sum()), rel=1e-5)

    edges = ring_edges(energy, 4)
    assert edges[0] == 0
    assert edges[-1] > math.sqrt(0.5)
    removed = [images - remove_ring(images, low, high) for low, high in pairwise(edges)]
    shares = torch.stack([part.square().sum() for part in removed]) / centred.square().sum()
    torch.testing.assert_close(shares, torch.full((4,), 0.25, dtype=torch.float64), atol=0.06, rtol=0)
    torch.testing.assert_close(sum(removed), centred, atol=1e-5, rtol=0)


def test_a_ring_without_energy_is_no_change() -> None:
    stripes = torch.tensor([1.0, -1.0]).repeat(8, 4)[None, None]
    edges = ring_edges(radial_energy(stripes), 4)
    changes = ring_changes(edges)
    assert len(changes) == 1 + int((edges.diff() > 0).sum()) - 1
    assert sum(change(stripes).abs().max() < 1e-5 for change in changes.values()) == 1


def test_an_image_of_one_frequency_is_lost_with_its_ring_only() -> None:
    x = torch.linspace(0, 2 * math.pi, 17)[:-1]
    wave = torch.sin(4 * x).expand(16, 16)[None, None]
    torch.testing.assert_close(remove_ring(wave, 0.24, 0.26), torch.zeros_like(wave), atol=1e-5, rtol=0)
    torch.testing.assert_close(remove_ring(wave, 0.0, 0.24), wave, atol=1e-5, rtol=0)
    torch.testing.assert_close(remove_ring(wave + 3, 0.0, 1.0), torch.full_like(wave, 3), atol=1e-5, rtol=0)


def test_energy_is_the_literal_sum_over_the_spectrum() -> None:
    image = draw(1, 1, 5, 4)
    spectrum = np.fft.fft2(image[0, 0].numpy(), norm="ortho")
    literal = np.zeros(256)
    for y, fy in enumerate(np.fft.fftfreq(5)):
        for x, fx in enumerate(np.fft.fftfreq(4)):
            radius = math.hypot(fy, fx)
            if radius > 0:
                literal[min(int(radius / math.sqrt(0.5) * 256), 255)] += abs(spectrum[y, x]) ** 2
    np.testing.assert_allclose(radial_energy(image).energy.numpy(), literal, rtol=1e-5, atol=1e-9)


def test_flat_images_have_no_rings_and_say_why() -> None:
    metric = SpatialEnergy(rings=2)
    metric.update(torch.ones(2, 3, 4, 4))
    assert metric.compute()["edge/1"].isnan()
    assert metric.undefined["edge/0"] == "no image varies in space"
    with pytest.raises(InputError) as error:
        ring_edges(RingEnergy.zero(), 0)
    assert str(error.value) == "ring_edges: no rings; given rings=0. Pass 1 or more."
    with pytest.raises(InputError) as error:
        metric.update(torch.ones(2, 3))
    assert str(error.value) == "SpatialEnergy.update: images have no two axes of space; given (2, 3). Pass (n b h w)."


def test_a_patch_of_noise_has_the_channels_mean_and_deviation() -> None:
    images = draw(400, 2, 8, 8) * torch.tensor([1.0, 5.0])[:, None, None] + torch.tensor([0.0, 9.0])[:, None, None]
    changed = noisy_patch(images, 6, grid=4, generator=torch.Generator().manual_seed(0))
    outside = torch.ones(8, 8, dtype=torch.bool)
    outside[2:4, 4:6] = False
    assert changed[..., outside].equal(images[..., outside])
    patch = changed[..., 2:4, 4:6]
    assert not patch.equal(images[..., 2:4, 4:6])
    torch.testing.assert_close(patch.mean((0, 2, 3)), images.mean((0, 2, 3)), atol=0.3, rtol=0)
    torch.testing.assert_close(patch.std((0, 2, 3)), images.std((0, 2, 3)), atol=0.3, rtol=0)


def test_every_cell_of_an_uneven_grid_is_covered_once() -> None:
    images = torch.zeros(2, 1, 7, 5)
    images[0] = 1
    hits = sum((noisy_patch(images, patch, 3) != images).any(0).long() for patch in range(9))
    assert hits.eq(1).all()


def test_sensitivity_is_the_mean_total_variation() -> None:
    logits, changed = draw(6, 4), draw(6, 4, 3, seed=1)
    literal = np.mean(
        [
            0.5
            * sum(
                abs(float(a) - float(b)) for a, b in zip(logits[n].softmax(0), changed[n, :, m].softmax(0), strict=True)
            )
            for n in range(6)
            for m in range(3)
        ]
    )
    result = patch_sensitivity(sensitivity_sums(logits, changed))
    assert float(result.sensitivity) == pytest.approx(literal)
    flips = (logits.argmax(1)[:, None] != changed.argmax(1)).double().mean()
    assert result.flipped == flips


def test_only_the_patch_that_a_model_looks_at_moves_it() -> None:
    images = draw(20, 2, 8, 8)

    def model(x: Tensor) -> Tensor:
        return 5 * x[:, :, :2, :2].mean((2, 3))

    logits = patch_logits(model, images, grid=4, batch_size=7)
    assert logits.shape == (20, 2, 16)
    moved = (logits - model(images)[:, :, None]).abs().amax((0, 1))
    assert moved[0] > 0.5
    assert moved[1:].eq(0).all()
    metric = PatchSensitivity()
    metric.update(model(images), logits)
    assert 0 < metric.compute()["sensitivity"] < 1 / 16


def test_one_logit_is_two_probabilities_and_pixels_are_outputs() -> None:
    result = patch_sensitivity(sensitivity_sums(torch.tensor([[0.0]]), torch.tensor([[[100.0]]])))
    assert float(result.sensitivity) == pytest.approx(0.5)
    sums = sensitivity_sums(draw(2, 3, 4, 5), draw(2, 3, 4, 5, 6, seed=1))
    assert sums.tried == 2 * 4 * 5 * 6


def test_no_images_have_no_sensitivity_and_say_why() -> None:
    metric = PatchSensitivity()
    assert metric.compute()["sensitivity"].isnan()
    assert metric.undefined == {"sensitivity": "no images", "flipped": "no images"}


def test_logits_of_other_images_are_refused() -> None:
    with pytest.raises(InputError) as error:
        PatchSensitivity().update(torch.zeros(3, 2), torch.zeros(3, 4, 2))
    assert str(error.value) == (
        "PatchSensitivity.update: logits are not of the same images; given logits (3, 2), changed_logits (3, 4, 2). "
        "Pass logits (n c), and one patch a column: (n c m)."
    )


def test_one_logit_is_the_log_odds_of_two_classes() -> None:
    before, after = torch.tensor([[0.3], [-2.0]]), torch.tensor([[[1.5, -0.4]], [[-1.0, 0.2]]])
    moved = (torch.sigmoid(after[:, 0].double()) - torch.sigmoid(before.double())).abs().mean()
    result = patch_sensitivity(sensitivity_sums(before, after))
    assert float(result.sensitivity) == pytest.approx(float(moved), rel=1e-6)
    assert float(result.flipped) == 0.5


def test_a_ring_ends_before_its_upper_edge() -> None:
    wave = torch.cos(2 * torch.pi * torch.arange(16) / 4).expand(1, 1, 16, 16)  # a quarter of a cycle a pixel
    torch.testing.assert_close(remove_ring(wave, 0.1, 0.25), wave, atol=1e-5, rtol=0)
    torch.testing.assert_close(remove_ring(wave, 0.25, 0.3), torch.zeros_like(wave), atol=1e-5, rtol=0)
