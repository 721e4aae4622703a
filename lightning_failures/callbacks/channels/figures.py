"""What in the spectrum a model depends on: its profile over the mean spectrum, its course, and its bands as bars."""

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from lightning_failures.callbacks.channels.course import BandProfile, ChannelCourse
from lightning_failures.errors import InputError
from lightning_failures.records.keys import unescape
from lightning_failures.records.run_record import RunRecord
from lightning_failures.reporting.figure_style import COLOURS, canvas, short

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["band_bars", "course_figure", "course_pictures", "profile_figure", "record_bars"]

_CHANNELS = "failures/channels/"
_LABEL = "rise of cross-entropy (nats)"
_MOST_NAMES = 12  # in a picture


def profile_figure(course: ChannelCourse) -> "Figure":
    """The last profile over the axis, with the pattern of what carries the signal and the mean spectrum below.

    *Above*: the change without each band over its part of the axis, with its standard error, from 0, filled where it
    passes its null floor (dashed); thin, that of the first evaluation. *Below*: the largest size of the correlation of
    each channel with a logit; grey, the mean spectrum of the reference images, on a scale of its own.

    Raises:
        InputError: there was no evaluation yet.
    """
    last = _last(course, "profile_figure")
    with canvas(4.8, 3.9) as figure:
        above, below = figure.subplots(2, 1, sharex=True, height_ratios=[2.4, 1])
        _spectrum(below, course)
        _shade(above, course)
        _profile(above, course, last)
        if len(course.profiles) > 1:
            _outline(above, course, course.profiles[0].change, COLOURS["second"], "first evaluation", 0.9)
        _outline(above, course, last.floors, COLOURS["ink"], "null floor of each band", 0.8, style="--")
        pattern = "correlation of channel and logit"
        _outline(below, course, course.pattern, COLOURS["third"], pattern, 1.4, by_channel=True)
        above.axhline(0, color=COLOURS["soft"], linewidth=0.8)
        _limits(above, course, last)
        above.set_ylabel(_LABEL, fontsize=7.5)
        title = f"What the model loses without each band, epoch {last.epoch}"
        if last.blank:
            title += "\nNone passes the null floor, so the shape means nothing"
        above.set_title(title, loc="left", fontsize=8.5)
        figure.legend(loc="outside upper left", ncols=2, frameon=False, fontsize=7)
        below.set(ylim=(0, 1), xlabel=course.label)
        below.set_ylabel("|r|", fontsize=7.5)
        below.grid(axis="y")
        _axis(below, course)
    return figure


def course_figure(course: ChannelCourse) -> "Figure":
    """Heat maps of all evaluations over the axis: the change without each band, and below it its share.

    *Above*: nats on one scale for all evaluations, white at 0. *Below*, normalised: each evaluation sums to 1; grey
    where the profile is blank, or where no band lies. Bands are told apart by their edges, and named where somebody
    named them; each channel shows the band whose middle is nearest.

    Raises:
        InputError: there was no evaluation yet.
    """
    _last(course, "course_figure")
    rows = course.profiles
    changes = [profile.change for profile in rows]
    shares = [profile.share for profile in rows]
    with canvas(4.8, min(6.0, 2.9 + 0.16 * len(rows)) + 0.7 * course.named) as figure:
        above, below = figure.subplots(2, 1, sharex=True)
        above.set_title(
            "What the model loses without each band", loc="left", fontsize=8.5, pad=52 if course.named else 6
        )
        below.set_title("The same, as a share of all bands", loc="left", fontsize=8.5)
        finite = [abs(value) for row in changes for value in row if math.isfinite(value)] or [0.0]
        most, signed = max(1e-9, *finite), (COLOURS["first"], "#ffffff", COLOURS["second"])
        _map(above, course, changes, (-most, most), signed, "cross-entropy (nats)", named=course.named)
        finite = [value for row in shares for value in row if math.isfinite(value)] or [1.0]
        _map(below, course, shares, (0.0, max(finite)), ("#ffffff", COLOURS["first"]), "share")
        epochs = [profile.epoch for profile in rows]
        by_epoch = len(set(epochs)) == len(epochs)
        names = epochs if by_epoch else [profile.step for profile in rows]
        places = sorted({round(i * (len(rows) - 1) / 7) for i in range(8)})
        for axes in (above, below):
            axes.set_yticks(places, [str(names[place]) for place in places], fontsize=7)
            axes.set_ylabel("epoch" if by_epoch else "step")
            _axis(axes, course)
        below.set_xlabel(course.label)
    return figure


def band_bars(
    names: Sequence[str],
    change: Sequence[float],
    error: Sequence[float],
    floor: float | Sequence[float] = 0.0,
    total: float = math.nan,
    label: str = _LABEL,
) -> "Figure":
    """One bar per band, in the order given, with its standard error; hollow where it does not pass the floor.

    Args:
        names: of the bands; (g).
        change: without each; (g).
        error: its standard error; (g).
        floor: size of change that means nothing, shaded; of each band, or of all.
        total: change without all bands, written above where it is known.
        label: what the change is.

    Raises:
        InputError: there is no band.
    """
    if not names:
        raise InputError("band_bars", "there is nothing to draw", "no band", "Pass one or more.")
    places, floors = range(len(names)), [floor] * len(names) if isinstance(floor, float) else floor
    with canvas(4.7, 0.95 + 0.17 * len(names)) as figure:
        axes = figure.add_subplot()
        for hollow in (False, True):
            those = [i for i in places if (not abs(change[i]) > floors[i]) == hollow]
            axes.barh(
                those, [change[i] for i in those], height=0.7, edgecolor=COLOURS["first"], linewidth=0.8,
                facecolor="none" if hollow else COLOURS["first"],
            )  # fmt: skip
        axes.errorbar(
            change, places, xerr=[0.0 if math.isnan(value) else value for value in error], fmt="none",
            ecolor=COLOURS["ink"], elinewidth=0.9,
        )  # fmt: skip
        shaded = [(place, size) for place, size in enumerate(floors) if 0 < size < math.inf]
        for place, size in shaded:
            axes.barh(place, 2 * size, left=-size, height=1.0, color=COLOURS["line"], alpha=0.6, linewidth=0, zorder=0)
        axes.axvline(0, color=COLOURS["soft"], linewidth=0.8)
        axes.set_yticks(places, [short(name, 26) for name in names], fontsize=7)
        axes.set(ylim=(len(names) - 0.4, -0.6), xlabel=label)
        axes.tick_params(axis="y", length=0)
        axes.grid(axis="x")
        together = "" if math.isnan(total) else f"; without all of them {total:.3g}"
        axes.set_title(f"Without each band alone{together}", loc="left", fontsize=8.5)
    return figure


def record_bars(record: RunRecord) -> "Figure":
    """The bands of a run at the last evaluation that logged them; see :func:`.band_bars`."""
    change = record.matching(_CHANNELS + "change/*")
    error = [record.last(f"{_CHANNELS}error/{name}") for name in change]
    blank = math.isnan(record.last(_CHANNELS + "largest_share"))  # no band passes its own floor
    return band_bars(
        list(map(unescape, change)),
        list(change.values()),
        error,
        math.inf if blank else 0.0,
        record.last(_CHANNELS + "total"),
    )


def course_pictures(course: ChannelCourse) -> "dict[str, Callable[[], Figure]]":
    """The pictures of a course that has an evaluation: last word of the logged key -> what draws it.

    None of an image of one band, which has no profile.
    """
    if len(course.names) == 1:
        return {}
    pictures: dict[str, Callable[[], Figure]] = {"profile": lambda: profile_figure(course)}
    if len(course.profiles) > 1:
        pictures["course"] = lambda: course_figure(course)
    if course.method == "shapley":
        last = course.profiles[-1]
        floors = [math.inf] * len(course.names) if last.blank else last.floors
        pictures["shapley"] = lambda: band_bars(course.names, last.change, last.error, floors, last.total)
    return pictures


# -- parts


def _last(course: ChannelCourse, where: str) -> BandProfile:
    if not course.profiles:
        raise InputError(where, "there is nothing to draw", "no evaluation", "Add a profile first.")
    return course.profiles[-1]


def _profile(axes: "Axes", course: ChannelCourse, profile: BandProfile) -> None:
    """Filled steps from 0, and the error around their upper edge."""
    edges, change = _steps(course, profile.change)
    _, error = _steps(course, profile.error)
    _, floors = _steps(course, profile.floors)
    colour = COLOURS["first"]
    for low, high, passes in ((0.0, 1.0, True), (-1.0, 1.0, None)):  # the profile, and its error
        top = [value + high * width if passes is None else value for value, width in zip(change, error, strict=True)]
        base = [value + low * width if passes is None else 0.0 for value, width in zip(change, error, strict=True)]
        where = [
            passes is None or (abs(value) > floor and not profile.blank)
            for value, floor in zip(change, floors, strict=True)
        ]
        axes.fill_between(edges, base, top, where=where, color=colour, alpha=0.32, linewidth=0, zorder=2)
    axes.plot(edges, change, color=colour, linewidth=1.3, zorder=3, label="last evaluation ± standard error")


def _outline(
    axes: "Axes", course: ChannelCourse, values: Sequence[float], colour: str, label: str | None, width: float,
    by_channel: bool = False, style: str = "-",
) -> None:  # fmt: skip
    if values:
        edges, steps = _steps(course, values, by_channel)
        axes.plot(edges, steps, style, color=colour, linewidth=width, label=label, zorder=3)


def _steps(course: ChannelCourse, values: Sequence[float], by_channel: bool = False) -> tuple[list[float], list[float]]:
    """A line of steps over the axis; broken where nothing lies."""
    x: list[float] = []
    y: list[float] = []
    owners = course.owners
    for channel, (low, high) in sorted(enumerate(course.cells), key=lambda cell: cell[1]):
        owner = owners[channel]
        value = values[channel] if by_channel else math.nan if owner is None else values[owner]
        if x and low - x[-1] > 1e-6 * abs(high - low):
            x, y = [*x, x[-1], low], [*y, math.nan, math.nan]
        x, y = [*x, low, high], [*y, value, value]
    return x, y


def _spectrum(axes: "Axes", course: ChannelCourse) -> None:
    """The mean spectrum behind, on an axis of its own without figures."""
    if not course.mean:
        return
    behind = axes.twinx()
    behind.set_zorder(-1)
    behind.set_yticks([])
    behind.spines[:].set_visible(False)
    behind.plot(
        course.positions, course.mean, color=COLOURS["soft"], linewidth=1.0, alpha=0.7, label="mean spectrum, own scale"
    )
    low, high, spread = min(course.mean), max(course.mean), sum(course.deviation) / len(course.deviation)
    rest = max(0.1 * (high - low), spread - (high - low) / 2, 1e-9)  # standardised channels are a flat line
    behind.set_ylim(low - rest, high + rest)


def _shade(axes: "Axes", course: ChannelCourse) -> None:
    """Bands that somebody named, shaded and named; of tiles every second one."""
    for band, (low, high) in enumerate(course.extents):
        if course.named or (band % 2 == 0 and len(course.names) <= 2 * _MOST_NAMES):
            axes.axvspan(low, high, color=COLOURS["line"], alpha=0.3, linewidth=0, zorder=0)
    if course.named and len(course.names) <= _MOST_NAMES:
        for band, (low, high) in enumerate(course.extents):
            axes.annotate(
                short(course.names[band], 22), ((low + high) / 2, 0.98), xycoords=("data", "axes fraction"),
                rotation=90, va="top", ha="center", fontsize=6.5, color=COLOURS["soft"],
            )  # fmt: skip


def _limits(axes: "Axes", course: ChannelCourse, last: BandProfile) -> None:
    """Room for profile, error and floors."""
    tops = [*filter(math.isfinite, last.floors), 0.0]
    for profile in (course.profiles[0], last):
        for value, error in zip(profile.change, profile.error, strict=True):
            if math.isfinite(value):
                width = error if math.isfinite(error) else 0.0
                tops += [value - width, value + width]
    low, high = min(tops), max(tops)
    margin = 0.06 * (high - low) or 1.0
    names = 0.55 * (high - low) if course.named and len(course.names) <= _MOST_NAMES else 0.0
    axes.set_ylim(low - margin, high + margin + names)


def _map(
    axes: "Axes",
    course: ChannelCourse,
    rows: Sequence[Sequence[float]],
    limits: tuple[float, float],
    shades: Sequence[str],
    label: str,
    named: bool = False,
) -> None:
    """A row per evaluation, a column per channel; the names of bands above where they are asked for."""
    from matplotlib.colors import LinearSegmentedColormap

    edges: list[float] = []
    columns: list[int | None] = []
    owners = course.owners
    for channel, (low, high) in sorted(enumerate(course.cells), key=lambda cell: cell[1]):
        if edges and low - edges[-1] > 1e-6 * abs(high - low):
            edges, columns = [*edges, low], [*columns, None]
        edges, columns = [*(edges or [low]), high], [*columns, owners[channel]]
    filled = [[math.nan if column is None else row[column] for column in columns] for row in rows]
    axes.set_facecolor(COLOURS["line"])
    image: Any = axes.pcolormesh(
        edges, [i - 0.5 for i in range(len(rows) + 1)], filled, vmin=limits[0], vmax=limits[1],
        cmap=LinearSegmentedColormap.from_list("shades", list(shades)),
    )  # fmt: skip
    if len(course.names) <= 2 * _MOST_NAMES:
        for edge in sorted({end for extent in course.extents for end in extent}):
            axes.axvline(edge, color=COLOURS["soft"], linewidth=0.3, alpha=0.5)
    if named and len(course.names) <= _MOST_NAMES:
        for name, (low, high) in zip(course.names, course.extents, strict=True):
            axes.annotate(
                short(name, 24), ((low + high) / 2, 1.02), xycoords=("data", "axes fraction"), rotation=45,
                va="bottom", ha="left", fontsize=6.5, annotation_clip=False,
            )  # fmt: skip
    bar = axes.figure.colorbar(image, ax=axes, location="right", shrink=0.95, aspect=18)
    bar.set_label(label, fontsize=7)
    bar.ax.tick_params(labelsize=6.5)


def _axis(axes: "Axes", course: ChannelCourse) -> None:
    from matplotlib.ticker import MaxNLocator

    cells = course.cells
    low, high = min(low for low, _ in cells), max(high for _, high in cells)
    axes.set_xlim((high, low) if course.descending else (low, high))
    axes.xaxis.set_major_locator(MaxNLocator(nbins=7, integer=not course.axis, steps=[1, 2, 2.5, 5, 10]))
