"""Strict JSON: what a program in any language can read, which knows neither NaN nor infinity."""

import json
import math
from pathlib import Path
from typing import Any

from lightning_failures.records.written_file import write_file

__all__ = ["Plain", "strict", "to_text", "write_json"]

Plain = float | int | str | None


def strict(value: Plain) -> Plain:
    """A value that strict JSON can hold: nan becomes None, an infinity becomes ``"inf"`` or ``"-inf"``.

    Example:
        >>> strict(0.5), strict(float("nan")), strict(float("-inf"))
        (0.5, None, '-inf')
    """
    if not isinstance(value, float) or math.isfinite(value):
        return value
    return None if math.isnan(value) else str(float(value))


def to_text(data: Any, indent: int | None = None) -> str:
    r"""Containers of plain values as JSON, with every number as :func:`strict` has it and a line break at the end.

    Args:
        data: dicts, sequences and plain values; a key becomes a string.
        indent: spaces by which each level is set in; None: one line.

    Raises:
        TypeError: data that JSON cannot hold.

    Example:
        >>> to_text({"loss": float("nan"), "counts": (1, 2)})
        '{"loss": null, "counts": [1, 2]}\n'
    """
    return json.dumps(_strict(data), indent=indent, allow_nan=False) + "\n"


def write_json(where: str, path: str | Path, data: Any, indent: int = 2) -> Path:
    """Write a file of :func:`to_text`; its folder is made if need be.

    Args:
        where: the public name to put into an error.
        path: the file.
        data: as there.
        indent: as there.

    Raises:
        InputError: the file cannot be written.
    """
    return write_file(where, path, to_text(data, indent))


def _strict(data: Any) -> Any:
    if isinstance(data, dict):
        return {key: _strict(value) for key, value in data.items()}
    if isinstance(data, list | tuple):
        return [_strict(value) for value in data]
    return strict(data)
