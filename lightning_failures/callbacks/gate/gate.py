"""Judges evaluations: fresh values against constraints, one verdict for all processes."""

import math
import warnings
from collections.abc import Iterable, Sequence

from lightning.pytorch import Trainer

from lightning_failures.callbacks.freshness import Freshness
from lightning_failures.callbacks.gate.constraints import Outcome, measure
from lightning_failures.callbacks.gate.verdict import Verdict
from lightning_failures.callbacks.training_evaluation import why_no_validation
from lightning_failures.errors import FailuresWarning
from lightning_failures.records.condition import Condition
from lightning_failures.records.keys import unknown_key

__all__ = ["Gate"]


class Gate:
    """What :class:`GatedCheckpoint` and :class:`GatedEarlyStopping` ask at each evaluation.

    Args:
        where: the public name that asks, for warnings.
        constraints: of :func:`.read_constraints`.
        required: further keys that must be logged at the evaluation, to rank by.
        freshness: of who looks at every evaluation already; None: the gate looks itself.
    """

    def __init__(
        self,
        where: str,
        constraints: Sequence[Condition],
        required: Iterable[str] = (),
        freshness: Freshness | None = None,
    ) -> None:
        self.where = where
        self.constraints = constraints
        self.required = tuple(required)
        self._freshness = freshness or Freshness()
        self._evaluated = False
        self._warned = False

    @property
    def keys(self) -> list[str]:
        """What it decides by, with stars."""
        return [*(key for constraint in self.constraints for key in constraint.keys("")), *self.required]

    def look(self, trainer: Trainer) -> None:
        """Note what is new; to be called wherever a verdict may be asked for."""
        self._evaluated = self._evaluated or trainer.validating or why_no_validation(trainer) is not None
        self._freshness.look(trainer)

    def judge(self, trainer: Trainer) -> tuple[Verdict, dict[str, float]]:
        """The verdict on the present weights, and the required values; every process must call it."""
        self.look(trainer)
        values = self._freshness.values(trainer, self.keys)
        for key, value in (("epoch", trainer.current_epoch), ("step", trainer.global_step)):
            values[key] = float(value)
        fresh = self._freshness.fresh(trainer, values) | {"epoch", "step"}
        outcomes = [
            *measure(self.constraints, values, fresh),
            *(_required(key, values, fresh) for key in self.required),
        ]
        verdict = Verdict.agreed(trainer.current_epoch, trainer.global_step, outcomes)
        agreed = verdict.outcomes[len(self.constraints) :]
        return verdict, {outcome.key: outcome.value for outcome in agreed}

    def warn_of_unknown_keys(self, trainer: Trainer, verdict: Verdict) -> None:
        """Say once, after the first evaluation that logged anything, which keys are not there and what may be meant."""
        known = self._freshness.values(trainer)
        if self._warned or not known or not self._evaluated or not trainer.is_global_zero:
            return
        self._warned = True
        for key in dict.fromkeys(outcome.key for outcome in verdict.outcomes if outcome.state == "missing"):
            warnings.warn(f"{self.where}: {unknown_key(key, known)}", FailuresWarning, stacklevel=2)


def _required(key: str, values: dict[str, float], fresh: set[str]) -> Outcome:
    value = values.get(key, math.nan)
    if key not in values:
        return Outcome(key, "to rank by", value, math.nan, math.inf, "missing")
    if key not in fresh:
        return Outcome(key, "to rank by", value, math.nan, math.inf, "stale")
    if math.isnan(value):
        return Outcome(key, "to rank by", value, math.nan, math.inf, "undefined")
    return Outcome(key, "to rank by", value, math.nan, 0.0, "holds")
