"""Attribution of channels: kinds of images, targets and baselines, and the null floor."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lightning_failures import attribute_channels
from lightning_failures.errors import UnknownNameError
from tests.networks import Bent, batch

REPLACING = ["ablation", "shapley", "permutation", "conditional_permutation", "window_conditional_permutation"]
GRADIENTS = ["gradient_x_input", "integrated_gradients", "expected_gradients"]


# -- tasks and targets


def test_without_targets_the_models_own_predictions_are_taken() -> None:
    inputs, _ = batch()
    model = Bent().eval()
    profile = attribute_channels(model, inputs, None)
    with torch.no_grad():
        own = model(inputs).argmax(1)
    assert profile.target == "predicted"
    assert torch.equal(profile.changes, attribute_channels(model, inputs, own).changes)


@pytest.mark.parametrize("method", REPLACING + GRADIENTS)
def test_pixels_are_attributed_too(method: Any) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(4, 6, 3, padding=1), nn.GELU(), nn.Conv2d(6, 3, 1)).eval()
    inputs, _ = batch(images=5, channels=4)
    targets = torch.randint(0, 3, (5, 5, 5))
    targets[:, 0] = -100
    profile = attribute_channels(model, inputs, targets, method, draws=None if method == "integrated_gradients" else 4)
    assert profile.changes.shape == (5, 4)
    assert bool((profile.values.abs() > 0).all())
    if method == "ablation":
        changed = inputs.clone()
        changed[:, 2] = inputs[:, 2].mean()
        with torch.no_grad():
            lost = F.cross_entropy(model(changed), targets) - F.cross_entropy(model(inputs), targets)
        assert float(profile.values[2]) == pytest.approx(float(lost), abs=1e-5)


def test_an_image_without_a_labelled_pixel_does_not_count() -> None:
    model = nn.Conv2d(4, 3, 1)
    inputs, _ = batch(images=3, channels=4)
    targets = torch.zeros(3, 5, 5, dtype=torch.int64)
    targets[1] = -100
    profile = attribute_channels(model, inputs, targets)
    assert int(profile.sums.images) == 2
    kept = attribute_channels(model, inputs[[0, 2]], targets[[0, 2]], baseline=inputs.mean((0, 2, 3)))
    assert torch.allclose(profile.values, kept.values, atol=1e-6)


def test_grey_images_spectra_and_sequences_are_attributed() -> None:
    assert attribute_channels(
        nn.Sequential(nn.Flatten(), nn.Linear(16, 2)), torch.randn(3, 1, 4, 4), None
    ).values.shape == (1,)
    assert attribute_channels(nn.Linear(20, 2), torch.randn(3, 20), None).values.shape == (20,)
    sequence = nn.Sequential(nn.Conv1d(5, 2, 3), nn.AdaptiveAvgPool1d(1), nn.Flatten())
    assert attribute_channels(sequence, torch.randn(3, 5, 9), None).values.shape == (5,)


def test_one_logit_for_two_classes_is_attributed() -> None:
    inputs, targets = batch(channels=3)
    model = nn.Sequential(nn.Conv2d(3, 1, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    profile = attribute_channels(model, inputs, targets, null="head")
    changed = inputs.clone()
    changed[:, 0] = inputs[:, 0].mean()
    with torch.no_grad():
        lost = F.binary_cross_entropy_with_logits(model(changed)[:, 0], targets.float())
        lost = lost - F.binary_cross_entropy_with_logits(model(inputs)[:, 0], targets.float())
    assert float(profile.values[0]) == pytest.approx(float(lost), abs=1e-6)
    assert torch.equal(attribute_channels(model, inputs, None).changes.isnan(), torch.zeros(6, 3, dtype=torch.bool))


@pytest.mark.parametrize("baseline", ["mean", "zero", 0.5, "channel", "image", "images"])
def test_every_kind_of_baseline_is_what_it_says(baseline: Any) -> None:
    inputs, targets = batch()
    tensors = {"channel": torch.randn(6), "image": torch.randn(6, 5, 5), "images": torch.randn(6, 6, 5, 5)}
    values = {"mean": inputs.mean((0, 2, 3)), "zero": torch.zeros(6), 0.5: torch.full((6,), 0.5)} | tensors
    value = values[baseline]
    full = (value[:, None, None] if value.ndim == 1 else value).expand_as(inputs)
    profile = attribute_channels(Bent(), inputs, targets, baseline=tensors.get(baseline, baseline))
    model = Bent().eval()
    changed = inputs.clone()
    changed[:, 1] = full[:, 1]
    with torch.no_grad():
        lost = F.cross_entropy(model(changed), targets) - F.cross_entropy(model(inputs), targets)
    assert float(profile.values[1]) == pytest.approx(float(lost), abs=1e-5)
    assert profile.baseline == ("given" if baseline in tensors else str(baseline))


def test_names_and_positions_come_from_the_axis() -> None:
    inputs, targets = batch()
    axis = [1000.0, 1100, 1200, 1300, 1400, 1500]
    profile = attribute_channels(
        Bent(), inputs, targets, bands={"low": (1000, 1200), "high": (1400, 1500)}, wavelengths=axis, unit="cm-1"
    )
    assert profile.names == ("low", "high")
    assert profile.positions is not None
    assert profile.positions.tolist() == [1100, 1450]
    assert profile.members.int().tolist() == [[1, 1, 1, 0, 0, 0], [0, 0, 0, 0, 1, 1]]


# -- the null floor


@pytest.mark.parametrize("method", REPLACING)
def test_the_floor_is_the_largest_rise_of_a_model_whose_last_layer_is_shuffled(method: Any) -> None:
    inputs, targets = batch()
    model = Bent()
    profile = attribute_channels(model, inputs, targets, method, null="head", seed=5)
    assert torch.allclose(profile.values, attribute_channels(model, inputs, targets, method, seed=5).values, atol=1e-6)
    weight = model.head.weight.detach().clone()
    generator = torch.Generator().manual_seed(6)
    largest = 0.0
    for order in [torch.randperm(weight.numel(), generator=generator) for _ in range(8)]:
        shuffled = Bent()
        with torch.no_grad():
            shuffled.head.weight.copy_(weight.flatten()[order].view_as(weight))
        values = attribute_channels(shuffled, inputs, targets, method, seed=5).values
        largest = max(largest, float(values.max()))
    assert float(profile.floor) == pytest.approx(largest, abs=1e-5)


def test_a_model_that_scales_its_logits_has_its_heads_run_one_by_one_with_the_same_floor() -> None:
    class Scaled(Bent):
        def forward(self, x: Tensor) -> Tensor:
            logits = super().forward(x)
            return logits / 2 if logits.shape[1] == 3 else logits[:, :3] * torch.nan

    inputs, targets = batch()
    profile = attribute_channels(Scaled(), inputs, targets, null="head")
    halved = Bent()
    with torch.no_grad():
        halved.head.weight /= 2
        halved.head.bias /= 2
    same = attribute_channels(halved, inputs, targets, null="head")
    assert float(profile.floor) == pytest.approx(float(same.floor), abs=1e-6)
    assert torch.allclose(profile.values, same.values, atol=1e-6)


def test_a_model_that_knows_nothing_has_a_blank_profile() -> None:
    model = Bent()
    with torch.no_grad():
        model.head.weight[:] = model.head.weight[0]  # all logits are one: the cross-entropy never changes
    inputs, targets = batch()
    for null in (None, "images", "head", "channels"):
        profile = attribute_channels(model, inputs, targets, null=null)  # type: ignore[arg-type]
        assert profile.blank
        assert bool(profile.share.isnan().all())
        assert float(profile.values.abs().max()) < 1e-6


def test_an_unknown_null_is_named() -> None:
    inputs, targets = batch()
    with pytest.raises(UnknownNameError) as caught:
        attribute_channels(Bent(), inputs, targets, null="weights")  # type: ignore[arg-type]
    assert str(caught.value) == (
        "attribute_channels: no such null; given 'weights'. Choose from 'images', 'head' and 'channels'."
    )
