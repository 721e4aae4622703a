"""Stops a run that keeps violating a constraint."""

from collections.abc import Sequence
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer

from lightning_failures.callbacks.both_names import TheirCallback
from lightning_failures.callbacks.gate.constraints import read_constraints
from lightning_failures.callbacks.gate.gate import Gate
from lightning_failures.callbacks.state_key import state_key
from lightning_failures.callbacks.training_evaluation import why_no_validation
from lightning_failures.errors import InputError
from lightning_failures.reporting.console import print_notice

__all__ = ["GatedEarlyStopping"]

WHERE = "GatedEarlyStopping"


class GatedEarlyStopping(Callback, TheirCallback):
    """Stops the run when one constraint is violated at several evaluations in a row.

    It knows nothing of improvement: Lightning's ``EarlyStopping`` may stand beside it. An evaluation that says nothing
    of a constraint (its value is nan, or was not logged) neither counts against it nor clears it.

    Args:
        constraints: as for :class:`.GatedCheckpoint`.
        patience: violated evaluations in a row after which the run stops.
        warmup: first epoch, counted from 0, whose evaluations count.

    Raises:
        InputError: a constraint cannot be read or contradicts another; a patience below 1, a warm-up below 0, or one of
            them that is no whole number.

    Example:
        >>> stop = GatedEarlyStopping(["failures/accuracy >= 0.3", "val_loss < 5"], patience=2, warmup=4)
        >>> [str(constraint) for constraint in stop.constraints]
        ['failures/accuracy >= 0.3', 'val_loss < 5']
    """

    def __init__(self, constraints: str | Sequence[str], patience: int = 3, *, warmup: int = 0) -> None:
        super().__init__()
        self.constraints = read_constraints(WHERE, constraints)
        if not all(isinstance(each, int) and not isinstance(each, bool) for each in (patience, warmup)):
            given = f"patience={patience!r}, warmup={warmup!r}"
            raise InputError(WHERE, "a patience or a warm-up that is no whole number", given, "Write 3 and 0, say.")
        if patience < 1 or warmup < 0:
            given = f"patience={patience}, warmup={warmup}"
            raise InputError(WHERE, "a patience below 1 or a warm-up below 0", given, "Count evaluations, then epochs.")
        self.patience = patience
        self.warmup = warmup
        self.stopped_epoch: int | None = None
        self.reason = ""
        self._gate = Gate(WHERE, self.constraints)
        self._streaks = [0] * len(self.constraints)

    @property
    def gate_keys(self) -> list[str]:
        """The keys that it decides by, with stars; their figures are made at every evaluation, whatever the budget."""
        return self._gate.keys

    @property
    def state_key(self) -> str:
        """One a configuration."""
        return state_key(self, str([str(each) for each in self.constraints]))

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Count, and stop all processes."""
        if not trainer.sanity_checking and trainer.state.fn == "fit":
            self._count(trainer)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Count at the end of an epoch, where nothing is validated."""
        if why_no_validation(trainer) is not None:
            self._count(trainer)

    def _count(self, trainer: Trainer) -> None:
        verdict, _ = self._gate.judge(trainer)
        self._gate.warn_of_unknown_keys(trainer, verdict)
        if verdict.epoch < self.warmup:
            return
        for place, outcome in enumerate(verdict.outcomes):
            if outcome.state in ("holds", "violated"):
                self._streaks[place] = self._streaks[place] + 1 if outcome.state == "violated" else 0
        over = [place for place, streak in enumerate(self._streaks) if streak >= self.patience]
        if not over:
            return
        why = "; ".join(verdict.outcomes[place].why or f"{self.constraints[place]} is violated" for place in over)
        times = f"{self.patience} evaluations in a row" if self.patience > 1 else "1 evaluation"
        self.stopped_epoch, self.reason = verdict.epoch, f"{why}, after {times}"
        trainer.should_stop = True
        if trainer.is_global_zero:
            print_notice(verdict.epoch, "stopped", f"The run stops: {self.reason}.")

    def state_dict(self) -> dict[str, Any]:
        """Plain containers, which a resume loads with ``weights_only=True``."""
        return {"streaks": list(self._streaks), "stopped_epoch": self.stopped_epoch, "reason": self.reason}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on counting."""
        self._streaks = list(state_dict["streaks"])
        self.stopped_epoch, self.reason = state_dict["stopped_epoch"], state_dict["reason"]
