"""Which images belong together, such as those of one patient or slide, from a column of a file."""

from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor

from lightning_failures.data.column_names import find_file_names, row_numbers
from lightning_failures.data.csv_file import read_csv
from lightning_failures.data.factor_table import FactorTable, shorten
from lightning_failures.data.file_names import FileNames, match_file_names
from lightning_failures.errors import InputError, UnknownNameError

if TYPE_CHECKING:
    from pandas import Series

__all__ = ["ImageGroups", "encode_groups", "read_groups"]


class ImageGroups(NamedTuple):
    """The group of each image."""

    column: str
    ids: Tensor  # (n) int64, places in the names
    names: tuple[str, ...]


def encode_groups(where: str, path: str | Path, column: "Series[str]") -> ImageGroups:
    """Groups from a column of words or numbers, each a group.

    Args:
        where: the public name to put into an error.
        path: the file.
        column: as it is written.

    Raises:
        InputError: cells are empty.

    Example:
        >>> import pandas
        >>> encode_groups("factors", "own.csv", pandas.Series(["Bob", "Ann", "Bob"], name="patient"))
        ImageGroups(column='patient', ids=tensor([1, 0, 1]), names=('Ann', 'Bob'))
    """
    if empty := int(column.isna().sum()):
        given = f"{empty} empty cells in {column.name} of {path}"
        raise InputError(
            where, "images have no group", given, "Fill them in: an image by itself is a group of its own."
        )
    words = column.astype(str).tolist()
    names = tuple(sorted(set(words)))
    place = {name: number for number, name in enumerate(names)}
    return ImageGroups(str(column.name), torch.tensor([place[word] for word in words], dtype=torch.int64), names)


def read_groups(where: str, given: str, table: FactorTable, columns: list[str]) -> ImageGroups:
    """Groups from a file of their own, joined by file name.

    Args:
        where: the public name to put into an error.
        given: the path, and behind a colon the name of the column where the file holds several: ``"ids.csv:patient"``.
        table: the images, keyed by file name.
        columns: of the annotations, for the error.

    Raises:
        InputError: the file cannot be read, has no file names or lacks images; cells are empty.
        UnknownNameError: there is no such file or column.
    """
    path, _, column = given.rpartition(":") if not Path(given).is_file() else (given, "", "")
    if not Path(path).is_file():
        fix = "Choose among them, or name a file with a column file_name and one of the groups."
        known = f"columns {', '.join(columns)}" if columns else "annotations without columns"
        raise UnknownNameError(where, "--groups is neither a column nor a file", f"{given}; {known}", fix)
    frame = read_csv(where, path)
    file_name = find_file_names(frame)
    if file_name is None:
        held = f"{path} with {shorten([str(name) for name in frame.columns], 8)}"
        raise InputError(where, "groups have no file names", held, "Add a column file_name.")
    others = [str(name) for name in frame.columns if name not in {file_name, *row_numbers(frame)}]
    if column not in others if column else len(others) != 1:
        fix = f"Name one of them: --groups {path}:{others[0] if others else 'COLUMN'}."
        held = f"{given} with {', '.join(others) or 'no other column'}"
        raise UnknownNameError(where, "it is not known which column holds the groups", held, fix)
    frame = read_csv(where, path, text=(file_name, column or others[0]))
    names = frame[file_name].astype(str).tolist()
    if twice := frame[file_name][frame[file_name].duplicated()].astype(str).unique().tolist():
        held = f"{path}: {len(twice)} more than once: {shorten(twice)}"
        raise InputError(where, "images have two groups", held, "Keep one row for each image.")
    assert table.ids is not None
    rows = match_file_names(FileNames(table.ids), table.find(names, spelt_alike=True).tolist(), names, where)
    place = {row: number for number, row in enumerate(rows) if row >= 0}
    if absent := [name for row, name in enumerate(table.ids) if row not in place]:
        held = f"{path} without {shorten(absent)}, but with {shorten(names)}"
        fix = "Add a row for each, or spell file names alike in both."
        raise InputError(where, f"{len(absent)} of {len(table)} annotated images have no group", held, fix)
    in_order = frame[column or others[0]].iloc[[place[row] for row in range(len(table))]]
    return encode_groups(where, path, in_order)
