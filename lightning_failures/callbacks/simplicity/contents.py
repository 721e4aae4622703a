"""The contents that are exchanged between images in a run, how rich each is, and the search among parts of an image."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from lightning_failures.functional.transplants import beyond_smaller, leads

__all__ = ["PATTERNS", "STATISTICS", "Refinement", "cells", "neighbours", "richness", "unexplained"]

#: Contents that are a few numbers of each channel, and those that are a pattern in space.
STATISTICS = ("level", "colour", "channel_statistics")
PATTERNS = ("low_frequencies", "texture", "border")

#: Contents from the poorest to the richest; those in one group are as rich.
GROUPS = (
    ("total_absorbance", "grey_level", "level"),
    ("channel",),
    ("colour",),
    ("channels",),
    ("channel_statistics",),
    ("low_frequencies",),
    ("texture",),
    ("region",),
    ("border",),
)

#: Channels up to which each is an image of its own and no simple thing: a network that reads digits from the one
#: channel of four which shows them well does what it should.
FEW = 4

#: What patterns in space carry in networks that lean on none of them, and what a network that has only begun to learn
#: sees first: on digits, healthy networks had 0.05 to 0.40, and 0.55 once at the third epoch. On top
#: comes what the statistics of channels carry: with 0.2 of these and a coarse shape, low frequencies had 0.84 in a
#: network of which one prediction in ten followed the colour.
OF_PATTERNS = 0.2

#: Share of pairs that still predict as the receiver, up to which nothing but the texture decides: its share is then
#: taken as it is. Measured on digits, seeds 1 and 2 of docs/transplants.md: networks that follow a grating had a donor
#: share of 0.41 to 0.51, which the pattern's part would hide, and 0.05 to 0.12 of the receiver's predictions left;
#: healthy ones that read half of the digits or more 0.25 and more.
GONE = 0.15


def richness(content: str) -> int:
    """Place of a content among those that are poorer and richer, from 0.

    Example:
        >>> richness("channel 2") < richness("texture") < richness("region (0, 3)")
        True
    """
    kind = content.split(" ")[0]
    return next((place for place, group in enumerate(GROUPS) if kind in group), len(GROUPS))


def unexplained(shares: Mapping[str, tuple[float, float]]) -> dict[str, float]:
    """What each content carries beyond what it always does, and beyond poorer ones; see :func:`.beyond_smaller`.

    Args:
        shares: content -> donor share and own share.
    """
    if not shares:
        return {}
    donor, own = (torch.tensor(column, dtype=torch.float64) for column in zip(*shares.values(), strict=True))
    rank = torch.tensor([richness(name) for name in shares])
    patterns = torch.tensor([name in PATTERNS or name.startswith("region") for name in shares])
    baseline = torch.where(patterns, OF_PATTERNS + _statistics(shares), 0.0).double()
    if "texture" in shares and shares["texture"][1] <= GONE:
        baseline[list(shares).index("texture")] -= OF_PATTERNS
    return dict(zip(shares, beyond_smaller(donor, own, rank, baseline).tolist(), strict=True))


def _statistics(shares: Mapping[str, tuple[float, float]]) -> float:
    """What the statistics of channels carry together: a pattern holds them, and moves a decision by all of them."""
    kinds = [("total_absorbance", "grey_level", "level"), ("colour",), ("channel_statistics",)]
    kinds.append(tuple(name for name in shares if name.startswith("channel ")))
    return sum(max((shares[name][0] for name in kind if name in shares), default=0.0) for kind in kinds)


class Refinement:
    """A search from coarse to fine for the part that carries the decision, a step an evaluation, alike on all ranks.

    The coarse parts are looked at until one of them leads. Then its finer parts are, as long as one of them leads;
    where none does, no single part decides. Parts that led before are looked at again, so that what is said of them is
    never old.

    Args:
        coarse: coarse part -> its finer parts; none where it is as fine as can be.
    """

    def __init__(self, coarse: Mapping[str, Sequence[str]]) -> None:
        self.coarse = dict(coarse)
        self.within: str | None = None  #: the coarse part whose finer ones are looked at
        self.led: tuple[str, ...] = ()  #: parts that were found to lead, the latest last
        self._whole: set[str] = set()  # coarse parts of which no finer one leads

    @property
    def parts(self) -> tuple[str, ...]:
        """Those to look at now."""
        now = self.coarse if self.within is None else self.coarse[self.within]
        return tuple(dict.fromkeys((*now, *self.led)))

    def finest(self, part: str) -> bool:
        """Whether a part has no finer ones."""
        return not self.coarse.get(part)

    @property
    def searching(self) -> bool:
        """Whether a part leads whose finer ones were not looked at yet."""
        return self.within is not None and not any(part in self.coarse[self.within] for part in self.led)

    def learn(self, shares: Mapping[str, tuple[float, float]]) -> None:
        """Go on by what came out for the parts: donor share and own share, of all ranks."""
        leading = {part: donor for part, (donor, own) in shares.items() if leads(donor, own)}
        if self.within is None:
            best = max((part for part in leading if part in self.coarse), key=leading.__getitem__, default=None)
            if best is not None and not self.coarse[best]:
                self._remember(best)
            elif best is not None and best not in self._whole:
                self.within = best
            return
        finer = self.coarse[self.within]
        best = max((part for part in leading if part in finer), key=leading.__getitem__, default=None)
        if best is None:
            self._whole.add(self.within)
            self.within = None
        else:
            self._remember(best)

    def _remember(self, part: str) -> None:
        self.led = (*(each for each in self.led if each != part), part)[-2:]

    def state_dict(self) -> dict[str, Any]:
        """Plain containers."""
        return {"within": self.within, "led": list(self.led), "whole": sorted(self._whole)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on where the checkpoint stood."""
        within = state["within"]
        self.within = within if within in self.coarse else None
        self.led, self._whole = tuple(state["led"]), set(state["whole"])


def neighbours(names: Sequence[str]) -> tuple[dict[str, list[str]], dict[str, Tensor]]:
    """Channels in groups of neighbours, as many groups as each has members, and which channels each name stands for.

    Args:
        names: of the channels, in order.

    Returns:
        Group -> its channels, none where a group is a channel; and name -> members (b), bool.

    Example:
        >>> groups, members = neighbours([str(k) for k in range(5)])
        >>> groups
        {'channels 0 to 1': ['channel 0', 'channel 1'], 'channels 2 to 3': ['channel 2', 'channel 3'], 'channel 4': []}
        >>> members["channels 2 to 3"].int().tolist()
        [0, 0, 1, 1, 0]
    """
    each = max(1, math.isqrt(len(names)))
    groups: dict[str, list[str]] = {}
    members: dict[str, Tensor] = {}
    for start in range(0, len(names), each):
        stop = min(start + each, len(names))
        singles = [f"channel {name}" for name in names[start:stop]]
        group = singles[0] if len(singles) == 1 else f"channels {names[start]} to {names[stop - 1]}"
        groups[group] = singles if len(singles) > 1 else []
        for name, some in ((group, range(start, stop)), *((one, [start + k]) for k, one in enumerate(singles))):
            members[name] = torch.zeros(len(names), dtype=torch.bool)
            members[name][list(some)] = True
    return groups, members


def cells(height: int, width: int) -> tuple[dict[str, list[str]], dict[str, tuple[int, int, int]]]:
    """The quarters of an image and the sixteenths of each: their names; and the grid, row and column of each.

    Example:
        >>> parts, places = cells(8, 8)
        >>> parts["region (0, 1) of 2 x 2"], places["region (3, 3)"]
        (['region (0, 2)', 'region (0, 3)', 'region (1, 2)', 'region (1, 3)'], (4, 3, 3))
    """
    parts: dict[str, list[str]] = {}
    places: dict[str, tuple[int, int, int]] = {}
    for row in range(2):
        for column in range(2):
            quarter = f"region ({row}, {column}) of 2 x 2"
            inside = {f"region ({r}, {c})": (4, r, c) for r in _pair(row) for c in _pair(column)}
            parts[quarter] = list(inside) if min(height, width) >= 4 else []
            places |= {quarter: (2, row, column), **inside}
    return parts, places


def _pair(place: int) -> tuple[int, int]:
    return 2 * place, 2 * place + 1
