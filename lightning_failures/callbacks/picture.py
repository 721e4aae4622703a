"""The picture of a monitor: drawn while that costs little of the run, and once more at its end."""

from collections.abc import Callable
from importlib.util import find_spec
from typing import TYPE_CHECKING

from lightning.pytorch import Trainer

from lightning_failures.callbacks.budget import DRAWING, Budget
from lightning_failures.reporting.loggers import log_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["Picture"]


class Picture:
    """Logs one picture an evaluation, while drawing takes less than its share of the run; the last one at any rate.

    Args:
        key: under which it is logged.
    """

    def __init__(self, key: str) -> None:
        self.key = key
        self.budget = Budget(DRAWING)
        self._late: Callable[[], Figure] | None = None

    def restart(self) -> None:
        """Begin a run."""
        self.budget.restart()
        self._late = None

    def draw(self, trainer: Trainer, make: "Callable[[], Figure]") -> None:
        """Draw, or leave it to a later evaluation; on rank zero, where there is a logger and matplotlib."""
        self._late = make
        if self.budget.allows:
            self.finish(trainer)

    def finish(self, trainer: Trainer) -> None:
        """Draw what there was no time for before."""
        make, self._late = self._late, None
        if make is None or not trainer.loggers or find_spec("matplotlib") is None:
            return
        with self.budget.spend():
            log_figure(trainer.loggers, self.key, make(), trainer.global_step)
