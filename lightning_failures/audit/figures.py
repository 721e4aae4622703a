"""Audited data as a figure: what all images share, where their labels can be read, and what is reached."""

from collections.abc import Callable, Sequence
from math import isfinite
from typing import TYPE_CHECKING

from lightning_failures.audit.data_audit import DataAudit
from lightning_failures.audit.sentences import RUNGS, VIEWS
from lightning_failures.functional.estimate import Estimate
from lightning_failures.reporting.figure_style import COLOURS, canvas, short
from lightning_failures.spectrum.axes import axis_label

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["audit_figure", "audit_panels"]

NAMED = 0.16  # inches of height for each accuracy with a name


def _height(audits: Sequence[DataAudit]) -> float:
    """Inches of a row of panels, which has room for all names."""
    return max(2.3, 0.55 + NAMED * max(len(audit.rungs) + len(audit.trials) for audit in audits))


def audit_figure(audits: Sequence[DataAudit]) -> "Figure":
    """One row of three panels for each audit.

    *Left*: the mean of each channel with the deviation of its pixels as a band. *Middle*: along the principal
    directions of the mean spectra, from the largest variance on, the share of the variance and of the label information
    in the first so many, and the held-out accuracy of a linear model of these. *Right*: the held-out accuracy of each
    simple model and of a small network on each view, with intervals; hollow: with each batch's own statistics.
    """
    with canvas(9.6, len(audits) * _height(audits)) as figure:
        parts = figure.subfigures(len(audits), 1, squeeze=False)[:, 0]
        for audit, part in zip(audits, parts, strict=True):
            part.set_facecolor("none")
            part.suptitle(short(audit.name, 60), x=0.01, ha="left", fontsize=9.5, fontweight="bold")
            for axes, title in zip(part.subplots(1, 3, width_ratios=[1, 1.05, 1]), PANELS, strict=True):
                _draw(axes, audit, title)
    return figure


def audit_panels(audit: DataAudit) -> "dict[str, Figure]":
    """The three panels of :func:`audit_figure`, each a figure of its own, so that they may stand below each other.

    Returns:
        Title -> the figure.
    """
    drawn = {}
    for title in PANELS:
        with canvas(3.3, _height([audit])) as drawn[title]:
            _draw(drawn[title].add_subplot(), audit, title)
    return drawn


def _draw_channels(axes: "Axes", audit: DataAudit) -> None:
    """Mean and deviation by channel."""
    count = len(audit.channels)
    places = audit.axis.values if audit.axis else audit.mean.new_tensor(range(count))
    order = places.argsort()
    x, centre, spread = places[order].tolist(), audit.mean[order], audit.deviation[order]
    axes.axhline(0, color=COLOURS["soft"], linewidth=0.8)
    if count < 8:
        axes.errorbar(x, centre.tolist(), spread.tolist(), fmt="o", color=COLOURS["first"], capsize=3)
        axes.set_xticks(x, [short(audit.channels[int(channel)], 10) for channel in order.tolist()])
    else:
        low, high = (centre - spread).tolist(), (centre + spread).tolist()
        axes.fill_between(x, low, high, color=COLOURS["first"], alpha=0.25, linewidth=0)
        axes.plot(x, centre.tolist(), color=COLOURS["first"], linewidth=1.2)
    axes.set_xlabel(axis_label(audit.axis.unit) if audit.axis else "channel" if count >= 8 else "")
    if audit.axis is not None and audit.axis.descending:
        axes.invert_xaxis()
    offset = audit.figures["offset_ratio"].value
    axes.set_ylabel("mean and deviation")
    axes.annotate(
        f"mean {offset:.2g} times the deviation", (0.98, 1.0), xycoords="axes fraction", ha="right", va="bottom",
        fontsize=7.5, xytext=(0, -9), textcoords="offset points",
    )  # fmt: skip
    bottom, top = axes.get_ylim()
    axes.set_ylim(bottom, top + 0.18 * (top - bottom))


def _draw_directions(axes: "Axes", audit: DataAudit) -> None:
    """Variance and label information collected, and accuracy, by number of directions."""
    variance, collected = audit.directions.variance, audit.directions.collected
    numbers = list(range(1, len(variance) + 1))
    held = (variance.cumsum(0) / variance.sum()).tolist()
    alone = "o" if len(numbers) == 1 else None
    axes.plot(numbers, held, color=COLOURS["soft"], linestyle="--", marker=alone, label="variance")
    if bool(collected.isfinite().all()):
        axes.plot(numbers, collected.tolist(), color=COLOURS["first"], marker=alone, label="label information")
    tried = sorted(audit.first)
    values = [audit.first[number] for number in tried]
    axes.errorbar(
        tried, [each.value for each in values], _arms(values), fmt="o", color=COLOURS["second"], capsize=2,
        elinewidth=1, markersize=3.5, label="accuracy, linear",
    )  # fmt: skip
    axes.axhline(audit.chance.value, color=COLOURS["line"], linewidth=1, zorder=0)
    axes.text(1, audit.chance.value, "chance", fontsize=7, va="bottom", color=COLOURS["soft"])
    if len(numbers) > 3:
        axes.set_xscale("log")
        axes.minorticks_off()
    ticks = [number for number in (1, 2, 3, 10, 30, 100, 300, 1000) if number <= len(numbers)]
    axes.set_xticks(ticks, [str(number) for number in ticks])
    axes.set_ylim(0, 0.04 + max(1.0, float(collected.nan_to_num().max())))  # unbiased shares may exceed 1
    axes.set_xlabel("number of principal directions")
    axes.set_ylabel("share")
    axes.legend(
        fontsize=6.8, loc="upper center", bbox_to_anchor=(0.5, -0.25), ncols=3, frameon=False, borderpad=0,
        handlelength=1.3, handletextpad=0.4, columnspacing=0.9,
    )  # fmt: skip


def _draw_accuracies(axes: "Axes", audit: DataAudit) -> None:
    """Accuracies with their intervals, simple models above the small network."""
    order = [name for name in RUNGS if name in audit.rungs]
    rungs = [(RUNGS.get(name, name), audit.rungs[name]) for name in (*(set(audit.rungs) - set(order)), *order)]
    trials = [(VIEWS[name], audit.trials[name]) for name in VIEWS if name in audit.trials]
    below = len(trials) + 0.6 * bool(trials)
    heights = [below + len(rungs) - 1 - place for place in range(len(rungs))]
    for found, places, colour in (
        (rungs, heights, COLOURS["second"]),
        (trials, [len(trials) - 1 - place for place in range(len(trials))], COLOURS["third"]),
    ):
        values = [estimate for _, estimate in found]
        if values:
            axes.errorbar(
                [each.value for each in values], places, xerr=_arms(values), fmt="o", color=colour, capsize=2,
                elinewidth=1, markersize=4,
            )  # fmt: skip
    batch = audit.batch_trials.get("as_given")
    if batch is not None:
        axes.plot([batch.value], [len(trials) - 1], "o", markerfacecolor="none", color=COLOURS["third"], markersize=5)
    axes.axvline(audit.chance.value, color=COLOURS["line"], linewidth=1, zorder=0)
    if trials:
        axes.axhline(len(trials) - 0.2, color=COLOURS["line"], linewidth=0.6)
    ticks = [*heights, *(len(trials) - 1 - place for place in range(len(trials)))]
    labels = [short(label, 27) for label, _ in (*rungs, *trials)]
    axes.set_yticks(ticks, labels, fontsize=7.5)
    axes.set_ylim(-0.6, below + len(rungs) - 0.3)
    axes.set_xlim(0, 1.03)
    axes.set_xlabel("accuracy")
    axes.tick_params(axis="y", length=0)


#: Title of each panel, which says what is seen, and what draws it.
PANELS: dict[str, Callable[["Axes", DataAudit], None]] = {
    "What all images share": _draw_channels,
    "Where the labels can be read": _draw_directions,
    "What is reached on held-out images": _draw_accuracies,
}


def _draw(axes: "Axes", audit: DataAudit, title: str) -> None:
    axes.set_title(title, fontsize=8.5, loc="left")
    PANELS[title](axes, audit)


def _arms(estimates: Sequence[Estimate]) -> list[list[float]]:
    """Lengths of the interval below and above each value."""
    known = [each if isfinite(each.low) else Estimate(each.value, each.value, each.value) for each in estimates]
    return [
        [max(0.0, each.value - each.low) for each in known],
        [max(0.0, each.high - each.value) for each in known],
    ]
