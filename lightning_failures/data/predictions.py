"""Predictions in the columns of ImageNet-X: ``file_name``, ``predicted_class``, ``predicted_probability``."""

from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor

from lightning_failures.data.class_names import Classes, number_alike
from lightning_failures.data.column_names import PREDICTED_CLASS, PROBABILITY, find_column, find_file_names
from lightning_failures.data.csv_file import read_csv
from lightning_failures.data.factor_table import FactorTable, shorten
from lightning_failures.data.file_names import FileNames, match_file_names
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
    class_names: tuple[str, ...] | None = None  # of the classes' numbers; None: they have none
    assumed: str = ""  # what was assumed of the classes, in words


def model_name(path: str | PathLike[str]) -> str:
    """The file's name without its endings.

    Example:
        >>> model_name("predictions/ResNet50.csv.gz"), model_name("vit.b16.csv")
        ('ResNet50', 'vit.b16')
    """
    name = Path(path).name
    for ending in (".gz", ".bz2", ".xz", ".zip"):
        name = name.removesuffix(ending)
    return name.removesuffix(".csv").removesuffix(".tsv")


def read_predictions(
    path: str | PathLike[str],
    table: FactorTable,
    num_classes: int | None = None,
    where: str = "read_predictions",
    true: Classes | None = None,
) -> Predictions:
    """Read a file of predictions and join it with a table by file name.

    File names that are spelt otherwise, in another folder or with another ending, are found where only one image can be
    meant.

    Args:
        path: a CSV file, plain or packed, with the columns ``file_name`` and ``predicted_class``, a number or a name,
            and ``predicted_probability``, which may be left out; other usual names of these columns are known too.
        table: the images, keyed by file name.
        num_classes: number of classes, to check the predicted ones; None: any number.
        where: the public name to put into an error.
        true: the true classes, to know the names of classes by; None: predicted classes are numbers.

    Raises:
        InputError: the file cannot be read, lacks a column, holds an image twice or lacks images of the table; a file
            name may be that of several images; classes are empty, no whole numbers or out of range, or names where the
            true ones are numbers; probabilities are not in [0, 1].
        MissingPackageError: pandas is not installed.
    """
    frame = read_csv(where, path)
    file_name, predicted = find_file_names(frame), find_column(frame.columns, PREDICTED_CLASS)
    if file_name is None or predicted is None:
        lacking = [name for name, found in zip(COLUMNS, (file_name, predicted), strict=False) if found is None]
        given = f"{path} with {shorten([str(name) for name in frame.columns], 8)}"
        fix = f"Write the columns {', '.join(COLUMNS)} and their names above them; the last may be left out."
        raise InputError(where, f"the predictions have no column {', '.join(lacking)}", given, fix)
    frame = read_csv(where, path, text=(file_name, predicted))
    names = frame[file_name].tolist()
    if empty := int(frame[file_name].isna().sum()):
        raise InputError(where, "predictions have no file name", f"{path}: {empty} empty cells", "Fill them in.")
    if len(set(names)) < len(names):
        twice = frame[file_name][frame[file_name].duplicated()].unique().tolist()
        given = f"{path}: {len(twice)} more than once: {shorten(twice)}"
        raise InputError(where, "images are predicted twice", given, "Keep one row for each image.")

    true = true or Classes(torch.zeros(0, dtype=torch.int64), None)
    classes, assumed = number_alike(where, path, frame[predicted], true, num_classes)
    rows = table.find(names, spelt_alike=True)
    if table.ids is not None:
        rows = torch.tensor(match_file_names(FileNames(table.ids), rows.tolist(), names, where), dtype=torch.int64)
    position = torch.full((len(table),), -1).index_copy(0, rows[rows >= 0], (rows >= 0).nonzero().squeeze(1))
    if missing := int((position < 0).sum()):
        ids = table.ids or ()
        absent = [ids[row] for row in (position < 0).nonzero().squeeze(1)[:4].tolist()]
        unused = [names[place] for place in (rows < 0).nonzero().squeeze(1)[:4].tolist()]
        given = f"{path} without {shorten(absent)}" + (f", but with {shorten(unused)}" if unused else "")
        fix = "Predict them too, or leave them out of the annotations."
        if unused:
            fix = "Predict them too, or leave them out of the annotations; or spell file names alike in both."
        raise InputError(where, f"{missing} of {len(table)} annotated images have no prediction", given, fix)
    confidence = _probabilities(where, path, frame)
    preds, left_out = classes.numbers[position], int((rows < 0).sum())
    return Predictions(model_name(path), preds, confidence[position], left_out, classes.names, assumed)


def _probabilities(where: str, path: str | PathLike[str], frame: "DataFrame") -> Tensor:
    import pandas as pd

    name = find_column(frame.columns, PROBABILITY)
    if name is None:
        return torch.full((len(frame),), torch.nan, dtype=torch.float64)
    column = frame[name]
    numbers = pd.to_numeric(column, errors="coerce")
    odd = column[((numbers.isna() & column.notna()) | (numbers < 0) | (numbers > 1)).to_numpy()]
    if len(odd):
        given = f"{path}: {len(odd)} values, such as {odd.tolist()[0]!r}"
        fix = "Write the probability of the predicted class, not its score."
        raise InputError(where, "probabilities are not in 0 to 1", given, fix)
    return torch.tensor(numbers.to_numpy(dtype="float64"))
