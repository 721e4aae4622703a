"""Which training batches are looked at, and the layers' features that they showed."""

from lightning_failures.callbacks.collapse.layers import WatchedLayers
from lightning_failures.errors import InputError

__all__ = ["TrainingWindow"]

WIDTH = 8  # batches, over which the weights hardly move


class TrainingWindow:
    """The last 8 training batches before each n-th.

    Args:
        every: n; None: no batch.

    Example:
        >>> window = TrainingWindow(10)
        >>> [(window.open, window.step()) for _ in range(10)][1:3]
        [(False, False), (True, False)]
    """

    def __init__(self, every: int | None) -> None:
        if every is not None and every < 1:
            given = f"every_n_steps={every}"
            raise InputError("CollapseMonitor", "there is no such cadence", given, "Pass 1 or more, or None.")
        self.every = every
        self.layers = WatchedLayers()
        self._done = 0

    @property
    def open(self) -> bool:
        """Whether the batch that comes is looked at."""
        return self.every is not None and self._done % self.every >= self.every - WIDTH

    def step(self) -> bool:
        """Count a batch; whether it is an n-th."""
        self._done += 1
        return self.every is not None and self._done % self.every == 0
