"""Runs the Python blocks of the documentation, with the names that they take for granted."""

from pathlib import Path

import lightning as L
import pytest
import torch

from tests.runs import Classifier, loaders


class Data(L.LightningDataModule):
    def train_dataloader(self):
        return loaders()[0]

    def val_dataloader(self):
        return loaders()[1]


def run_block(block: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run one block in a folder of its own, each training for one batch."""
    pytest.importorskip("pandas")
    monkeypatch.chdir(folder)
    monkeypatch.setenv("PL_TRAINER_FAST_DEV_RUN", "1")
    monkeypatch.setenv("PL_TRAINER_ACCELERATOR", "cpu")
    monkeypatch.setenv("PL_TRAINER_ENABLE_PROGRESS_BAR", "0")
    (folder / "annotations.csv").write_text("dark,blurred\n1,0\n0,1\n")
    names = {
        "model": Classifier(),
        "datamodule": Data(),
        "names": ["dark"],
        "values": torch.tensor([[True], [False]]),
        "wavenumbers": torch.linspace(950, 3050, 400),
        "network": torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(5 * 36, 3)),
        "images": torch.rand(8, 5, 6, 6),
        "mean": torch.tensor([0.5, 0.4, 0.3]),
        "std": torch.tensor([0.2, 0.3, 0.1]),
        "labels": torch.arange(8) % 3,
        "logits": torch.rand(4, 3),
        "target": torch.tensor([0, 1, 2, 0]),
        "factors": torch.tensor([[1, 0], [0, 1], [1, 1], [0, 0]]),
        "train_loader": [(torch.rand(8, 5, 6, 6), torch.arange(8) % 3)] * 4,
        "spectra_loader": [
            {"image": torch.rand(16, 9), "label": torch.arange(16) % 3, "study": ["A", "B", "C", "D"] * 4}
        ]
        * 12,
        "val_loader": [(torch.rand(8, 5, 6, 6), torch.arange(8) % 3)] * 2,
    }
    exec("import lightning_failures as lf\n" + block, names)
