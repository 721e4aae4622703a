"""How much of the training time the extra work of a monitor may take, and what is done of it at the end of a run."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

from lightning_failures.errors import InputError

__all__ = ["AT_ONCE", "DRAWING", "FIRST_MINUTE", "Budget", "last_limit"]

#: Seconds from the beginning of a run in which all monitors together may take no more than :data:`AT_ONCE`: people who
#: try something out in a run of seconds must not wait for the monitors.
FIRST_MINUTE = 60.0

#: Seconds that they may take in it: with the imports, which take a fifth of a second, it is one second. What they take
#: without any extra work is 0.1 to 0.4 of these on small networks, most of it for Lightning to log some hundred keys.
AT_ONCE = 0.8

#: Seconds, and share of the run, that the last examination of each monitor may take; the larger one.
LAST, SHARE_OF_LAST = 5.0, 0.1

#: Share of a run that ends within its first minute that the last examination of each monitor may take at any rate.
SHARE_OF_SHORT = 0.05

#: Share of the run that one monitor may draw for, so that four of them stay within a hundredth.
DRAWING = 0.0025


class Budget:
    """Allows extra work while it has taken less than a share of the run's time so far; the first time is free.

    Args:
        share: extra work over all other time, at least 0; 0.05 is five percent.

    Raises:
        InputError: a share below 0.

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
    def elapsed(self) -> float:
        """Seconds since the run began."""
        return time.perf_counter() - self._began

    @property
    def allows(self) -> bool:
        """Whether there is time left for more extra work."""
        return self.spent == 0 or self.left >= 0

    @property
    def left(self) -> float:
        """Seconds of extra work that the run's time so far allows, less those spent; may be below 0."""
        return self.share * (self.elapsed - self.spent) - self.spent

    @contextmanager
    def spend(self) -> Iterator[None]:
        """Count the time inside as extra work."""
        began = time.perf_counter()
        try:
            yield
        finally:
            self.spent += time.perf_counter() - began


def last_limit(elapsed: float, taken: float) -> float:
    """Seconds that the last examination of one monitor may take, at the end of a run.

    Args:
        elapsed: seconds that the run took.
        taken: seconds of them that all monitors took together.

    Example:
        >>> [round(last_limit(elapsed, 0.3), 2) for elapsed in (4.0, 59.0, 61.0, 600.0)]
        [0.5, 2.95, 6.1, 60.0]
    """
    if elapsed < FIRST_MINUTE:
        return max(AT_ONCE - taken, SHARE_OF_SHORT * elapsed)
    return max(LAST, SHARE_OF_LAST * elapsed)
