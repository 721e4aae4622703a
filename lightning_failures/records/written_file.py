"""A file that is written where a user asked for it, and what is said where that cannot be."""

from pathlib import Path

from lightning_failures.errors import InputError

__all__ = ["write_file"]


def write_file(where: str, path: str | Path, content: str | bytes) -> Path:
    """Write a file, text as UTF-8; its folder is made if need be.

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
        path.write_bytes(content.encode() if isinstance(content, str) else content)
    except OSError as error:
        raise InputError(where, "a file cannot be written", f"{path}: {error.strerror}", "Name another.") from error
    return path
