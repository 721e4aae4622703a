"""CSV files as people and programs write them, and columns of whole numbers in them, with what is wrong in words."""

import csv
import re
import warnings
from collections.abc import Collection
from io import StringIO
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from lightning_failures.data.packed_file import PackedFileError, read_text
from lightning_failures.errors import InputError, MissingPackageError

if TYPE_CHECKING:
    from pandas import DataFrame, Series

__all__ = ["is_csv_path", "is_index", "read_csv", "whole_numbers"]

SEPARATORS = (",", ";", "\t")
_FILE_ENDINGS = (".csv", ".tsv", ".csv.gz", ".csv.zip", ".csv.bz2", ".csv.xz")
#: What an empty cell may be written as.
EMPTY = ("", "NA", "N/A", "n/a", "#N/A", "<NA>", "NaN", "nan", "-nan", "NULL", "null", "None")
_UNNAMED = re.compile(r"Unnamed: \d+(\.\d+)*")
_SEPARATOR_LINE = re.compile(r"\s*sep=(.)\r?\n", re.IGNORECASE)  # which Excel reads and writes
_AROUND = re.compile(r"[^\S\r\n]|[\"']")  # without any of these no cell has white space around it
_DECIMAL_COMMA = r"[+-]?\d*,\d+"


def read_csv(
    where: str, path: str | PathLike[str], text: Collection[str] = (), keep: Collection[str | None] = ()
) -> "DataFrame":
    """Read a CSV file, plain or packed, or say why it cannot be read.

    Columns are separated by commas, semicolons or tabs. A byte order mark, the line ends of Windows, white space around
    cells, single quotes throughout, decimal commas beside other separators and an empty last column do no harm. The row
    numbers that pandas and R write without a name are left out where they rise.

    Args:
        where: the public name to put into an error.
        path: the file.
        text: columns whose cells are kept as they are written, ``"007"`` and ``"None"`` too.
        keep: columns that are kept though they look like row numbers.

    Raises:
        InputError: there is no such file, or it is not a table.
        MissingPackageError: pandas is not installed.
    """
    try:
        import pandas as pd
    except ImportError as error:
        fix = "Run pip install pandas."
        raise MissingPackageError(
            where, "tables are read with pandas, which is not installed", str(path), fix
        ) from error
    if not Path(path).is_file():
        raise InputError(where, "there is no such file", str(path), "Correct the path.")
    try:
        content, separator = _separated(read_text(path).lstrip())
        quote = "'" if content.startswith("'") else '"'
        names = _names(where, path, content, separator, quote)
        with warnings.catch_warnings():
            warnings.simplefilter("error", pd.errors.ParserWarning)  # rows that are longer than the first
            frame = pd.read_csv(
                StringIO(content),
                sep=separator,
                quotechar=quote,
                skipinitialspace=separator != "\t",
                header=0,
                names=names,
                index_col=False,
                dtype={name: str for name in names if name in text},
                keep_default_na=False,
                na_values={name: [""] if name in text else list(EMPTY) for name in names},
            )
    except InputError:  # says already what to do
        raise
    except PackedFileError as error:
        raise InputError(where, f"the file is not a CSV table ({error.reason})", str(path), error.fix) from error
    except (ValueError, OSError, csv.Error, pd.errors.ParserWarning) as error:
        reason = " ".join(str(error).split())
        raise InputError(where, f"the file is not a CSV table ({reason})", str(path), "Save it as CSV.") from error
    spaced = _AROUND.search(content) is not None
    for name in frame.columns if spaced or separator != "," else ():
        if frame[name].dtype.kind == "O" or pd.api.types.is_string_dtype(frame[name]):
            frame[name] = _words(frame[name], commas=separator != "," and name not in text)
    return frame[[name for name in frame.columns if name in keep or not _is_filling(frame[name])]]


def is_csv_path(word: str) -> bool:
    """Whether a word ends as the name of such a file does, packed or not.

    Example:
        >>> is_csv_path("own.CSV.gz"), is_csv_path("meta.scanner")
        (True, False)
    """
    return word.lower().endswith(_FILE_ENDINGS)


def is_index(column: "Series[Any]") -> bool:
    """Whether a column counts the rows: whole numbers that rise by 1, from 0 or 1."""
    from pandas.api.types import is_integer_dtype

    if not len(column) or not is_integer_dtype(column):
        return False
    first = int(column.iloc[0])
    return first in (0, 1) and column.tolist() == list(range(first, first + len(column)))


def whole_numbers(
    where: str, path: str | PathLike[str], column: "Series[Any]", num_classes: int | None = None
) -> Tensor:
    """A column of classes; (n), int64.

    Args:
        where: the public name to put into an error.
        path: the file.
        column: the column.
        num_classes: number of classes, to check the range; None: any number.

    Raises:
        InputError: classes are no whole numbers or out of range.
    """
    import pandas as pd

    numbers = pd.to_numeric(column, errors="coerce")
    odd = (numbers.isna() | (numbers % 1 != 0)).to_numpy()
    if odd.any():
        number, cell = float(numbers[odd].iloc[0]), column[odd].iloc[0]
        given = (
            f"{path}: {int(odd.sum())} values of {column.name}, such as {repr(cell) if number != number else number}"
        )
        fix = "Write the index of the class, or the name of the class in every row."
        raise InputError(where, "classes are no whole numbers", given, fix)
    classes = torch.tensor(numbers.to_numpy(dtype="int64"))
    stray = classes < 0 if num_classes is None else (classes < 0) | (classes >= num_classes)
    if bool(stray.any()):
        known = "0 and more" if num_classes is None else f"0 to {num_classes - 1}"
        given = f"{path}: {int(stray.sum())} values of {column.name}, such as {int(classes[stray][0])}"
        raise InputError(where, "classes are out of range", given, f"Write the index of the class, {known}.")
    return classes


def _separated(text: str) -> tuple[str, str]:
    """The text without a line that names the separator, and the separator: that of most columns."""
    if named := _SEPARATOR_LINE.match(text):
        return text[named.end() :].lstrip(), named[1]

    def columns(separator: str) -> tuple[bool, int]:
        records = csv.reader(StringIO(text), delimiter=separator, quotechar="'" if text.startswith("'") else '"')
        header, first = next(records, []), next((record for record in records if record), [])
        return not first or len(first) - len(header) in (0, 1), len(header)

    return text, max(SEPARATORS, key=columns)


def _names(where: str, path: str | PathLike[str], text: str, separator: str, quote: str) -> list[str]:
    """Names of the columns; those of the row numbers that R writes, and of an empty last column, are made up."""
    records = csv.reader(StringIO(text), delimiter=separator, quotechar=quote, skipinitialspace=True)
    header, first = next(records, []), next((record for record in records if record), [])
    if not header:
        raise ValueError("No columns to parse from file")
    if len(first) == len(header) + 1:
        header = [*header, ""] if first[-1] == "" else ["", *header]
    names = [name.strip() or f"Unnamed: {place}" for place, name in enumerate(header)]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise InputError(where, "columns have the same name", f"{', '.join(twice)} of {path}", "Rename one of them.")
    return names


def _words(column: "Series[Any]", commas: bool) -> "Series[Any]":
    """Words without white space around them; numbers with a decimal comma as numbers."""
    import pandas as pd

    if not column.map(lambda cell: isinstance(cell, str)).any():
        return column
    column = column.map(lambda cell: cell.strip() if isinstance(cell, str) else cell)
    words = column.dropna().astype(str)
    if (
        commas
        and words.str.fullmatch(_DECIMAL_COMMA).any()
        and words.str.fullmatch(rf"{_DECIMAL_COMMA}|[+-]?\d+").all()
    ):
        return pd.to_numeric(column.astype("object").map(lambda cell: str(cell).replace(",", ".")), errors="coerce")
    return column


def _is_filling(column: "Series[Any]") -> bool:
    """Whether a column without a name is empty, or numbers the rows in rising order."""
    from pandas.api.types import is_integer_dtype

    if not _UNNAMED.fullmatch(str(column.name)):
        return False
    return bool(column.isna().all()) or (is_integer_dtype(column) and bool(column.is_monotonic_increasing))
