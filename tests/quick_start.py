"""A user's script; ``make release-check`` type-checks it against the installed wheel, strictly, and runs it."""

import lightning
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

import lightning_failures as lf


class Classifier(lightning.LightningModule):
    """A small network."""

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 3))

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
        """Cross-entropy."""
        return F.cross_entropy(self.net(batch[0]), batch[1])

    def validation_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> None:
        """Accuracy."""
        self.log("val_acc", (self.net(batch[0]).argmax(1) == batch[1]).float().mean())

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """AdamW."""
        return torch.optim.AdamW(self.parameters(), 1e-2)


def main() -> None:
    """Train under watch, and use what needs no Trainer."""
    lightning.seed_everything(0)
    images = torch.rand(300, 3, 8, 8)
    labels = images.mean((2, 3)).argmax(1)
    data = TensorDataset(images, labels)
    model = Classifier()
    gate = lf.GatedCheckpoint("val_acc >= 0", monitor="val_acc", mode="max")
    callbacks = [*lf.failure_monitors(report_dir="failures", denormalize=(0.5, [0.2, 0.2, 0.2])), gate]
    trainer = lightning.Trainer(max_epochs=2, callbacks=callbacks, logger=False, enable_progress_bar=False)
    trainer.fit(model, DataLoader(data, 32, shuffle=True), DataLoader(data, 100))
    metric = lf.FactorErrorRatio(["dark"])
    metric.update(model.net(images), labels, images.mean((1, 2, 3), keepdim=False)[:, None] < 0.5)
    print(float(metric.compute()["error_ratio/dark"]), metric.plot()[0])
    print(lf.attribute_channels(model.net, images, labels))
    found = lf.transplant(model.net, images, images.roll(1, 0), ["level"])
    print(found.shares["level"].donor, found)


if __name__ == "__main__":
    main()
