"""What a model depends on at each evaluation, band by band, as plain data."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

__all__ = ["ChannelCourse", "Profile"]


@dataclass
class Profile:
    """One evaluation; by band in the order of the course.

    Args:
        epoch: of it.
        step: of it.
        change: mean change of the score without the band; (g).
        error: its standard error; (g).
        share: its size over the sum of sizes, nan where the profile is blank; (g).
        floor: size of change that means nothing.
        total: change without all bands; nan where the method does not give it.
    """

    epoch: int
    step: int
    change: list[float] = field(default_factory=list)
    error: list[float] = field(default_factory=list)
    share: list[float] = field(default_factory=list)
    floor: float = math.nan
    total: float = math.nan

    @property
    def blank(self) -> bool:
        """Whether no band passes the floor, so that the shape means nothing."""
        return any(map(math.isnan, self.share))


@dataclass
class ChannelCourse:
    """All evaluations of a run, and what its bands are.

    Args:
        names: of the bands; (g).
        members: channels of each band; (g).
        positions: place of each channel on the axis; (C), by their number where there is no axis.
        unit: of the axis; None without one, or where it was not said.
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
    profiles: list[Profile] = field(default_factory=list)
    mean: list[float] = field(default_factory=list)
    deviation: list[float] = field(default_factory=list)
    pattern: list[float] = field(default_factory=list)

    @property
    def descending(self) -> bool:
        """Whether pictures run from right to left, as is the custom for wavenumbers."""
        return self.unit == "cm-1"

    @property
    def label(self) -> str:
        """What the axis is."""
        if not self.axis:
            return "channel"
        return {"cm-1": "wavenumber (cm-1)", None: "axis"}.get(self.unit, f"wavelength ({self.unit})")

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

    def state_dict(self) -> dict[str, Any]:
        """Plain containers."""
        return asdict(self)

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> "ChannelCourse":
        """What :meth:`state_dict` gave."""
        return cls(**{**state, "profiles": [Profile(**profile) for profile in state["profiles"]]})
