"""Self-supervised training that collapses: two views are pulled together, and nothing holds them apart."""

import lightning
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader

import lightning_failures as lf


class TwoViews(lightning.LightningModule):
    """SimSiam, of which the stop-gradient was forgotten; nothing is validated."""

    def __init__(self) -> None:
        super().__init__()
        body = [nn.Conv2d(3, 16, 3, stride=2), nn.ReLU(), nn.Conv2d(16, 32, 3, stride=2), nn.ReLU(), nn.Flatten()]
        self.backbone = nn.Sequential(*body, nn.Linear(288, 64))
        self.predictor = nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 64))

    def training_step(self, views: Tensor, batch_idx: int) -> Tensor:
        """How far each view is from what the other one predicts of it."""
        one, other = self.backbone(views[:, 0]), self.backbone(views[:, 1])
        alike = F.cosine_similarity(self.predictor(one), other) + F.cosine_similarity(self.predictor(other), one)
        return -alike.mean() / 2  # the fault: other and one, not other.detach() and one.detach()

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """SGD."""
        return torch.optim.SGD(self.parameters(), lr=0.05, momentum=0.9)


lightning.seed_everything(0)
squares = F.interpolate(torch.rand(800, 3, 4, 4), scale_factor=4)
views = squares[:, None] + 0.2 * torch.randn(800, 2, 3, 16, 16)  # two noisy views of each image

watched = lf.failure_monitors(layers=["backbone"], report_dir="failures")
trainer = lightning.Trainer(max_epochs=6, log_every_n_steps=10, callbacks=watched)
trainer.fit(TwoViews(), DataLoader(views, batch_size=32, shuffle=True))
