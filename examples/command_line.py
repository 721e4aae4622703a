"""A training script on LightningCLI, which knows nothing of the callbacks: they stand in the YAML file.

Run it with ``python command_line.py fit --config config.yaml``.
"""

import lightning
import torch
from lightning.pytorch.cli import LightningCLI
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset


class Classifier(lightning.LightningModule):
    """A small convolutional network.

    Args:
        width: channels of the first layer.
    """

    def __init__(self, width: int = 16) -> None:
        super().__init__()
        body = [nn.Conv2d(3, width, 3, stride=2), nn.ReLU(), nn.Conv2d(width, 32, 3, stride=2), nn.ReLU(), nn.Flatten()]
        self.net = nn.Sequential(*body, nn.Linear(288, 4))

    def forward(self, images: Tensor) -> Tensor:
        """Logits."""
        return self.net(images)

    def training_step(self, batch: dict[str, Tensor], batch_idx: int) -> Tensor:
        """Cross-entropy."""
        return F.cross_entropy(self(batch["image"]), batch["label"])

    def validation_step(self, batch: dict[str, Tensor], batch_idx: int) -> None:
        """Loss and accuracy."""
        logits = self(batch["image"])
        self.log("val_loss", F.cross_entropy(logits, batch["label"]))
        self.log("val_acc", (logits.argmax(1) == batch["label"]).float().mean(), prog_bar=True)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """AdamW."""
        return torch.optim.AdamW(self.parameters())


class Rows(TensorDataset):
    """Batches of named fields; two factors tell dark images and those of the first two classes; of six scanners."""

    def __getitem__(self, row: int) -> dict[str, Tensor]:
        """One image with its label, its factors, and the scanner that it is of."""
        image, label = super().__getitem__(row)
        factors = torch.stack([image.mean() < 0.525, label < 2])
        return {"image": image, "label": label, "factors": factors, "scanner": torch.tensor(row // 5 % 6)}


class Quadrants(lightning.LightningDataModule):
    """Noisy images of which one quadrant is brighter than the others."""

    def loader(self, images: int, seed: int, shuffle: bool) -> DataLoader:
        """Batches of 32."""
        generator = torch.Generator().manual_seed(seed)
        labels = torch.arange(images) % 4
        bright = F.interpolate(F.one_hot(labels, 4).float().view(-1, 1, 2, 2), scale_factor=8)
        return DataLoader(Rows(torch.rand(images, 3, 16, 16, generator=generator) + 0.1 * bright, labels), 32, shuffle)

    def train_dataloader(self) -> DataLoader:
        """600 images."""
        return self.loader(600, 0, True)

    def val_dataloader(self) -> DataLoader:
        """200 others."""
        return self.loader(200, 1, False)


if __name__ == "__main__":
    LightningCLI(Classifier, Quadrants, seed_everything_default=0)
