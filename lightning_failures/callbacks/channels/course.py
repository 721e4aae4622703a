"""What a model depends on at each evaluation, band by band, as plain data."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from lightning_failures.records.finding import Evidence
from lightning_failures.spectrum.axes import axis_label
from lightning_failures.spectrum.layout import Layout

__all__ = ["TABLE_COLUMNS", "BandProfile", "ChannelCourse"]

#: Of the table of one evaluation, see :meth:`ChannelCourse.table`; change and error in nats, from and to in the unit of
#: the axis, pattern the mean size of a channel's correlation with a logit.
TABLE_COLUMNS = ("epoch", "band", "from", "to", "channels", "change", "error", "share", "pattern")


@dataclass
class BandProfile:
    """What the model depends on at one evaluation; by band in the order of the course.

    Args:
        epoch: Lightning's epoch, counted from 0.
        step: the global step.
        change: mean rise of the cross-entropy without the band, in nats; (g).
        error: its standard error, in nats; (g).
        share: its size over the sum of sizes, nan where the profile is blank; (g).
        floors: size of each band's change that means nothing, in nats; (g).
        total: change without all bands, in nats; nan where the method does not give it.
    """

    epoch: int
    step: int
    change: list[float] = field(default_factory=list)
    error: list[float] = field(default_factory=list)
    share: list[float] = field(default_factory=list)
    floors: list[float] = field(default_factory=list)
    total: float = math.nan

    @property
    def blank(self) -> bool:
        """Whether no band passes its floor, so that the shape means nothing."""
        return any(map(math.isnan, self.share))


@dataclass
class ChannelCourse:
    """All evaluations of a run, and what its bands are.

    Args:
        names: of the bands; (g).
        members: channels of each band; (g).
        positions: place of each channel on the axis; (C), by their number where there is no axis.
        unit: of the axis; None without one, or where it was not said.
        axis: whether there is one.
        named: whether the names are worth writing into a picture.
        method: that was used.
        profiles: in the order of training.
        mean: of each channel over the reference images, at the last evaluation; (C).
        deviation: of the images' means; (C).
        pattern: largest size of a channel's correlation with a logit; (C).

    Example:
        >>> course = ChannelCourse(["low", "high"], [[0, 1], [2]], [400.0, 500.0, 600.0], "nm")
        >>> course.owners, course.extents
        ([0, 0, 1], [(350.0, 550.0), (550.0, 650.0)])
    """

    names: list[str]
    members: list[list[int]]
    positions: list[float]
    unit: str | None = None
    axis: bool = True
    named: bool = False
    method: str = "ablation"
    profiles: list[BandProfile] = field(default_factory=list)
    mean: list[float] = field(default_factory=list)
    deviation: list[float] = field(default_factory=list)
    pattern: list[float] = field(default_factory=list)

    @classmethod
    def of(cls, layout: Layout, method: str) -> "ChannelCourse":
        """A course without an evaluation.

        Args:
            layout: bands and axis.
            method: that is used.
        """
        axis = layout.axis
        return cls(
            names=list(layout.names),
            members=layout.members,
            positions=list(map(float, range(layout.num_channels))) if axis is None else axis.values.tolist(),
            unit=None if axis is None else axis.unit,
            axis=axis is not None,
            named=layout.named,
            method=method,
        )

    @property
    def descending(self) -> bool:
        """Whether pictures run from right to left, as is the custom for wavenumbers."""
        return self.unit == "cm-1"

    @property
    def label(self) -> str:
        """What the axis is."""
        return axis_label(self.unit) if self.axis else "channel"

    @property
    def owners(self) -> list[int | None]:
        """The band that a picture shows at each channel, the one whose middle is nearest; None where there is none."""
        found: list[int | None] = [None] * len(self.positions)
        away = [math.inf] * len(self.positions)
        for band, channels in enumerate(self.members):
            middle = sum(channels) / len(channels)
            for channel in channels:
                if abs(channel - middle) < away[channel]:
                    found[channel], away[channel] = band, abs(channel - middle)
        return found

    @property
    def cells(self) -> list[tuple[float, float]]:
        """What part of the axis each channel stands for: half the way to its neighbours, but not across a gap."""
        steps = [abs(b - a) for a, b in zip(self.positions, self.positions[1:], strict=False)]
        if not steps:
            return [(self.positions[0] - 0.5, self.positions[0] + 0.5)]
        around = [max(steps[max(0, i - 3) : i] + steps[i + 1 : i + 4], default=step) for i, step in enumerate(steps)]
        halves = [min(step, 1.5 * usual) / 2 for step, usual in zip(steps, around, strict=True)]
        before, after = [halves[0], *halves], [*halves, halves[-1]]
        if self.positions[0] > self.positions[-1]:
            before, after = after, before
        return [(place - b, place + a) for place, b, a in zip(self.positions, before, after, strict=True)]

    @property
    def extents(self) -> list[tuple[float, float]]:
        """Where each band begins and ends."""
        cells = self.cells
        parts = [[cells[channel] for channel in row] for row in self.members]
        return [(min(low for low, _ in part), max(high for _, high in part)) for part in parts]

    def of_bands(self, channels: Sequence[float]) -> list[float]:
        """Mean of a value of the channels over each band, leaving nan out; nan where all are."""
        kept = [[channels[c] for c in row if not math.isnan(channels[c])] for row in self.members]
        return [sum(row) / len(row) if row else math.nan for row in kept]

    def table(self) -> list[list[Evidence]]:
        """The last evaluation, one row per band; columns are :data:`TABLE_COLUMNS`."""
        last, pattern = self.profiles[-1], self.of_bands(self.pattern)
        rows = []
        for band, (name, channels, extent) in enumerate(zip(self.names, self.members, self.extents, strict=True)):
            place = extent if self.axis else (min(channels), max(channels))
            figures = last.change[band], last.error[band], last.share[band], pattern[band]
            rows.append([last.epoch, name, *place, len(channels), *figures])
        return rows

    def state_dict(self) -> dict[str, Any]:
        """Plain containers."""
        return asdict(self)

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> "ChannelCourse":
        """What :meth:`state_dict` gave."""
        return cls(**{**state, "profiles": [BandProfile(**profile) for profile in state["profiles"]]})
