"""Factor columns of a pandas table or a CSV file: 0 and 1, words, or continuous values cut at edges."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from os import PathLike
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor

from lightning_failures.data.column_names import CLASS, find_column, find_file_names, row_numbers
from lightning_failures.data.csv_file import read_csv
from lightning_failures.errors import InputError, UnknownNameError

if TYPE_CHECKING:
    from pandas import DataFrame, Series

__all__ = ["Remedies", "read_factors"]

#: A column of more different words than this is taken for a name or a comment, not for a factor.
MOST_WORDS = 64


class Remedies(NamedTuple):
    """What to do about a column, in the words of who asks: of Python, or of the command line."""

    cut: str = "Cut a continuous column with edges=, or leave it out with columns=."
    names: str = "Join rows to images by it with key={name!r}, or leave it out with columns=."
    fill_in: str = "Fill them in, or leave the column out with columns=."
    order: str = "Join rows to images by them with key={name!r}, or name the factors with columns=."
    none: str = "Add a column of 0 and 1 for each factor."


def read_factors(
    source: "DataFrame | str | PathLike[str]",
    key: str | None,
    columns: Sequence[str] | None,
    edges: Mapping[str, Sequence[float]],
    where: str = "FactorTable.from_frame",
    remedies: Remedies | None = None,
) -> tuple[tuple[str, ...], Tensor, tuple[str, ...] | None]:
    """Names, values and ids of the table in :meth:`.FactorTable.from_frame`.

    Args:
        source: as ``frame`` there, like all that follows.
        key: as there.
        columns: as there.
        edges: as there.
        where: the public name to put into an error.
        remedies: what errors advise.
    """
    remedies = remedies or Remedies()
    frame = _read(where, source, key, columns)
    found = key is None and columns is None
    if found and (key := find_file_names(frame)) is not None:
        frame = _read(where, source, key, columns)
    if columns is None:
        label = find_column(frame.columns, CLASS if key is not None else CLASS[:1]) if found else None
        left_out = {*row_numbers(frame), key, label} - {*edges}
        chosen = [name for name in frame.columns if name not in left_out]
        if key is None:
            _refuse_other_order(where, frame, remedies)
    else:
        chosen = list(columns)
    chosen += [name for name in edges if name not in chosen]
    if unknown := [str(name) for name in [*chosen, *([] if key is None else [key])] if name not in frame.columns]:
        given, fix = ", ".join(unknown), f"Choose among {', '.join(map(str, frame.columns))}."
        raise UnknownNameError(where, "columns are not in the table", given, fix)

    factors: dict[str, Tensor] = {}
    for name in chosen:
        levels = _levels(frame[name], where, remedies)
        factors.update(_cut(frame[name], edges[name], where) if name in edges else levels)
    if not factors:
        given = f"columns {', '.join(map(str, frame.columns))}"
        raise InputError(where, "no column is a factor", given, remedies.none)
    if key is not None and frame[key].isna().any():
        given = f"{int(frame[key].isna().sum())} empty cells in {key}"
        raise InputError(where, "rows have no id", given, "Fill the key in.")
    ids = None if key is None else tuple(map(str, frame[key]))
    return tuple(factors), torch.stack(list(factors.values()), 1), ids


def _read(
    where: str, source: "DataFrame | str | PathLike[str]", key: str | None, columns: Sequence[str] | None
) -> "DataFrame":
    """The table; file names as they are written."""
    if not isinstance(source, str | PathLike):
        return source
    return read_csv(where, source, text=() if key is None else (key,), keep=(key, *(columns or ())))


def _refuse_other_order(where: str, frame: "DataFrame", remedies: Remedies) -> None:
    """Rows that are joined by position, though they bear numbers in another order."""
    for name in row_numbers(frame):
        if not frame[name].is_monotonic_increasing:
            given, fix = f"{name}: {', '.join(map(str, frame[name].head(3)))}, ...", remedies.order.format(name=name)
            raise InputError(where, "rows are numbered, and do not stand in that order", given, fix)


def _levels(column: "Series[Any]", where: str, remedies: Remedies) -> Iterator[tuple[str, Tensor]]:
    """A column of 0 and 1 as it is, a column of words as one factor per word."""
    from pandas.api.types import is_bool_dtype, is_numeric_dtype

    name = str(column.name)
    if empty := int(column.isna().sum()):
        raise InputError(where, "a factor has empty cells", f"{empty} in {name}", remedies.fill_in.format(name=name))
    if is_bool_dtype(column) or (is_numeric_dtype(column) and column.isin([0, 1]).all()):
        yield name, torch.tensor(column.to_numpy(dtype=bool))
        return
    words = [] if is_numeric_dtype(column) else sorted(map(str, column.unique()))
    if not words or len(words) > MOST_WORDS:
        kind = f"{len(words)} different words" if words else "numbers beside 0 and 1"
        fix = (remedies.names if words else remedies.cut).format(name=name)
        raise InputError(where, "a column is no factor", f"{name} with {kind}", fix)
    for word in words:
        yield f"{name}={word}", torch.tensor((column.astype(str) == word).to_numpy(dtype=bool))


def _cut(column: "Series[Any]", edges: Sequence[float], where: str) -> Iterator[tuple[str, Tensor]]:
    """A continuous column as one factor between each two neighbouring edges; an empty cell is in none."""
    from pandas.api.types import is_numeric_dtype

    name = str(column.name)
    if not is_numeric_dtype(column):
        raise InputError(where, "a column with edges is not of numbers", name, "Leave its edges out.")
    if not edges or any(low >= high for low, high in pairwise(edges)):
        raise InputError(where, "edges do not increase", f"{name}: {list(edges)}", "Pass increasing values to cut at.")
    values = torch.tensor(column.to_numpy(dtype="float64"))
    yield f"{name}<{edges[0]:g}", values < edges[0]
    for low, high in pairwise(edges):
        yield f"{low:g}<={name}<{high:g}", (values >= low) & (values < high)
    yield f"{name}>={edges[-1]:g}", values >= edges[-1]
