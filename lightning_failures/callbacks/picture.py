"""The pictures of a monitor: drawn in turn while the budget allows, and what is left at the end of a run."""

import sys
from collections.abc import Callable, Mapping
from importlib.util import find_spec
from typing import TYPE_CHECKING

from lightning.pytorch import Trainer

from lightning_failures.callbacks.budget import Budget
from lightning_failures.callbacks.logged_step import logged_step
from lightning_failures.reporting.loggers import log_figure
from lightning_failures.reporting.thinning import Thinning

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["Pictures"]

#: Evaluations at the beginning of a run at each of which a picture is drawn, as far as the budget allows.
DENSE = 4
#: Seconds that a picture is expected to take until one was drawn, and that it takes to import what draws it.
A_PICTURE, IMPORT = 0.3, 0.7


class Pictures:
    """Logs the pictures of each evaluation one after the other, while the budget allows.

    What there was no time for waits for the next evaluation, whose pictures take its place; those of the last
    evaluation are drawn at the end of the run, with what is left of the budget. Each turn begins where the last one
    ended, so that none is always left out. The report draws all of it, since every figure is in the record.

    Of a long run each picture is drawn anew after a quarter more evaluations, see :class:`.Thinning`, and once at the
    end: 15 times in 50 evaluations at most, 28 times in 1,000.

    Args:
        name: of the monitor, to which the time is charged.
        budget: says whether a picture may be drawn.
    """

    def __init__(self, name: str, budget: Budget) -> None:
        self.name, self.budget = name, budget
        self._waiting: dict[str, Callable[[], Figure | None]] = {}
        self._last = ""
        self._took = A_PICTURE  # seconds, the last picture
        self._turn = 0  # evaluations of this run
        self._thinned: dict[str, Thinning] = {}

    def restart(self) -> None:
        """Begin a run."""
        self._waiting, self._last, self._turn, self._thinned = {}, "", 0, {}

    def draw(self, trainer: Trainer, pictures: "Mapping[str, Callable[[], Figure | None]]") -> None:
        """Draw as many as the budget allows; on rank zero, where there is a logger and matplotlib.

        Args:
            trainer: whose loggers get them.
            pictures: logged key -> what draws it, or gives None where there is nothing to be seen.
        """
        keys = list(pictures)
        after = keys.index(self._last) + 1 if self._last in pictures else 0
        self._waiting = {key: pictures[key] for key in keys[after:] + keys[:after]}
        self._turn += 1
        self._go_on(trainer, last=trainer.state.fn != "fit")

    def finish(self, trainer: Trainer) -> None:
        """Draw what there was no time for, with what is left of the budget."""
        self._go_on(trainer, last=True)

    @property
    def waiting(self) -> "dict[str, Callable[[], Figure | None]]":
        """What there was no time for so far."""
        return dict(self._waiting)

    def _go_on(self, trainer: Trainer, *, last: bool) -> None:
        if not trainer.loggers or find_spec("matplotlib") is None:
            return
        for key in list(self._waiting):
            if not self.budget.allows_picture(self._expected, last=last):
                return
            thinned = self._thinned.setdefault(key, Thinning(DENSE))
            if last or thinned.due(self._turn):
                thinned.logged(self._turn)
                self._draw(trainer, key)

    def _draw(self, trainer: Trainer, key: str) -> None:
        self._last, make = key, self._waiting.pop(key)
        with self.budget.spend(self.name, "picture"):
            before = self.budget.seconds(self.name, "picture")
            figure = make()
            if figure is not None:
                log_figure(trainer.loggers, key, figure, logged_step(trainer))
            self._took = self.budget.seconds(self.name, "picture") - before

    @property
    def _expected(self) -> float:
        """Seconds that the next picture is expected to take."""
        return self._took + (0.0 if "matplotlib.figure" in sys.modules else IMPORT)
