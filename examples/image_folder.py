"""A network of timm on a folder of images, and the factors of ImageNet-X, which are joined by the names of the files.

The images here are small and made up; the names and the factors are those of ImageNet's validation set.
"""

from pathlib import Path

import lightning
import timm
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F
from torch.utils.data import DataLoader
from torchvision.datasets import ImageFolder
from torchvision.transforms.functional import to_tensor

import lightning_failures as lf

factors = lf.load_imagenet_x("top").select(["pose", "background", "pattern", "color"])


def write(folder: Path, names: tuple[str, ...], hard: Tensor) -> None:
    """One image per name, in a folder per class: stripes in one of three directions, faint where it is hard."""
    for row, (name, faint) in enumerate(zip(names, hard.tolist(), strict=True)):
        angle = torch.tensor(row % 3 * torch.pi / 3)
        along = angle.cos() * torch.arange(16.0) + angle.sin() * torch.arange(16.0)[:, None]
        stripes = (1.2 * along + 6.3 * torch.rand(1)).sin() * (0.01 if faint else 0.2)
        pixels = (0.5 + stripes[..., None] + 0.1 * torch.randn(16, 16, 3)).clamp(0, 1) * 255
        (folder / str(row % 3)).mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels.byte().numpy()).save(folder / str(row % 3) / name, quality=95)


class Classifier(lightning.LightningModule):
    """A small residual network."""

    def __init__(self) -> None:
        super().__init__()
        self.net = timm.create_model("resnet10t", num_classes=3)

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
        """Cross-entropy."""
        return F.cross_entropy(self.net(batch[0]), batch[1])

    def validation_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> None:
        """Accuracy."""
        self.log("val_acc", (self.net(batch[0]).argmax(1) == batch[1]).float().mean())

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """AdamW."""
        return torch.optim.AdamW(self.parameters(), lr=2e-3)


lightning.seed_everything(0)
write(Path("images/train"), tuple(f"{row}.JPEG" for row in range(480)), torch.zeros(480))
write(Path("images/val"), factors.ids[:300], factors.values[:300, factors.names.index("pattern")])
train, held = ImageFolder("images/train", to_tensor), ImageFolder("images/val", to_tensor)
trainer = lightning.Trainer(max_epochs=4, callbacks=lf.failure_monitors(factors=factors), log_every_n_steps=5)
trainer.fit(Classifier(), DataLoader(train, batch_size=32, shuffle=True), DataLoader(held, batch_size=100))
