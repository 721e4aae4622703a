"""Predictions in the three columns of ImageNet-X: ``file_name``, ``predicted_class``, ``predicted_probability``."""

from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor

from lightning_failures.data.csv_file import read_csv, whole_numbers
from lightning_failures.data.factor_table import FactorTable, shorten
from lightning_failures.errors import InputError

if TYPE_CHECKING:
    from pandas import DataFrame

__all__ = ["COLUMNS", "Predictions", "model_name", "read_predictions"]

COLUMNS = ("file_name", "predicted_class", "predicted_probability")


class Predictions(NamedTuple):
    """Predictions of one model for the images of a table, in its order."""

    model: str
    preds: Tensor  # (n) int64
    confidence: Tensor  # (n) float64, nan where the file has none
    unused: int  # predictions of images that the table does not have


def model_name(path: str | PathLike[str]) -> str:
    """The file's name without its endings.

    Example:
        >>> model_name("predictions/ResNet50.csv.gz"), model_name("vit.b16.csv")
        ('ResNet50', 'vit.b16')
    """
    name = Path(path).name
    for ending in (".gz", ".bz2", ".xz", ".zip", ".zst"):
        name = name.removesuffix(ending)
    return name.removesuffix(".csv")


def read_predictions(
    path: str | PathLike[str], table: FactorTable, num_classes: int | None = None, where: str = "read_predictions"
) -> Predictions:
    """Read a file of predictions and join it with a table by file name.

    Args:
        path: a CSV file, plain or compressed.
        table: the images, keyed by file name.
        num_classes: number of classes, to check the predicted ones; None: any number.
        where: the public name to put into an error.

    Raises:
        InputError: the file cannot be read, lacks a column, holds an image twice or lacks images of the table; classes
            are no whole numbers or out of range; probabilities are not in [0, 1].
        MissingPackageError: pandas is not installed.
    """
    frame = read_csv(where, path)
    if lacking := [name for name in COLUMNS if name not in frame.columns]:
        given = f"{path} with {shorten([str(name) for name in frame.columns], 8)}"
        fix = f"Write the columns {', '.join(COLUMNS)}."
        raise InputError(where, f"the predictions have no column {', '.join(lacking)}", given, fix)
    names = frame["file_name"].astype(str).tolist()
    if len(set(names)) < len(names):
        twice = frame["file_name"][frame["file_name"].duplicated()].astype(str).unique().tolist()
        given = f"{path}: {len(twice)} more than once: {shorten(twice)}"
        raise InputError(where, "images are predicted twice", given, "Keep one row an image.")

    classes = whole_numbers(where, path, frame["predicted_class"], num_classes)
    rows = table.find(names)
    position = torch.full((len(table),), -1).index_copy(0, rows[rows >= 0], (rows >= 0).nonzero().squeeze(1))
    if missing := int((position < 0).sum()):
        ids = table.ids or ()
        absent = [ids[row] for row in (position < 0).nonzero().squeeze(1)[:4].tolist()]
        given = f"{path} without {shorten(absent)}"
        fix = "Predict them too, or leave them out of the annotations."
        raise InputError(where, f"{missing} of {len(table)} annotated images have no prediction", given, fix)
    confidence = _probabilities(where, path, frame)
    return Predictions(model_name(path), classes[position], confidence[position], int((rows < 0).sum()))


def _probabilities(where: str, path: str | PathLike[str], frame: "DataFrame") -> Tensor:
    import pandas as pd

    column = frame["predicted_probability"]
    numbers = pd.to_numeric(column, errors="coerce")
    odd = column[((numbers.isna() & column.notna()) | (numbers < 0) | (numbers > 1)).to_numpy()]
    if len(odd):
        given = f"{path}: {len(odd)} values, such as {odd.tolist()[0]!r}"
        fix = "Write the probability of the predicted class, not its score."
        raise InputError(where, "probabilities are not in 0 to 1", given, fix)
    return torch.tensor(numbers.to_numpy(dtype="float64"))
