"""What the channel monitor logs beside scalars: a table, and pictures while they take little of the run."""

from collections.abc import Sequence
from importlib.util import find_spec

from lightning.pytorch.loggers import Logger

from lightning_failures.callbacks.budget import DRAWING, Budget
from lightning_failures.callbacks.channels.course import ChannelCourse
from lightning_failures.callbacks.channels.figures import band_bars, course_figure, profile_figure
from lightning_failures.records.finding import Evidence
from lightning_failures.reporting.loggers import log_figure, log_table

__all__ = ["ChannelPictures"]

COLUMNS = ("epoch", "band", "from", "to", "channels", "change", "error", "share", "pattern")


class ChannelPictures:
    """Logs a row a band at every evaluation; and the profile, the heat map, and for Shapley values their bars."""

    def __init__(self) -> None:
        self._drawing = Budget(DRAWING)
        self._drawn = True

    def restart(self) -> None:
        """Begin a run."""
        self._drawing.restart()

    def log(self, loggers: Sequence[Logger], course: ChannelCourse, step: int) -> None:
        """Log the last evaluation of a course.

        Args:
            loggers: those of the trainer.
            course: with one evaluation or more.
            step: the global step.
        """
        if not loggers:
            return
        log_table(loggers, "failures/channels/table", COLUMNS, rows(course), step)
        self._drawn = False
        if self._drawing.allows:
            self.draw(loggers, course, step)

    def draw(self, loggers: Sequence[Logger], course: ChannelCourse, step: int) -> None:
        """Draw the last evaluation, unless that is done already."""
        if self._drawn or find_spec("matplotlib") is None:
            return
        self._drawn = True
        with self._drawing.spend():
            log_figure(loggers, "failures/channels/profile", profile_figure(course), step)
            if len(course.profiles) > 1:
                log_figure(loggers, "failures/channels/course", course_figure(course), step)
            if course.method == "shapley":
                last = course.profiles[-1]
                bars = band_bars(course.names, last.change, last.error, last.floor, last.total)
                log_figure(loggers, "failures/channels/shapley", bars, step)


def rows(course: ChannelCourse) -> list[list[Evidence]]:
    """The last evaluation, a row a band."""
    last, pattern = course.profiles[-1], course.of_bands(course.pattern)
    return [
        [
            *(last.epoch, name, *(extent if course.axis else (min(members), max(members))), len(members)),
            *(last.change[band], last.error[band], last.share[band], pattern[band]),
        ]
        for band, (name, members, extent) in enumerate(zip(course.names, course.members, course.extents, strict=True))
    ]
