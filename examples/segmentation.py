"""Segmentation, one label per pixel; images of one scanner are wrong, and pixels without a label are left out."""

import lightning
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

import lightning_failures as lf

UNKNOWN = 255  # the label of pixels that count nowhere


class Segmenter(lightning.LightningModule):
    """A small fully convolutional network."""

    def __init__(self) -> None:
        super().__init__()
        body = [nn.Conv2d(3, 16, 3, padding=1), nn.ReLU(), nn.Conv2d(16, 16, 3, padding=1), nn.ReLU()]
        self.net = nn.Sequential(*body, nn.Conv2d(16, 3, 1))

    def training_step(self, batch: list[Tensor], batch_idx: int) -> Tensor:
        """Cross-entropy over the pixels that have a label."""
        return F.cross_entropy(self.net(batch[0]), batch[1], ignore_index=UNKNOWN)

    def validation_step(self, batch: list[Tensor], batch_idx: int) -> None:
        """The same."""
        self.log("val_loss", F.cross_entropy(self.net(batch[0]), batch[1], ignore_index=UNKNOWN))

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """AdamW."""
        return torch.optim.AdamW(self.parameters(), lr=5e-3)


def scenes(number: int, seed: int, scanners: int) -> TensorDataset:
    """Patches of three materials; the third scanner has its first and last channel exchanged."""
    draw = torch.Generator().manual_seed(seed)
    coarse = torch.randint(3, (number, 1, 4, 4), generator=draw)
    masks = F.interpolate(coarse.float(), scale_factor=6).long()[:, 0]
    images = F.one_hot(masks, 3).permute(0, 3, 1, 2) + 0.5 * torch.randn(number, 3, 24, 24, generator=draw)
    scanner = torch.arange(number) % scanners
    images[scanner == 2] = images[scanner == 2].flip(1)
    masks[:, :2] = UNKNOWN
    return TensorDataset(images, masks, F.one_hot(scanner, 3).bool())


lightning.seed_everything(0)
watched = lf.failure_monitors(factors=["A", "B", "C"])  # columns of what the batch holds besides images and labels
trainer = lightning.Trainer(max_epochs=5, callbacks=watched, log_every_n_steps=5)
trainer.fit(Segmenter(), DataLoader(scenes(320, 0, 2), batch_size=32, shuffle=True), DataLoader(scenes(180, 1, 3), 60))
for scanner in "ABC":
    ratio = trainer.callback_metrics[f"failures/factors/mean_error_ratio/{scanner}"]
    print(f"{scanner}: {ratio:.2f} times as many pixels are wrong as on all images")
