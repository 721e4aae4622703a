"""The pictures of a monitor: drawn in turn while that costs little of the run, and what is left at its end."""

from collections.abc import Callable, Mapping
from importlib.util import find_spec
from typing import TYPE_CHECKING

from lightning.pytorch import Trainer

from lightning_failures.callbacks.budget import DRAWING, Budget
from lightning_failures.reporting.loggers import log_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["Pictures"]


class Pictures:
    """Logs the pictures of each evaluation one after the other, while drawing takes less than its share of the run.

    What there was no time for waits for the next evaluation, whose pictures take its place; those of the last
    evaluation are drawn at any rate. Each turn begins where the last one ended, so that none is always left out.
    """

    def __init__(self) -> None:
        self.budget = Budget(DRAWING)
        self._waiting: dict[str, Callable[[], Figure | None]] = {}
        self._last = ""

    def restart(self) -> None:
        """Begin a run."""
        self.budget.restart()
        self._waiting, self._last = {}, ""

    def draw(self, trainer: Trainer, pictures: "Mapping[str, Callable[[], Figure | None]]") -> None:
        """Draw as many as time allows; on rank zero, where there is a logger and matplotlib.

        Args:
            trainer: whose loggers get them.
            pictures: logged key -> what draws it, or gives None where there is nothing to be seen.
        """
        keys = list(pictures)
        after = keys.index(self._last) + 1 if self._last in pictures else 0
        self._waiting = {key: pictures[key] for key in keys[after:] + keys[:after]}
        while self._waiting and self.budget.allows:
            self._draw_next(trainer)

    def finish(self, trainer: Trainer) -> None:
        """Draw what there was no time for."""
        while self._waiting:
            self._draw_next(trainer)

    def _draw_next(self, trainer: Trainer) -> None:
        self._last = next(iter(self._waiting))
        make = self._waiting.pop(self._last)
        if trainer.loggers and find_spec("matplotlib") is not None:
            with self.budget.spend():
                figure = make()
                if figure is not None:
                    log_figure(trainer.loggers, self._last, figure, trainer.global_step)
