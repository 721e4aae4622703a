"""Networks whose first layer is linear in the channels, and some whose is not."""

from collections.abc import Callable
from typing import Any

import torch
from einops.layers.torch import Rearrange, Reduce
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils import parametrizations

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
