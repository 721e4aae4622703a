"""ImageNet-X (Idrissi et al. 2022, arXiv:2211.01866): its annotations, read where the imagenet-x package keeps them."""

import csv
import json
import re
from collections.abc import Collection, Sequence
from importlib.util import find_spec
from itertools import chain
from operator import itemgetter
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple

import torch
from einops import rearrange
from torch import Tensor

from lightning_failures.data.factor_table import FactorTable
from lightning_failures.data.plain_text import PlainColumn, line_ends, plain_column, windows
from lightning_failures.errors import InputError, MissingPackageError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

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

#: How the package writes an image: its file name, its class, its factors, then whatever else.
_IMAGE = re.compile(
    rb'(?P<before>\{"file_name":")(?P<name>[^"\\]+)(?P<between>","class":)(?P<label>\d{1,3})'
    rb'(?P<factors>(?:,"\w+":[01]){%d})[,}]' % len(FACTORS)
)
_DELETE = 127  # behind the last byte of ASCII that is printed
_MOST_DIGITS = 3  # of a class
_AT_ONCE = 4096  # lines that are compared at once, so that they stay near the processor

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
    content = _read_bytes(where, f"imagenet_x_{partition}_{which}_factor.jsonl", path)
    typical = [] if prototypes else _read_column(where, "prototypical_paths.csv", path, "file_name")
    try:
        ids, classes, values = _parse_alike(content, typical) or _parse(content.decode("utf-8"), {*typical})
    except (ValueError, KeyError, TypeError) as error:
        given = f"{type(error).__name__}: {error}"
        fix = "Reinstall imagenet-x 0.0.7 or newer, or correct path."
        raise InputError(where, "the annotations cannot be read", given, fix) from error
    return ImageNetX(FactorTable(FACTORS, values, tuple(ids)), classes)


def load_metaclasses(path: str | PathLike[str] | None = None) -> Tensor:
    """Position in :data:`METACLASSES` of each ImageNet class; (1000), int64.

    Args:
        path: as for :func:`load_imagenet_x`.
    """
    groups = {name: position for position, name in enumerate(METACLASSES)}
    rows = _read_column("load_metaclasses", "imagenet_1k_classes_to_100_metaclasses.csv", path, "name")
    return torch.tensor([groups.get(name, groups["other"]) for name in rows])


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


def _parse_alike(content: bytes, typical: Sequence[str]) -> tuple[list[str], Tensor, Tensor] | None:
    """The same as :func:`_parse` of lines that are written alike, many times faster; None of any others.

    Alike are the lines of the package's own files: all have file names of one length, and the factors in one order. So
    but for the file name, the digits of the class and the last bit of each factor they begin with the same bytes, and
    numpy finds each of these where it stands.
    """
    import numpy as np

    like = _IMAGE.match(content)
    if like is None or {*re.findall(rb'"(\w+)"', like["factors"])} != {name.encode() for name in FACTORS}:
        return None
    ends = line_ends(content)
    starts = np.concatenate([[0], ends[:-1] + 1])
    if (np.frombuffer(content, dtype=np.uint8)[ends - 1] != ord("}")).any():
        return None
    pieces = []
    for first in range(0, len(starts), _AT_ONCE):
        piece = _parse_lines(content, starts[first : first + _AT_ONCE], like)
        if piece is None:
            return None
        pieces.append(piece)
    names, classes, values = (np.concatenate(parts) for parts in zip(*pieces, strict=True))
    lengths = np.full(len(names), names.shape[1])
    if typical:
        left_out = plain_column(typical)
        rows = None if left_out is None else left_out.find(PlainColumn(names, lengths))
        if rows is None:
            return None
        kept = rows < 0
        names, lengths, classes, values = (part[kept] for part in (names, lengths, classes, values))
    return PlainColumn(names, lengths).words(), torch.from_numpy(classes), torch.from_numpy(values)


def _parse_lines(
    content: bytes, starts: "NDArray[np.int64]", like: re.Match[bytes]
) -> "tuple[NDArray[np.uint8], NDArray[np.int64], NDArray[np.bool_]] | None":
    """Names, classes and factors of some lines; None where one is not like the first."""
    import numpy as np

    opened, named, label = like.end("before"), like.end("name"), like.end("between")
    heads = windows(content, starts, label + _MOST_DIGITS + 1)
    lengths = (heads[:, label:] - np.uint8(ord("0")) <= 9).argmin(1)  # 0 without a digit, and with more of them
    factors = windows(content, starts + label + lengths, len(like["factors"]) + 1)
    places = [like["factors"].index(f'"{name}":'.encode()) + len(name) + 3 for name in FACTORS]
    names = heads[:, opened:named]
    if (
        not _alike(heads[:, :label], like[0][:label], [(slice(opened, named), 0)])
        or not _alike(factors[:, :-1], like["factors"], [(places, 0xFE)])
        or not ((factors[:, -1] == ord(",")) | (factors[:, -1] == ord("}"))).all()
        or not (names >= ord(" ")).all()
        or not (names < _DELETE).all()
        or ((names == ord('"')) | (names == ord("\\"))).any()  # what ends a name, or escapes a letter
        or not lengths.all()
        or ((heads[:, label] == ord("0")) & (lengths > 1)).any()  # no number of JSON
    ):
        return None
    classes = PlainColumn(heads[:, label:-1], lengths).whole_numbers()
    return None if classes is None else (names, classes, (factors[:, places] & np.uint8(1)).view(bool))


def _alike(rows: "NDArray[np.uint8]", line: bytes, masks: Sequence[tuple[slice | list[int], int]]) -> bool:
    """Whether every row is the line, as far as the bits of the masks go; (n w)."""
    import numpy as np

    kept = np.full(len(line), 0xFF, dtype=np.uint8)
    for place, mask in masks:
        kept[place] = mask
    expected = np.frombuffer(line, dtype=np.uint8) & kept
    # every row has the bits that all have, and no bit that none has
    ends = np.bitwise_and.reduce(rows, axis=0), np.bitwise_or.reduce(rows, axis=0)
    return all(bool((end & kept == expected).all()) for end in ends)


def _parse(text: str, typical: Collection[str]) -> tuple[list[str], Tensor, Tensor]:
    """Ids, classes and factors of the annotations, one image per line, without those of some names."""
    images = json.loads(f"[{','.join(filter(None, text.splitlines()))}]")
    images = [image for image in images if image["file_name"] not in typical]
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
    return _read_bytes(where, name, path).decode("utf-8")


def _read_bytes(where: str, name: str, path: str | PathLike[str] | None) -> bytes:
    folder = Path(path) if path is not None else _installed(where)
    try:
        return (folder / name).read_bytes()
    except OSError as error:
        fix = f"Pass a folder that holds {name}."
        raise InputError(where, "an annotation file cannot be read", f"{folder / name}", fix) from error


def _read_column(where: str, name: str, path: str | PathLike[str] | None, column: str) -> list[str]:
    header, *rows = csv.reader(_read(where, name, path).splitlines())
    place = header.index(column)
    return [row[place] for row in rows if row]


def _installed(where: str) -> Path:
    """The installed package's folder; the package itself is not imported, since its import asks for much more."""
    spec = find_spec("imagenet_x")
    if spec is None or not spec.submodule_search_locations:
        fix = "Run pip install imagenet-x, or pass path."
        raise MissingPackageError(where, "imagenet-x is not installed", "no path", fix)
    return Path(next(iter(spec.submodule_search_locations))) / "annotations"
