"""Keeps errors of our own away from somebody's training run: the first one warns, and its owner steps aside."""

import logging
import traceback
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import PurePath
from types import FrameType
from typing import Literal, NamedTuple

from lightning_failures.callbacks.budget import Budget
from lightning_failures.errors import FailuresError, FailuresWarning

__all__ = ["Cause", "ErrorGuard", "warn_of"]

log = logging.getLogger("lightning_failures")

#: Characters of a warning, where its cause can be said in them, and those that are always left for what was given.
LONGEST, LEAST_GIVEN = 240, 80

#: Callbacks that a warning names; of more it names two, and says how many more there are.
NAMED = 3

#: Packages that raise what they were wrongly asked to do: who asked is told instead.
_LIBRARIES = {"torch", "lightning", "pytorch_lightning", "torchmetrics", "einops", "numpy", "matplotlib", "contextlib"}


class Cause(NamedTuple):
    """Why a callback stepped aside, in the words of a warning; equal for those that have one cause in common."""

    wrong: str  # what is wrong, in one clause
    given: str  # what was seen; empty: the clause says it
    fix: str  # what to do, as one sentence


class ErrorGuard:
    """Catches what is raised inside, keeps it as :attr:`failure`, and counts the time that the owner takes.

    Args:
        owner: name of the callback, for the warning.
        on_error: ``"warn"``: an error warns once, with its cause, and the owner steps aside while training goes on;
            ``"raise"``: it stops the run.
        step_aside: undoes what must not stay, such as hooks; None: nothing is to be undone.
        warn: when the warning is given: ``"at once"``, or ``"later"`` by :func:`warn_of`, which names all that stepped
            aside for one cause in one warning.
        budget: to which the time inside is charged; None: one of its own, without a limit.

    Example:
        >>> guard = ErrorGuard("CollapseMonitor", "raise")
        >>> with guard():
        ...     pass
        >>> guard.failure is None, guard.seconds < 1.0
        (True, True)
    """

    def __init__(
        self,
        owner: str,
        on_error: Literal["warn", "raise"] = "warn",
        step_aside: Callable[[], object] | None = None,
        warn: Literal["at once", "later"] = "at once",
        budget: Budget | None = None,
    ) -> None:
        self.owner, self.on_error, self.step_aside, self.warn = owner, on_error, step_aside, warn
        self.budget = budget or Budget(None)
        self.failure: str | None = None
        self.cause: Cause | None = None  #: of an error that nobody was warned of yet
        self.said: Cause | None = None  #: of the last warning
        self.called = owner  #: the owner as the error names it, with the argument that is to blame

    @contextmanager
    def __call__(self) -> Iterator[None]:
        """Work inside that must not stop the user's training."""
        try:
            with self.budget.spend(self.owner):
                yield
        except Exception as error:
            if self.step_aside is not None:
                self.step_aside()
            if self.on_error == "raise":
                raise
            self.failure = str(error)
            if isinstance(error, FailuresError):
                self.cause = self._cause_of(error)
            else:  # nobody foresaw it: its name and trace are worth having
                self.failure = f"{type(error).__name__}: {error}"
                self.cause = Cause(self.failure, "", _who_raised(error))
                log.debug(traceback.format_exc())
            if self.warn == "at once":
                warn_of([self])

    @property
    def seconds(self) -> float:
        """What the owner took so far."""
        return self.budget.seconds(self.owner)

    def _cause_of(self, error: FailuresError) -> Cause:
        """What it says, without the owner's name where it begins with that."""
        where, wrong, given, fix = error.args
        if not where.startswith(self.owner.partition(" ")[0]):
            return Cause(f"{where}: {wrong}", given, fix)
        self.called = where if where.startswith(self.owner) else self.owner
        return Cause(wrong, given, fix)


def warn_of(guards: Iterable[ErrorGuard]) -> None:
    """Warn of what the guards caught since the last time: one warning a cause, which names all that have it.

    A cause that one of them has warned of before is not said again.

    Args:
        guards: of the callbacks of a run, in their order.
    """
    guards = list(guards)
    said = {guard.said for guard in guards}
    alike: dict[Cause, list[str]] = {}
    for guard in guards:
        if guard.cause is not None:
            alike.setdefault(guard.cause, []).append(guard.called)
            guard.cause, guard.said = None, guard.cause
    for cause, names in alike.items():
        if cause in said:
            continue
        warnings.warn(_sentence(names, cause), FailuresWarning, stacklevel=4)


def _sentence(names: list[str], cause: Cause) -> str:
    """Two lines: who stepped aside, why, and what was seen; what to do."""
    named = [*names[:2], f"{len(names) - 2} more"] if len(names) > NAMED else names
    listed = " and ".join([", ".join(named[:-1]), named[-1]] if named[1:] else named)
    first = f"{listed} stepped aside, training goes on: {_cut(cause.wrong, LONGEST // 2)}"
    if cause.given:
        room = LONGEST - len(f"{first}; given .\n{cause.fix}")
        first += f"; given {_cut(cause.given, max(LEAST_GIVEN, room))}"
    return f"{first}.\n{' '.join(cause.fix.split())}"


def _cut(text: str, most: int) -> str:
    text = " ".join(text.split())
    return text if len(text) <= most else text[: most - 1].rstrip(" ,;") + "…"


def _who_raised(error: Exception) -> str:
    """Whether an error that nobody foresaw is a fault of this package, or of what it was given to call."""
    calls = [(frame, line) for frame, line in traceback.walk_tb(error.__traceback__) if _root(frame) not in _LIBRARIES]
    if not calls:
        return "Where it was raised is not known; leave the callback out, or pass on_error='raise' for its trace."
    frame, line = calls[-1]
    place = f"{'/'.join(PurePath(frame.f_code.co_filename).parts[-2:])}, line {line}"
    if _root(frame) == "lightning_failures":
        return f"This is a fault of lightning-failures, in {place}: please report it, and leave the callback out."
    return f"It was raised in {place}, which the callback ran; mend it there, or leave the callback out."


def _root(frame: FrameType) -> str:
    """The package that a frame's code belongs to."""
    return str(frame.f_globals.get("__name__", "")).partition(".")[0]
