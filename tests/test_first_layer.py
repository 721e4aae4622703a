"""The cached first layer: found, checked, equal to the plain way, and left where it would be wrong."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from einops.layers.torch import Rearrange, Reduce
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils import parametrizations

from lightning_failures.probes.attribution import attribute_channels
from lightning_failures.probes.first_layer import ChannelInput, StemInput, find_stem

C = 6


class Normalised(nn.Module):
    """Standardises each channel first."""

    def __init__(self) -> None:
        super().__init__()
        self.mean, self.scale = nn.Buffer(torch.randn(C, 1, 1)), nn.Buffer(torch.rand(C, 1, 1) + 0.5)
        self.rest = conv(3)

    def forward(self, x: Tensor) -> Tensor:
        return self.rest((x - self.mean) / self.scale)


class Skip(nn.Module):
    """Uses its input a second time, in a small way."""

    def __init__(self, size: float) -> None:
        super().__init__()
        self.size, self.stem, self.head = size, nn.Conv2d(C, 4, 3, padding=1), nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        h = self.stem(x).relu() + self.size * x.square().mean(1, keepdim=True)
        return self.head(h.mean((2, 3)))


class Twice(nn.Module):
    """Two views through one stem."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.head = nn.Conv2d(C, 4, 3), nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.head((self.stem(x).relu() + self.stem(x.flip(3)).relu()).mean((2, 3)))


class TwoStems(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.one, self.other, self.head = nn.Conv2d(C, 4, 3, padding=1), nn.Conv2d(C, 4, 1), nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.head((self.one(x) * self.other(x)).mean((2, 3)))


class InPlace(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.rest = conv(3)

    def forward(self, x: Tensor) -> Tensor:
        return self.rest(x.clamp_(min=0))


class SamePadding(nn.Conv2d):
    """A convolution with a forward of its own, as timm's."""

    def forward(self, x: Tensor) -> Tensor:
        return F.conv2d(F.pad(x, (0, 1, 0, 1)), self.weight, self.bias, self.stride)


class Standardised(nn.Conv2d):
    """A convolution whose weight is standardised over its channels."""

    def forward(self, x: Tensor) -> Tensor:
        weight = self.weight - self.weight.mean((1, 2, 3), keepdim=True)
        return F.conv2d(x, weight / weight.std((1, 2, 3), keepdim=True), self.bias)


def conv(kernel: int, **kwargs: Any) -> nn.Sequential:
    return tail(nn.Conv2d(C, 4, kernel, **kwargs))


def tail(stem: nn.Module) -> nn.Sequential:
    rest = (nn.ReLU(), nn.Conv2d(4, 5, 3), nn.GELU(), nn.AdaptiveMaxPool2d(1), nn.Flatten(), nn.Linear(5, 3))
    return nn.Sequential(stem, *rest)


def tokens(*stem: nn.Module) -> nn.Sequential:
    rest = (nn.GELU(), nn.LayerNorm(4), nn.Linear(4, 5), nn.GELU(), Reduce("n t d -> n d", "mean"), nn.Linear(5, 3))
    return nn.Sequential(*stem, *rest)


FAST: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "1x1": (lambda: conv(1), (3, C, 8, 8)),
    "3x3": (lambda: conv(3), (3, C, 8, 8)),
    "stride, padding, dilation, no bias": (
        lambda: conv(3, stride=2, padding=3, dilation=2, bias=False),
        (3, C, 12, 12),
    ),
    "reflected": (lambda: conv(3, padding=1, padding_mode="reflect"), (3, C, 8, 8)),
    "own forward": (lambda: tail(SamePadding(C, 4, 2, stride=2)), (3, C, 16, 16)),
    "normalised first": (Normalised, (3, C, 8, 8)),
    "sequence": (
        lambda: nn.Sequential(nn.Conv1d(C, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool1d(1), nn.Flatten(), nn.Linear(4, 3)),
        (3, C, 20),
    ),
    "volume": (
        lambda: nn.Sequential(nn.Conv3d(C, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool3d(1), nn.Flatten(), nn.Linear(4, 3)),
        (3, C, 5, 5, 5),
    ),
    "rows": (lambda: nn.Sequential(nn.Linear(C, 4), nn.ReLU(), nn.Linear(4, 3)), (5, C)),
    "pixels as rows": (lambda: tokens(Rearrange("n c h w -> n (h w) c"), nn.Linear(C, 4)), (3, C, 4, 4)),
    "linear patch embedding": (
        lambda: tokens(Rearrange("n c (h p) (w q) -> n (h w) (p q c)", p=2, q=2), nn.Linear(4 * C, 4)),
        (3, C, 8, 8),
    ),
    "linear patch embedding, channels outside": (
        lambda: tokens(Rearrange("n c (h p) (w q) -> n (h w) (c p q)", p=2, q=2), nn.Linear(4 * C, 4)),
        (3, C, 8, 8),
    ),
    "space to depth": (lambda: nn.Sequential(nn.PixelUnshuffle(2), tail(nn.Conv2d(4 * C, 4, 1))), (3, C, 8, 8)),
    "flattened images": (
        lambda: nn.Sequential(nn.Flatten(), nn.Linear(C * 16, 8), nn.ReLU(), nn.Linear(8, 3)),
        (3, C, 4, 4),
    ),
}
PLAIN: dict[str, tuple[Callable[[], nn.Module], str]] = {
    "a large skip": (lambda: Skip(1.0), "the plain way: not only 'stem' reads the inputs"),
    "a small skip": (lambda: Skip(1e-2), "the plain way: not only 'stem' reads the inputs"),
    "two views": (Twice, "the plain way: 'stem' runs more than once"),
    "two stems": (TwoStems, "the plain way: not only 'one' reads the inputs"),
    "grouped": (lambda: tail(nn.Conv2d(C, 4, 3, groups=2)), "the plain way: '0' is a grouped convolution"),
    "standardised weight": (lambda: tail(Standardised(C, 4, 3)), "the plain way: '0' is not linear in the channels"),
    "computed weight": (
        lambda: tail(parametrizations.weight_norm(nn.Conv2d(C, 4, 3))),
        "the plain way: the weight of '0' is computed from others",
    ),
    "norm over channels first": (
        lambda: nn.Sequential(
            Rearrange("n c h w -> n h w c"), nn.LayerNorm(C), Rearrange("n h w c -> n c h w"), conv(3)
        ),
        "the plain way: '3.0' is not linear in the channels",
    ),
    "clamped in place first": (
        InPlace,
        "the plain way: 'rest.0' cannot be cached (unsupported operation: ",
    ),
    "no layer at all": (
        lambda: nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Softplus()),
        "the plain way: no convolution or linear layer was seen to run",
    ),
    "pooled first": (
        lambda: nn.Sequential(
            Rearrange("n c h w -> n h (w c)"), nn.LayerNorm(8 * C), nn.Linear(8 * C, 4), nn.Flatten()
        ),
        "the plain way: '2' does not take the channels as they are",
    ),
}


def literal(model: nn.Module, inputs: Tensor, targets: Tensor, values: Tensor) -> Tensor:
    """Ablation as it is defined: one forward of the whole model for each channel."""
    model.eval()
    with torch.no_grad():
        scores = [model(inputs.clone()).log_softmax(1).gather(1, targets[:, None])]
        for channel in range(inputs.shape[1]):
            changed = inputs.clone()
            changed[:, channel] = values[:, channel]
            scores.append(model(changed).log_softmax(1).gather(1, targets[:, None]))
    return (scores[0] - torch.cat(scores[1:], 1)).double()


def batch(shape: tuple[int, ...]) -> tuple[Tensor, Tensor]:
    gen = torch.Generator().manual_seed(1)
    return torch.randn(shape, generator=gen) + 0.5, torch.randint(0, 3, shape[:1], generator=gen)


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
