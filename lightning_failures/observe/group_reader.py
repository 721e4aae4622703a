"""Which images of a batch belong together: from the batch itself, or from a table beside the dataset."""

from collections.abc import Mapping, Sequence
from hashlib import blake2b
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from lightning_failures.data.csv_file import is_csv_path, read_csv
from lightning_failures.data.file_names import FileNames
from lightning_failures.errors import InputError
from lightning_failures.observe.batch_fields import Field, read_field
from lightning_failures.observe.dataset_rows import DatasetRows

__all__ = ["GroupReader", "GroupSource", "add_up_groups"]

#: A field of the batch, a group for each row of the dataset, one for each id, or the path of a CSV file with either.
GroupSource = Field | Sequence[Any] | Tensor | Mapping[Any, Any] | Path

#: Groups whose names are kept.
MOST_NAMES = 10_000


class GroupReader:
    """Reads the number of each image's group: of the patient, slide, scanner or field that it is of.

    Args:
        groups: one of

            - a path (``"patient"``, ``"meta.slide"``) or callable into the batch that gives a word or a whole number
              for each image;
            - a sequence with the group of each row of the dataset;
            - a mapping from each image's id to its group; file names may be spelt otherwise, see :class:`.FactorTable`;
            - the path of a CSV file: one column, the group of each row of the dataset; or two, id and group.
        ids: path or callable into the batch that gives each image's id, where groups go by id.
        where: the public name to put into an error.

    Example:
        >>> from torch.utils.data import DataLoader
        >>> reader = GroupReader("patient")
        >>> found = reader.read({"patient": ["Ann", "Bob", "Ann"]}, 3, DatasetRows(DataLoader(range(3))), 0)
        >>> found[0] == found[2] != found[1], [reader.name(int(group)) for group in found]
        (tensor(True), ['Ann', 'Bob', 'Ann'])
    """

    def __init__(self, groups: GroupSource, ids: Field | None = None, where: str = "GroupReader") -> None:
        self._where, self._where_ids = f"{where}(groups=...)", f"{where}(ids=...)"
        self._names: dict[int, str] = {}
        self.ids = ids
        self.field: Field | None = None
        self._of_id: dict[str, int] | None = None
        self._file_names = FileNames(())
        self._of_row: Tensor | None = None
        if isinstance(groups, Path) or (isinstance(groups, str) and is_csv_path(groups)):
            groups = self._from_file(groups)
        if isinstance(groups, Mapping):
            numbers = self.numbers(list(groups.values()))
            self._of_id = dict(zip(map(str, groups), numbers.tolist(), strict=True))
            self._file_names = FileNames(tuple(self._of_id))
            if ids is None:
                given, fix = f"{len(groups)} groups by id", "Name the field of the batch with the ids: ids='file_name'."
                raise InputError(self._where, "groups go by id, and no ids were named", given, fix)
        elif isinstance(groups, str | int) or callable(groups):
            self.field = groups
        else:
            self._of_row = self.numbers(groups)

    def read(self, batch: Any, images: int, rows: DatasetRows, batch_idx: int) -> Tensor:
        """Groups of one batch; (n), int64: whole numbers as they are, words as numbers that are the same on every rank.

        Args:
            batch: the batch as the step got it.
            images: number of images n in it, a sampler's padding included.
            rows: dataset rows of the loader's batches, for groups by row.
            batch_idx: which batch it is.
        """
        if self.field is not None:
            found = self.numbers(read_field(batch, self.field, self._where))
        elif self._of_id is not None:
            found = self._by_id(batch)
        else:
            found = self._by_row(images, rows, batch_idx)
        if len(found) != images:
            given = f"{len(found)} groups for {images} images"
            raise InputError(self._where, "there is not one group for each image", given, "Give one for each image.")
        return found

    @property
    def by_row(self) -> bool:
        """Whether groups go by the rows of one dataset, so that a batch alone does not tell them."""
        return self._of_row is not None

    def of_batch(self, batch: Any) -> Tensor:
        """Groups of a batch that tells them itself, such as one of training; (n), int64.

        Args:
            batch: the batch as the step got it.

        Raises:
            UnknownNameError: the batch has no such field.
            InputError: images have no group.
        """
        if self.field is not None:
            return self.numbers(read_field(batch, self.field, self._where))
        return self._by_id(batch)

    def name(self, group: int) -> str:
        """What a group is called."""
        return self._names.get(group, str(group))

    def numbers(self, values: Any) -> Tensor:
        """Whole numbers for whole numbers or words; (n), int64.

        Args:
            values: one for each image: a tensor, an array, a list or a column of a table.

        Raises:
            InputError: values are missing, no whole numbers and no words, or not one for each image.
        """
        if isinstance(values, Tensor):
            if values.ndim == 2 and values.shape[1] == 1:
                values = values[:, 0]
            whole = not values.is_floating_point() or bool(
                (values == values.round()).all()
            )  # of fractions alone a device is asked
            if values.ndim != 1 or values.is_complex() or not whole:
                given = f"a tensor {tuple(values.shape)} of {str(values.dtype).removeprefix('torch.')}"
                raise InputError(self._where, "groups are not one word or whole number for each image", given, _FIX)
            numbers: Tensor = values.long()
            return numbers
        if isinstance(values, str):
            raise InputError(self._where, "groups are not one for each image", repr(values), _FIX)
        words = [value.item() if hasattr(value, "item") else value for value in values]
        return torch.tensor([self._number(word) for word in words], dtype=torch.int64)

    def _number(self, word: Any) -> int:
        if isinstance(word, bool | int) or (isinstance(word, float) and word.is_integer()):
            number = int(word)
        elif isinstance(word, str) and word.strip():
            number = int.from_bytes(blake2b(word.encode(), digest_size=8).digest(), "big", signed=True)
        else:
            raise InputError(self._where, "an image has no group", repr(word), _FIX)
        if len(self._names) < MOST_NAMES:
            self._names[number] = str(word)
        return number

    def _by_id(self, batch: Any) -> Tensor:
        assert self.ids is not None
        assert self._of_id is not None
        keys = read_field(batch, self.ids, self._where_ids)
        keys = [str(key) for key in (keys.tolist() if isinstance(keys, Tensor) else keys)]
        self._find_other_spellings(self._of_id, keys)
        if missing := [key for key in keys if key not in self._of_id]:
            given = f"{len(missing)} of {len(keys)} images, such as {missing[0]!r}"
            fix = f"Give every image a group; the groups are of ids such as {next(iter(self._of_id))!r}."
            raise InputError(self._where, "images have no group", given, fix)
        return torch.tensor([self._of_id[key] for key in keys], dtype=torch.int64)

    def _find_other_spellings(self, of_id: dict[str, int], keys: Sequence[str]) -> None:
        """Take in ids of a batch that end as one that is known does."""
        if absent := list(dict.fromkeys(key for key in keys if key not in of_id)):
            names = self._file_names.names
            for key, row in zip(absent, self._file_names.find(absent, self._where_ids), strict=True):
                if row >= 0:
                    of_id[key] = of_id[names[row]]

    def _by_row(self, images: int, rows: DatasetRows, batch_idx: int) -> Tensor:
        assert self._of_row is not None
        if not rows.known:
            given = "a loader that does not go through its dataset in order (shuffled, or with a sampler of its own)"
            fix = "Name the batch's field that holds them, groups='patient', or give them by id with ids='file_name'."
            raise InputError(self._where, "groups by row cannot be joined to the batch", given, fix)
        if len(self._of_row) != rows.size:
            given = f"{len(self._of_row)} groups, a dataset of {rows.size} images"
            raise InputError(self._where, "groups and evaluation dataset differ in length", given, _FIX)
        return self._of_row[rows.of(batch_idx).rows[:images]]

    def _from_file(self, path: str | Path) -> Sequence[Any] | Mapping[Any, Any]:
        frame = read_csv(self._where, path)
        if len(frame.columns) == 1:
            return list(frame.iloc[:, 0])
        if len(frame.columns) == 2:
            return dict(zip(frame.iloc[:, 0].astype(str), frame.iloc[:, 1], strict=True))
        given = f"{path} with columns {', '.join(map(str, frame.columns))}"
        fix = "Leave one column, the group of each row of the dataset, or two: id and group."
        raise InputError(self._where, "it is not known which column holds the groups", given, fix)


_FIX = "Give a word or a whole number for each image, such as its patient, slide or scanner."


def add_up_groups(parts: Sequence[Mapping[int, tuple[int, str]]]) -> dict[int, tuple[int, str]]:
    """How many images are of each group over all processes, and its name; the largest first, of equals by name.

    Args:
        parts: the same of each process.

    Example:
        >>> add_up_groups([{7: (5, "Ann"), 3: (9, "Bob")}, {7: (6, "Ann")}])
        {7: (11, 'Ann'), 3: (9, 'Bob')}
    """
    total: dict[int, tuple[int, str]] = {}
    for part in parts:
        for group, (count, name) in part.items():
            total[group] = (total.get(group, (0, name))[0] + count, name)
    return dict(sorted(total.items(), key=lambda item: (-item[1][0], item[1][1])))
