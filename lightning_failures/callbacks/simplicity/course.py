"""What is last known of every figure of simplicity, as plain data for the pictures."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

__all__ = ["SimplicityCourse"]


class SimplicityCourse:
    """The last known value of every statistic, since not all are measured at every evaluation.

    Args:
        wavelengths: place of each channel; None: its number.
        unit: ``"nm"``, ``"um"`` or ``"cm-1"``; None: not said.
    """

    def __init__(self, wavelengths: Sequence[float] | None = None, unit: str | None = None) -> None:
        self.wavelengths = None if wavelengths is None else list(wavelengths)
        self.unit = unit
        self.epoch = 0
        self.latest: dict[str, float] = {}
        self.names: list[str] = []
        self.cues: list[str] = []  #: one number per image each, as the total absorbance is
        self.directions: list[list[float]] = []
        self.points: dict[str, list[Any]] = {}
        self.class_names: Sequence[str] | None = None  #: where they are known

    def add(
        self, epoch: int, values: Mapping[str, float], names: Sequence[str], directions: Sequence[Sequence[float]]
    ) -> None:
        """Add an evaluation.

        Args:
            epoch: of it.
            values: its statistics, as logged, without prefix.
            names: the rungs, lowest first.
            directions: the first principal directions, one per row; (r b).
        """
        self.epoch = epoch
        self.latest |= {key: value for key, value in values.items() if not math.isnan(value)}
        self.names, self.directions = list(names), [list(row) for row in directions]

    def get(self, key: str) -> float:
        """The last known value; nan where there is none."""
        return self.latest.get(key, math.nan)

    def by_rank(self, key: str) -> tuple[list[int], list[float]]:
        """Ranks and values of ``<key>/<rank>``."""
        found = sorted((int(name.split("/")[1]), v) for name, v in self.latest.items() if name.split("/")[0] == key)
        return [rank for rank, _ in found], [value for _, value in found]

    @property
    def worst_cue(self) -> str | None:
        """The cue, one number per image, on which predictions rest most; None without cues."""
        return max(self.cues, key=lambda cue: self.latest.get(f"reliance/{cue}", -1.0), default=None)

    def state_dict(self) -> dict[str, Any]:
        """Plain containers."""
        return {"epoch": self.epoch, "latest": dict(self.latest)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on where the checkpoint stood."""
        self.epoch, self.latest = state["epoch"], dict(state["latest"])
