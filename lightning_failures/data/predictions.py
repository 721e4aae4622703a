"""Predictions in the columns of ImageNet-X: ``file_name``, ``predicted_class``, ``predicted_probability``."""

from collections.abc import Sequence
from io import BytesIO
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor

from lightning_failures.data.class_names import Classes, number_alike
from lightning_failures.data.column_names import PREDICTED_CLASS, PROBABILITY, find_column, find_file_names
from lightning_failures.data.csv_file import EMPTY, read_csv
from lightning_failures.data.factor_table import FactorTable, shorten
from lightning_failures.data.file_names import FileNames, match_file_names
from lightning_failures.data.packed_file import PackedFileError, read_bytes
from lightning_failures.data.plain_text import PlainColumn, read_plainly
from lightning_failures.errors import InputError

if TYPE_CHECKING:
    from pandas import DataFrame

__all__ = ["COLUMNS", "Predictions", "model_name", "read_models", "read_predictions"]

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


class _Join(NamedTuple):
    """Where the images of a table stand in a file."""

    names: PlainColumn
    position: Tensor  # (n) int64
    unused: int


def read_models(
    paths: Sequence[str | PathLike[str]],
    table: FactorTable,
    num_classes: int | None = None,
    where: str = "read_models",
    true: Classes | None = None,
    probabilities: bool = True,
) -> list[Predictions]:
    """Read the predictions of several models, one file for each, and join them with a table by file name.

    As :func:`read_predictions` reads each of them, in less time: files that name the same images in the same order, as
    those of several models mostly do, are joined once.

    Args:
        paths: the files.
        table: as there, like all that follows.
        num_classes: as there.
        where: as there.
        true: as there.
        probabilities: as there.

    Raises:
        InputError: as there.
        MissingPackageError: as there.
    """
    models: list[Predictions] = []
    join: _Join | None = None
    for path in paths:
        found = _read_plainly(path, table, num_classes, true, probabilities, join)
        if found is None:
            models.append(_read(path, table, num_classes, where, true, probabilities))
        else:
            model, join = found
            models.append(model)
    return models


def read_predictions(
    path: str | PathLike[str],
    table: FactorTable,
    num_classes: int | None = None,
    where: str = "read_predictions",
    true: Classes | None = None,
    probabilities: bool = True,
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
        probabilities: whether they are wanted; False: they are neither read nor checked, and all nan.

    Raises:
        InputError: the file cannot be read, lacks a column, holds an image twice or lacks images of the table; a file
            name may be that of several images; classes are empty, no whole numbers or out of range, or names where the
            true ones are numbers; probabilities are not in [0, 1].
        MissingPackageError: pandas is not installed, and the file is read with it.
    """
    return read_models([path], table, num_classes, where, true, probabilities)[0]


def _read_plainly(
    path: str | PathLike[str],
    table: FactorTable,
    num_classes: int | None,
    true: Classes | None,
    probabilities: bool,
    join: _Join | None,
) -> tuple[Predictions, _Join] | None:
    """A file without anything to interpret or to refuse, and its join; None where :func:`_read` has to look closer."""
    try:
        content = read_bytes(path)
    except (OSError, PackedFileError):
        return None
    plain = read_plainly(content)
    if plain is None or not {*COLUMNS[:2]} <= {*plain.names} <= {*COLUMNS}:
        return None
    if true is not None and true.names is not None:  # numbers for names, which takes words
        return None
    names, classes = (plain.column(name) for name in COLUMNS[:2])
    preds = None if classes is None else classes.whole_numbers()
    if names is None or preds is None or (num_classes is not None and int(preds.max()) >= num_classes):
        return None
    if join is None or not names.equals(join.names):
        join = _join(names, table)
    if join is None:
        return None
    confidence = _unknown(len(table))
    if probabilities and COLUMNS[2] in plain.names:
        read = _plain_probabilities(content)
        if read is None:
            return None
        confidence = read[join.position]
    model = Predictions(model_name(path), torch.from_numpy(preds)[join.position], confidence, join.unused)
    return model, join


def _join(names: PlainColumn, table: FactorTable) -> _Join | None:
    """Where each image of the table stands; None unless all are there as they are spelt, and no name stands twice."""
    position = None if table.plain_ids is None else names.find(table.plain_ids)
    if position is None or bool((position < 0).any()):
        return None
    return _Join(names, torch.from_numpy(position), len(names.cells) - len(table))


def _plain_probabilities(content: bytes) -> Tensor | None:
    """The probabilities of a plain file, by the reader of any file; None where they need a closer look."""
    try:
        import pandas as pd
    except ImportError:
        return None
    name = COLUMNS[2]
    frame = pd.read_csv(BytesIO(content), usecols=[name], keep_default_na=False, na_values={name: list(EMPTY)})
    column = frame[name]
    if column.dtype.kind not in "fi" or ((column < 0) | (column > 1)).any():
        return None
    return torch.tensor(column.to_numpy(dtype="float64"))


def _read(
    path: str | PathLike[str],
    table: FactorTable,
    num_classes: int | None,
    where: str,
    true: Classes | None,
    probabilities: bool,
) -> Predictions:
    """A file as people and programs write it."""
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
    confidence = _probabilities(where, path, frame) if probabilities else _unknown(len(frame))
    preds, left_out = classes.numbers[position], int((rows < 0).sum())
    return Predictions(model_name(path), preds, confidence[position], left_out, classes.names, assumed)


def _probabilities(where: str, path: str | PathLike[str], frame: "DataFrame") -> Tensor:
    import pandas as pd

    name = find_column(frame.columns, PROBABILITY)
    if name is None:
        return _unknown(len(frame))
    column = frame[name]
    numbers = pd.to_numeric(column, errors="coerce")
    odd = column[((numbers.isna() & column.notna()) | (numbers < 0) | (numbers > 1)).to_numpy()]
    if len(odd):
        given = f"{path}: {len(odd)} values, such as {odd.tolist()[0]!r}"
        fix = "Write the probability of the predicted class, not its score."
        raise InputError(where, "probabilities are not in 0 to 1", given, fix)
    return torch.tensor(numbers.to_numpy(dtype="float64"))


def _unknown(rows: int) -> Tensor:
    return torch.full((rows,), torch.nan, dtype=torch.float64)
