"""A hyperspectral scene whose classes differ in one band alone, as where a detector gives the day away."""

import lightning
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

import lightning_failures as lf

wavelengths = torch.linspace(400, 2500, 40)  # nm


class Classifier(lightning.LightningModule):
    """A small convolutional network."""

    def __init__(self) -> None:
        super().__init__()
        body = [nn.Conv2d(40, 32, 3), nn.BatchNorm2d(32), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()]
        self.net = nn.Sequential(*body, nn.Linear(32, 4))

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
        """Cross-entropy."""
        return F.cross_entropy(self.net(batch[0]), batch[1])

    def validation_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> None:
        """Accuracy."""
        self.log("val_acc", (self.net(batch[0]).argmax(1) == batch[1]).float().mean())

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """AdamW."""
        return torch.optim.AdamW(self.parameters(), lr=3e-3)


lightning.seed_everything(0)
labels = torch.arange(1600) % 4
images = torch.randn(1600, 40, 8, 8) + 0.3 * torch.randn(1600, 1, 1, 1)  # noise, and each image's own brightness
images[:, 19] += labels[:, None, None] - 1.5  # the channel at 1,423 nm tells the class
train, held = TensorDataset(images[:1200], labels[:1200]), TensorDataset(images[1200:], labels[1200:])

watched = lf.failure_monitors(wavelengths=wavelengths, unit="nm", report_dir="failures")
trainer = lightning.Trainer(max_epochs=8, log_every_n_steps=10, callbacks=watched)
trainer.fit(Classifier(), DataLoader(train, batch_size=32, shuffle=True), DataLoader(held, batch_size=100))
