"""Whose turn it is: the parts of an examination, dealt out over the evaluations as the budget allows."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

__all__ = ["Turns"]


class Turns:
    """Deals parts of known work out: the first part at every evaluation, urgent ones wherever they fit, and of the
    others what has waited longest.

    Example:
        >>> turns, work = Turns(), {"headline": 100, "contents": 300, "ranks": 400, "regions": 50}
        >>> turns.choose(work, left=450)
        ('headline', 'contents', 'regions')
        >>> turns.follow(work, ("headline", "contents", "regions"))
        >>> turns.choose(work, left=500), turns.choose(work, left=500, urgent=["contents"])
        (('headline', 'ranks'), ('headline', 'contents', 'regions'))
    """

    def __init__(self) -> None:
        self.waits: dict[str, int] = {}  #: of each part, evaluations since its last turn, from 1

    def choose(self, work: Mapping[str, float], left: float, urgent: Sequence[str] = ()) -> tuple[str, ...]:
        """The first part, whatever it takes, and those of the others that fit into the rest.

        Args:
            work: of each part, in forward passes of an image; the first is always chosen.
            left: forward passes that this turn may take.
            urgent: parts that go before those that waited.
        """
        first, *others = work
        chosen, left = [first], left - work[first]
        for name in sorted(others, key=lambda name: (name not in urgent, -self.waits.get(name, 1))):
            if work[name] <= left:
                chosen.append(name)
                left -= work[name]
        return tuple(chosen)

    def follow(self, parts: Iterable[str], plan: tuple[str, ...]) -> None:
        """Let all parts wait for one more evaluation but those of a plan."""
        self.waits |= {name: 1 if name in plan else self.waits.get(name, 1) + 1 for name in parts}

    def state_dict(self) -> dict[str, Any]:
        """How long each part has waited."""
        return {"waits": dict(self.waits)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on where the checkpoint stood."""
        self.waits = dict(state["waits"])
