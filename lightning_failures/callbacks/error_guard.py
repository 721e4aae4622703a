"""A guest in somebody's training run: an error of its own warns once, and it steps aside."""

import logging
import time
import traceback
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

from lightning_failures.errors import FailuresError, FailuresWarning

__all__ = ["Guest"]

log = logging.getLogger("lightning_failures")


class Guest:
    """Keeps errors of our own away from the user's run, and counts the time that we take.

    Args:
        on_error: ``"warn"``: an error warns once, with its cause, and the guest steps aside while training goes on;
            ``"raise"``: it stops the run.
    """

    def __init__(self, on_error: Literal["warn", "raise"] = "warn") -> None:
        self.on_error = on_error
        self.failure: str | None = None
        self.seconds = 0.0

    def step_aside(self) -> None:
        """Undo what must not stay, such as hooks."""

    @contextmanager
    def guarded(self) -> Iterator[None]:
        """Work inside that must not stop the user's training."""
        began = time.perf_counter()
        try:
            yield
        except Exception as error:
            self.step_aside()
            if self.on_error == "raise":
                raise
            self.failure = str(error)
            if not isinstance(error, FailuresError):  # a fault of ours: its name and trace are worth having
                self.failure = f"{type(error).__name__}: {error}"
                log.debug(traceback.format_exc())
            warnings.warn(
                f"{type(self).__name__} stepped aside, training goes on. {self.failure}", FailuresWarning, stacklevel=3
            )
        finally:
            self.seconds += time.perf_counter() - began
