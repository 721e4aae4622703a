"""Ablation, permutation, Shapley values and integrated gradients against captum, for four kinds of network."""

import functools
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from lightning_failures import attribute_channels
from lightning_failures.attribution import donors

attr = pytest.importorskip("captum.attr")
timm = pytest.importorskip("timm")

SIZE = 32
NETWORKS: dict[str, dict[str, Any]] = {
    "resnet10t": {},
    "mobilenetv3_small_050": {},
    "convnext_atto": {"depths": (1, 1, 1, 1)},
    "vit_tiny_patch16_224": {"img_size": SIZE, "depth": 2},
}
CASES = [(name, channels) for name in NETWORKS for channels in (3, 64, 200)]

every_network = pytest.mark.parametrize(("name", "channels"), CASES)


@functools.cache
def network(name: str, channels: int) -> tuple[nn.Module, Tensor, Tensor]:
    with torch.random.fork_rng():
        torch.manual_seed(channels)
        model = timm.create_model(name, pretrained=False, in_chans=channels, num_classes=5, **NETWORKS[name]).eval()
        inputs = torch.randn(2, channels, SIZE, SIZE) + torch.randn(channels, 1, 1)
    for parameter in model.parameters():
        parameter.requires_grad_(False)  # captum keeps the graph of all that want gradients
    return model, inputs, torch.tensor([1, 4])


def groups(channels: int, width: int) -> Tensor:
    """Captum's mask: the number of each channel's band."""
    return (torch.arange(channels) // width).view(1, -1, 1, 1)


def of_bands(attribution: Tensor, channels: int, width: int) -> Tensor:
    """Captum gives every element its band's value: (n C h w) to (n g)."""
    return attribution[:, ::width, 0, 0].double()


@every_network
def test_ablation_is_captums_to_a_hundred_thousandth(name: str, channels: int) -> None:
    model, inputs, targets = network(name, channels)
    width = max(1, channels // 20)
    profile = attribute_channels(model, inputs, targets, "ablation", width, output="logit")
    base = inputs.mean((0, 2, 3), keepdim=True).expand_as(inputs)
    oracle = attr.FeatureAblation(model).attribute(inputs, base, targets, feature_mask=groups(channels, width))
    assert profile.way.startswith("cached output of " if channels > 3 else "the plain way: the checks")
    assert torch.allclose(profile.changes, of_bands(oracle, channels, width), rtol=0, atol=1e-5)
    assert float(profile.changes.abs().max()) > 1e-3


@every_network
def test_ablation_of_single_channels_is_captums_too(name: str, channels: int) -> None:
    model, inputs, targets = network(name, channels)
    few = {"first": [0], "middle": [channels // 2], "last": [channels - 1]}
    profile = attribute_channels(model, inputs, targets, "ablation", few, baseline="zero", output="logit")
    mask = torch.full((1, channels, 1, 1), 3)
    for number, (channel,) in enumerate(few.values()):
        mask[0, channel] = number
    oracle = attr.FeatureAblation(model).attribute(inputs, 0, targets, feature_mask=mask)[:, :, 0, 0].double()
    assert torch.allclose(profile.changes, oracle[:, [0, channels // 2, channels - 1]], rtol=0, atol=1e-5)


@every_network
def test_shapley_values_are_captums_to_a_hundred_thousandth(name: str, channels: int) -> None:
    model, inputs, targets = network(name, channels)
    width = -(-channels // 3)
    profile = attribute_channels(model, inputs, targets, "shapley", width, output="logit")
    base = inputs.mean((0, 2, 3), keepdim=True).expand_as(inputs)
    oracle = attr.ShapleyValues(model).attribute(inputs, base, targets, feature_mask=groups(channels, width))
    assert profile.way.startswith("cached output of ")
    assert profile.way.endswith("; all sets of bands")
    assert torch.allclose(profile.changes, of_bands(oracle, channels, width), rtol=0, atol=1e-5)


@every_network
def test_permutation_is_captums_with_the_same_donors(name: str, channels: int) -> None:
    model, inputs, targets = network(name, channels)
    width = -(-channels // 4)
    profile = attribute_channels(model, inputs, targets, "permutation", width, output="logit", seed=2)
    donor = donors(2, torch.Generator().manual_seed(2))

    def shuffle(x: Tensor, mask: Tensor) -> Tensor:
        return torch.where(mask, x[donor], x)

    oracle = attr.FeaturePermutation(model, shuffle).attribute(inputs, targets, feature_mask=groups(channels, width))
    assert torch.allclose(profile.changes, of_bands(oracle, channels, width), rtol=0, atol=1e-5)


@pytest.mark.filterwarnings("ignore:attribute_channels. integrated gradients miss")
@every_network
def test_integrated_gradients_are_captums_to_a_thousandth(name: str, channels: int) -> None:
    model, inputs, targets = network(name, channels)
    profile = attribute_channels(model, inputs, targets, "integrated_gradients", output="logit", draws=6)
    base = inputs.mean((0, 2, 3), keepdim=True).expand_as(inputs)
    oracle = attr.IntegratedGradients(model).attribute(inputs, base, targets, n_steps=6, method="riemann_middle")
    assert torch.allclose(profile.changes, oracle.sum((2, 3)).double(), rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize(("name", "channels"), [("resnet10t", 3), ("convnext_atto", 64), ("vit_tiny_patch16_224", 200)])
def test_integrated_gradients_are_complete_to_a_thousandth(name: str, channels: int) -> None:
    model, inputs, targets = network(name, channels)
    profile = attribute_channels(model, inputs, targets, "integrated_gradients", output="logit", baseline=1.0)
    assert abs(float(profile.gap)) <= 1e-3 * abs(float(profile.total))
