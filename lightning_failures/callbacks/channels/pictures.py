"""What the channel monitor logs beside scalars: a table, and pictures of the course so far."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from lightning_failures.callbacks.channels.course import ChannelCourse
from lightning_failures.callbacks.channels.figures import band_bars, course_figure, profile_figure
from lightning_failures.records.finding import Evidence

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["COLUMNS", "pictures_of", "rows"]

COLUMNS = ("epoch", "band", "from", "to", "channels", "change", "error", "share", "pattern")


def pictures_of(course: ChannelCourse) -> "dict[str, Callable[[], Figure]]":
    """Key -> what draws the last evaluation of a course that has one or more."""
    pictures: dict[str, Callable[[], Figure]] = {"profile": lambda: profile_figure(course)}
    if len(course.profiles) > 1:
        pictures["course"] = lambda: course_figure(course)
    if course.method == "shapley":
        last = course.profiles[-1]
        pictures["shapley"] = lambda: band_bars(course.names, last.change, last.error, last.floor, last.total)
    return pictures


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
