"""The cached first layer: found, checked, equal to the plain way, and left where it would be wrong."""

from typing import Any

import pytest
import torch
from einops.layers.torch import Rearrange
from torch import Tensor, nn

from lightning_failures import attribute_channels
from lightning_failures.attribution import ChannelInput, StemInput, find_stem
from tests.stems import FAST, PLAIN, C, batch, conv, literal, tail


@pytest.mark.parametrize("name", FAST)
def test_a_stem_is_cached_and_equals_the_definition(name: str) -> None:
    torch.manual_seed(0)
    build, shape = FAST[name]
    model = build()
    inputs, targets = batch(shape)
    profile = attribute_channels(model, inputs, targets, baseline=0.25)
    assert profile.way.startswith("cached output of "), profile.way
    expected = literal(model, inputs, targets, torch.full_like(inputs, 0.25))
    assert float(expected.abs().max()) > 1e-3
    assert torch.allclose(profile.changes, expected, atol=1e-5)


@pytest.mark.parametrize("name", PLAIN)
def test_a_model_that_cannot_be_cached_goes_the_plain_way_and_says_why(name: str) -> None:
    torch.manual_seed(0)
    build, way = PLAIN[name]
    model = build()
    inputs, targets = batch((3, C, 8, 8))
    profile = attribute_channels(model, inputs, targets, baseline=0.25)
    assert profile.way.startswith(way)
    assert torch.allclose(profile.changes, literal(model, inputs, targets, torch.full_like(inputs, 0.25)), atol=1e-5)


def test_channels_last_are_cached_too() -> None:
    model = nn.Sequential(nn.Linear(C, 4), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 9, 3))
    inputs, targets = batch((3, 3, 3, C))
    profile = attribute_channels(model, inputs, targets, baseline=0.25, channel_axis=-1)
    assert profile.way.startswith("cached output of '0'")
    moved = nn.Sequential(Rearrange("n c h w -> n h w c"), model)
    expected = literal(moved, inputs.movedim(3, 1), targets, torch.full((3, C, 3, 3), 0.25))
    assert torch.allclose(profile.changes, expected, atol=1e-5)


@pytest.mark.parametrize("method", ["ablation", "shapley", "permutation", "conditional_permutation"])
@pytest.mark.parametrize("chunk_size", [1, 2, 3, 7, 64])
def test_any_chunk_gives_the_same(method: Any, chunk_size: int) -> None:
    torch.manual_seed(0)
    model = conv(3)
    inputs, targets = batch((5, C, 8, 8))
    whole = attribute_channels(model, inputs, targets, method, draws=3)
    parts = attribute_channels(model, inputs, targets, method, draws=3, chunk_size=chunk_size)
    assert torch.allclose(parts.changes, whole.changes, atol=1e-6)


@pytest.mark.filterwarnings("ignore:attribute_channels. integrated gradients miss")
@pytest.mark.parametrize(("chunk_size", "images"), [(4, 10), (7, 3), (64, 5)])
def test_no_forward_sees_more_images_than_the_chunk(chunk_size: int, images: int) -> None:
    model = conv(3)
    inputs, targets = batch((images, C, 8, 8))
    seen: list[int] = []
    model[2].register_forward_hook(lambda _, args, __: seen.append(len(args[0])))
    for method in ("ablation", "shapley", "permutation", "integrated_gradients"):
        attribute_channels(model, inputs, targets, method, draws=2, chunk_size=chunk_size)
    assert max(seen) <= chunk_size


def test_the_first_layer_is_run_whole_a_few_times_only_and_the_rest_once_a_band() -> None:
    work = []

    class Counted(nn.Conv2d):
        def forward(self, x: Tensor) -> Tensor:
            work.append(self.weight.shape[1])
            return super().forward(x)

    model = tail(Counted(60, 4, 3))
    tails: list[int] = []
    model[1].register_forward_hook(lambda _, args, __: tails.append(len(args[0])))
    inputs, targets = batch((4, 60, 8, 8))
    profile = attribute_channels(model, inputs, targets, chunk_size=4)
    assert profile.way.startswith("cached")
    assert work.count(60) <= 5  # the trial, the proposal, the check and the cache
    assert sum(channels for channels in work if channels == 1) == 60
    assert len(tails) <= 60 + 6


def test_states_are_kept_finer_than_the_model_computes() -> None:
    model = conv(3).bfloat16().eval()
    inputs = torch.randn(2, C, 8, 8, dtype=torch.bfloat16)
    with torch.no_grad():
        stem, way = find_stem(model, inputs, torch.zeros_like(inputs), 1, 64)
        assert stem is not None, way
        given = StemInput(model, inputs, 1, stem)
        (logits,) = given.logits([given.start])
    assert given.start.dtype == torch.float32
    assert logits.dtype == torch.bfloat16


def test_a_single_channel_in_low_precision_changes_what_it_changes_in_full_precision() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(64, 16, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 3))
    inputs, targets = batch((32, 64, 4, 4))
    exact = attribute_channels(model, inputs, targets, output="logit").values
    with torch.autocast("cpu", torch.bfloat16):
        profile = attribute_channels(model, inputs, targets, output="logit")
    assert profile.way.startswith("cached")
    assert float((profile.values - exact).abs().max()) < 0.05 * float(exact.abs().max())


def test_double_models_stay_double() -> None:
    torch.manual_seed(0)
    model = conv(3).double()
    inputs, targets = batch((3, C, 8, 8))
    inputs = inputs.double()
    profile = attribute_channels(model, inputs, targets, baseline=0.25)
    expected = literal(model, inputs, targets, torch.full_like(inputs, 0.25))
    assert torch.allclose(profile.changes, expected, atol=1e-12)


def test_restoring_gives_the_start_back() -> None:
    model = conv(3).eval()
    inputs = torch.randn(2, C, 8, 8)
    channels = torch.tensor([1, 4])
    values = torch.randn(2, 2, 8, 8)
    with torch.no_grad():
        stem, _ = find_stem(model, inputs, torch.zeros_like(inputs), 1, 64)
        assert stem is not None
        for given in (ChannelInput(model, inputs, 1), StemInput(model, inputs, 1, stem)):
            there = given.replace(given.start, channels, values)
            assert float((there - given.start).abs().max()) > 0.1
            assert torch.allclose(given.restore(there, channels, values), given.start, atol=1e-5)


def test_a_model_that_cannot_read_channels_last_is_cached_as_it_is() -> None:
    class View(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.stem, self.head = nn.Conv2d(C, 4, 3), nn.Linear(4 * 36, 3)

        def forward(self, x: Tensor) -> Tensor:
            return self.head(self.stem(x).view(len(x), -1).relu())

    torch.manual_seed(0)
    model = View().eval()
    inputs, targets = batch((3, C, 8, 8))
    profile = attribute_channels(model, inputs, targets, baseline=0.25)
    assert profile.way.startswith("cached output of 'stem'")
    assert torch.allclose(profile.changes, literal(model, inputs, targets, torch.full_like(inputs, 0.25)), atol=1e-5)
    with torch.no_grad():
        assert find_stem(model, inputs, torch.zeros_like(inputs), 1, 64)[0].layout == torch.preserve_format  # type: ignore[union-attr]
        assert find_stem(conv(3), inputs, torch.zeros_like(inputs), 1, 64)[0].layout == torch.channels_last  # type: ignore[union-attr]


def test_a_few_bands_go_the_plain_way_which_costs_less_than_the_checks() -> None:
    inputs, targets = batch((3, C, 8, 8))
    profile = attribute_channels(conv(3), inputs, targets, bands=2)
    assert profile.way == "the plain way: the checks of a faster one cost more than 3 forwards"


def test_sharded_parameters_go_the_plain_way() -> None:
    model = conv(3)
    model[0].weight.device_mesh = "as a DTensor has"
    inputs, targets = batch((3, C, 8, 8))
    assert attribute_channels(model, inputs, targets).way == "the plain way: the parameters are sharded"


def test_a_forward_that_was_replaced_by_somebody_else_is_put_back() -> None:
    model = conv(3)
    stem = model[0]
    original = stem.forward

    def doubled(x: Tensor) -> Tensor:
        return 2 * original(x)

    stem.forward = doubled
    inputs, targets = batch((3, C, 8, 8))
    profile = attribute_channels(model, inputs, targets, baseline=0.25)
    assert stem.forward is doubled
    assert torch.allclose(profile.changes, literal(model, inputs, targets, torch.full_like(inputs, 0.25)), atol=1e-5)
