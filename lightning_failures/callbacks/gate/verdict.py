"""What a gate says of one evaluation: whether its constraints hold, why not, and by how much."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from lightning_failures.callbacks.gate.constraints import STATES, Outcome
from lightning_failures.callbacks.ranks import gather
from lightning_failures.records.strict_json import strict

__all__ = ["Verdict"]


@dataclass(frozen=True)
class Verdict:
    """One evaluation before the gate, the same on all processes.

    Args:
        epoch: Lightning's epoch, counted from 0.
        step: the global step.
        outcomes: of the constraints, and of the values that the ranking needs.
        ranks: the process that each outcome comes from; None where all say the same.
    """

    epoch: int
    step: int
    outcomes: tuple[Outcome, ...]
    ranks: tuple[int | None, ...]

    @classmethod
    def agreed(cls, epoch: int, step: int, outcomes: Sequence[Outcome]) -> "Verdict":
        """The verdict of all processes: of each constraint the worst outcome; every process must call it."""
        said = gather(list(outcomes))
        worst, ranks = [], []
        for each in zip(*said, strict=True):
            badness = [(STATES.index(outcome.state), outcome.excess) for outcome in each]
            process = badness.index(max(badness))
            worst.append(each[process])
            ranks.append(process if min(badness) != max(badness) else None)
        return cls(epoch, step, tuple(worst), tuple(ranks))

    @property
    def feasible(self) -> bool:
        """Whether everything holds."""
        return all(outcome.state == "holds" for outcome in self.outcomes)

    @property
    def measured(self) -> bool:
        """Whether every value was logged at this evaluation."""
        return all(outcome.state not in ("missing", "stale") for outcome in self.outcomes)

    @property
    def comparable(self) -> bool:
        """Whether it can be said by how much it violates."""
        return math.isfinite(self.violation)

    @property
    def violation(self) -> float:
        """Sum of what is violated, each as a share of its bound; inf where something cannot be compared."""
        return math.fsum(max(outcome.relative, 0.0) for outcome in self.outcomes if outcome.state != "holds")

    @property
    def why(self) -> str:
        """What does not hold, and by how much; empty where all does."""
        pairs = zip(self.outcomes, self.ranks, strict=True)
        return "; ".join(
            outcome.why + ("" if rank is None else f" on rank {rank}") for outcome, rank in pairs if outcome.why
        )

    def to_dict(self) -> dict[str, Any]:
        """Plain containers that strict JSON and ``torch.load(weights_only=True)`` accept."""
        return {
            "epoch": self.epoch,
            "step": self.step,
            "feasible": self.feasible,
            "violation": strict(self.violation),
            "why": self.why,
            "constraints": [
                {name: strict(value) for name, value in outcome._asdict().items()} for outcome in self.outcomes
            ],
        }
