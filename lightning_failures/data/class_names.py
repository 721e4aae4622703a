"""Classes in files: whole numbers or names, and how those of predictions go with those of annotations."""

import re
from collections.abc import Sequence
from os import PathLike
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor

from lightning_failures.data.csv_file import whole_numbers
from lightning_failures.errors import InputError, few

if TYPE_CHECKING:
    from pandas import Series

__all__ = ["Classes", "are_names", "check_class_names", "class_names_of", "number_alike", "read_classes"]


class Classes(NamedTuple):
    """The class of each image."""

    numbers: Tensor  # (n) int64
    names: tuple[str, ...] | None  # of the numbers from 0; None: the file holds numbers


def are_names(column: "Series[Any]") -> bool:
    """Whether a column holds names of classes: at least half of its different cells are no numbers.

    Example:
        >>> import pandas
        >>> are_names(pandas.Series(["0", "A", "B"])), are_names(pandas.Series(["0", "1", "2"]))
        (True, False)
    """
    import pandas as pd

    cells = pd.Series(column.dropna().unique())
    return len(cells) > 0 and int(pd.to_numeric(cells, errors="coerce").isna().sum()) * 2 >= len(cells)


def read_classes(where: str, path: str | PathLike[str], column: "Series[Any]") -> Classes:
    """True classes; names are numbered in the order of the alphabet, as torchvision's ``ImageFolder`` does.

    Args:
        where: the public name to put into an error.
        path: the file.
        column: numbers, or names.

    Raises:
        InputError: cells are empty, or classes are no whole numbers or below 0.
    """
    _refuse_empty(where, path, column)
    if not are_names(column):
        return Classes(whole_numbers(where, path, column), None)
    words = column.astype(str).tolist()
    names = tuple(sorted(set(words)))
    position = {name: number for number, name in enumerate(names)}
    return Classes(torch.tensor([position[word] for word in words]), names)


def number_alike(
    where: str, path: str | PathLike[str], column: "Series[Any]", true: Classes, num_classes: int | None = None
) -> tuple[Classes, str]:
    """Predicted classes under the numbers of the true ones.

    Names are looked up; a name that no annotated image bears gets a number of its own. Where one file holds numbers
    and the other names, a number is taken for the place of a name in the alphabet, which is said.

    Args:
        where: the public name to put into an error.
        path: the file of predictions.
        column: numbers, or names.
        true: the true classes.
        num_classes: number of classes, to check numbers; None: any number.

    Returns:
        The predicted classes, and what was assumed of them, in words; empty where nothing was.

    Raises:
        InputError: cells are empty, or classes are no whole numbers, out of range, or of names that do not go together.
    """
    _refuse_empty(where, path, column)
    if not are_names(column):
        numbers = whole_numbers(where, path, column, num_classes)
        said = "" if true.names is None else _in_alphabet(where, path, column, numbers, true.names)
        return Classes(numbers, true.names), said
    words = column.astype(str).tolist()
    if true.names is not None:
        return _looked_up(where, path, words, true.names), ""
    names = sorted(set(words))
    labels = torch.arange(num_classes) if num_classes is not None else true.numbers.unique()
    if len(names) != len(labels):
        given = f"{path}: {len(names)} names such as {names[0]!r}; {len(labels)} numbers such as {int(labels[0])}"
        fix = "Write the same numbers into both files, or the same names."
        raise InputError(where, "predicted classes are names, true ones numbers", given, fix)
    position = {name: number for number, name in enumerate(names)}
    said = f"predicted names in the order of the alphabet taken for the true numbers: {names[0]} is {int(labels[0])}"
    return Classes(labels[torch.tensor([position[word] for word in words])], None), said


def _in_alphabet(
    where: str, path: str | PathLike[str], column: "Series[Any]", numbers: Tensor, names: Sequence[str]
) -> str:
    """That numbers are places of names in the alphabet, where they may be."""
    if bool((stray := numbers >= len(names)).any()):
        counted = int(numbers.max()) == len(names) and int(numbers.min()) > 0
        wrong = "predicted classes are counted from 1" if counted else "predicted classes are numbers, true ones names"
        given = (
            f"{path}: {int(stray.sum())} values of {column.name} such as {int(numbers[stray][0])}; {len(names)} names"
        )
        fix = "Write the same names into both files, or the same numbers."
        if counted:
            fix = f"Count them from 0 in the order of the alphabet, {names[0]} being 0, or write names."
        raise InputError(where, wrong, f"{given}: {few(names)}", fix)
    said = f"predicted numbers taken for places of the class names in the alphabet: 0 is {names[0]}"
    return said if len(names) < 2 else f"{said}, 1 is {names[1]}"


def _looked_up(where: str, path: str | PathLike[str], words: Sequence[str], names: Sequence[str]) -> Classes:
    """Names as they are spelt or else without case, spaces and underscores."""
    position = {name: number for number, name in enumerate(names)}
    plain: dict[str, int | None] = {}
    for name, number in position.items():
        plain[_plain(name)] = None if _plain(name) in plain else number
    known = {word: position.get(word, plain.get(_plain(word))) for word in dict.fromkeys(words)}
    if all(number is None for number in known.values()):
        given = f"{path} with {few(map(repr, known))}; the annotations have {few(map(repr, names))}"
        fix = "Write the same names into both files, or the same numbers."
        raise InputError(where, "no predicted class is one of the annotations", given, fix)
    others = [word for word, number in known.items() if number is None]
    numbers = known | {word: len(names) + place for place, word in enumerate(others)}
    return Classes(torch.tensor([numbers[word] for word in words]), (*names, *others))


def _plain(name: str) -> str:
    return re.sub(r"[\s_-]+", "", name.casefold())


def _refuse_empty(where: str, path: str | PathLike[str], column: "Series[Any]") -> None:
    if empty := int(column.isna().sum()):
        given = f"{path}: {empty} empty cells in {column.name}"
        raise InputError(where, "images have no class", given, "Fill the class in, or leave these rows out.")


def check_class_names(where: str, names: Sequence[str] | None) -> tuple[str, ...] | None:
    """Names of classes that somebody gave; None: nobody did.

    Args:
        where: the public name to put into an error.
        names: one for each class, in their order.

    Raises:
        InputError: they are no names.
    """
    if names is None:
        return None
    if isinstance(names, str) or not names or not all(isinstance(name, str) for name in names):
        fix = 'Pass one name for each class, in their order: class_names=["cat", "dog"].'
        raise InputError(f"{where}(class_names=...)", "no names", repr(names), fix)
    return tuple(names)


def class_names_of(dataset: Any) -> tuple[str, ...] | None:
    """Names of the classes that a dataset knows, in the order of their numbers; None where it does not say them.

    Args:
        dataset: one with ``classes``, ``class_to_idx``, ``categories`` or ``features["label"].names``; or a subset or
            wrapper of one, which holds it as ``dataset``, or several on end, whose first one tells.

    Example:
        >>> from types import SimpleNamespace
        >>> class_names_of(SimpleNamespace(dataset=SimpleNamespace(class_to_idx={"dog": 1, "cat": 0})))
        ('cat', 'dog')
    """
    for _ in range(8):  # wrappers around wrappers
        for given in (getattr(dataset, "classes", None), getattr(dataset, "categories", None)):
            if isinstance(given, list | tuple) and given and all(isinstance(name, str) for name in given):
                return tuple(given)
        places = getattr(dataset, "class_to_idx", None)
        if isinstance(places, dict) and sorted(places.values()) == list(range(len(places))):
            return tuple(map(str, sorted(places, key=places.__getitem__)))
        features = getattr(dataset, "features", None)
        names = (
            getattr(features["label"], "names", None) if isinstance(features, dict) and "label" in features else None
        )
        if isinstance(names, list | tuple) and names:
            return tuple(map(str, names))
        inner = getattr(dataset, "dataset", None)
        several = getattr(dataset, "datasets", None)
        dataset = several[0] if inner is None and isinstance(several, list | tuple) and several else inner
        if dataset is None:
            return None
    return None
