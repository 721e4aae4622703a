"""CSV files, and columns of whole numbers in them, with what is wrong said in words."""

from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from lightning_failures.errors import InputError, MissingPackageError

if TYPE_CHECKING:
    from pandas import DataFrame, Series

__all__ = ["read_csv", "whole_numbers"]


def read_csv(where: str, path: str | PathLike[str]) -> "DataFrame":
    """Read a CSV file, plain or compressed, or say why it cannot be read.

    Args:
        where: the public name to put into an error.
        path: the file.

    Raises:
        InputError: there is no such file, or it is not a table.
        MissingPackageError: pandas is not installed.
    """
    try:
        import pandas as pd
    except ImportError as error:
        fix = 'Install it: pip install "lightning-failures[report]".'
        raise MissingPackageError(
            where, "tables are read with pandas, which is not installed", str(path), fix
        ) from error
    if not Path(path).is_file():
        raise InputError(where, "there is no such file", str(path), "Correct the path.")
    try:
        return pd.read_csv(path)
    except (ValueError, OSError, EOFError) as error:  # parser, decoding and decompression errors are these
        reason = " ".join(str(error).split())
        raise InputError(where, f"the file is not a CSV table ({reason})", str(path), "Save it as CSV.") from error


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
    odd = column[(numbers.isna() | (numbers % 1 != 0)).to_numpy()]
    if len(odd):
        given = f"{path}: {len(odd)} values of {column.name}, such as {odd.tolist()[0]!r}"
        raise InputError(where, "classes are no whole numbers", given, "Write the index of the class.")
    classes = torch.tensor(numbers.to_numpy(dtype="int64"))
    stray = classes < 0 if num_classes is None else (classes < 0) | (classes >= num_classes)
    if bool(stray.any()):
        known = "0 and more" if num_classes is None else f"0 to {num_classes - 1}"
        given = f"{path}: {int(stray.sum())} values of {column.name}, such as {int(classes[stray][0])}"
        raise InputError(where, "classes are out of range", given, f"Write the index of the class, {known}.")
    return classes
