"""Factor columns of a pandas table or a CSV file: 0 and 1, words, or continuous values cut at edges."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from os import PathLike
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from lightning_failures.data.csv_file import read_csv
from lightning_failures.errors import InputError, UnknownNameError

if TYPE_CHECKING:
    from pandas import DataFrame, Series

__all__ = ["read_factors"]

#: A column of more different words than this is taken for a name or a comment, not for a factor.
MOST_WORDS = 64


def read_factors(
    source: "DataFrame | str | PathLike[str]",
    key: str | None,
    columns: Sequence[str] | None,
    edges: Mapping[str, Sequence[float]],
) -> tuple[tuple[str, ...], Tensor, tuple[str, ...] | None]:
    """Names, values and ids of the table in :meth:`.FactorTable.from_frame`."""
    where = "FactorTable.from_frame"
    frame = read_csv(where, source) if isinstance(source, str | PathLike) else source
    chosen = list(columns) if columns is not None else [name for name in frame.columns if name != key]
    chosen += [name for name in edges if name not in chosen]
    if unknown := [str(name) for name in [*chosen, *([] if key is None else [key])] if name not in frame.columns]:
        given, fix = ", ".join(unknown), f"Choose among {', '.join(map(str, frame.columns))}."
        raise UnknownNameError(where, "columns are not in the table", given, fix)

    factors: dict[str, Tensor] = {}
    for name in chosen:
        pieces = _cut(frame[name], edges[name]) if name in edges else _levels(frame[name])
        factors.update(pieces)
    if not factors:
        given, fix = f"columns {', '.join(map(str, frame.columns))}", "Add a column of 0 and 1 for each factor."
        raise InputError(where, "no column is a factor", given, fix)
    if key is not None and frame[key].isna().any():
        given = f"{int(frame[key].isna().sum())} empty cells in {key}"
        raise InputError(where, "rows have no id", given, "Fill the key in.")
    ids = None if key is None else tuple(map(str, frame[key]))
    return tuple(factors), torch.stack(list(factors.values()), 1), ids


def _levels(column: "Series[Any]") -> Iterator[tuple[str, Tensor]]:
    """A column of 0 and 1 as it is, a column of words as one factor a word."""
    from pandas.api.types import is_bool_dtype, is_numeric_dtype

    where, name = "FactorTable.from_frame", str(column.name)
    if empty := int(column.isna().sum()):
        fix = "Fill them in, or leave the column out with columns=."
        raise InputError(where, "a factor has empty cells", f"{empty} in {name}", fix)
    if is_bool_dtype(column) or (is_numeric_dtype(column) and column.isin([0, 1]).all()):
        yield name, torch.tensor(column.to_numpy(dtype=bool))
        return
    words = [] if is_numeric_dtype(column) else sorted(map(str, column.unique()))
    if not words or len(words) > MOST_WORDS:
        kind = f"{len(words)} different words" if words else "numbers beside 0 and 1"
        fix = "Cut a continuous column with edges=, or leave it out with columns=."
        raise InputError(where, "a column is no factor", f"{name} with {kind}", fix)
    for word in words:
        yield f"{name}={word}", torch.tensor((column.astype(str) == word).to_numpy(dtype=bool))


def _cut(column: "Series[Any]", edges: Sequence[float]) -> Iterator[tuple[str, Tensor]]:
    """A continuous column as one factor between each two neighbouring edges; an empty cell is in none."""
    from pandas.api.types import is_numeric_dtype

    where, name = "FactorTable.from_frame", str(column.name)
    if not is_numeric_dtype(column):
        raise InputError(where, "a column with edges is not of numbers", name, "Leave its edges out.")
    if not edges or any(low >= high for low, high in pairwise(edges)):
        raise InputError(where, "edges do not increase", f"{name}: {list(edges)}", "Pass increasing values to cut at.")
    values = torch.tensor(column.to_numpy(dtype="float64"))
    yield f"{name}<{edges[0]:g}", values < edges[0]
    for low, high in pairwise(edges):
        yield f"{low:g}<={name}<{high:g}", (values >= low) & (values < high)
    yield f"{name}>={edges[-1]:g}", values >= edges[-1]
