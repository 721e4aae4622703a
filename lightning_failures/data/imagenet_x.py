"""ImageNet-X (Idrissi et al. 2022, arXiv:2211.01866): its annotations, read where the imagenet-x package keeps them."""

import csv
import json
from collections.abc import Sequence
from importlib.util import find_spec
from itertools import chain
from operator import itemgetter
from os import PathLike
from pathlib import Path
from typing import Any, Literal, NamedTuple

import torch
from einops import rearrange
from torch import Tensor

from lightning_failures.data.factor_table import FactorTable
from lightning_failures.errors import InputError, MissingPackageError

__all__ = [
    "FACTORS",
    "METACLASSES",
    "ImageNetX",
    "Partition",
    "Which",
    "load_imagenet_x",
    "load_metaclasses",
    "load_real_labels",
    "read_imagenet_x",
]

#: In the order of the published tables.
FACTORS = (
    *("pose", "background", "pattern", "color", "smaller", "shape", "partial_view", "subcategory", "texture"),
    *("larger", "darker", "object_blocking", "person_blocking", "style", "brighter", "multiple_objects"),
)

#: Groups of classes; all that are in none of the first sixteen are "other".
METACLASSES = (
    *("device", "dog", "commodity", "bird", "structure", "covering", "wheeled_vehicle", "food", "equipment"),
    *("insect", "vehicle", "furniture", "primate", "vessel", "snake", "natural_object", "other"),
)

Which = Literal["top", "multi"]
Partition = Literal["val", "train"]


class ImageNetX(NamedTuple):
    """Annotations of one partition."""

    table: FactorTable
    classes: Tensor  # (n) int64, true class of each row of the table


def load_imagenet_x(
    which: Which = "top",
    partition: Partition = "val",
    prototypes: bool = False,
    path: str | PathLike[str] | None = None,
) -> FactorTable:
    """Factors of the images of ImageNet-X, keyed by file name.

    Args:
        which: ``"top"``: at most one factor per image; ``"multi"``: all that were seen.
        partition: images of ImageNet's validation set, or of its training set.
        prototypes: whether to keep the typical images of each class, which the published tables leave out.
        path: a folder with the files of the package's ``annotations``; None: the installed package's own.

    Raises:
        InputError: which or partition is none of these, or a file is not there or not readable.
        MissingPackageError: no path is given and imagenet-x is not installed.
    """
    return read_imagenet_x(which, partition, prototypes, path).table


def read_imagenet_x(
    which: Which = "top",
    partition: Partition = "val",
    prototypes: bool = False,
    path: str | PathLike[str] | None = None,
) -> ImageNetX:
    """As :func:`load_imagenet_x`, with the true classes."""
    where = "load_imagenet_x"
    for name, value, known in (("which", which, ("top", "multi")), ("partition", partition, ("val", "train"))):
        if value not in known:
            raise InputError(where, f"{name} is not known", repr(value), f"Pass {' or '.join(map(repr, known))}.")
    text = _read(where, f"imagenet_x_{partition}_{which}_factor.jsonl", path)
    try:
        ids, classes, values = _parse(text)
    except (ValueError, KeyError, TypeError) as error:
        given = f"{type(error).__name__}: {error}"
        fix = "Reinstall imagenet-x 0.0.7 or newer, or correct path."
        raise InputError(where, "the annotations cannot be read", given, fix) from error
    if not prototypes:
        typical = {row["file_name"] for row in _read_csv(where, "prototypical_paths.csv", path)}
        kept = torch.tensor([name not in typical for name in ids])
        ids = [name for name in ids if name not in typical]
        classes, values = classes[kept], values[kept]
    return ImageNetX(FactorTable(FACTORS, values, tuple(ids)), classes)


def load_metaclasses(path: str | PathLike[str] | None = None) -> Tensor:
    """Position in :data:`METACLASSES` of each ImageNet class; (1000), int64.

    Args:
        path: as for :func:`load_imagenet_x`.
    """
    groups = {name: position for position, name in enumerate(METACLASSES)}
    rows = _read_csv("load_metaclasses", "imagenet_1k_classes_to_100_metaclasses.csv", path)
    return torch.tensor([groups.get(row["name"], groups["other"]) for row in rows])


def load_real_labels(ids: Sequence[str], path: str | PathLike[str] | None = None) -> Tensor:
    """Every label that is right for each image, "are we done with ImageNet" (Beyer et al. 2020, arXiv:2006.07159).

    Args:
        ids: file names of ImageNet's validation set, such as ``"ILSVRC2012_val_00004487.JPEG"``; n of them.
        path: as for :func:`load_imagenet_x`.

    Returns:
        The right labels of each image, filled up with -1; all -1 where the raters found none; (n k), int64.

    Raises:
        InputError: a file name that is none of the validation set.
    """
    where = "load_real_labels"
    labels: list[list[int]] = json.loads(_read(where, "imagenet_real_labels.jsonl", path))
    positions = [_validation_number(name) - 1 for name in ids]
    if strange := [name for name, row in zip(ids, positions, strict=True) if not 0 <= row < len(labels)]:
        fix = "Real labels are known for the validation set only."
        raise InputError(where, "images have no real labels", f"{len(strange)}, such as {strange[0]}", fix)
    chosen = [labels[row] for row in positions]
    most = max(map(len, chosen), default=0)
    return torch.tensor([row + [-1] * (most - len(row)) for row in chosen], dtype=torch.int64).reshape(-1, most)


def _parse(text: str) -> tuple[list[str], Tensor, Tensor]:
    """Ids, classes and factors of the annotations, one image per line."""
    images = json.loads(f"[{','.join(filter(None, text.splitlines()))}]")
    flags = bytearray(chain.from_iterable(map(itemgetter(*FACTORS), images)))  # 0 and 1 already
    return (
        [image["file_name"] for image in images],
        torch.tensor([image["class"] for image in images], dtype=torch.int64),
        rearrange(torch.frombuffer(flags, dtype=torch.uint8), "(n f) -> n f", f=len(FACTORS)),
    )


def _validation_number(name: str) -> int:
    stem = name.removeprefix("ILSVRC2012_val_").partition(".")[0]
    return int(stem) if stem.isdecimal() else 0


def _read(where: str, name: str, path: str | PathLike[str] | None) -> str:
    folder = Path(path) if path is not None else _installed(where)
    try:
        return (folder / name).read_text(encoding="utf-8")
    except OSError as error:
        fix = f"Pass a folder that holds {name}."
        raise InputError(where, "an annotation file cannot be read", f"{folder / name}", fix) from error


def _read_csv(where: str, name: str, path: str | PathLike[str] | None) -> list[dict[str, Any]]:
    return list(csv.DictReader(_read(where, name, path).splitlines()))


def _installed(where: str) -> Path:
    """The installed package's folder; the package itself is not imported, since its import asks for much more."""
    spec = find_spec("imagenet_x")
    if spec is None or not spec.submodule_search_locations:
        fix = "Run pip install imagenet-x, or pass path."
        raise MissingPackageError(where, "imagenet-x is not installed", "no path", fix)
    return Path(next(iter(spec.submodule_search_locations))) / "annotations"
