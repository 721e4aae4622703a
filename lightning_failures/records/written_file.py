"""A file that is written where a user asked for it, and what is said where that cannot be."""

import contextlib
import os
from pathlib import Path

from lightning_failures.errors import InputError

__all__ = ["write_file"]


def write_file(where: str, path: str | Path, content: str | bytes) -> Path:
    """Write a file, text as UTF-8; its folder is made if need be.

    A run that is killed meanwhile leaves the file as it was before, and never a part of the new one.

    Args:
        where: the public name to put into an error.
        path: the file.
        content: all of it.

    Returns:
        Its path.

    Raises:
        InputError: the file cannot be written.
    """
    path = Path(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _write_whole(path, content.encode() if isinstance(content, str) else content)
    except OSError as error:
        raise InputError(where, "a file cannot be written", f"{path}: {error.strerror}", "Name another.") from error
    return path


def _write_whole(path: Path, content: bytes) -> None:
    """Write beside the file, and put that in its place; what is no plain file, as a terminal, is written itself."""
    place = path.resolve()  # a link stays a link
    if place.exists() and not place.is_file():
        place.write_bytes(content)
        return
    beside = place.with_name(f".{place.name}.{os.getpid()}")
    try:
        beside.write_bytes(content)
        beside.replace(place)
    except BaseException:
        with contextlib.suppress(OSError):
            beside.unlink()
        raise
