"""Tables that say which factors each image carries, keyed by file name or by position in the data set."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import repeat
from os import PathLike
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from lightning_failures.data.file_names import FileNames
from lightning_failures.data.plain_text import PlainColumn, plain_column
from lightning_failures.errors import InputError, UnknownNameError, few
from lightning_failures.functional.factors import check_factor_names

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pandas import DataFrame

__all__ = ["FactorTable", "missing_rows"]


@dataclass(frozen=True, eq=False)
class FactorTable:
    """Which factors each image carries.

    Args:
        names: one per factor.
        values: which factors each image carries; (n f), bool, or int of 0 and 1.
        ids: one key per row, such as its file name; None: row i belongs to image i of the data set.

    Raises:
        InputError: the shapes do not match, values are neither 0 nor 1, an id stands twice, or no image carries a
            factor.

    Example:
        >>> table = FactorTable(("blurred", "dark"), torch.eye(2, dtype=torch.bool), ("a.png", "b.png"))
        >>> table.rows(["b.png", "a.png"])
        tensor([[False,  True],
                [ True, False]])
    """

    names: tuple[str, ...]
    values: Tensor
    ids: tuple[str, ...] | None = None
    _spelt: dict[int, str] = field(init=False, repr=False, default_factory=dict)  # rows that were found so

    def __post_init__(self) -> None:
        where = "FactorTable"
        names = check_factor_names(where, self.names)
        values = torch.as_tensor(self.values)
        if values.ndim != 2 or values.shape[1] != len(names):
            given = f"values {tuple(values.shape)} for {len(names)} names: {', '.join(names)}"
            raise InputError(where, "values are not one column per name", given, "Pass values (n f).")
        carried = values.bool()
        if carried is not values and not bool((carried == values).all()):
            odd = int((carried != values).sum())
            fix = "Pass booleans; cut continuous columns with FactorTable.from_frame(edges=...)."
            raise InputError(where, "values are neither 0 nor 1", f"{odd} such values", fix)
        if absent := [name for name, some in zip(names, carried.any(0).tolist(), strict=True) if not some]:
            given = f"{', '.join(absent)} in {len(values)} rows"
            fix = "Leave these factors out, or correct the annotations."
            raise InputError(where, "no image carries these factors", given, fix)
        object.__setattr__(self, "names", names)
        object.__setattr__(self, "values", carried)
        if self.ids is not None:
            self._key_by(tuple(map(str, self.ids)))

    def __len__(self) -> int:
        return len(self.values)

    def __repr__(self) -> str:
        by = "row" if self.ids is None else f"id, such as {self.ids[0]!r}"
        counts = [f"{name} {count}" for name, count in zip(self.names, self.values.sum(0).tolist(), strict=True)]
        return f"FactorTable: {len(self)} images by {by}; images with {few(counts, 8, 200)}"

    def select(self, names: Sequence[str]) -> "FactorTable":
        """The same rows with only these factors, in this order.

        Raises:
            UnknownNameError: a factor that is not in the table.
        """
        names = check_factor_names("FactorTable.select", names)
        if unknown := [name for name in names if name not in self.names]:
            given, fix = ", ".join(unknown), f"Choose among {', '.join(self.names)}."
            raise UnknownNameError("FactorTable.select", "factors are not in the table", given, fix)
        columns = [self.names.index(name) for name in names]
        return FactorTable(names, self.values[:, columns], self.ids)

    def find(self, keys: Sequence[Any] | Tensor, spelt_alike: bool = False) -> Tensor:
        """Position of the row of each image, -1 where there is none.

        An id that is not there as it is spelt is found by what it ends in: ``val/007.JPEG`` is ``007.jpg``, as long as
        no second id may be meant.

        Args:
            keys: file names, or whatever the ids are; without ids, positions in the data set; n of them.
            spelt_alike: find only ids that are spelt as they are in the table.

        Returns:
            Positions; (n), int64.

        Raises:
            InputError: the table has no ids, and a key is no position; a key fits several ids, or several keys one id.
        """
        given = keys.tolist() if isinstance(keys, Tensor) else keys
        if self.ids is not None:
            names = list(map(str, given))
            found = list(map(self._positions.get, names, repeat(-1)))
            if not spelt_alike and -1 in found:
                found = self._by_ends(names, found)
            return torch.tensor(found, dtype=torch.int64)
        try:
            rows = torch.tensor([int(key) for key in given], dtype=torch.int64)
        except ValueError as error:
            fix = "Give the table ids, such as file names, or pass positions."
            raise InputError("FactorTable.find", "the table has no ids to look up", repr(given[0]), fix) from error
        return torch.where((rows >= 0) & (rows < len(self)), rows, -1)

    def rows(self, keys: Sequence[Any] | Tensor) -> Tensor:
        """Factors of these images, in their order; keys as for :meth:`find`.

        Returns:
            Which factors each image carries; (n f), bool.

        Raises:
            InputError: images without a row; the error says how many and which.
        """
        found = self.find(keys)
        if bool((found < 0).any()):
            raise missing_rows("FactorTable.rows", keys, found, self)
        return self.values[found]

    @classmethod
    def from_frame(
        cls,
        frame: "DataFrame | str | PathLike[str]",
        key: str | None = None,
        columns: Sequence[str] | None = None,
        edges: "Mapping[str, Sequence[float]] | None" = None,
    ) -> "FactorTable":
        """Read a pandas table, or a CSV file.

        Args:
            frame: the table, or the path of a CSV file, plain or packed.
            key: the column of ids, such as file names. None: where ``columns`` is None too, the column ``file_name``,
                one of another usual name for it, or one that is all names of images; where there is none, row i belongs
                to image i of the data set.
            columns: the columns that are factors; None: all but the key and row numbers, and, where ``key`` is None
                too, the true class, ``class``. A column of 0 and 1 is one factor. A column of words is one factor for
                each word: ``"scanner=A"``.
            edges: continuous columns with the increasing values to cut them at. Each piece is one factor:
                ``"size<16"``, ``"16<=size<32"``, ``"size>=32"``; an empty cell carries none of them.

        Raises:
            InputError: the file cannot be read, a column is neither of these, cells are empty, rows without ids are
                numbered in another order than they stand, or as for the table.
            UnknownNameError: a column that is not there.
            MissingPackageError: pandas is not installed.

        Example:
            >>> import pandas
            >>> frame = pandas.DataFrame({"file": ["a", "b", "c"], "dark": [0, 1, 0], "size": [8.0, 20.0, 40.0]})
            >>> table = FactorTable.from_frame(frame, key="file", edges={"size": [16]})
            >>> table.names
            ('dark', 'size<16', 'size>=16')
        """
        from lightning_failures.data.factor_columns import read_factors

        names, values, ids = read_factors(frame, key, columns, edges or {})
        return cls(names, values, ids)

    @cached_property
    def plain_ids(self) -> PlainColumn | None:
        """The ids as a plain column; None without any, or where they are none."""
        return plain_column(self.ids or ())

    @cached_property
    def _positions(self) -> dict[str, int]:
        return {name: row for row, name in enumerate(self.ids or ())}

    @cached_property
    def _file_names(self) -> FileNames:
        return FileNames(self.ids or ())

    def _by_ends(self, names: Sequence[str], found: list[int]) -> list[int]:
        """Those too that are spelt otherwise; each row under one spelling only, whatever batch it is asked for in."""
        where, absent = "FactorTable.find", list(dict.fromkeys(name for name in names if name not in self._positions))
        rows = dict(zip(absent, self._file_names.find(absent, where, {row for row in found if row >= 0}), strict=True))
        for name, row in rows.items():
            if row >= 0 and self._spelt.setdefault(row, name) != name:
                given, fix = f"{self._spelt[row]} and {name} for one row", "Key the table by names that differ."
                raise InputError(where, "a file name fits more than one image", given, fix)
        return [rows.get(name, row) if row < 0 else row for name, row in zip(names, found, strict=True)]

    def _key_by(self, ids: tuple[str, ...]) -> None:
        if len(ids) != len(self.values):
            given, fix = f"{len(ids)} ids for {len(self.values)} rows", "Pass one id a row."
            raise InputError("FactorTable", "ids and rows differ in number", given, fix)
        object.__setattr__(self, "ids", ids)
        if self.plain_ids is not None and self.plain_ids.is_unique():
            return
        if len(self._positions) < len(ids):
            twice = sorted({name for row, name in enumerate(ids) if self._positions[name] != row})
            given = f"{len(twice)} ids more than once: {shorten(twice)}"
            raise InputError("FactorTable", "ids stand twice", given, "Keep one row per image.")


def missing_rows(where: str, keys: Sequence[Any] | Tensor, found: Tensor, table: FactorTable) -> InputError:
    """The error for images that have no row: how many, which, and what the table's own keys look like."""
    given = keys.tolist() if isinstance(keys, Tensor) else keys
    absent = [str(key) for key, row in zip(given, found.tolist(), strict=True) if row < 0]
    known = f"positions 0 to {len(table) - 1}" if table.ids is None else f"ids such as {table.ids[0]}"
    return InputError(
        where,
        f"{len(absent)} of {len(given)} images have no row",
        f"{shorten(absent)}; the table has {known}",
        "Leave these images out, complete the table, or key it by the same names.",
    )


def shorten(names: Sequence[str], most: int = 3) -> str:
    """The first few names, for an error."""
    return ", ".join(names[:most]) + (", ..." if len(names) > most else "")
