"""A training loop that somebody wrote by hand, as callbacks see it: where it is, what was logged, and its model."""

import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from types import SimpleNamespace
from typing import Any, Literal, cast

import torch
import torch.distributed
from lightning.fabric.utilities import move_data_to_device
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor, nn

from lightning_failures.callbacks.freshness import Freshness
from lightning_failures.callbacks.monitor import Monitor
from lightning_failures.callbacks.ranks import gather
from lightning_failures.callbacks.watch.held_model import HeldModel
from lightning_failures.errors import InputError

__all__ = ["HandLoop"]


class HandLoop:
    """Answers what monitors, diagnosis and gates ask of a Trainer, and calls their hooks in a Trainer's order.

    Args:
        model: that is trained.
        callbacks: in the order in which they are called.
        loggers: where what is logged goes.
        precision: makes the context of mixed precision that the model's own steps run in.
        convert: makes of inputs what the model is really given.
    """

    sanity_checking = False
    enable_validation = True
    limit_val_batches = 1.0
    accumulate_grad_batches = 1
    max_epochs = None
    max_steps = -1
    check_val_every_n_epoch = 1
    val_check_batch = math.inf
    progress_bar_callback = None

    def __init__(
        self,
        model: nn.Module,
        callbacks: Sequence[Callback],
        loggers: Sequence[Any],
        precision: Callable[[], AbstractContextManager[object]],
        convert: Callable[[Any], Any],
    ) -> None:
        self.lightning_module = HeldModel(model, self.log, convert)
        self.callbacks, self.loggers = list(callbacks), list(loggers)
        self.precision_plugin = SimpleNamespace(forward_context=precision)
        self.strategy = SimpleNamespace(reduce_boolean_decision=_decide, reduce=_reduce)
        self.state = SimpleNamespace(fn="fit")
        self.should_stop = False
        self.current_epoch = self.global_step = 0
        self.validating = False
        self.callback_metrics: dict[str, Tensor] = {}
        self.train_dataloader: Any = None
        self.num_training_batches = math.inf
        self.val_dataloaders: Any = None
        self.num_val_batches: list[float] = [0.0]
        # beyond what a Trainer has
        self.freshness = Freshness()
        self.values: dict[str, float] = {}  #: of the last evaluation
        self.outputs: Any = None  #: what the present step gives
        self.begun = self.evaluating = self.evaluated = self.closed = False
        self._training = False  # whether callbacks know that the training has begun
        self._open: list[Any] = []  # the batch of the training step that runs
        self._place = 0  # of that batch in its epoch
        self._steps = self._epochs = self._evaluations = 0  # that it was told of
        self._before: tuple[dict[str, Tensor], int, int] = {}, 0, 0
        self._unsent: dict[str, Tensor] = {}

    @property
    def testing(self) -> bool:
        """Whether a test runs."""
        return bool(self.state.fn == "test")

    @property
    def test_dataloaders(self) -> Any:
        """The loader of the test."""
        return self.val_dataloaders

    @property
    def num_test_batches(self) -> list[float]:
        """How many batches it gives."""
        return self.num_val_batches

    @property
    def is_last_batch(self) -> bool:
        """Whether the batches of the pass over the training loader have all been seen; False where nobody knows."""
        return self._place >= self.num_training_batches

    @property
    def world_size(self) -> int:
        """Number of processes."""
        return torch.distributed.get_world_size() if _is_distributed() else 1

    @property
    def global_rank(self) -> int:
        """Number of this process."""
        return torch.distributed.get_rank() if _is_distributed() else 0

    @property
    def is_global_zero(self) -> bool:
        """Whether this is the first process."""
        return self.global_rank == 0

    @property
    def as_trainer(self) -> Trainer:
        """Itself, for what is written for a Trainer."""
        return cast(Trainer, self)

    # -- hooks

    def call(self, hook: str, *arguments: Any) -> None:
        """Call a hook of every callback."""
        for callback in self.callbacks:
            getattr(callback, hook)(self, self.lightning_module, *arguments)

    def evaluate(self, hook: str, *arguments: Any) -> None:
        """Call a hook of the evaluation that runs, without gradients as a Trainer does."""
        with torch.no_grad():
            self.call(f"on_{'test' if self.testing else 'validation'}_{hook}", *arguments)

    def abandon(self) -> None:
        """A step was broken off: no hook stays on the model, and the loop may go on."""
        self._open, self._training = [], False
        error = RuntimeError("the step was broken off")
        for callback in self.callbacks:
            if isinstance(callback, Monitor):
                callback.on_exception(self.as_trainer, cast(LightningModule, self.lightning_module), error)

    def moved(self, batch: Any) -> Any:
        """A batch on the model's device."""
        return move_data_to_device(batch, self.lightning_module.device)

    # -- the run

    def require_open(self, where: str) -> None:
        """Raise where the run has ended."""
        if self.closed:
            raise InputError(where, "the watch is closed", "a call after its end", "Make a new Watch for a new run.")

    def begin(self) -> None:
        """The first step, or the first evaluation, begins the run."""
        if not self.begun:
            self.begun = True
            self.call("on_fit_start")

    def end(self, error: BaseException | None = None) -> None:
        """The run is over, or was broken off."""
        self.closed = True
        if error is not None:
            self.abandon()
        if self.begun and error is not None:
            self.call("on_exception", error)
        elif self.begun:
            self.call("on_train_end")
            self.call("on_fit_end")
            self.call("teardown", "fit")

    # -- training

    def require_training(self, where: str) -> None:
        """Raise where no training step can begin."""
        self.require_open(where)
        if self.evaluating:
            fix = "Train outside of `with watch.evaluation(...)`."
            raise InputError(where, "an evaluation is running", "a training step", fix)

    def begin_epoch(self, loader: Any) -> None:
        """A pass over a training loader begins."""
        self.end_step()
        self.begin()
        self.train_dataloader, self.num_training_batches, self.current_epoch = loader, _length(loader), self._epochs
        self._epochs += 1
        self._place = 0

    def begin_step(self, batch: Any) -> None:
        """A training step begins."""
        self.end_step()
        self.begin()
        if not self._training:
            self._training = True
            self.call("on_train_start")
        self.validating, self.outputs = False, None
        self.call("on_train_batch_start", batch, self._place)
        self._open = [batch]

    def end_step(self) -> None:
        """The training step, where one runs, has been made."""
        if self._open:
            batch, self._open = self._open.pop(), []
            self._place += 1
            self._steps += 1
            self.global_step += 1
            self.call("on_train_batch_end", self.outputs, batch, self._place - 1)

    # -- evaluations

    def begin_evaluation(self, loader: Any, fn: Literal["fit", "test"], epoch: int | None, step: int | None) -> None:
        """An evaluation begins; where no training was told of, evaluations are counted in place of epochs and steps."""
        self.end_step()
        self.begin()
        self._before = dict(self.callback_metrics), self.current_epoch, self.global_step
        if epoch is not None or (fn == "fit" and not self._epochs):
            self.current_epoch = self._evaluations if epoch is None else epoch
        if step is not None or (fn == "fit" and not self._steps):
            self.global_step = self._evaluations if step is None else step
        self.state.fn, self.evaluating, self.validating = fn, True, fn == "fit"
        self.val_dataloaders, self.num_val_batches = _plain(loader, self.world_size), [_length(loader)]
        try:
            self.evaluate("start")
        except BaseException:
            self.drop_evaluation()
            raise

    def end_evaluation(self) -> None:
        """Compute and log; the loggers get all at once."""
        try:
            self.evaluate("epoch_end")
            self.send()
            self.evaluate("end")
        except BaseException:
            self.drop_evaluation()
            raise
        self.freshness.look(self.as_trainer)
        self.values = self.freshness.fresh_values(self.as_trainer)
        self.evaluated = True
        self._evaluations += not self.testing
        self._leave()

    def drop_evaluation(self) -> None:
        """It was broken off: what was logged in it never was."""
        self.abandon()
        self.callback_metrics, self.current_epoch, self.global_step = self._before
        self._unsent = {}
        self._leave()

    def _leave(self) -> None:
        self.state.fn, self.evaluating, self.val_dataloaders = "fit", False, None

    # -- what is logged

    def log(self, values: Mapping[str, Tensor]) -> None:
        """Take values; the loggers get those of an evaluation together, at its end."""
        self.callback_metrics.update(values)
        self._unsent.update(values)
        if not self.evaluating:
            self.send()

    def send(self) -> None:
        """Hand on to the loggers what they have not got yet."""
        values, self._unsent = self._unsent, {}
        if values and self.is_global_zero:
            scalars = {key: float(value) for key, value in values.items()}
            for logger in self.loggers:
                logger.log_metrics({**scalars, "epoch": self.current_epoch}, step=self.global_step)
                if hasattr(logger, "save"):  # as a Trainer has them do, so that nothing is lost where a run breaks off
                    logger.save()


def _plain(loader: Any, world_size: int) -> Any:
    """The DataLoader that was wrapped, whose sampler says which rows of its dataset a batch is."""
    if hasattr(loader, "_dataloader"):  # by Fabric
        return loader._dataloader
    # Accelerate deals the batches of this one out over the processes
    return getattr(loader, "base_dataloader", loader) if world_size == 1 else loader


def _length(loader: Any) -> float:
    try:
        return len(loader)
    except TypeError:  # a stream
        return math.inf


def _is_distributed() -> bool:
    return torch.distributed.is_available() and torch.distributed.is_initialized()


def _reduce(tensor: Tensor, reduce_op: Literal["sum", "mean"] = "mean") -> Tensor:
    """The sum or the mean over all processes, as a strategy of Lightning's makes it."""
    if not _is_distributed():
        return tensor
    total = tensor.clone()
    torch.distributed.all_reduce(total)
    return total if reduce_op == "sum" else total / torch.distributed.get_world_size()


def _decide(decision: bool, all: bool = True) -> bool:  # the name of Lightning's argument
    """One decision of all processes, as a strategy of Lightning's makes it."""
    said = gather(decision)
    return bool(min(said) if all else max(said))
