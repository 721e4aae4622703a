"""The monitors in a training loop of one's own, in plain PyTorch or in Fabric."""

import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from numbers import Real
from types import TracebackType
from typing import Any, Literal, Self, cast

import torch
from lightning.fabric.wrappers import is_wrapped
from lightning.pytorch import Callback
from torch import Tensor, nn

from lightning_failures.callbacks.findings.diagnosis import FailureDiagnosis
from lightning_failures.callbacks.gate.constraints import read_constraints
from lightning_failures.callbacks.gate.early_stopping import GatedEarlyStopping
from lightning_failures.callbacks.gate.gate import Gate
from lightning_failures.callbacks.gate.verdict import Verdict
from lightning_failures.callbacks.monitor import Monitor
from lightning_failures.callbacks.suite import failure_monitors
from lightning_failures.callbacks.watch.batches import TrainingBatches, WatchedEvaluation
from lightning_failures.callbacks.watch.hand_loop import HandLoop
from lightning_failures.errors import FailuresWarning, InputError
from lightning_failures.observe.undisturbed import unwrapped
from lightning_failures.records.finding import Finding

__all__ = ["Watch"]

WHERE = "Watch"


class Watch:
    """Watches a model in a training loop that you wrote yourself, as the callbacks watch one in a Trainer.

    It is told of training by :meth:`training` and of evaluations by :meth:`evaluation`, each of which gives the batches
    of a loader, on the model's device; the body of the loop is the step. At the end of its ``with`` block, also where
    the loop raises, or at :meth:`close`, the verdict is said and the report written. The model is not changed, no hook
    stays on it, and the trained weights are bitwise those of the loop without the watch.

    Where the logits are not found, set :attr:`outputs` inside the step, as a ``validation_step`` would return them.
    Layers are named as in a module that holds the model as ``model``: ``"model.layer4"``. In a distributed loop every
    process makes the same calls.

    Args:
        model: that is trained; one that ``Fabric.setup`` or ``DistributedDataParallel`` has wrapped is found inside.
        callbacks: monitors, a :class:`.FailureDiagnosis` after them, a :class:`.GatedEarlyStopping`; None: those of
            :func:`.failure_monitors`.
        loggers: one of Lightning's or Fabric's loggers, or several; none: values stand in :attr:`values` and in the
            report alone.
        precision: makes the context of mixed precision that your steps run in, such as
            ``lambda: torch.autocast("cuda", torch.bfloat16)``; None: none, or Fabric's own.

    Raises:
        InputError: what is no model or has no parameters, callbacks that only a Trainer can run, two monitors that log
            the same keys.

    Example:
        >>> from torch.utils.data import DataLoader, TensorDataset
        >>> data = TensorDataset(torch.rand(12, 3, 4, 4), torch.arange(12) % 2)
        >>> model = nn.Sequential(nn.Flatten(), nn.Linear(48, 2))
        >>> optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        >>> with Watch(model, [FailureDiagnosis(announce="nothing")]) as watch:
        ...     for images, labels in watch.training(DataLoader(data, batch_size=4)):
        ...         nn.functional.cross_entropy(model(images), labels).backward()
        ...         optimizer.step()
        ...     with watch.evaluation(DataLoader(data, batch_size=6)) as batches:
        ...         right = sum(int((model(images).argmax(1) == labels).sum()) for images, labels in batches)
        ...         watch.log({"val_acc": right / 12})
        >>> watch.gate("val_acc >= 0").feasible, watch.gate("val_acc >= 2").feasible, watch.findings
        (True, False, [])
    """

    def __init__(
        self,
        model: nn.Module,
        callbacks: Sequence[Callback] | None = None,
        *,
        loggers: Any = (),
        precision: Callable[[], AbstractContextManager[object]] | None = None,
    ) -> None:
        if not isinstance(model, nn.Module):
            given = f"a {type(model).__name__}"
            raise InputError(WHERE, "this is no model", given, "Pass the torch.nn.Module that you train.")
        strategy = getattr(model, "_strategy", None) if is_wrapped(model) else None
        model = unwrapped(cast(nn.Module, model.module) if strategy is not None else model)
        if next(model.parameters(), None) is None:
            given, fix = f"a {type(model).__name__}", "Pass the module that you train, once its layers are made."
            raise InputError(WHERE, "the model has no parameters", given, fix)
        callbacks = failure_monitors() if callbacks is None else _checked(callbacks)
        own = nullcontext if strategy is None else strategy.precision.forward_context
        convert = _as_it_is if strategy is None else strategy.precision.convert_input
        several = isinstance(loggers, list | tuple)
        self._loop = HandLoop(model, callbacks, loggers if several else [loggers], precision or own, convert)
        self._gates: dict[tuple[str, ...], Gate] = {}
        self._loop.call("setup", "fit")

    @property
    def values(self) -> dict[str, float]:
        """Of the last evaluation, yours and the monitors', by their keys."""
        return self._loop.values

    @property
    def outputs(self) -> Any:
        """What the present step gives, as a ``validation_step`` returns it; None until you set it."""
        return self._loop.outputs

    @outputs.setter
    def outputs(self, outputs: Any) -> None:
        self._loop.outputs = outputs

    # -- the run

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            self.close()
        elif not self._loop.closed:
            self._loop.end(error)

    def close(self) -> None:
        """End the run: say the verdict, write the report; calling it twice does no harm."""
        loop = self._loop
        if loop.closed:
            return
        if loop.evaluating:
            fix = "Close the watch after the `with` block of the evaluation."
            raise InputError(f"{WHERE}.close", "an evaluation is running", "its `with` block is not left yet", fix)
        loop.end_step()
        loop.end()
        if loop.begun and not loop.evaluated:
            text = "Watch: no evaluation was told of, so nothing was looked for."
            fix = "Evaluate inside `with watch.evaluation(loader) as batches:`."
            warnings.warn(f"{text}\n{fix}", FailuresWarning, stacklevel=2)

    # -- training and evaluations

    def training(self, loader: Any) -> TrainingBatches:
        """The batches of a loader, each of which is a training step; one pass over it is an epoch.

        A batch at which you leave the loop, or in which an error is raised, does not count. An evaluation inside the
        loop begins after the step.

        Args:
            loader: gives the batches.
        """
        return TrainingBatches(self._loop, loader)

    @contextmanager
    def training_step(self, batch: Any) -> Iterator[None]:
        """One training step inside, for loops that take their batches otherwise than from one loader.

        Args:
            batch: as :meth:`training` would give it; every such step counts in :attr:`step`.
        """
        self._loop.require_training(f"{WHERE}.training_step")
        try:
            self._loop.begin_step(self._loop.moved(batch))
            yield
            self._loop.end_step()
        except BaseException:
            self._loop.abandon()
            raise

    def evaluation(
        self,
        loader: Any,
        *,
        epoch: int | None = None,
        step: int | None = None,
        stage: Literal["fit", "test"] = "fit",
    ) -> WatchedEvaluation:
        """An evaluation, which gives the batches of its loader and ends with its ``with`` block.

        Args:
            loader: gives the batches, in its own order; :class:`.WatchedEvaluation`.
            epoch: counted from 0; None: that of the passes over :meth:`training`, or else the evaluations so far.
            step: the global step; None: the training steps so far, or else the evaluations so far.
            stage: ``"fit"``: it belongs to the course of the run, and rules and gates look at it; ``"test"``: it is
                logged alone.

        Example:
            >>> watch = Watch(nn.Linear(4, 2), [])
            >>> with watch.evaluation([(torch.ones(3, 4), torch.zeros(3).long())]) as batches:
            ...     for rows, labels in batches:
            ...         watch.log({"val_loss": nn.functional.cross_entropy(torch.zeros(3, 2), labels)})
            >>> round(watch.values["val_loss"], 2)
            0.69
        """
        if stage not in ("fit", "test"):
            raise InputError(f"{WHERE}.evaluation", "there is no such stage", repr(stage), "Use 'fit' or 'test'.")
        return WatchedEvaluation(self._loop, loader, stage, epoch, step)

    # -- what is logged, found and judged

    def log(self, values: Mapping[str, Any]) -> None:
        """Log values of your own, for rules, gates and loggers; those of an evaluation inside its ``with`` block.

        Args:
            values: key -> number, or tensor of one number, such as ``{"val_acc": 0.9}``.

        Raises:
            InputError: what is no number, or a key of the monitors'.
        """
        self._loop.require_open(f"{WHERE}.log")
        numbers = {}
        for key, value in values.items():
            if key.startswith("failures/"):
                fix = "Choose a key of your own, such as 'val_acc'."
                raise InputError(f"{WHERE}.log", "keys under failures/ belong to the monitors", repr(key), fix)
            single = isinstance(value, Tensor) and value.numel() == 1
            if not (single or isinstance(value, Real)):
                given = f"{key!r} with {tuple(value.shape) if isinstance(value, Tensor) else type(value).__name__}"
                raise InputError(f"{WHERE}.log", "this is no number", given, "Log one number per key.")
            numbers[key] = (
                value.detach().clone().reshape(()) if single else torch.tensor(float(value), dtype=torch.float64)
            )
        self._loop.log(numbers)

    def gate(self, constraints: str | Sequence[str]) -> Verdict:
        """Whether the model as it is now keeps constraints; every process must call it.

        Args:
            constraints: as for :class:`.GatedCheckpoint`: ``"failures/factors/high/dark <= 2"``,
                ``"val_acc >= failures/collapse/chance + 0.1"``. A value that was not logged at the last evaluation, or
                before later training, keeps none.

        Returns:
            ``feasible`` says whether all hold on every process, ``why`` which does not and by how much.

        Raises:
            InputError: a constraint cannot be read or contradicts another, or an evaluation is running.
        """
        where = f"{WHERE}.gate"
        if self._loop.evaluating:
            fix = "Ask after the `with` block of the evaluation."
            raise InputError(where, "an evaluation is running, whose values are not known yet", "a gate", fix)
        self._loop.end_step()
        read = read_constraints(where, constraints)
        texts = tuple(map(str, read))
        gate = self._gates.setdefault(texts, Gate(where, read, freshness=self._loop.freshness))
        verdict, _ = gate.judge(self._loop.as_trainer)
        gate.warn_of_unknown_keys(self._loop.as_trainer, verdict)
        return verdict

    @property
    def step(self) -> int:
        """Training steps so far, or the step that the last evaluation was given."""
        return self._loop.global_step

    @property
    def should_stop(self) -> bool:
        """Whether a rule with ``action: stop``, or a :class:`.GatedEarlyStopping`, would end the run."""
        return self._loop.should_stop

    @property
    def diagnosis(self) -> FailureDiagnosis:
        """The first :class:`.FailureDiagnosis` among the callbacks.

        Raises:
            InputError: there is none.
        """
        for callback in self._loop.callbacks:
            if isinstance(callback, FailureDiagnosis):
                return callback
        fix = "Add one after the monitors, or use those of failure_monitors()."
        raise InputError(WHERE, "nobody looks for findings", "callbacks without a FailureDiagnosis", fix)

    @property
    def findings(self) -> list[Finding]:
        """The findings that stand; those that were cleared are in ``diagnosis.history``."""
        return self.diagnosis.findings


def _checked(callbacks: Sequence[Callback]) -> list[Callback]:
    """Those that need nothing of a Trainer but what a hand-written loop has."""
    for callback in callbacks:
        if not isinstance(callback, Monitor | FailureDiagnosis | GatedEarlyStopping):
            fix = "Pass monitors, FailureDiagnosis, GatedEarlyStopping; in place of a GatedCheckpoint ask watch.gate()."
            raise InputError(WHERE, "this callback needs a Trainer", type(callback).__name__, fix)
    return list(callbacks)


def _as_it_is(inputs: Any) -> Any:
    return inputs
