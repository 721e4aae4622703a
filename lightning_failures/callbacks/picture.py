"""The pictures of a monitor: drawn in turn while that costs little of the run, and what is left at its end."""

from collections.abc import Callable, Mapping
from importlib.util import find_spec
from typing import TYPE_CHECKING

from lightning.pytorch import Trainer

from lightning_failures.callbacks.budget import AT_ONCE, DRAWING, FIRST_MINUTE, Budget
from lightning_failures.callbacks.error_guard import ErrorGuard
from lightning_failures.reporting.loggers import log_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["Pictures", "taken"]

#: Seconds that a picture is expected to take until one was drawn; the first of a process finds its fonts.
A_PICTURE = 0.3


class Pictures:
    """Logs the pictures of each evaluation one after the other, while drawing takes less than its share of the run.

    What there was no time for waits for the next evaluation, whose pictures take its place; those of the last
    evaluation are drawn at any rate. Each turn begins where the last one ended, so that none is always left out.

    In its first minute a run draws nothing; one that ends before draws at its end what there is time for then, of what
    all monitors together may take. The report draws all of it, since every figure is in the record.
    """

    def __init__(self) -> None:
        self.budget = Budget(DRAWING)
        self._waiting: dict[str, Callable[[], Figure | None]] = {}
        self._last = ""
        self._took = A_PICTURE  # seconds, the last picture

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
        while self._waiting and self.budget.allows and not self._young(trainer):
            self._draw_next(trainer)

    def finish(self, trainer: Trainer) -> None:
        """Draw what there was no time for; of a run shorter than a minute, what takes little more."""
        while self._waiting and (not self._young(trainer) or taken(trainer) + self._took <= AT_ONCE):
            self._draw_next(trainer)

    @property
    def waiting(self) -> "dict[str, Callable[[], Figure | None]]":
        """What there was no time for so far."""
        return dict(self._waiting)

    def _young(self, trainer: Trainer) -> bool:
        """Whether a ``fit`` is in its first minute; an evaluation alone has no later one to draw at."""
        return trainer.state.fn == "fit" and self.budget.elapsed < FIRST_MINUTE

    def _draw_next(self, trainer: Trainer) -> None:
        self._last = next(iter(self._waiting))
        make = self._waiting.pop(self._last)
        if trainer.loggers and find_spec("matplotlib") is not None:
            before = self.budget.spent
            with self.budget.spend():
                figure = make()
                if figure is not None:
                    log_figure(trainer.loggers, self._last, figure, trainer.global_step)
            self._took = self.budget.spent - before


def taken(trainer: Trainer) -> float:
    """Seconds that all callbacks of ours have taken together."""
    guards = (getattr(callback, "guard", None) for callback in trainer.callbacks)  # type: ignore[attr-defined]
    return sum(guard.seconds for guard in guards if isinstance(guard, ErrorGuard))
