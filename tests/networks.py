"""Small networks and batches for tests of channels."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class Mean(nn.Module):
    """Logits that are linear in the channel means: (0, sum of w_c times the mean of channel c)."""

    def __init__(self, weights: list[float]) -> None:
        super().__init__()
        self.layer = nn.Conv2d(len(weights), 2, 1, bias=False)
        with torch.no_grad():
            self.layer.weight.copy_(torch.tensor([[0.0] * len(weights), weights])[:, :, None, None])

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(x).mean((2, 3))


class Bent(nn.Module):
    """Logits that are not linear in the channels."""

    def __init__(self, channels: int = 6, classes: int = 3, seed: int = 0) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.stem = nn.Conv2d(channels, 8, 3, padding=1)
        self.body = nn.Conv2d(8, 8, 3)
        self.head = nn.Linear(8, classes)

    def forward(self, x: Tensor) -> Tensor:
        return 3 * self.head(F.gelu(self.body(F.gelu(2 * self.stem(x)))).mean((2, 3)))


def batch(images: int = 6, channels: int = 6, size: int = 5, seed: int = 0) -> tuple[Tensor, Tensor]:
    gen = torch.Generator().manual_seed(seed)
    return torch.randn(images, channels, size, size, generator=gen) + 1, torch.randint(0, 2, (images,), generator=gen)
