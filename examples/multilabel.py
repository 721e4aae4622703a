"""Several labels per image, each right or wrong by itself; images of night are wrong more often."""

import lightning
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader

import lightning_failures as lf


def scenes(number: int, seed: int, nights: int) -> list[dict[str, Tensor]]:
    """Any of four quadrants is bright, each one label; at night, every ``nights``-th image, hardly so."""
    draw = torch.Generator().manual_seed(seed)
    rows = []
    for row in range(number):
        labels = torch.randint(2, (4,), generator=draw).float()
        night = row % nights == 0
        bright = F.interpolate(labels.view(1, 1, 2, 2), scale_factor=8)[0] * (0.05 if night else 0.5)
        image = bright + torch.rand(3, 16, 16, generator=draw)
        rows.append({"image": image, "label": labels, "factors": torch.tensor([night])})
    return rows


class Tagger(lightning.LightningModule):
    """A small convolutional network with one score per label."""

    def __init__(self) -> None:
        super().__init__()
        body = [nn.Conv2d(3, 16, 3, stride=2), nn.ReLU(), nn.Conv2d(16, 32, 3, stride=2), nn.ReLU(), nn.Flatten()]
        self.net = nn.Sequential(*body, nn.Linear(288, 4))

    def training_step(self, batch: dict[str, Tensor], batch_idx: int) -> Tensor:
        """Binary cross-entropy of each label."""
        return F.binary_cross_entropy_with_logits(self.net(batch["image"]), batch["label"])

    def validation_step(self, batch: dict[str, Tensor], batch_idx: int) -> None:
        """The same."""
        self.log("val_loss", F.binary_cross_entropy_with_logits(self.net(batch["image"]), batch["label"]))

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """AdamW."""
        return torch.optim.AdamW(self.parameters(), lr=3e-3)


lightning.seed_everything(0)
trainer = lightning.Trainer(max_epochs=5, callbacks=lf.failure_monitors(factors=["night"]), log_every_n_steps=5)
trainer.fit(Tagger(), DataLoader(scenes(640, 0, 640), batch_size=32, shuffle=True), DataLoader(scenes(300, 1, 5), 100))
ratio = trainer.callback_metrics["failures/factors/mean_error_ratio/night"]
print(f"At night {ratio:.2f} times as many labels are wrong as on all images.")
