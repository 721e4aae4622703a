"""How much of the training time the extra work of a monitor may take."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

from lightning_failures.errors import InputError

__all__ = ["DRAWING", "Budget"]

#: Share of the run that one monitor may draw for, so that four of them stay within a hundredth.
DRAWING = 0.0025


class Budget:
    """Allows extra work while it has taken less than a share of the run's time so far; the first time is free.

    Args:
        share: extra work over all other time, at least 0; 0.05 is five percent.

    Example:
        >>> budget = Budget(0.05)
        >>> with budget.spend():
        ...     pass
        >>> budget.spent < 1.0
        True
    """

    def __init__(self, share: float) -> None:
        if not share >= 0:
            raise InputError("Budget", "the share is negative", str(share), "Give a share of training time, as 0.05.")
        self.share = share
        self.spent = 0.0
        self._began = time.perf_counter()

    def restart(self) -> None:
        """Begin a run."""
        self.spent = 0.0
        self._began = time.perf_counter()

    @property
    def allows(self) -> bool:
        """Whether there is time left for more extra work."""
        rest = time.perf_counter() - self._began - self.spent
        return self.spent == 0 or self.spent <= self.share * rest

    @property
    def left(self) -> float:
        """Seconds of extra work that the run's time so far allows, less those spent; may be below 0."""
        return self.share * (time.perf_counter() - self._began - self.spent) - self.spent

    @contextmanager
    def spend(self) -> Iterator[None]:
        """Count the time inside as extra work."""
        began = time.perf_counter()
        try:
            yield
        finally:
            self.spent += time.perf_counter() - began
