"""Judges evaluations: fresh values against constraints, one verdict for all processes."""

import math
import warnings
from collections.abc import Iterable, Sequence
from difflib import get_close_matches

from lightning.pytorch import Trainer

from lightning_failures.callbacks.freshness import Freshness
from lightning_failures.callbacks.gate.constraints import Reading, measure
from lightning_failures.callbacks.gate.verdict import Verdict
from lightning_failures.errors import FailuresWarning
from lightning_failures.records.condition import Condition

__all__ = ["Gate", "unknown_key"]

LISTED = 40


class Gate:
    """What :class:`GatedCheckpoint` and :class:`GatedEarlyStopping` ask at each evaluation.

    Args:
        where: the public name that asks, for warnings.
        constraints: of :func:`.read_constraints`.
        required: further keys that must be logged at the evaluation, to rank by.
    """

    def __init__(self, where: str, constraints: Sequence[Condition], required: Iterable[str] = ()) -> None:
        self.where = where
        self.constraints = constraints
        self.required = tuple(required)
        self._freshness = Freshness()
        self._evaluated = False
        self._warned = False

    def look(self, trainer: Trainer) -> None:
        """Note what is new; to be called after every validation and every epoch."""
        self._evaluated = self._evaluated or trainer.validating or not trainer.enable_validation
        self._freshness.look(trainer)

    def judge(self, trainer: Trainer) -> tuple[Verdict, dict[str, float]]:
        """The verdict on the present weights, and the required values; every process must call it."""
        self.look(trainer)
        values = self._freshness.values(trainer)
        for key, value in (("epoch", trainer.current_epoch), ("step", trainer.global_step)):
            values[key] = float(value)
        fresh = self._freshness.fresh(trainer, values) | {"epoch", "step"}
        readings = [
            *measure(self.constraints, values, fresh),
            *(_required(key, values, fresh) for key in self.required),
        ]
        verdict = Verdict.agreed(trainer.current_epoch, trainer.global_step, readings)
        agreed = verdict.readings[len(self.constraints) :]
        return verdict, {reading.key: reading.value for reading in agreed}

    def warn_of_unknown_keys(self, trainer: Trainer, verdict: Verdict) -> None:
        """Say once, after the first evaluation, which keys are not there, which are, and what may have been meant."""
        if self._warned or not self._evaluated or not trainer.is_global_zero:
            return
        self._warned = True
        known = sorted(self._freshness.values(trainer))
        for key in dict.fromkeys(reading.key for reading in verdict.readings if reading.state == "missing"):
            warnings.warn(f"{self.where}: {unknown_key(key, known)}", FailuresWarning, stacklevel=2)


def unknown_key(key: str, known: Sequence[str]) -> str:
    """A key that was not logged, the one that may have been meant, and those that were.

    Example:
        >>> print(unknown_key("val_los", ["val_acc", "val_loss"]))
        'val_los' was not logged; the nearest that was is 'val_loss'. Logged: val_acc, val_loss.
    """
    near = get_close_matches(key, known, n=1, cutoff=0)
    nearest = f"; the nearest that was is {near[0]!r}" if near else ""
    more = f" and {len(known) - LISTED} more" if len(known) > LISTED else ""
    return f"{key!r} was not logged{nearest}. Logged: {', '.join(known[:LISTED]) or 'nothing'}{more}."


def _required(key: str, values: dict[str, float], fresh: set[str]) -> Reading:
    value = values.get(key, math.nan)
    if key not in values:
        return Reading(key, "to rank by", value, math.nan, math.inf, "missing")
    if key not in fresh:
        return Reading(key, "to rank by", value, math.nan, math.inf, "stale")
    if math.isnan(value):
        return Reading(key, "to rank by", value, math.nan, math.inf, "undefined")
    return Reading(key, "to rank by", value, math.nan, 0.0, "holds")
