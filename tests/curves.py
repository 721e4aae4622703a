"""How many curves a run of each kind logs by default, counted in the file that its logger wrote."""

import csv
from pathlib import Path
from typing import Any, NamedTuple

import torch
from lightning.pytorch.loggers import CSVLogger
from torch import Tensor

from lightning_failures import failure_monitors
from tests.kinds import BATCH, CLASSES, KINDS, Kind, Module, image, network, run

#: As many factors as ImageNet-X has, the most that get a curve each.
FACTORS = 16
BANDS = 24


def many_channels(index: int) -> tuple[Tensor, int]:
    """An image whose class brightens six of its bands."""
    pixels = image(index, BANDS)
    pixels[6 * (index % CLASSES) : 6 * (index % CLASSES) + 6] += 2.0
    return pixels, index % CLASSES


class Curves(NamedTuple):
    """Keys of one run that its logger got as numbers."""

    short: set[str]
    others: set[str]


def factor(number: int) -> Any:
    """A factor that about a third of a batch has, another third for another number."""
    return lambda _: torch.rand(BATCH, generator=torch.Generator().manual_seed(number)) < 0.35


#: Kind of run -> its module, and what the user says of the data beside factors and groups.
RUNS: dict[str, tuple[Kind, dict[str, Any]]] = {
    "classes of RGB images": (KINDS["classes, loss returned"], {}),
    f"classes of images with {BANDS} bands and their wavelengths": (
        Kind(lambda: Module(network(channels=BANDS)), many_channels, "multiclass"),
        {"wavelengths": torch.linspace(400.0, 1000.0, BANDS), "unit": "nm"},
    ),
    "segmentation": (KINDS["segmentation, label 255 left out"], {}),
    "several labels for each image": (KINDS["several labels, integers"], {}),
    "regression": (KINDS["regression"], {}),
    "self-supervised, two views": (KINDS["two views, compared"], {}),
}


def logged_by(name: str, folder: Path) -> Curves:
    """Train a run of one kind with everything that fits, and read what its logger wrote.

    Args:
        name: one of :data:`RUNS`.
        folder: for the log.
    """
    kind, said = RUNS[name]
    monitors = failure_monitors(
        factors={f"factor {number}": factor(number) for number in range(FACTORS)},
        groups=lambda _: torch.arange(BATCH) % 4,
        budget=None,
        **said,
    )
    monitors[-1].announce = "nothing"
    run(kind, monitors, logger=CSVLogger(folder, name="", version=""))
    with (folder / "metrics.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    keys = {key for row in rows for key, value in row.items() if value and key.startswith("failures/")}
    short = {key for key in keys if key.count("/") == 1}
    return Curves(short, keys - short)
