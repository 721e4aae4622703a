"""The published predictions of ImageNet-X, where they are at hand."""

import csv
import gzip
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

import pytest
import torch
from torch import Tensor

from lightning_failures.data import Which, read_imagenet_x

DATA = Path(__file__).resolve().parents[2] / "shared" / "data" / "imagenetx"

installed = pytest.mark.skipif(find_spec("imagenet_x") is None, reason="imagenet-x is not installed")
published = pytest.mark.skipif(
    find_spec("imagenet_x") is None or not DATA.is_dir(), reason="needs imagenet-x and published predictions"
)


class Joined(NamedTuple):
    """Predictions of one model, joined with the annotations by file name."""

    ids: tuple[str, ...]
    preds: Tensor  # (n) int64
    confidence: Tensor  # (n) float64
    classes: Tensor  # (n) int64
    factors: Tensor  # (n f) bool


@cache
def annotations(which: Which, prototypes: bool) -> tuple[tuple[str, ...], Tensor, Tensor]:
    table, classes = read_imagenet_x(which, "val", prototypes)
    assert table.ids is not None
    return table.ids, classes, table.values


@cache
def predictions(model: str) -> dict[str, tuple[int, float]]:
    with gzip.open(DATA / "model_predictions" / f"{model}.csv.gz", "rt") as lines:
        rows = csv.DictReader(lines)
        return {row["file_name"]: (int(row["predicted_class"]), float(row["predicted_probability"])) for row in rows}


def joined(model: str, which: Which = "top", prototypes: bool = False) -> Joined:
    ids, classes, factors = annotations(which, prototypes)
    preds, confidence = zip(*(predictions(model)[name] for name in ids), strict=True)
    return Joined(ids, torch.tensor(preds), torch.tensor(confidence, dtype=torch.float64), classes, factors)
