"""Whose turn it is: the parts of an examination, dealt out over the evaluations as time allows."""

from collections.abc import Iterable, Mapping
from typing import Any

__all__ = ["Turns"]

PATIENCE = 5  # evaluations that a part waits before it goes ahead of the first one
MARGIN = 1.5  # on what a part is expected to take, until it has run


class Turns:
    """Deals parts of known work out, the first part first, and then what has waited longest.

    Example:
        >>> turns, work = Turns(), {"headline": 100, "rings": 400}
        >>> turns.choose(work, left=9.0)
        ('headline',)
        >>> turns.seconds["headline"] = 1.0  # so that rings are expected to take 6
        >>> turns.choose(work, left=9.0), turns.choose(work, left=2.0)
        (('headline', 'rings'), ('headline',))
    """

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}  #: that each part took, when it last ran
        self.waits: dict[str, int] = {}  #: evaluations since then, from 1

    def choose(self, work: Mapping[str, int], left: float) -> tuple[str, ...]:
        """The parts that fit into some seconds: at least one, and the first alone until it is known how long it takes.

        Args:
            work: of each part, in forward passes of an image; the first part is the most urgent.
            left: seconds.
        """
        first = next(iter(work))
        if not self.seconds:
            return (first,)
        urgency = {name: self.waits.get(name, 1) * (PATIENCE if name == first else 1) for name in work}
        chosen: list[str] = []
        for name in sorted(urgency, key=lambda name: -urgency[name]):
            cost = self._cost(name, work)
            if not chosen or cost <= left:
                chosen.append(name)
                left -= cost
        return tuple(chosen)

    def follow(self, parts: Iterable[str], plan: tuple[str, ...]) -> None:
        """Let all parts wait for one more evaluation but those of a plan."""
        self.waits |= {name: 1 if name in plan else self.waits.get(name, 1) + 1 for name in parts}

    def _cost(self, name: str, work: Mapping[str, int]) -> float:
        if name in self.seconds:
            return self.seconds[name]
        rate = max((seconds / work[part] for part, seconds in self.seconds.items() if part in work), default=0.0)
        return MARGIN * rate * work[name]

    def state_dict(self) -> dict[str, Any]:
        """How long each part takes and has waited."""
        return {"seconds": dict(self.seconds), "waits": dict(self.waits)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on where the checkpoint stood."""
        self.seconds, self.waits = dict(state["seconds"]), dict(state["waits"])
