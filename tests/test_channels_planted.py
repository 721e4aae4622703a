"""Planted bands are found where a trained model uses them, and nothing is shown where it does not."""

from typing import Any

import pytest
import torch
from sklearn.metrics import roc_auc_score
from torch import Tensor, nn
from torch.nn import functional as F

from lightning_failures import attribute_channels, planted_scene
from lightning_failures.data import PlantedCase

pytestmark = pytest.mark.slow

Trained = tuple[nn.Module, Tensor, Tensor, Tensor]


def train(case: PlantedCase, epochs: int, images: int = 1024) -> Trained:
    scene = planted_scene(case, seed=0, images=images, validation=128, size=12)
    mean = scene.train.images.mean((0, 2, 3), keepdim=True)
    scale = scene.train.images.std((0, 2, 3), keepdim=True)
    inputs, labels = (scene.train.images - mean) / scale, scene.train.labels
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = nn.Sequential(
            *(nn.Conv2d(64, 16, 1), nn.BatchNorm2d(16), nn.ReLU()),
            *(nn.Conv2d(16, 32, 3, 2, 1), nn.BatchNorm2d(32), nn.ReLU()),
            *(nn.Conv2d(32, 32, 3, 2, 1), nn.BatchNorm2d(32), nn.ReLU()),
            *(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(32, 4)),
        )
        optimizer = torch.optim.AdamW(model.parameters())
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.01, total_steps=epochs * images // 32)
        for _ in range(epochs):
            for rows in torch.randperm(images).split(32):
                optimizer.zero_grad()
                F.cross_entropy(model(inputs[rows]), labels[rows]).backward()
                optimizer.step()
                schedule.step()
    shown, target = (scene.validation.images - mean) / scale, scene.validation.labels
    assert float((model.eval()(shown).argmax(1) == target).double().mean()) > 0.9
    planted = torch.zeros(64, dtype=torch.bool)
    for wavenumber in (1030, 1080, 1240, 1740):
        planted[(scene.wavenumbers - wavenumber).abs().argsort()[:2]] = True
    return model, shown, target, planted


@pytest.fixture(scope="module")
def using() -> Trained:
    return train("complex", epochs=10)


@pytest.fixture(scope="module")
def ignoring() -> Trained:
    return train("simple", epochs=5)


METHODS = ["ablation", "permutation", "window_conditional_permutation"]


NULLS = ["images", "head"]


@pytest.mark.parametrize("null", NULLS)
@pytest.mark.parametrize("method", METHODS)
def test_bands_that_the_model_uses_are_found_and_shown(using: Trained, method: Any, null: Any) -> None:
    model, inputs, targets, planted = using
    profile = attribute_channels(model, inputs, targets, method, null=null)
    assert roc_auc_score(planted, profile.values.abs()) >= 0.95
    assert not profile.blank
    assert float(profile.share[planted].sum()) > 0.5


@pytest.mark.parametrize("null", NULLS)
@pytest.mark.parametrize("method", METHODS)
def test_a_model_that_ignores_them_has_a_blank_profile_and_tiny_changes(
    ignoring: Trained, method: Any, null: Any
) -> None:
    model, inputs, targets, _ = ignoring
    profile = attribute_channels(model, inputs, targets, method, null=null)
    assert profile.blank
    assert bool(profile.share.isnan().all())
    assert float(profile.values.abs().max()) < 0.1


def test_without_a_floor_the_normalised_profile_of_that_model_looks_like_one(ignoring: Trained) -> None:
    model, inputs, targets, _ = ignoring
    profile = attribute_channels(model, inputs, targets, "window_conditional_permutation")
    assert not profile.blank
    assert float(profile.share.sum()) == pytest.approx(1)


def test_what_that_model_does_use_is_seen_when_all_bands_are_replaced_together(ignoring: Trained) -> None:
    model, inputs, targets, _ = ignoring
    profile = attribute_channels(model, inputs, targets, "shapley", bands=8, null="images", draws=32)
    assert float(profile.total) > 1  # with 8 draws, the chance of the orders hides what all bands have alike
    assert not profile.blank
