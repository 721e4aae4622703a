"""The monitors in a training loop of one's own, in plain PyTorch or in Fabric."""

import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from numbers import Real
from types import TracebackType
from typing import Any, Literal, Self, cast

import torch
from lightning.fabric.utilities import move_data_to_device
from lightning.fabric.wrappers import is_wrapped
from lightning.pytorch import Callback
from torch import Tensor, nn

from lightning_failures.callbacks.findings.diagnosis import FailureDiagnosis
from lightning_failures.callbacks.freshness import Freshness
from lightning_failures.callbacks.gate.constraints import read_constraints
from lightning_failures.callbacks.gate.early_stopping import GatedEarlyStopping
from lightning_failures.callbacks.gate.gate import Gate
from lightning_failures.callbacks.gate.verdict import Verdict
from lightning_failures.callbacks.monitor import Monitor
from lightning_failures.callbacks.suite import failure_monitors
from lightning_failures.callbacks.training_loop import TrainingLoop
from lightning_failures.callbacks.watch.hand_loop import HandLoop, HeldModel
from lightning_failures.errors import FailuresWarning, InputError
from lightning_failures.observe.undisturbed import unwrapped
from lightning_failures.records.finding import Finding

__all__ = ["Watch", "WatchedEvaluation"]

WHERE = "Watch"


class Watch:
    """Watches a model in a training loop that you wrote yourself, as the callbacks watch one in a Trainer.

    It is told of training by :meth:`training` and of evaluations by :meth:`evaluation`, each of which gives the batches
    of a loader, on the model's device; the body of the loop is the step. Use it as a context manager, or call
    :meth:`close`: then the verdict is said and the report written, also when the loop raises. The model is not changed,
    hooks are on it only while a step runs, and the trained weights are bitwise those of the loop without the watch.

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
        self._loop = HandLoop(callbacks, loggers if several else [loggers], precision or own)
        self._module = self._loop.lightning_module = HeldModel(model, self._loop.log, convert)
        self._freshness = Freshness()
        self._gates: dict[tuple[str, ...], Gate] = {}
        self._begun = self._training = self._evaluated = self._closed = False
        self._open: list[Any] = []  # the batch of the training step that runs
        self._place = 0  # of that batch in its epoch
        self._batches = self._epochs = self._evaluations = 0
        self.values: dict[str, float] = {}  #: of the last evaluation, yours and the monitors', by their keys
        self.outputs: Any = None  #: what the present step gives, as a ``validation_step`` returns it
        self._call("setup", "fit")

    # -- the run

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None or self._closed:
            self.close()
            return
        self._closed = True
        self._abandon()
        if self._begun:
            self._call("on_exception", error)

    def close(self) -> None:
        """End the run: say the verdict, write the report; calling it twice does no harm."""
        if self._closed:
            return
        if self._loop.evaluating:
            fix = "Close the watch after the `with` block of the evaluation."
            raise InputError(f"{WHERE}.close", "an evaluation is running", "its `with` block is not left yet", fix)
        self._end_training_step()
        self._closed = True
        if self._begun and not self._evaluated:
            warnings.warn(
                "Watch: no evaluation was told of, so nothing was looked for.\n"
                "Evaluate inside `with watch.evaluation(loader) as batches:`.",
                FailuresWarning,
                stacklevel=2,
            )
        if self._begun:
            for hook in ("on_train_end", "on_fit_end"):
                self._call(hook)
            self._call("teardown", "fit")

    # -- training

    def training(self, loader: Any) -> "_TrainingBatches":
        """The batches of a loader, each of which is a training step; one pass over it is an epoch.

        At a batch at which you leave the loop, or in which an error is raised, nothing is watched. An evaluation inside
        the loop begins after the step.

        Args:
            loader: gives the batches.
        """
        return _TrainingBatches(self, loader)

    @contextmanager
    def training_step(self, batch: Any) -> Iterator[None]:
        """One training step inside, for loops that take their batches otherwise than from one loader.

        Args:
            batch: as :meth:`training` would give it; every such step counts in :attr:`step`.
        """
        self._require_training(f"{WHERE}.training_step")
        try:
            self._begin_training_step(self._moved(batch))
            yield
            self._end_training_step()
        except BaseException:
            self._abandon()
            raise

    def _require_training(self, where: str) -> None:
        self._require_open(where)
        if self._loop.evaluating:
            fix = "Train outside of `with watch.evaluation(...)`."
            raise InputError(where, "an evaluation is running", "a training step", fix)

    def _begin_training_step(self, batch: Any) -> None:
        self._end_training_step()
        self._begin()
        if not self._training:
            self._training = True
            self._call("on_train_start")
        self._loop.validating, self.outputs = False, None
        self._call("on_train_batch_start", batch, self._place)
        self._open = [batch]

    def _end_training_step(self) -> None:
        if self._open:
            batch, self._open = self._open.pop(), []
            self._batches += 1
            self._place += 1
            self._loop.global_step += 1
            self._call("on_train_batch_end", self.outputs, batch, self._place - 1)

    # -- evaluations

    def evaluation(
        self,
        loader: Any,
        *,
        epoch: int | None = None,
        step: int | None = None,
        stage: Literal["fit", "test"] = "fit",
    ) -> "WatchedEvaluation":
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
        return WatchedEvaluation(self, loader, epoch, step, stage)

    def _begin_evaluation(self, evaluation: "WatchedEvaluation") -> None:
        where = f"{WHERE}.evaluation"
        self._require_open(where)
        if self._loop.evaluating:
            fix = "Leave the `with` block of the one before the next begins."
            raise InputError(where, "another evaluation is running", "a second one inside it", fix)
        self._end_training_step()
        self._begin()
        loop, fit = self._loop, evaluation.stage == "fit"
        # where no training is told of, evaluations are counted in its place
        epoch = self._evaluations if fit and not self._epochs else loop.current_epoch
        step = self._evaluations if fit and not self._batches else loop.global_step
        loop.begin(
            _plain(evaluation.loader, loop.world_size),
            evaluation.stage,
            epoch if evaluation.epoch is None else evaluation.epoch,
            step if evaluation.step_at is None else evaluation.step_at,
        )
        try:
            self._evaluate(evaluation, "start")
        except BaseException:
            self._drop_evaluation()
            raise

    def _end_evaluation(self, evaluation: "WatchedEvaluation") -> None:
        try:
            self._evaluate(evaluation, "epoch_end")
            self._loop.send()
            self._evaluate(evaluation, "end")
        except BaseException:
            self._drop_evaluation()
            raise
        self._freshness.look(self._typed)
        self.values = self._freshness.fresh_values(self._typed)
        self._evaluated = True
        self._evaluations += evaluation.stage == "fit"
        self._loop.end()
        if not evaluation.steps and self._loop.world_size == 1:
            _warn_of_no_step(evaluation.loader)

    def _drop_evaluation(self) -> None:
        self._abandon()
        self._loop.drop()

    def _evaluate(self, evaluation: "WatchedEvaluation", hook: str, *arguments: Any) -> None:
        """A hook of an evaluation, which a Trainer too calls without gradients."""
        with torch.no_grad():
            self._call(f"on_{'validation' if evaluation.stage == 'fit' else 'test'}_{hook}", *arguments)

    # -- what is logged, found and judged

    def log(self, values: Mapping[str, Any]) -> None:
        """Log values of your own, for rules, gates and loggers; those of an evaluation inside its ``with`` block.

        Args:
            values: key -> number, or tensor of one number, such as ``{"val_acc": 0.9}``.

        Raises:
            InputError: what is no number, or a key of the monitors'.
        """
        self._require_open(f"{WHERE}.log")
        numbers = {}
        for key, value in values.items():
            if key.startswith("failures/"):
                fix = "Choose a key of your own, such as 'val_acc'."
                raise InputError(f"{WHERE}.log", "keys under failures/ belong to the monitors", repr(key), fix)
            single = isinstance(value, Tensor) and value.numel() == 1
            if not (single or isinstance(value, Real)):
                given = f"{key!r} with {tuple(value.shape) if isinstance(value, Tensor) else type(value).__name__}"
                raise InputError(f"{WHERE}.log", "this is no number", given, "Log one number a key.")
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
        self._end_training_step()
        texts = (constraints,) if isinstance(constraints, str) else tuple(constraints)
        if texts not in self._gates:
            self._gates[texts] = Gate(where, read_constraints(where, texts), freshness=self._freshness)
        verdict, _ = self._gates[texts].judge(self._typed)
        self._gates[texts].warn_of_unknown_keys(self._typed, verdict)
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

    # -- callbacks

    @property
    def _typed(self) -> TrainingLoop:
        return self._loop

    def _call(self, hook: str, *arguments: Any) -> None:
        for callback in self._loop.callbacks:
            getattr(callback, hook)(self._loop, self._module, *arguments)

    def _begin(self) -> None:
        if not self._begun:
            self._begun = True
            self._call("on_fit_start")

    def _abandon(self) -> None:
        """A step was broken off: no hook stays, and the loop may go on."""
        self._open, self._training = [], False
        for callback in self._loop.callbacks:
            if isinstance(callback, Monitor):
                callback.on_exception(self._loop, self._module, RuntimeError("the step was broken off"))  # type: ignore[arg-type]

    def _require_open(self, where: str) -> None:
        if self._closed:
            raise InputError(where, "the watch is closed", "a call after its end", "Make a new Watch for a new run.")

    def _moved(self, batch: Any) -> Any:
        return move_data_to_device(batch, self._module.device)


class _TrainingBatches:
    """The batches of a loader, each of which is a training step."""

    def __init__(self, watch: Watch, loader: Any) -> None:
        self.watch, self.loader = watch, loader

    def __len__(self) -> int:
        return len(self.loader)

    def __iter__(self) -> Iterator[Any]:
        watch = self.watch
        watch._require_training(f"{WHERE}.training")
        watch._end_training_step()
        watch._begin()
        watch._loop.begin_epoch(self.loader, watch._epochs)
        watch._epochs += 1
        watch._place = 0
        try:
            for batch in self.loader:
                moved = watch._moved(batch)
                watch._require_training(f"{WHERE}.training")
                watch._begin_training_step(moved)
                yield moved
                watch._end_training_step()
            watch._call("on_train_epoch_end")
        except BaseException:  # also where the loop is left
            watch._abandon()
            raise


class WatchedEvaluation:
    """An evaluation of a :class:`Watch`: ``with watch.evaluation(loader) as batches: for batch in batches: ...``.

    The body of the loop is the step; the batches come on the model's device. A batch at which you leave the loop does
    not count. Where an error leaves the ``with`` block, the evaluation never took place, and no hook stays.
    """

    def __init__(
        self, watch: Watch, loader: Any, epoch: int | None, step: int | None, stage: Literal["fit", "test"]
    ) -> None:
        self.watch, self.loader, self.epoch, self.step_at, self.stage = watch, loader, epoch, step, stage
        self.steps = 0  #: that were watched
        self._runs = self._in_step = False

    def __enter__(self) -> Self:
        self.watch._begin_evaluation(self)
        self._runs = True
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._runs = False
        if error is None:
            self.watch._end_evaluation(self)
        else:
            self.watch._drop_evaluation()

    def __len__(self) -> int:
        return len(self.loader)

    def __iter__(self) -> Iterator[Any]:
        if self.steps:
            fix = "Begin another evaluation for another pass over the loader."
            raise InputError(f"{WHERE}.evaluation", "the evaluation has seen batches already", "a second loop", fix)
        for batch in self.loader:
            moved = self.watch._moved(batch)
            with self.step(moved):
                yield moved

    @contextmanager
    def step(self, batch: Any) -> Iterator[None]:
        """One step inside, for loops that take their batches otherwise than from this evaluation.

        Args:
            batch: as the loader gives it, one after the other.
        """
        where = f"{WHERE}.evaluation"
        if not self._runs:
            fix = "Write `with watch.evaluation(loader) as batches:`, and the loop inside it."
            raise InputError(where, "the evaluation does not run", "a step outside its `with` block", fix)
        if self._in_step:
            fix = "Iterate over the evaluation, or use `step`, not both."
            raise InputError(where, "another step is running", "a step inside a step", fix)
        self._in_step, self.watch.outputs = True, None
        moved = self.watch._moved(batch)
        try:
            self.watch._evaluate(self, "batch_start", moved, self.steps, 0)
            yield
            if self._runs:
                self.steps += 1
                self.watch._evaluate(self, "batch_end", self.watch.outputs, moved, self.steps - 1, 0)
        finally:
            self._in_step = False


def _checked(callbacks: Sequence[Callback]) -> list[Callback]:
    """Those that need nothing of a Trainer but what a hand-written loop has."""
    for callback in callbacks:
        if not isinstance(callback, Monitor | FailureDiagnosis | GatedEarlyStopping):
            fix = "Pass monitors, FailureDiagnosis, GatedEarlyStopping; in place of a GatedCheckpoint ask watch.gate()."
            raise InputError(WHERE, "this callback needs a Trainer", type(callback).__name__, fix)
    return list(callbacks)


def _plain(loader: Any, world_size: int) -> Any:
    """The DataLoader that was wrapped, whose sampler says which rows of its dataset a batch is."""
    if hasattr(loader, "_dataloader"):  # by Fabric
        return loader._dataloader
    # Accelerate deals the batches of this one out over the processes
    return getattr(loader, "base_dataloader", loader) if world_size == 1 else loader


def _as_it_is(inputs: Any) -> Any:
    return inputs


def _warn_of_no_step(loader: Any) -> None:
    empty = hasattr(loader, "__len__") and not len(loader)
    why = "its loader is empty" if empty else "its loop did not go over it"
    fix = (
        "Pass a loader with batches."
        if empty
        else "Write `with watch.evaluation(loader) as batches:`, and loop over it."
    )
    warnings.warn(
        f"Watch.evaluation: no batch was seen, so nothing was evaluated: {why}.\n{fix}", FailuresWarning, stacklevel=4
    )
