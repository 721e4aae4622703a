"""Any data set with the row of its factors added to each image."""

from collections.abc import Mapping, Sequence
from os import PathLike
from pathlib import PurePath
from typing import Any, Literal

import torch
from torch import Tensor
from torch.utils.data import ConcatDataset, Dataset, Subset

from lightning_failures.data.factor_table import FactorTable, missing_rows, shorten
from lightning_failures.data.file_names import FileNames, match_file_names
from lightning_failures.errors import InputError

__all__ = ["FactorDataset", "file_name_of", "file_names", "find_rows"]


class FactorDataset(Dataset[Any]):
    """A data set whose items also hold the factors of their image; (f), bool.

    A tuple or list gets them appended, a mapping gets the key ``"factors"``. A table with ids is joined by file name
    (``samples``, as torchvision's ``ImageFolder`` has them, or another list that :func:`file_names` knows), a table
    without by position.

    Args:
        dataset: any data set with a length; a ``Subset`` of one too.
        table: its factors.
        missing: what to do about images without a row: ``"error"``, or ``"drop"`` to leave them out.

    Raises:
        InputError: images have no row, or two images would share one.

    Example:
        >>> import torch
        >>> data = torch.utils.data.TensorDataset(torch.zeros(2, 3), torch.tensor([5, 6]))
        >>> image, target, factors = FactorDataset(data, FactorTable(("dark",), torch.tensor([[1], [0]])))[0]
        >>> factors
        tensor([True])
    """

    def __init__(self, dataset: Any, table: FactorTable, missing: Literal["error", "drop"] = "error") -> None:
        rows = find_rows(dataset, table)
        kept = rows >= 0
        if missing == "error" and not bool(kept.all()):
            raise missing_rows("FactorDataset", _keys(dataset, table), rows, table)
        self.dataset = dataset
        self.names = table.names
        self.indices = kept.nonzero().squeeze(1).tolist()  # images of `dataset` that are kept
        self.factors = table.values[rows[kept]]  # (n f) bool, of the images that are kept

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, index: int) -> Any:
        item, row = self.dataset[self.indices[index]], self.factors[index]
        if isinstance(item, Mapping) and "factors" not in item:
            return {**item, "factors": row}
        if isinstance(item, tuple | list):
            return type(item)((*item, row)) if type(item) in (tuple, list) else (*item, row)
        given = f"{type(item).__name__}{' with a key factors' if isinstance(item, Mapping) else ''}"
        raise InputError("FactorDataset", "factors cannot be added to an item", given, "Return a tuple or a mapping.")


def find_rows(dataset: Any, table: FactorTable) -> Tensor:
    """Row of each image of a data set in a table, -1 where there is none.

    Args:
        dataset: any data set with a length.
        table: with ids, these are file names, paths below the data set's ``root``, or whole paths; where one is spelt
            otherwise, with another ending or in another folder, it is found as long as no other image may be meant.

    Returns:
        Rows of the table; (n), int64.

    Raises:
        InputError: two images have the same row, since their file names are equal.
    """
    found, names = table.find(_keys(dataset, table), spelt_alike=True), file_names(dataset)
    if table.ids is not None and names is not None:
        matched = match_file_names(FileNames(table.ids), found.tolist(), names, "FactorDataset")
        found = torch.tensor(matched, dtype=torch.int64)
    uses = found[found >= 0].bincount()
    if bool((uses > 1).any()):
        shared = (uses > 1).nonzero().squeeze(1).tolist()
        twice = [str(row) if table.ids is None else table.ids[row] for row in shared]
        fix = "Key the table by the paths below the data set's root."
        raise InputError("FactorDataset", "images share a row", f"{len(twice)} rows: {shorten(twice)}", fix)
    return found


def _keys(dataset: Any, table: FactorTable) -> list[Any]:
    """What the table may call the images of a data set: of three ways, the one under which it knows most of them."""
    paths = _paths(dataset)
    if table.ids is None or paths is None:
        return list(range(len(dataset)))
    root = _root(dataset)
    ways = [
        [path.name for path in paths],
        [path.relative_to(root).as_posix() if root and path.is_relative_to(root) else str(path) for path in paths],
        [str(path) for path in paths],
    ]
    return max(ways, key=lambda way: int((table.find(way, spelt_alike=True) >= 0).sum()))


def file_names(dataset: Any) -> list[str] | None:
    """The file of each image of a data set; None where it does not say them.

    Args:
        dataset: any data set with a length: one with pairs that begin with a path in ``samples`` or ``imgs``, or with
            paths in ``files``, ``paths``, ``file_names``, ``image_paths`` or ``image_files``; also a subset of one, or
            several on end.
    """
    paths = _paths(dataset)
    return None if paths is None else [path.as_posix() for path in paths]


def file_name_of(dataset: Any, row: int) -> str | None:
    """The file of one image of a data set, as :func:`file_names` has it; None where it does not say it."""
    while isinstance(dataset, Subset | FactorDataset):
        dataset, row = dataset.dataset, dataset.indices[row]
    names = file_names(dataset)
    return None if names is None else names[row]


def _paths(dataset: Any) -> list[PurePath] | None:
    if isinstance(dataset, Subset | FactorDataset):
        paths = _paths(dataset.dataset)
        return paths and [paths[index] for index in dataset.indices]
    if isinstance(dataset, ConcatDataset):
        parts = [_paths(part) for part in dataset.datasets]
        return None if None in parts else [path for part in parts for path in part or ()]
    for name in ("samples", "imgs"):
        samples = getattr(dataset, name, None)
        if isinstance(samples, list | tuple) and all(isinstance(sample, tuple) and sample for sample in samples):
            return _as_paths([sample[0] for sample in samples], len(dataset))
    lists = (getattr(dataset, name, None) for name in ("files", "paths", "file_names", "image_paths", "image_files"))
    found = (_as_paths(files, len(dataset)) for files in lists if isinstance(files, list | tuple))
    return next((paths for paths in found if paths is not None), None)


def _as_paths(files: Sequence[Any], length: int) -> list[PurePath] | None:
    """Paths, where all are some, and as many as there are images."""
    if not files or len(files) != length or not all(isinstance(file, str | PathLike) for file in files):
        return None
    return [PurePath(file) for file in files]


def _root(dataset: Any) -> PurePath | None:
    if isinstance(dataset, Subset | FactorDataset):
        return _root(dataset.dataset)
    root = getattr(dataset, "root", None)
    return None if root is None else PurePath(root)
