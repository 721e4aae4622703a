"""What stands in for a validation that there is none of: the last batches of each training epoch."""

import math

from lightning.pytorch import Trainer

__all__ = ["HELD_OUT", "NO_OP", "TrainingEvaluation", "why_no_validation"]

#: Most training batches of an evaluation: the weights hardly move over so few, and their cost is bounded.
MOST = 16

#: Share of an epoch's batches that an evaluation takes, rounded up; the simple models are fitted on the others.
SHARE = 0.25

#: Batches after which an evaluation begins anew, where nobody knows how many an epoch has.
ANEW = 100

#: Why a figure is not reported from training batches.
HELD_OUT = "there is no validation, and images that the model was trained on do not tell it"

#: Why nothing is validated where there is a loader and a step.
NO_OP = "validation_step runs no layer that is watched and returns nothing"


def why_no_validation(trainer: Trainer) -> str | None:
    """Why a ``fit`` evaluates nothing, as far as its Trainer knows; None where it validates."""
    if trainer.limit_val_batches == 0:
        return "limit_val_batches is 0"
    if not trainer.enable_validation:
        return "there is no validation"
    if trainer.val_dataloaders is not None and sum(trainer.num_val_batches) == 0:
        return "the validation loader is empty"
    return _ends_before(trainer)


def _ends_before(trainer: Trainer) -> str | None:
    """Why a run is over before its first validation is due; None where it is not, or where nobody knows.

    The answer is the same at each moment of a run, also where the run went on from a checkpoint.
    """
    epochs = math.inf if trainer.max_epochs in (None, -1) else float(trainer.max_epochs or 0)
    # an optimizer that the module steps by itself may do so less often than once per batch
    known = trainer.max_steps >= 0 and trainer.lightning_module.automatic_optimization
    steps = float(trainer.max_steps) if known else math.inf
    if math.isinf(epochs) and math.isinf(steps):
        return None
    every, length = trainer.check_val_every_n_epoch, float(trainer.num_training_batches)
    if every is not None and every > epochs:
        return f"check_val_every_n_epoch is {every} and max_epochs {epochs:.0f}"
    if not length or math.isinf(length) or trainer.val_check_batch is None:  # None: due after a time
        return None
    # whole epochs before the first validation, and batches of the one in which it is due
    if every is None and math.isfinite(trainer.val_check_batch):
        before = math.ceil(trainer.val_check_batch / length) - 1
        within = trainer.val_check_batch - before * length
    else:
        before, within = (every or 1) - 1, min(trainer.val_check_batch, length)
    if before >= epochs:
        return f"val_check_interval is {trainer.val_check_batch} batches and the run has {epochs * length:.0f}"
    accumulated = trainer.accumulate_grad_batches
    taken = before * math.ceil(length / accumulated) + (within - 1) // accumulated
    return f"max_steps, {steps:.0f}, ends the run before the first is due" if steps <= taken else None


class TrainingEvaluation:
    """Whether a run is watched on its training batches, since nothing is validated, and on which of them.

    Those are the last quarter of an epoch's batches, 16 at most. Where nobody knows how many there are, an evaluation
    begins anew every 100 batches and takes the first 16, so that at the end of an epoch it is not old.
    """

    def __init__(self) -> None:
        self.why: str | None = None  #: why nothing is validated; None while the run validates
        self.taking = False  #: whether the present training batch is one of an evaluation
        self.silent: bool | None = None  #: whether validation steps do nothing; None while none was seen
        self.batches = 0.0  #: most batches of the evaluation that has begun
        self._spoke = False
        self._first = 0

    def begin(self, trainer: Trainer) -> bool:
        """Find out, before the first training step, whether there is a validation; whether that is news."""
        known, self.why = self.why, self.why or why_no_validation(trainer)
        return known is None and self.why is not None

    def hear(self, silent: bool | None) -> bool:
        """Take what all ranks say of the validation steps so far; whether they are found to do nothing.

        Args:
            silent: whether they do nothing; None: no batch was seen on any rank.
        """
        self._spoke = silent is False
        if silent:
            self.why = NO_OP
        return bool(silent)

    @property
    def listens(self) -> bool:
        """Whether it is not known yet what the validation steps do."""
        return self.why is None and not self._spoke

    def note(self, silent: bool) -> None:
        """Note of one validation step whether it did nothing."""
        self.silent = silent and self.silent is not False

    def step(self, trainer: Trainer, batch_idx: int) -> bool:
        """Before a training batch: decide whether it is taken; whether an evaluation begins with it."""
        if self.why is None:
            return False
        if batch_idx == 0:
            self._first, self.batches = window(_to_come(trainer))
        place = batch_idx - self._first if self._first >= 0 else batch_idx % ANEW
        self.taking = 0 <= place < self.batches
        return place == 0


def window(batches: float) -> tuple[int, int]:
    """The first batch of an epoch that is watched, -1 where its length is not known, and how many there are.

    Example:
        >>> window(8), window(21), window(1000), window(float("inf"))
        ((6, 2), (15, 6), (984, 16), (-1, 16))
    """
    if not math.isfinite(batches):
        return -1, MOST
    count = min(MOST, math.ceil(SHARE * batches))
    return int(batches) - count, count


def _to_come(trainer: Trainer) -> float:
    """Batches of the epoch that begins; fewer where ``max_steps`` ends the run before."""
    batches = float(trainer.num_training_batches)
    if trainer.max_steps > 0:
        batches = min(batches, (trainer.max_steps - trainer.global_step) * trainer.accumulate_grad_batches)
    return batches
