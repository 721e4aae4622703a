"""Where a batch keeps its inputs, targets and other fields: by path, by callable, or found by name and shape."""

import dataclasses
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from lightning_failures.errors import InputError, UnknownNameError, few
from lightning_failures.observe.task import Task, is_one_hot

__all__ = ["INPUT_NAMES", "TARGET_NAMES", "Field", "discover_inputs", "discover_targets", "read_field", "tensors_of"]

#: A path such as ``"image"``, ``"0"`` or ``"meta.scanner"``, a position, or a callable that takes the batch.
Field = str | int | Callable[[Any], Any]

INPUT_NAMES = ("image", "images", "img", "input", "inputs", "x", "pixel_values", "data")
TARGET_NAMES = ("target", "targets", "label", "labels", "y", "class", "classes", "mask", "masks")


def read_field(source: Any, field: Field, where: str = "read_field") -> Any:
    """Read one field of a batch or of a step's output.

    Args:
        source: a tensor, sequence, mapping, dataclass or any object, nested as it pleases.
        field: a path whose parts are separated by dots (names, attributes or positions), a position, or a callable.
        where: the public name to put into an error.

    Raises:
        UnknownNameError: the path leads nowhere; the error lists what is there.

    Example:
        >>> read_field({"meta": {"scanner": 3}}, "meta.scanner")
        3
    """
    if callable(field):
        return field(source)
    for part in str(field).split(".") if field != "" else ():
        children = dict(_children(source))
        if part not in children:
            raise UnknownNameError(
                where,
                f"the field {str(field)!r} is not there",
                f"a {type(source).__name__} with {few(map(repr, children)) or 'no fields'}",
                "Name a path of fields or positions, such as 'image' or '0', or pass a callable that takes the batch.",
            )
        source = children[part]
    return source


def discover_inputs(batch: Any, called: Sequence[Tensor | None] = (), beside: Collection[str] = ()) -> str | None:
    """Path of the inputs: of the float or uint8 tensors of two or more axes the one that a submodule was called with.

    Where none was, one by a usual name comes before the first one found, and one that cannot hold a row for each row
    that the submodules took is left out, as of a list of single images.

    Args:
        batch: the batch.
        called: what submodules were called with in a step, in order; empty: not known.
        beside: paths of labels, which are the inputs only where a submodule was called with them.
    """
    leaves = [(path, leaf) for path, leaf in tensors_of(batch) if leaf.ndim >= 2 and _is_image_like(leaf)]
    given = [value for value in called if value is not None and value.ndim]
    addresses = {value.data_ptr() for value in given}
    taken = [(path, leaf) for path, leaf in leaves if leaf.data_ptr() in addresses and leaf.numel()]
    leaves = taken or [(path, leaf) for path, leaf in leaves if path not in beside]
    if given and not taken:
        rows = len(given[0])
        leaves = [(path, leaf) for path, leaf in leaves if len(leaf) and rows % len(leaf) == 0]
        leaves = [(path, leaf) for path, leaf in leaves if _alike(leaves, path, leaf) != rows or rows == 1]
    named = [path for path, _ in leaves if path.split(".")[-1].lower() in INPUT_NAMES]
    return next(iter([*named, *(path for path, leaf in leaves if leaf.ndim >= 3), *(path for path, _ in leaves)]), None)


def discover_targets(batch: Any, images: int, inputs: str | None, task: Task | None = None) -> str | None:
    """Path of the labels: a tensor of one label per image or per pixel, by a usual name before the first found.

    Labels are integers, or one class per column, or, of one score, also 0 and 1 in any type. Where the number of
    classes is known, none of them is larger; that looks at values.

    Args:
        batch: the batch.
        images: number of images n, the length that the labels must have.
        inputs: path of the inputs, which are not taken for labels.
        task: of the module; None: not known.
    """
    leaves = [
        path
        for path, leaf in tensors_of(batch)
        if path != inputs and leaf.ndim and len(leaf) == images and _could_be_labels(leaf, task)
    ]
    named = [path for path in leaves if path.split(".")[-1].lower() in TARGET_NAMES]
    return next(iter([*named, *leaves]), None)


def labels_of(targets: Any, where: str) -> Tensor:
    """Targets as int64 labels, of one per image or per pixel; an error says what else they are."""
    if isinstance(targets, Tensor) and _is_integer(targets):
        return targets.long()
    given = f"{tuple(targets.shape)} {targets.dtype}" if isinstance(targets, Tensor) else type(targets).__name__
    raise InputError(
        where, "targets are not integer class labels", given, "Name a field that holds them: targets='label'."
    )


def _could_be_labels(leaf: Tensor, task: Task | None) -> bool:
    if task is None or task.kind == "unknown":
        return leaf.ndim in (1, 3) and _is_integer(leaf)
    whole = 3 if task.pixels else 1
    column = leaf.ndim == whole + 1 and leaf.shape[1] == 1
    if task.one_score:
        return (leaf.ndim == whole or column) and bool(((leaf == 0) | (leaf == 1) | (leaf < 0) | (leaf == 255)).all())
    if leaf.ndim == whole + 1 and leaf.shape[1] == task.classes:
        return is_one_hot(leaf)
    if not (leaf.ndim == whole or column) or not _is_integer(leaf):
        return False
    return task.classes is None or bool(((leaf < task.classes) | (leaf == task.ignore_index) | (leaf == 255)).all())


def _alike(leaves: Sequence[tuple[str, Tensor]], path: str, leaf: Tensor) -> int:
    """How many tensors of one shape stand together with one of them."""
    parent = path.rpartition(".")[0]
    return sum(other.rpartition(".")[0] == parent and each.shape == leaf.shape for other, each in leaves)


def _children(source: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(source, Mapping):
        yield from ((str(key), value) for key, value in source.items())
    elif isinstance(source, tuple) and hasattr(source, "_fields"):
        yield from zip(source._fields, source, strict=True)
        yield from ((str(position), value) for position, value in enumerate(source))
    elif isinstance(source, Sequence) and not isinstance(source, str | bytes):
        yield from ((str(position), value) for position, value in enumerate(source))
    elif dataclasses.is_dataclass(source):
        yield from ((field.name, getattr(source, field.name)) for field in dataclasses.fields(source))
    elif not isinstance(source, Tensor) and hasattr(source, "__dict__"):
        yield from vars(source).items()


def tensors_of(source: Any, path: str = "", depth: int = 4) -> Iterator[tuple[str, Tensor]]:
    """Every tensor in a batch or an output, with its path.

    Example:
        >>> [path for path, _ in tensors_of({"image": torch.ones(2, 3), "meta": [torch.zeros(2)]})]
        ['image', 'meta.0']
    """
    if isinstance(source, Tensor):
        yield path, source
    elif depth:
        named = isinstance(source, tuple) and hasattr(source, "_asdict")  # lists its children by name and by position
        for name, child in source._asdict().items() if named else _children(source):
            yield from tensors_of(child, f"{path}.{name}" if path else name, depth - 1)


def _is_image_like(leaf: Tensor) -> bool:
    return leaf.is_floating_point() or leaf.dtype == torch.uint8


def _is_integer(leaf: Tensor) -> bool:
    return not leaf.is_floating_point() and not leaf.is_complex() and leaf.dtype != torch.bool
