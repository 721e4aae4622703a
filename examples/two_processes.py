"""Two processes on one machine, as on two devices: each reads its share, and the findings are of all images."""

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

    def training_step(self, batch: list[Tensor], batch_idx: int) -> Tensor:
        """Cross-entropy."""
        return F.cross_entropy(self.net(batch[0]), batch[1])

    def validation_step(self, batch: list[Tensor], batch_idx: int) -> None:
        """Accuracy, of all processes together."""
        right = (self.net(batch[0]).argmax(1) == batch[1]).float().mean()
        self.log("val_acc", right, sync_dist=True)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """AdamW."""
        return torch.optim.AdamW(self.parameters())


def quadrants(number: int, seed: int) -> TensorDataset:
    """Noisy images of which one quadrant is brighter than the others."""
    draw = torch.Generator().manual_seed(seed)
    labels = torch.arange(number) % 4
    bright = F.interpolate(F.one_hot(labels, 4).float().view(-1, 1, 2, 2), scale_factor=8)
    return TensorDataset(torch.rand(number, 3, 16, 16, generator=draw) + 0.3 * bright, labels)


lightning.seed_everything(0)
trainer = lightning.Trainer(
    accelerator="cpu",
    devices=2,
    strategy="ddp",
    max_epochs=3,
    callbacks=lf.failure_monitors(report_dir="failures"),  # the same line as in one process
    log_every_n_steps=5,
)
trainer.fit(Classifier(), DataLoader(quadrants(600, 0), 32, shuffle=True), DataLoader(quadrants(203, 1), 50))
