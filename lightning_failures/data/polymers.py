"""Infrared spectra of five polymers from four published studies, for a demo and for tests.

7,494 spectra of polyethylene, PET, polypropylene, polystyrene and PVC in five tables: FROND (2021), Jung (2018),
Kedzierski (2019) and Villegas-Camacho (2024, by two instruments' settings, ``c4`` and ``c8``). They are read from the
installed package ``xpectrass``, which names the studies; nothing is downloaded or copied, and its code is not run.

Four tables hold transmission in percent: it falls where a polymer absorbs. ``kedzierski_2019`` holds what is missing to
100, and rises there. Nobody says so in the table. Of all spectra 1,833, nearly all of 2024, have a copy in their own
table that is the same to the last digit.
"""

from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

import torch
from torch import Tensor
from torch.utils.data import Dataset

from lightning_failures.errors import MissingPackageError

__all__ = ["POLYMERS", "STUDIES", "PolymerSpectra", "Spectra", "load_polymer_spectra"]

STUDIES = ("frond_2021", "jung_2018", "kedzierski_2019", "villegas_camacho_2024_c4", "villegas_camacho_2024_c8")

POLYMERS = ("PE", "PET", "PP", "PS", "PVC")

#: Names in the tables that stand for another one.
_SAME = {"HDPE": "PE", "LDPE": "PE"}

#: Wavenumbers that all tables hold, in cm-1, and how many bands they are read at.
LOW, HIGH, BANDS = 660.0, 3943.0, 200

_WHERE = "load_polymer_spectra"


@dataclass(frozen=True)
class PolymerSpectra:
    """The spectra as the tables give them, on one grid."""

    spectra: Tensor  # (n b) float32
    labels: Tensor  # (n) int64, place in POLYMERS
    studies: tuple[str, ...]  # of each spectrum, one of STUDIES
    wavenumbers: Tensor  # (b) float64, cm-1, ascending

    def of(self, *studies: str) -> Tensor:
        """Which spectra are of one of these studies; (n), bool."""
        return torch.tensor([study in studies for study in self.studies])


class Spectra(Dataset[tuple[Tensor, Tensor, str]]):
    """Some of the spectra, each with its class and its study.

    Args:
        spectra: (n b), float32.
        labels: (n), int64.
        studies: of each; n words.
    """

    def __init__(self, spectra: Tensor, labels: Tensor, studies: tuple[str, ...]) -> None:
        self.spectra, self.labels, self.studies = spectra, labels, studies

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor, str]:
        """One spectrum (b), its class () and its study."""
        return self.spectra[index], self.labels[index], self.studies[index]


def load_polymer_spectra() -> PolymerSpectra:
    """Read the spectra, by straight lines between neighbouring wavenumbers, at 200 bands from 660 to 3,943 cm-1.

    Returns:
        All 7,494 of them.

    Raises:
        MissingPackageError: xpectrass, or pandas, which reads its tables, is not installed.
    """
    try:
        files = distribution("xpectrass")
    except PackageNotFoundError as error:
        fix = (
            "Run: pip install --no-deps xpectrass==0.0.4 (54 MB). Without --no-deps it puts its own versions of numpy, "
            "pandas, scipy and thirty others in place of yours; only its tables are read."
        )
        raise MissingPackageError(_WHERE, "the spectra are read from the package xpectrass", "none", fix) from error
    try:
        import numpy as np
        import pandas as pd
    except ImportError as error:
        fix = "Run: pip install pandas"
        raise MissingPackageError(_WHERE, "pandas reads the tables of the spectra", "no pandas", fix) from error
    grid = np.linspace(LOW, HIGH, BANDS)
    spectra, labels, studies = [], [], []
    for study in STUDIES:
        path = Path(str(files.locate_file(f"xpectrass/data/{study}.csv.xz")))
        if not path.is_file():
            given, fix = f"no {path.name}", "Run: pip install --no-deps --force-reinstall xpectrass==0.0.4"
            raise MissingPackageError(_WHERE, "this version of xpectrass does not hold the spectra", given, fix)
        table = pd.read_csv(path, low_memory=False)
        polymer = table["type"].replace(_SAME)
        table, polymer = table[polymer.isin(POLYMERS)], polymer[polymer.isin(POLYMERS)]
        columns = sorted((name for name in table.columns if name[:1].isdigit()), key=float)
        axis = np.array([float(name) for name in columns])
        spectra.append(np.stack([np.interp(grid, axis, row) for row in table[columns].to_numpy("float64")]))
        labels += [POLYMERS.index(name) for name in polymer]
        studies += [study] * len(table)
    rows = torch.tensor(np.concatenate(spectra), dtype=torch.float32)
    return PolymerSpectra(rows, torch.tensor(labels), tuple(studies), torch.tensor(grid))
