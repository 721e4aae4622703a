"""No checkpoint of a model that fails on one factor: of those that pass, the one with the best loss is kept."""

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
        """Cross-entropy."""
        self.log("val_loss", F.cross_entropy(self.net(batch[0]), batch[1]))

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """AdamW."""
        return torch.optim.AdamW(self.parameters())


def stripes(number: int, seed: int, hard: int) -> TensorDataset:
    """Noisy stripes in one of four directions; every ``hard``-th image is dark, and its direction hard to tell."""
    draw = torch.Generator().manual_seed(seed)
    labels, dark = torch.arange(number) % 4, torch.arange(number) % hard == 0
    angles, grid = labels * torch.pi / 4, torch.arange(16.0)
    along = angles.cos()[:, None, None] * grid + angles.sin()[:, None, None] * grid[:, None]
    waves = (1.6 * along + 6.3 * torch.rand(number, 1, 1, generator=draw)).sin()[:, None]
    images = torch.where(dark, 0.1, 0.4)[:, None, None, None] * waves + torch.rand(number, 3, 16, 16, generator=draw)
    return TensorDataset(images, labels, dark[:, None])


lightning.seed_everything(0)
gate = lf.GatedCheckpoint(
    ["failures/factors/difference_high/dark <= 0.4", "val_loss <= 1"],  # upper end: 40% more of the dark ones wrong
    dirpath="checkpoints",
    monitor="val_loss",
)
watched = lf.failure_monitors(factors=["dark"])
trainer = lightning.Trainer(max_epochs=8, callbacks=[*watched, gate], log_every_n_steps=5)
trainer.fit(Classifier(), DataLoader(stripes(800, 0, 5), 32, shuffle=True), DataLoader(stripes(400, 1, 5), 100))
print(f"kept: {gate.best_model_path or 'none'}")
