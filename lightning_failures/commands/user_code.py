"""Classes and functions of the user's own that a command is told by name."""

import sys
from difflib import get_close_matches
from importlib import import_module
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

from lightning_failures.errors import InputError, UnknownNameError

__all__ = ["import_named"]

_FIX = "Write package.module:Name, or file.py:Name."


def import_named(where: str, option: str, name: str) -> Any:
    """A class or a function by its name.

    Args:
        where: the command, for errors.
        option: that the name was given with, for errors.
        name: ``package.module:Name``, looked for from the present folder on too; or ``path/file.py:Name``, whose folder
            its own imports are looked for in.

    Raises:
        InputError: it is no such name, or the module raises while it is imported.
        UnknownNameError: there is no such module, file or name.

    Example:
        >>> import_named("replay", "--data", "os.path:join").__name__
        'join'
    """
    place, _, attribute = name.rpartition(":")
    if not place or not attribute:
        raise InputError(where, f"{option} names no class and no function", repr(name), _FIX)
    file = Path(place)
    if file.suffix == ".py" and not file.is_file():
        raise UnknownNameError(where, "there is no such file", place, _FIX)
    _look_in(file.resolve().parent if file.suffix == ".py" else Path.cwd())
    try:
        module = _import_file(file) if file.suffix == ".py" else import_module(place)
    except ModuleNotFoundError as error:
        raise UnknownNameError(where, "a module cannot be imported", f"{name}: {error}", _FIX) from error
    except Exception as error:
        given = f"{name}: {type(error).__name__}: {error}"
        raise InputError(where, "the module raises while it is imported", given, "Mend it, or name another.") from error
    if not callable(getattr(module, attribute, None)):
        near = get_close_matches(
            attribute, [each for each in vars(module) if callable(getattr(module, each))], cutoff=0
        )
        fix = f"The nearest that is there: {place}:{near[0]}." if near else _FIX
        raise UnknownNameError(where, "no such class or function", name, fix)
    return getattr(module, attribute)


def _import_file(file: Path) -> Any:
    place = file.resolve()
    known = sys.modules.get(file.stem)
    if known is not None and getattr(known, "__file__", None) == str(place):
        return known
    name = file.stem if known is None else f"{file.stem}_{abs(hash(place))}"  # a file may be called as a package
    if name in sys.modules:
        return sys.modules[name]
    spec = spec_from_file_location(name, place)
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    sys.modules[name] = module  # where loaders with workers look for the class of a dataset
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


def _look_in(folder: Path) -> None:
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))
