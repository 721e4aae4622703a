"""Images with a bright quarter whose place is the class, and a tiny network that learns them in an epoch or two."""

import lightning as L
import torch
from torch import nn

CLASSES = 4


def images(n, seed):
    """Noise with a bright quarter, whose place is the class; three channels of different brightness."""
    generator = torch.Generator().manual_seed(seed)
    target = torch.arange(n) % CLASSES
    inputs = 0.2 * torch.randn(n, 3, 8, 8, generator=generator)
    for row, place in enumerate(target.tolist()):
        top, left = 4 * (place // 2), 4 * (place % 2)
        inputs[row, :, top : top + 4, left : left + 4] += torch.tensor([1.0, 0.5, 0.1])[:, None, None]
    return inputs, target


class Net(L.LightningModule):
    def __init__(self, norm=False, momentum=0.1):
        super().__init__()
        layers = [nn.BatchNorm2d(8, momentum=momentum)] if norm else []
        self.net = nn.Sequential(
            nn.Conv2d(3, 8, 3, 2, 1), *layers, nn.ReLU(), nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(32, CLASSES)
        )

    def forward(self, inputs):
        return self.net(inputs)

    def training_step(self, batch, _):
        return nn.functional.cross_entropy(self(batch[0]), batch[1])

    def validation_step(self, batch, _):
        logits = self(batch[0])
        self.log("val_acc", (logits.argmax(1) == batch[1]).float().mean())
        self.log("val_loss", nn.functional.cross_entropy(logits, batch[1]))

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=1e-2)
