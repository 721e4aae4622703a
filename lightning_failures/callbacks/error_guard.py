"""Keeps errors of our own away from somebody's training run: the first one warns, and its owner steps aside."""

import logging
import time
import traceback
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Literal

from lightning_failures.errors import FailuresError, FailuresWarning

__all__ = ["ErrorGuard"]

log = logging.getLogger("lightning_failures")


class ErrorGuard:
    """Catches what is raised inside, keeps it as :attr:`failure`, and counts the time that the owner takes.

    Args:
        owner: name of the callback, for the warning.
        on_error: ``"warn"``: an error warns once, with its cause, and the owner steps aside while training goes on;
            ``"raise"``: it stops the run.
        step_aside: undoes what must not stay, such as hooks; None: nothing is to be undone.

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
    ) -> None:
        self.owner, self.on_error, self.step_aside = owner, on_error, step_aside
        self.failure: str | None = None
        self.seconds = 0.0

    @contextmanager
    def __call__(self) -> Iterator[None]:
        """Work inside that must not stop the user's training."""
        began = time.perf_counter()
        try:
            yield
        except Exception as error:
            if self.step_aside is not None:
                self.step_aside()
            if self.on_error == "raise":
                raise
            self.failure = str(error)
            if not isinstance(error, FailuresError):  # a fault of ours: its name and trace are worth having
                self.failure = f"{type(error).__name__}: {error}"
                log.debug(traceback.format_exc())
            warnings.warn(
                f"{self.owner} stepped aside, training goes on. {self.failure}", FailuresWarning, stacklevel=3
            )
        finally:
            self.seconds += time.perf_counter() - began
