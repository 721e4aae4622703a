"""Validation is at chance: its classes are listed in another order than those of training."""

import lightning
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

import lightning_failures as lf


class Classifier(lightning.LightningModule):
    """A small convolutional network."""

    def __init__(self) -> None:
        super().__init__()
        body = [nn.Conv2d(3, 16, 3, stride=2), nn.ReLU(), nn.Conv2d(16, 32, 3, stride=2), nn.ReLU(), nn.Flatten()]
        self.net = nn.Sequential(*body, nn.Linear(288, 4))

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
        """Cross-entropy."""
        return F.cross_entropy(self.net(batch[0]), batch[1])

    def validation_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> None:
        """Accuracy."""
        self.log("val_acc", (self.net(batch[0]).argmax(1) == batch[1]).float().mean())

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """AdamW."""
        return torch.optim.AdamW(self.parameters())


lightning.seed_everything(0)
labels = torch.arange(1600) % 4  # the direction of the stripes in a noisy image, which begin anywhere
grid, angles = torch.arange(16.0), labels * torch.pi / 4
along = angles.cos()[:, None, None] * grid + angles.sin()[:, None, None] * grid[:, None]
images = torch.rand(1600, 3, 16, 16) + 0.4 * (1.6 * along + 6.3 * torch.rand(1600, 1, 1)).sin()[:, None]
train = TensorDataset(images[:1200], labels[:1200])
order = torch.tensor([0, 2, 3, 1])  # the fault, as where folders are sorted by other names
validation = TensorDataset(images[1200:], order[labels[1200:]])

trainer = lightning.Trainer(max_epochs=4, log_every_n_steps=10, callbacks=lf.failure_monitors(report_dir="failures"))
trainer.fit(Classifier(), DataLoader(train, batch_size=32, shuffle=True), DataLoader(validation, batch_size=100))
