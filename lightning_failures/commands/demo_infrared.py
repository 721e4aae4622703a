"""The infrared demo: spectra of polymers from several studies, of which one is on another scale and nobody says so.

Each arm mends one thing more than the arm before it, so that each shows what remains.
"""

from pathlib import Path
from typing import Literal, NamedTuple

import torch
from lightning.pytorch import LightningModule
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader
from torchmetrics.classification import MulticlassAccuracy

from lightning_failures.callbacks.suite import failure_monitors
from lightning_failures.commands.demo_training import Arm, watch_arm
from lightning_failures.data.polymers import POLYMERS, PolymerSpectra, Spectra
from lightning_failures.records.run_record import RunRecord

__all__ = ["PolymerClassifier", "SplitSpectra", "split_spectra", "train_polymers"]

#: Studies that all arms train on; the last arm trains on more.
TRAINED_ON = ("villegas_camacho_2024_c4", "villegas_camacho_2024_c8")
MORE = ("frond_2021", "jung_2018")

#: The study whose spectra are what is missing to 100 percent of transmission.
UPSIDE_DOWN = "kedzierski_2019"

#: Share of a study's spectra that is trained on, where it is one of training.
SHARE = 2 / 3

#: Share of the run's time that the monitors may take: the network is so small that a run takes seconds.
BUDGET = 1.5


class PolymerClassifier(LightningModule):
    """A small network on spectra; a module that knows nothing of monitors."""

    def __init__(self, bands: int, classes: int) -> None:
        super().__init__()
        layers = [nn.Linear(bands, 64), nn.BatchNorm1d(64), nn.ReLU(), nn.Linear(64, 64), nn.BatchNorm1d(64), nn.ReLU()]
        self.net = nn.Sequential(*layers, nn.Linear(64, classes))
        self.accuracy = MulticlassAccuracy(classes, average="micro")

    def training_step(self, batch: tuple[Tensor, Tensor, list[str]], batch_idx: int) -> Tensor:
        """Cross-entropy."""
        spectra, labels, _ = batch
        loss = F.cross_entropy(self.net(spectra), labels)
        self.log("train_loss", loss)
        return loss

    def validation_step(self, batch: tuple[Tensor, Tensor, list[str]], batch_idx: int) -> None:
        """Accuracy."""
        spectra, labels, _ = batch
        self.accuracy(self.net(spectra), labels)
        self.log("val_acc", self.accuracy, prog_bar=True)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """AdamW, as it comes."""
        return torch.optim.AdamW(self.parameters())


class SplitSpectra(NamedTuple):
    """The spectra of one arm."""

    train: Spectra
    validation: Spectra


def split_spectra(
    spectra: PolymerSpectra, arm: Literal["raw", "standardised", "turned", "more_studies"], seed: int
) -> SplitSpectra:
    """What an arm trains and validates on.

    Two thirds of each study of training are trained on, the rest and all other studies are for validation. Of the 6,000
    spectra of the two studies of 2024, 1,827 have a copy that is the same to the last digit: copies are on one side.
    What is held out in the last arm is held out in every arm.

    Args:
        spectra: of all studies.
        arm: ``"raw"``: as the tables give them; ``"standardised"``: each band with the mean and the deviation of the
            spectra that are trained on; ``"turned"``: also the study that is upside down is turned; ``"more_studies"``:
            also two more studies are trained on.
        seed: of the split.
    """
    _, same = spectra.spectra.unique(dim=0, return_inverse=True)
    drawn = (torch.rand(int(same.max()) + 1, generator=torch.Generator().manual_seed(seed)) < SHARE)[same]
    studies = TRAINED_ON + (MORE if arm == "more_studies" else ())
    trained, rows = drawn & spectra.of(*studies), spectra.spectra
    if arm in ("turned", "more_studies"):
        rows = torch.where(spectra.of(UPSIDE_DOWN)[:, None], 100 - rows, rows)
    if arm != "raw":
        rows = (rows - rows[trained].mean(0)) / rows[trained].std(0)

    def part(chosen: Tensor) -> Spectra:
        names = tuple(spectra.studies[row] for row in chosen.nonzero()[:, 0].tolist())
        return Spectra(rows[chosen], spectra.labels[chosen], names)

    return SplitSpectra(part(trained), part(~trained))


def train_polymers(
    name: Literal["raw", "standardised", "turned", "more_studies"],
    spectra: PolymerSpectra,
    out: Path,
    epochs: int,
    seed: int,
    logger: Literal["wandb", "csv", "tensorboard"],
) -> RunRecord:
    """Train one arm under watch.

    Args:
        name: of the arm; see :func:`split_spectra`.
        spectra: of all studies.
        out: folder that everything is written below.
        epochs: passes over the training spectra.
        seed: of the split, the weights and the order.
        logger: where values are logged.

    Returns:
        What was logged and found.
    """
    split = split_spectra(spectra, name, seed)

    def make() -> Arm:
        return Arm(
            PolymerClassifier(len(spectra.wavenumbers), len(POLYMERS)),
            DataLoader(split.train, batch_size=64, shuffle=True),
            DataLoader(split.validation, batch_size=256),
            failure_monitors(
                groups=2,
                wavelengths=spectra.wavenumbers,
                unit="cm-1",
                class_names=POLYMERS,
                budget=BUDGET,
                report_dir=out / name,
            ),
        )

    return watch_arm(name, make, out, epochs, seed, logger)
