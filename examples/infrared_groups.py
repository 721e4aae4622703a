"""Infrared spectra of four studies, of which one is in transmittance; the model is trained on two of them."""

import lightning
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader

import lightning_failures as lf

wavenumbers = torch.linspace(4000, 650, 200)  # per cm, as spectrometers give them
POLYMERS = ((2920, 1465, 720), (1715, 1245, 1100), (3030, 1490, 700))  # bands of PE, PET and PS, about


def spectra(study: str, number: int, seed: int) -> list[dict[str, Tensor | str]]:
    """Absorbance with a baseline and noise; of the study D the transmittance in its place."""
    draw = torch.Generator().manual_seed(seed)
    rows: list[dict[str, Tensor | str]] = []
    for row in range(number):
        label = row % 3
        bands = sum((-(((wavenumbers - at) / 25) ** 2)).exp() for at in POLYMERS[label])
        spectrum = 0.6 * bands + 0.2 * torch.rand(1, generator=draw) + 0.1 * torch.randn(200, generator=draw)
        spectrum = 1 - spectrum if study == "D" else spectrum
        rows.append({"spectrum": spectrum, "label": torch.tensor(label), "study": study})
    return rows


class Classifier(lightning.LightningModule):
    """A network of two layers."""

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Linear(200, 64), nn.ReLU(), nn.Linear(64, 3))

    def training_step(self, batch: dict[str, Tensor], batch_idx: int) -> Tensor:
        """Cross-entropy."""
        return F.cross_entropy(self.net(batch["spectrum"]), batch["label"])

    def validation_step(self, batch: dict[str, Tensor], batch_idx: int) -> None:
        """Accuracy."""
        self.log("val_acc", (self.net(batch["spectrum"]).argmax(1) == batch["label"]).float().mean())

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """AdamW."""
        return torch.optim.AdamW(self.parameters())


lightning.seed_everything(0)
train = spectra("A", 400, 0) + spectra("B", 400, 1)
held = [row for seed, study in enumerate("ABCD", 2) for row in spectra(study, 90, seed)]
watched = lf.failure_monitors(groups="study", wavelengths=wavenumbers, unit="cm-1", report_dir="failures")
trainer = lightning.Trainer(max_epochs=5, log_every_n_steps=10, callbacks=watched)
trainer.fit(Classifier(), DataLoader(train, batch_size=32, shuffle=True), DataLoader(held, batch_size=90))
