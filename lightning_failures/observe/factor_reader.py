"""Which factors each image of a batch carries: from the batch itself, or from a table beside the dataset."""

from collections.abc import Mapping, Sequence
from os import PathLike, fspath
from typing import Any

import torch
from torch import Tensor

from lightning_failures.data.column_names import FILE_NAME
from lightning_failures.data.csv_file import is_csv_path
from lightning_failures.data.factor_columns import Remedies, read_factors
from lightning_failures.data.factor_dataset import file_names, find_rows
from lightning_failures.data.factor_table import FactorTable, missing_rows
from lightning_failures.errors import InputError, UnknownNameError, few
from lightning_failures.observe.batch_fields import Field, read_field
from lightning_failures.observe.dataset_rows import DatasetRows

__all__ = ["FactorReader", "FactorSource"]

#: Names of columns or fields, a table, a field that holds all columns, or one field per factor.
FactorSource = Sequence[str] | FactorTable | Field | Mapping[str, Field] | PathLike[str]

_FIELD_NAMES = ("factors", "factor", "attributes", "metadata")


class FactorReader:
    """Reads the (n f) bool matrix of factors of a batch.

    Args:
        factors: one of

            - names: the columns of the matrix that the batch holds under ``factors`` or under no name at all, or, where
              it holds a field for each name, these fields;
            - a :class:`.FactorTable`, joined by dataset row (``ids`` that are whole numbers are its rows); one with ids
              by ``ids``, or else by file names: those that the batch holds as ``file_name`` or under another usual
              name, or those of the dataset, as torchvision's ``ImageFolder`` has them in ``samples``;
            - the path of a CSV file with one column for each factor, and one row for each row of the dataset or, where
              it has a column ``file_name``, for each image, in any order;
            - a path or callable into the batch that gives the matrix, or a mapping of columns, or, with ``names``, one
              word for each image, which is one of the names, or one whole number, the position of its name;
            - a mapping from factor to the path or callable of its column.
        names: names of the matrix's columns, where ``factors`` is a path or callable. Of one name alone, one 0 or 1 for
            each image is that column.
        ids: path or callable into the batch that gives each image's id in the table.
        where: the public name to put into an error.
    """

    def __init__(
        self,
        factors: FactorSource,
        names: Sequence[str] | None = None,
        ids: Field | None = None,
        where: str = "FactorReader",
    ) -> None:
        self._where, self._where_ids = f"{where}(factors=...)", f"{where}(ids=...)"
        if isinstance(factors, PathLike) or (isinstance(factors, str) and is_csv_path(factors)):
            factors = _read_file(fspath(factors), self._where)
        self.table: FactorTable | None = factors if isinstance(factors, FactorTable) else None
        self.ids = ids
        self._of_dataset: tuple[Any, Tensor] | None = None  # a dataset, and the table's row of each of its images
        self._fields: Mapping[str, Field] | None = None
        self._whole: Field | None = None
        self._looked = False  # whether numbers on a device were seen to be positions
        self._names: tuple[str, ...] | None = tuple(names) if names is not None else None
        if isinstance(factors, FactorTable):
            self._names = factors.names
        elif isinstance(factors, Mapping):
            self._fields, self._names = factors, tuple(factors)
        elif isinstance(factors, str | int) or callable(factors):
            self._whole = factors
        else:
            self._names = tuple(factors)

    @property
    def names(self) -> tuple[str, ...] | None:
        """Names of the factors; None where the batch has yet to say them."""
        return self._names

    def read(self, batch: Any, images: int, rows: DatasetRows, batch_idx: int) -> Tensor:
        """Factors of one batch; (n f), bool.

        Args:
            batch: the batch as the step got it.
            images: number of images n in it, a sampler's padding included.
            rows: dataset rows of the loader's batches, for a table without ids.
            batch_idx: which batch it is.
        """
        if self.table is not None:
            return self._from_table(batch, images, rows, batch_idx)
        if self._fields is not None:
            return self._stack(
                {name: read_field(batch, field, self._where) for name, field in self._fields.items()}, images
            )
        if self._whole is not None:
            return self._matrix(read_field(batch, self._whole, self._where), images)
        return self._by_name(batch, images)

    def _from_table(self, batch: Any, images: int, rows: DatasetRows, batch_idx: int) -> Tensor:
        assert self.table is not None
        if self.ids is not None:
            keys = read_field(batch, self.ids, self._where_ids)
            if self.table.ids is not None:
                return self.table.rows(keys)
            if not _are_names(keys):
                return self._by_position(self.table, keys, images, rows, batch_idx)
        if self.table.ids is not None:
            return self._by_file_name(self.table, batch, images, rows, batch_idx)
        if not rows.known:
            given = "a loader that does not go through its dataset in order (shuffled, or with a sampler of its own)"
            fix = "Name the field of the batch that holds each image's id: ids='file_name'."
            raise InputError(self._where, "the factor table cannot be joined to the batch", given, fix)
        if len(self.table.values) != rows.size:
            raise InputError(
                self._where,
                "the factor table and the evaluation dataset differ in length",
                f"a table of {len(self.table.values)} rows, a dataset of {rows.size} images",
                "Pass one row per dataset row, in the dataset's order, or a table with ids and ids='file_name'.",
            )
        return self.table.rows(rows.of(batch_idx).rows[:images])

    def _by_position(self, table: FactorTable, keys: Any, images: int, rows: DatasetRows, batch_idx: int) -> Tensor:
        """By ids that are whole numbers, which are rows of the table unless the loader says otherwise."""
        if rows.known and rows.size == len(table):
            expected = rows.of(batch_idx).rows[:images].tolist()
            named = [int(key) for key in keys]
            if named != expected:
                place = next((i for i, pair in enumerate(zip(named, expected, strict=False)) if len({*pair}) > 1), 0)
                given = f"id {named[place]} for the image of dataset row {expected[place]}" if named else "no ids"
                fix = "Give the table the ids of its rows, FactorTable(names, values, ids), or leave ids out."
                raise InputError(self._where_ids, "the factor table has no ids, and these are not its rows", given, fix)
        return table.rows(keys)

    def _by_file_name(self, table: FactorTable, batch: Any, images: int, rows: DatasetRows, batch_idx: int) -> Tensor:
        """By the file names that the batch holds, or else by those of the dataset."""
        for path in FILE_NAME:
            names = _read_or_none(batch, path)
            if (
                isinstance(names, list | tuple)
                and len(names) == images
                and all(isinstance(name, str) for name in names)
            ):
                return table.rows(names)
        if rows.known and file_names(rows.dataset) is not None:
            if self._of_dataset is None or self._of_dataset[0] is not rows.dataset:
                found = find_rows(rows.dataset, table)
                if bool((found < 0).any()):
                    raise missing_rows(self._where, file_names(rows.dataset) or [], found, table)
                self._of_dataset = rows.dataset, found
            return table.values[self._of_dataset[1][rows.of(batch_idx).rows[:images]]]
        nobody = "no file names in the batch or its dataset" if rows.known else "a loader in an order of its own"
        given = f"ids such as {(table.ids or ('',))[0]!r}, {nobody}"
        fix = (
            "Name the field of the batch that holds each image's id: FactorErrorMonitor(..., ids='file_name'); or give "
            "the dataset the list of its files in the order of its images, as dataset.files; or, where row i is of "
            "image i, pass FactorTable.from_frame(..., columns=[...])."
        )
        raise InputError(self._where, "the factor table cannot be joined to the batch", given, fix)

    def _by_name(self, batch: Any, images: int) -> Tensor:
        assert self._names is not None
        for path in _FIELD_NAMES:
            value = _read_or_none(batch, path)
            if value is not None:
                return self._matrix(value, images)
        columns = {name: _read_or_none(batch, name) for name in self._names}
        if all(value is not None for value in columns.values()):
            return self._stack(columns, images)
        matrices = [value for value in _tensors(batch) if value.ndim == 2 and value.shape == (images, len(self._names))]
        matrices = [value for value in matrices if not value.is_floating_point()]
        if len(matrices) == 1:
            return self._matrix(matrices[0], images)
        missing = [name for name, value in columns.items() if value is None]
        raise UnknownNameError(
            self._where,
            "the batch does not hold the factors",
            f"no field {few(map(repr, missing))}, and {len(matrices)} integer or bool tensors of shape "
            f"({images}, {len(self._names)})",
            "Name where they are, factors='meta.factors' with names=[...], or pass a FactorTable of the dataset's "
            "rows.",
        )

    def _matrix(self, value: Any, images: int) -> Tensor:
        if isinstance(value, Mapping):
            if self._names is None:
                self._names = tuple(map(str, value))
            absent = [name for name in self._names if name not in value]
            if absent:
                raise UnknownNameError(
                    self._where,
                    f"the batch has no factor {few(map(repr, absent))}",
                    f"factors {few(map(repr, value))}",
                    "Name factors that the batch holds.",
                )
            return self._stack({name: value[name] for name in self._names}, images)
        if isinstance(value, list | tuple) and value and all(isinstance(word, str) for word in value):
            return self._words(value, images)
        matrix = torch.as_tensor(value)
        if self._names is None:
            raise InputError(
                self._where,
                "the factors have no names",
                f"a matrix {tuple(matrix.shape)}",
                "Name its columns: names=['dark', ...].",
            )
        if matrix.shape == (images,):
            return self._positions(matrix)
        if matrix.shape != (images, len(self._names)):
            raise InputError(
                self._where,
                "the factor columns do not match the names",
                f"a matrix {tuple(matrix.shape)} for {images} images and {len(self._names)} names",
                "Give one row per image and one column per name.",
            )
        return matrix.bool()

    def _words(self, words: Sequence[str], images: int) -> Tensor:
        """One word for each image, which is one of the names."""
        unknown = sorted({*words} - {*(self._names or ())})
        if unknown:
            given = f"{few(map(repr, unknown))} where names={list(self._names or ())}"
            fix = "Name all of them: names=['A', 'B', ...]."
            raise UnknownNameError(self._where, "the batch holds words that are no names of factors", given, fix)
        if len(words) != images:
            given = f"{len(words)} words for {images} images"
            raise InputError(self._where, "there is not one word for each image", given, "Give one for each image.")
        return torch.tensor([[word == name for name in self._names or ()] for word in words])

    def _positions(self, numbers: Tensor) -> Tensor:
        """One number for each image: the position of its name, or whether it has the only factor that is named."""
        names = self._names or ()
        if len(names) == 1:
            return numbers.bool()[:, None]
        whole = not numbers.is_floating_point() and not numbers.is_complex() and numbers.dtype != torch.bool
        # values on a device are looked at once, where a run starts
        look = whole and (numbers.device.type == "cpu" or not self._looked)
        self._looked = True
        if not whole or (look and bool(((numbers < 0) | (numbers >= len(names))).any())):
            given = f"{str(numbers.dtype).removeprefix('torch.')} numbers"
            if whole:
                given = f"{few(map(str, numbers.unique().tolist()))} for {len(names)} names"
            fix = "Give whole numbers from 0, the position of each image's name in names=, or a matrix of bool."
            raise InputError(self._where, "the factor numbers are not positions of the names", given, fix)
        return numbers[:, None] == torch.arange(len(names), device=numbers.device)

    def _stack(self, columns: Mapping[str, Any], images: int) -> Tensor:
        tensors = {name: torch.as_tensor(column) for name, column in columns.items()}
        for name, column in tensors.items():
            if column.shape != (images,):
                raise InputError(
                    self._where,
                    f"the factor {name!r} does not have one value per image",
                    f"{tuple(column.shape)} for {images} images",
                    "Give one bool per image.",
                )
        return torch.stack([column.bool() for column in tensors.values()], 1)


def _read_file(path: str, where: str) -> FactorTable:
    """The table of a CSV file, joined by its file names where it has any."""
    call = f"FactorTable.from_frame({path!r}"
    remedies = Remedies(
        cut=f"Cut it, {call}, edges={{{{{{name!r}}: [...]}}}}), or leave the column out of the file.",
        names=f"Where it names the images, pass {call}, key={{name!r}}) and ids=; else leave it out of the file.",
        fill_in="Fill them in, or leave the column out of the file.",
        order=f"Leave the numbers out of the file, or join by them: {call}, key={{name!r}}) and ids=.",
    )
    return FactorTable(*read_factors(path, None, None, {}, where, remedies))


def _read_or_none(batch: Any, path: str) -> Any:
    try:
        return read_field(batch, path)
    except UnknownNameError:
        return None


def _tensors(batch: Any) -> list[Tensor]:
    children = batch.values() if isinstance(batch, Mapping) else batch if isinstance(batch, list | tuple) else ()
    return [value for value in children if isinstance(value, Tensor)]


def _are_names(keys: Any) -> bool:
    """Whether ids are words and no numbers, so that they cannot be rows of a table."""
    if isinstance(keys, Tensor):
        return False
    return any(isinstance(key, str) and not key.strip().lstrip("-").isdigit() for key in keys)
