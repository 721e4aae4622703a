"""The folder that a command is given with ``--out``."""

from pathlib import Path

from lightning_failures.errors import InputError

__all__ = ["make_out_folder"]


def make_out_folder(where: str, folder: Path) -> None:
    """Make the folder, before anything that takes time.

    Args:
        where: the command, for errors.
        folder: as it was given; it may be there already.

    Raises:
        InputError: it cannot be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        given = f"--out {folder}: {error.strerror}"
        raise InputError(where, "the folder cannot be made", given, "Name another.") from error
