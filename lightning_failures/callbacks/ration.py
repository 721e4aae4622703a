"""How much of a run's own work the extra forward passes of a monitor may be: counted, and not timed."""

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from lightning.pytorch import Trainer
from torch import Tensor

from lightning_failures.callbacks.budget import Budget

__all__ = ["ADVANCE", "TRAINED", "Ration", "images_in", "progress"]

#: What a training step of an image counts, in forward passes: it runs forward, and backward for inputs and weights.
TRAINED = 3.0

#: Forward passes of an image that are allowed beyond the share, so that the first evaluations of a run are examined.
#: On a small network with 64 channels on one core they take a fifth of a second.
ADVANCE = 2048.0

#: Share of what the whole run is expected to take that the advance is at most, as far as its length is known.
AHEAD = 0.1

#: How many times the share of time the extra work may take, and how many seconds at any rate, before the clock stops
#: it. Passes that are counted take their share of the time; what takes so much more is no forward pass of the run's
#: pace, such as one that waits for another machine.
BRAKE, BRAKE_SECONDS = 8.0, 10.0


class Ration:
    """Allows extra forward passes of an image: a share of those that the run itself has made, and an advance.

    A run on a slow machine and one on a fast machine are allowed the same at the same evaluations. The clock is an
    emergency brake alone: where the extra work takes more than eight times its share of the time, and more than ten
    seconds, :attr:`braked` says so.

    Args:
        share: extra forward passes over the run's own, at least 0; 0.05 is five percent. With 0 there is one turn.

    Raises:
        InputError: a share below 0.

    Example:
        >>> ration = Ration(0.05)
        >>> ration.own, ration.expected = 10_000.0, 100_000.0
        >>> ration.left, ration.turn
        (2548.0, 1274.0)
        >>> with ration.spend(2000):
        ...     pass
        >>> ration.left, ration.allows
        (548.0, True)
    """

    def __init__(self, share: float) -> None:
        self.clock = Budget(share)  # refuses a share below 0
        self.own = 0.0  #: forward passes of an image that the run itself has made
        self.expected = math.inf  #: those that it will have made at its end, as far as that is known
        self.spent = 0.0  #: extra ones

    def restart(self) -> None:
        """Begin a run."""
        self.clock.restart()
        self.own, self.expected, self.spent = 0.0, math.inf, 0.0

    @property
    def share(self) -> float:
        """Extra forward passes over the run's own."""
        return self.clock.share

    @property
    def left(self) -> float:
        """Extra forward passes that are allowed by now; may be below 0."""
        advance = min(ADVANCE, AHEAD * self.expected) if self.share or not self.spent else 0.0
        return advance + self.share * self.own - self.spent

    @property
    def turn(self) -> float:
        """Those of one turn: half of what is left, so that later turns find something too."""
        return self.left / 2 if self.share else self.left

    @property
    def allows(self) -> bool:
        """Whether anything is left."""
        return self.left > 0

    @property
    def braked(self) -> bool:
        """Whether the extra work takes so much longer than its share that the clock stops it."""
        return self.clock.spent > max(BRAKE_SECONDS, BRAKE * self.share * self.clock.elapsed)

    @contextmanager
    def spend(self, passes: float) -> Iterator[None]:
        """Count so many forward passes, and the time inside, as extra work."""
        self.spent += passes
        with self.clock.spend():
            yield


def progress(trainer: Trainer) -> float:
    """Share of a ``fit`` that is done, by its steps; nan where nobody knows how long it is."""
    steps = float(trainer.max_steps)
    if steps < 0:
        epochs, batches = getattr(trainer, "max_epochs", None), float(trainer.num_training_batches)
        if epochs is None or epochs < 0 or not math.isfinite(batches):
            return math.nan
        steps = epochs * math.ceil(batches / trainer.accumulate_grad_batches)
    return min(1.0, trainer.global_step / steps) if steps else math.nan


def images_in(batch: Any) -> int:
    """How many images a batch of any structure holds: rows of the first tensor in it; 0 where there is none.

    Example:
        >>> import torch
        >>> images_in({"id": "a", "image": [torch.zeros(8, 3, 4, 4)]}), images_in("nothing")
        (8, 0)
    """
    if isinstance(batch, Tensor):
        return len(batch) if batch.ndim else 0
    if isinstance(batch, Mapping):
        batch = list(batch.values())
    if isinstance(batch, list | tuple):
        return next((images for images in map(images_in, batch) if images), 0)
    return 0
