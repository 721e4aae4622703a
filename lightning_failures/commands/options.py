"""Options of a command, read off its signature and its docstring, so that they are written once."""

import inspect
import re
import shutil
import textwrap
from argparse import ArgumentParser, RawDescriptionHelpFormatter
from collections.abc import Callable, Sequence
from pathlib import Path
from types import NoneType
from typing import Any, Literal, get_args, get_origin, get_type_hints

from lightning_failures.errors import InputError

__all__ = ["add_options", "call", "example_text", "flags", "read_docstring", "read_example", "read_wavelengths"]

_METAVARS = {Path: "PATH", str: "NAME", int: "N", float: "X"}


def add_options(parser: ArgumentParser, function: Callable[..., Any]) -> None:
    """Give a parser one argument per parameter, and the function's own words as help.

    A parameter without a default is positional; so is one before a ``/``, which may be left out where it has a default.
    A sequence takes one value or more, a ``Literal`` one of its values; a bool is a switch. ``None`` as a default means
    that the option may be left out. ``--json`` without its file is ``--json -``. The lines under ``Example:`` stand
    below the help as they are.

    Args:
        parser: the parser of the command.
        function: every parameter has a type and an entry under ``Args:``.

    Example:
        >>> def train(data: list[str], epochs: int = 6, fast: bool = False) -> int:
        ...     '''Train.
        ...
        ...     Args:
        ...         data: files to read.
        ...         epochs: passes over them.
        ...         fast: leave out what is slow.
        ...     '''
        >>> parser = ArgumentParser(prog="train")
        >>> add_options(parser, train)
        >>> parser.parse_args(["a.csv", "b.csv", "--epochs", "2"])
        Namespace(data=['a.csv', 'b.csv'], epochs=2, fast=False)
    """
    docstring = inspect.getdoc(function) or ""
    paragraphs, texts = read_docstring(docstring)
    parser.description, parser.formatter_class = _fill(paragraphs[0]), RawDescriptionHelpFormatter
    below = [*map(_fill, paragraphs[1:]), *([example_text(lines)] if (lines := read_example(docstring)) else [])]
    parser.epilog = "\n\n".join(below) or None
    hints = get_type_hints(function)
    for name, parameter in inspect.signature(function).parameters.items():
        text = texts[name].removesuffix(".").replace("%", "%%")
        settings = _settings(hints[name])
        if parameter.default is inspect.Parameter.empty:
            parser.add_argument(name, help=text, **settings)
            continue
        if parameter.default is not None and parameter.default is not False:
            text = f"{text} (default: %(default)s)"
        if parameter.kind is inspect.Parameter.POSITIONAL_ONLY:
            parser.add_argument(name, nargs="?", default=parameter.default, help=text, **settings)
            continue
        if name == "json":  # without a file too: what a script wants is mostly the output
            text += "; - or none: standard output, and nothing else there"
            settings |= {"nargs": "?", "const": Path("-")}
        if parameter.default is None and settings.get("nargs") == "+":
            settings["action"] = "extend"  # an option that is given twice must not lose its first values
        parser.add_argument(_flag(name), dest=name, default=parameter.default, help=text, **settings)


def flags(function: Callable[..., Any]) -> list[str]:
    """The options that :func:`add_options` makes of a function.

    Example:
        >>> flags(lambda data, epochs=6, dry_run=False: 0)
        ['--epochs', '--dry-run']
    """
    return [
        _flag(name)
        for name, parameter in inspect.signature(function).parameters.items()
        if parameter.default is not inspect.Parameter.empty and parameter.kind is not inspect.Parameter.POSITIONAL_ONLY
    ]


def call(function: Callable[..., int], options: dict[str, Any]) -> int:
    """Call a command with its parsed options.

    Args:
        function: the command.
        options: one for each of its parameters.

    Example:
        >>> def train(data: str, /, epochs: int) -> int:
        ...     return epochs
        >>> call(train, {"data": "a.csv", "epochs": 6})
        6
    """
    parameters = inspect.signature(function).parameters.values()
    first = [each.name for each in parameters if each.kind is inspect.Parameter.POSITIONAL_ONLY]
    named = {name: value for name, value in options.items() if name not in first}
    return function(*(options[name] for name in first), **named)


def read_docstring(docstring: str) -> tuple[list[str], dict[str, str]]:
    r"""The paragraphs above ``Args:`` of a dedented Google-style docstring, and the text of each argument.

    Example:
        >>> read_docstring("Train.\n\nArgs:\n    epochs: passes over\n        the data.\n\nReturns:\n    0.")
        (['Train.'], {'epochs': 'passes over the data.'})
    """
    above, _, below = docstring.replace("``", "").partition("\nArgs:\n")
    block = re.split(r"\n(?=\S)", below)[0]  # up to the next section
    entries = re.findall(r"^    (\w+): (.*(?:\n        .*)*)", block, flags=re.MULTILINE)
    return [_flow(text) for text in above.strip().split("\n\n")], {name: _flow(text) for name, text in entries}


def read_example(docstring: str) -> list[str]:
    r"""The lines under ``Example:`` of a dedented Google-style docstring, set out.

    Example:
        >>> read_example("Train.\n\nExample:\n    train a.csv\n    train --help\n")
        ['train a.csv', 'train --help']
    """
    block = re.split(r"\n(?=\S)", docstring.partition("\nExample:\n")[2])[0]
    return [line for line in textwrap.dedent(block).splitlines() if line.strip()]


def example_text(lines: Sequence[str]) -> str:
    r"""Commands to try, as help shows them.

    Example:
        >>> example_text(["train a.csv"])
        'for example:\n  train a.csv'
    """
    return "\n  ".join(["for example:", *lines])


def read_wavelengths(where: str, path: Path) -> list[float]:
    """The numbers of a file, one per channel, with spaces, commas or line ends between them.

    Args:
        where: the public name to put into an error.
        path: the file.

    Raises:
        InputError: it cannot be read, or holds something else than numbers.
    """
    try:
        return [float(word) for word in path.read_text(encoding="utf-8").replace(",", " ").split()]
    except (OSError, ValueError) as error:
        given = f"{path}: {getattr(error, 'strerror', None) or error}"
        raise InputError(where, "the wavelengths cannot be read", given, "Write one number per channel.") from error


def _flag(name: str) -> str:
    return "--" + name.replace("_", "-")


def _fill(paragraph: str) -> str:
    return textwrap.fill(paragraph, max(shutil.get_terminal_size().columns - 2, 20), break_long_words=False)


def _flow(text: str) -> str:
    return " ".join(text.split())


def _settings(hint: Any) -> dict[str, Any]:
    """What argparse needs to know of a type."""
    if hint is bool:
        return {"action": "store_true"}
    origin, inner = get_origin(hint), get_args(hint)
    if origin is Literal:
        return {"choices": inner, "type": type(inner[0])}
    if origin in (list, Sequence):
        return _settings(inner[0]) | {"nargs": "+"}
    if NoneType in inner:
        (hint,) = (kind for kind in inner if kind is not NoneType)
        return _settings(hint)
    return {"type": hint, "metavar": _METAVARS[hint]}
