"""Errors and warnings that say where, what is wrong, what was given, and what to do."""

from collections.abc import Iterable
from difflib import get_close_matches

__all__ = [
    "DiscoveryError",
    "FailuresError",
    "FailuresWarning",
    "InputError",
    "MissingPackageError",
    "UnknownNameError",
    "few",
    "meant",
]


class FailuresError(Exception):
    """Root of every error that this package raises; each is a builtin error too.

    Args:
        where: the public name that was called, for example ``"FactorErrorRatio.update"``.
        wrong: what is wrong, in one clause.
        given: what was given: shapes, names or values.
        fix: what to do, as one sentence.

    Example:
        >>> print(InputError("error_ratio", "counts differ in length", "wrong (3), seen (4)", "Pass one per factor."))
        error_ratio: counts differ in length; given wrong (3), seen (4). Pass one per factor.
    """

    def __init__(self, where: str, wrong: str, given: str, fix: str) -> None:
        super().__init__(where, wrong, given, fix)

    def __str__(self) -> str:
        where, wrong, given, fix = self.args
        return f"{where}: {wrong}; given {given}. {fix}"


class InputError(FailuresError, ValueError):
    """A value or a shape that cannot be used."""


class UnknownNameError(FailuresError, LookupError):
    """A name that does not exist: a factor, a layer, a field of a batch, a band."""


class DiscoveryError(FailuresError, LookupError):
    """What a probe looked for was not found in the module or its batch."""


class MissingPackageError(FailuresError, ImportError):
    """An optional package is not installed."""


class FailuresWarning(UserWarning):
    """A monitor stepped aside, or left something out; said once."""


def few(names: Iterable[str], most: int = 3, room: int = 60) -> str:
    """The first names of a list, and how many more there are, so that a message stays short.

    Args:
        names: what there is, the most telling first.
        most: how many are named at most.
        room: how many characters they take at most; the first is named in any case.

    Returns:
        Empty for no names.

    Example:
        >>> few(f"net.{place}" for place in range(60))
        'net.0, net.1, net.2 and 57 more'
        >>> few(["image", "label"])
        'image, label'
    """
    known = list(names)
    shown = known[:most]
    while len(shown) > 1 and len(", ".join(shown)) > room:
        shown.pop()
    return ", ".join(shown) + (f" and {len(known) - len(shown)} more" if len(known) > len(shown) else "")


def meant(name: str, known: Iterable[str]) -> str:
    """Which name may have been meant by one that does not exist, to be said behind it.

    Args:
        name: that was given.
        known: those that exist.

    Returns:
        Empty where none is near.

    Example:
        >>> meant("adit", ["audit", "demo"])
        "; 'audit' may be meant"
    """
    near = get_close_matches(name, list(known), n=1)
    return f"; {near[0]!r} may be meant" if near else ""
