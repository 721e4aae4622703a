"""How much of the training time the extra work of a monitor may take."""

import math
import time
from collections.abc import Iterator
from contextlib import contextmanager

from lightning_failures.errors import InputError

__all__ = ["AT_ONCE", "DRAWING", "EXAMINED", "FIRST_MINUTE", "Budget"]

#: Seconds from the beginning of a run in which all monitors together may take no more than :data:`AT_ONCE`: people who
#: try something out in a run of seconds must not wait for the monitors.
FIRST_MINUTE = 60.0

#: Seconds that they may take in it: with the imports, which take a fifth of a second, it is one second. What they take
#: without any extra work is .1 to .4 of these on small networks, most of it for Lightning to log some hundred keys.
AT_ONCE = 0.8

#: Seconds of a run's first minute of which a share may be taken for extra work: of .025 that is a fifth of a second.
COUNTED = 8.0

#: Seconds by which one turn of examination may go beyond its share.
EXAMINED = 0.1

#: Share of the run that one monitor may draw for, so that four of them stay within a hundredth.
DRAWING = 0.0025


class Budget:
    """Allows extra work while it has taken less than a share of the run's time so far; the first time is free.

    Args:
        share: extra work over all other time, at least 0; 0.05 is five percent.
        at_once: seconds that one turn may take beyond what the share allows, with which no more than the first seconds
            of a run's first minute count; None: a turn takes what it takes.

    Example:
        >>> budget = Budget(0.05)
        >>> with budget.spend():
        ...     pass
        >>> budget.spent < 1.0
        True
    """

    def __init__(self, share: float, at_once: float | None = None) -> None:
        if not share >= 0:
            raise InputError("Budget", "the share is negative", str(share), "Give a share of training time, as 0.05.")
        self.share, self.at_once = share, at_once
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
        counted = self.elapsed
        if self.at_once is not None and counted < FIRST_MINUTE:
            counted = min(counted, COUNTED)
        return self.share * (counted - self.spent) - self.spent

    @property
    def turn(self) -> float:
        """Seconds that one turn may take, where there is one; infinite where nothing bounds it."""
        return math.inf if self.at_once is None else max(self.left, self.at_once)

    @contextmanager
    def spend(self) -> Iterator[None]:
        """Count the time inside as extra work."""
        began = time.perf_counter()
        try:
            yield
        finally:
            self.spent += time.perf_counter() - began
