"""Lightning checkpoints on the disk: which there are, of which epoch and step, and what of them can be read."""

import glob
import pickle
import re
import warnings
import zipfile
from collections.abc import Mapping, Sequence
from os import PathLike, fspath
from pathlib import Path
from typing import Any, NamedTuple

import torch

from lightning_failures.errors import InputError, few

__all__ = ["Found", "SavedCheckpoint", "find_checkpoints", "load_checkpoint"]

#: What a file is asked for; those of ``save_weights_only=True`` have these too.
NEEDED = ("epoch", "global_step", "state_dict")

_NO_CHECKPOINT = "it is no Lightning checkpoint: it has no {}"
_DAMAGED = "it is damaged, or no checkpoint"
_SHARDED = "it is a folder, as of weights that are spread over processes; merge it into one file first"


class SavedCheckpoint(NamedTuple):
    """One file, and where its training stood.

    Args:
        file: on the disk.
        epoch: Lightning's epoch, counted from 0.
        step: the global step.
    """

    file: Path
    epoch: int
    step: int


class Found(NamedTuple):
    """Checkpoints in the order of training, and files that are left out.

    Args:
        checkpoints: one for each global step.
        skipped: file -> why it cannot be read.
        repeated: file -> which one of the same step is taken in its place, as for ``last.ckpt``.
    """

    checkpoints: list[SavedCheckpoint]
    skipped: dict[Path, str]
    repeated: dict[Path, Path]


def find_checkpoints(
    where: str, paths: str | PathLike[str] | Sequence[str | PathLike[str]], *, trust: bool = False
) -> Found:
    """The checkpoints among files and in folders, in the order of training, read off the files and not off their names.

    Args:
        where: the public name to put into an error.
        paths: files, patterns such as ``"run/*.ckpt"``, or folders, of which all ``*.ckpt`` in them are taken; where a
            folder has none, those of the one folder below it that has some.
        trust: whether files may run code while they are read.

    Raises:
        InputError: a path that is not there, a pattern that matches nothing, a folder without a checkpoint or with
            several folders of them, a file that holds more than weights and is not trusted, or nothing that can be
            read.
    """
    given = [paths] if isinstance(paths, str | PathLike) else list(paths)
    found: list[SavedCheckpoint] = []
    skipped: dict[Path, str] = {}
    for file in dict.fromkeys(file for path in given for file in _files(where, Path(path))):
        try:
            content = load_checkpoint(where, file, trust=trust, lazily=True)
        except _UnreadableError as error:
            skipped[file] = str(error)
        else:
            found.append(SavedCheckpoint(file, int(content["epoch"]), int(content["global_step"])))
    found.sort(key=lambda each: (each.step, each.epoch, str(each.file)))
    kept: list[SavedCheckpoint] = []
    repeated: dict[Path, Path] = {}
    for each in found:
        if kept and kept[-1].step == each.step:
            repeated[each.file] = kept[-1].file
        else:
            kept.append(each)
    if not kept:
        said = few(f"{file.name}: {why}" for file, why in skipped.items()) or "no path"
        raise InputError(where, "there is no checkpoint to replay", said, "Name files or folders that Lightning wrote.")
    return Found(kept, skipped, repeated)


class _UnreadableError(Exception):
    """A file that is damaged, or no checkpoint."""


def load_checkpoint(where: str, file: Path, *, trust: bool = False, lazily: bool = False) -> dict[str, Any]:
    """What a checkpoint holds, on the CPU.

    Args:
        where: the public name to put into an error.
        file: of the checkpoint.
        trust: whether it may run code while it is read.
        lazily: leave the weights on the disk until they are looked at.

    Raises:
        InputError: it holds more than weights and is not trusted.
    """
    if file.is_dir():
        raise _UnreadableError(_SHARDED)
    packed = False
    try:
        packed = zipfile.is_zipfile(file)
        with warnings.catch_warnings(action="ignore"):  # of a pickle of something else
            content = torch.load(
                file, map_location="cpu", weights_only=not trust, mmap=True if lazily and packed else None
            )
    except OSError as error:
        raise _UnreadableError(f"it cannot be read: {error.strerror or error}") from error
    except (RuntimeError, EOFError, pickle.UnpicklingError, ValueError, KeyError, AttributeError) as error:
        if not trust and packed and isinstance(error, pickle.UnpicklingError):
            named = re.search(r"(?:GLOBAL|class) ([\w.]+)", str(error))
            given = f"{file.name} with {named[1] if named else 'objects of its own'}"
            fix = "Where you trust whoever wrote it, pass --trust, or trust=True; reading it may run code."
            raise InputError(where, "a checkpoint holds more than weights", given, fix) from error
        raise _UnreadableError(_DAMAGED) from error
    if not isinstance(content, Mapping):
        raise _UnreadableError(_NO_CHECKPOINT.format(NEEDED[-1]))
    lacking = next((name for name in NEEDED if name not in content), None)
    if lacking is not None:
        raise _UnreadableError(_NO_CHECKPOINT.format(lacking))
    return dict(content)


def _files(where: str, path: Path) -> list[Path]:
    if path.is_dir() and path.suffix != ".ckpt":
        return _in_folder(where, path)
    if path.exists():
        return [path]
    if glob.has_magic(fspath(path)):  # of a shell that leaves patterns to programs, or of a call from Python
        matched = [Path(name) for name in sorted(glob.glob(fspath(path), recursive=True))]
        if not matched:
            raise InputError(where, "no file matches the pattern", str(path), "Name checkpoints that are there.")
        return [file for each in matched for file in _files(where, each)]
    raise InputError(where, "there is no such file or folder", str(path), "Name checkpoints that are there.")


def _in_folder(where: str, folder: Path) -> list[Path]:
    """Checkpoints of a folder; where it has none, of the one folder below it that has, as in ``lightning_logs``."""
    files = sorted(folder.glob("*.ckpt"))
    if files:
        return files
    below = sorted({file.parent for file in folder.rglob("*.ckpt")})
    if not below:
        fix = "Name the folder that ModelCheckpoint wrote, or the files themselves."
        raise InputError(where, "the folder holds no checkpoint", f"{folder} without *.ckpt", fix)
    if len(below) > 1:
        given = few((str(each) for each in below), room=200)
        raise InputError(where, "the folder holds checkpoints of several runs", given, "Name the folder of one run.")
    return sorted(below[0].glob("*.ckpt"))
