"""A training script as many are; the line that adds the monitors is marked, and so is its import."""

import lightning
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset, random_split

import lightning_failures as lf  # added


class Classifier(lightning.LightningModule):
    """A small convolutional network."""

    def __init__(self) -> None:
        super().__init__()
        body = [nn.Conv2d(3, 16, 3, stride=2), nn.ReLU(), nn.Conv2d(16, 32, 3, stride=2), nn.ReLU(), nn.Flatten()]
        self.net = nn.Sequential(*body, nn.Linear(288, 4))

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
        """Cross-entropy."""
        images, labels = batch
        return F.cross_entropy(self.net(images), labels)

    def validation_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> None:
        """Accuracy."""
        images, labels = batch
        self.log("val_acc", (self.net(images).argmax(1) == labels).float().mean(), prog_bar=True)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """AdamW."""
        return torch.optim.AdamW(self.parameters())


lightning.seed_everything(0)
labels = torch.arange(800) % 4  # the quadrant of a noisy image that is brighter than the others
images = torch.rand(800, 3, 16, 16) + 0.3 * F.interpolate(
    F.one_hot(labels, 4).float().view(-1, 1, 2, 2), scale_factor=8
)
train, validation = random_split(TensorDataset(images, labels), [600, 200])

model = Classifier()
trainer = lightning.Trainer(
    max_epochs=4,
    log_every_n_steps=10,
    callbacks=lf.failure_monitors(),  # added
)
trainer.fit(model, DataLoader(train, batch_size=32, shuffle=True), DataLoader(validation, batch_size=100))
