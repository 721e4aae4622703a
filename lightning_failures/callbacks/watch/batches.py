"""The batches of a loader, as a watched loop goes over them: the body of the loop is the step."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Any, Literal, Self

from lightning_failures.callbacks.watch.hand_loop import HandLoop
from lightning_failures.errors import FailuresWarning, InputError

__all__ = ["TrainingBatches", "WatchedEvaluation"]


class TrainingBatches:
    """The batches of a loader, on the model's device, each of which is a training step; see :meth:`.Watch.training`.

    Args:
        loop: that they belong to.
        loader: gives them.
    """

    def __init__(self, loop: HandLoop, loader: Any) -> None:
        self._loop, self.loader = loop, loader

    def __len__(self) -> int:
        return len(self.loader)

    def __iter__(self) -> Iterator[Any]:
        loop, where = self._loop, "Watch.training"
        loop.require_training(where)
        loop.begin_epoch(self.loader)
        try:
            for batch in self.loader:
                loop.require_training(where)
                moved = loop.moved(batch)
                loop.begin_step(moved)
                yield moved
                loop.end_step()
            loop.call("on_train_epoch_end")
        except BaseException:  # also where the loop is left
            loop.abandon()
            raise


class WatchedEvaluation:
    """An evaluation of a :class:`.Watch`: ``with watch.evaluation(loader) as batches: for batch in batches: ...``.

    The body of the loop is the step; the batches come on the model's device. A batch at which you leave the loop does
    not count. Where an error leaves the ``with`` block, the evaluation never took place, and no hook stays.

    Args:
        loop: that it belongs to.
        loader: gives the batches.
        stage: see :meth:`.Watch.evaluation`.
        epoch: see there.
        step: see there.
    """

    def __init__(
        self, loop: HandLoop, loader: Any, stage: Literal["fit", "test"], epoch: int | None, step: int | None
    ) -> None:
        self._loop, self.loader, self._stage, self._epoch, self._step = loop, loader, stage, epoch, step
        self.steps = 0  #: that were watched so far
        self._runs = self._in_step = False

    def __enter__(self) -> Self:
        where = "Watch.evaluation"
        self._loop.require_open(where)
        if self._loop.evaluating:
            fix = "Leave the `with` block of the one before the next begins."
            raise InputError(where, "another evaluation is running", "a second one inside it", fix)
        self._loop.begin_evaluation(self.loader, self._stage, self._epoch, self._step)
        self._runs = True
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._runs = False
        if error is not None:
            self._loop.drop_evaluation()
            return
        self._loop.end_evaluation()
        if not self.steps and self._loop.world_size == 1:  # one of several processes may have no batch
            self._warn_of_no_step()

    def __len__(self) -> int:
        return len(self.loader)

    def __iter__(self) -> Iterator[Any]:
        if self.steps:
            fix = "Begin another evaluation for another pass over the loader."
            raise InputError("Watch.evaluation", "the evaluation has seen batches already", "a second loop", fix)
        for batch in self.loader:
            moved = self._loop.moved(batch)
            with self.step(moved):
                yield moved

    @contextmanager
    def step(self, batch: Any) -> Iterator[None]:
        """One step inside, for loops that take their batches otherwise than from this evaluation.

        Args:
            batch: as the loader gives it, one after the other.
        """
        where = "Watch.evaluation"
        if not self._runs:
            fix = "Write `with watch.evaluation(loader) as batches:`, and the loop inside it."
            raise InputError(where, "the evaluation does not run", "a step outside its `with` block", fix)
        if self._in_step:
            fix = "Iterate over the evaluation, or use `step`, not both."
            raise InputError(where, "another step is running", "a step inside a step", fix)
        loop = self._loop
        self._in_step, loop.outputs = True, None
        moved = loop.moved(batch)
        try:
            loop.evaluate("batch_start", moved, self.steps, 0)
            yield
            if self._runs:
                self.steps += 1
                loop.evaluate("batch_end", loop.outputs, moved, self.steps - 1, 0)
        finally:
            self._in_step = False

    def _warn_of_no_step(self) -> None:
        empty = hasattr(self.loader, "__len__") and not len(self.loader)
        why = "its loader is empty" if empty else "its loop did not go over it"
        fix = "Write `with watch.evaluation(loader) as batches:`, and loop over it."
        text = f"Watch.evaluation: no batch was seen, so nothing was evaluated: {why}."
        fix = "Pass a loader with batches." if empty else fix
        warnings.warn(f"{text}\n{fix}", FailuresWarning, stacklevel=3)
