"""A training loop that somebody wrote by hand, as callbacks see it: where it is, what was logged, and its model."""

import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from types import SimpleNamespace
from typing import Any, Literal

import torch
import torch.distributed
from lightning.pytorch import Callback
from torch import Tensor, nn

from lightning_failures.callbacks.ranks import gather

__all__ = ["HandLoop", "HeldModel"]


class HandLoop:
    """Answers what :class:`.TrainingLoop` asks; the watch moves it on.

    Args:
        callbacks: in the order in which they are called.
        loggers: where what is logged goes.
        precision: makes the context of mixed precision that the model's own steps run in.
    """

    sanity_checking = False
    enable_validation = True
    limit_val_batches = 1.0
    accumulate_grad_batches = 1
    max_steps = -1
    progress_bar_callback = None

    def __init__(
        self,
        callbacks: Sequence[Callback],
        loggers: Sequence[Any],
        precision: Callable[[], AbstractContextManager[object]],
    ) -> None:
        self.callbacks, self.loggers = list(callbacks), list(loggers)
        self.precision_plugin = SimpleNamespace(forward_context=precision)
        self.strategy = SimpleNamespace(reduce_boolean_decision=_decide, reduce=_reduce)
        self.state = SimpleNamespace(fn="fit")
        self.should_stop = False
        self.current_epoch = 0
        self.global_step = 0
        self.evaluating = False
        self.validating = False
        self.lightning_module: HeldModel | None = None
        self.callback_metrics: dict[str, Tensor] = {}
        self.train_dataloader: Any = None
        self.num_training_batches = math.inf
        self.val_dataloaders: Any = None
        self.num_val_batches: list[float] = [0.0]
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
    def world_size(self) -> int:
        """Number of processes."""
        return torch.distributed.get_world_size() if _is_distributed() else 1

    @property
    def is_global_zero(self) -> bool:
        """Whether this is the first process."""
        return not _is_distributed() or torch.distributed.get_rank() == 0

    # -- moves of the watch

    def begin_epoch(self, loader: Any, epoch: int) -> None:
        """A pass over a training loader begins."""
        self.train_dataloader, self.num_training_batches, self.current_epoch = loader, _length(loader), epoch

    def begin(self, loader: Any, fn: Literal["fit", "test"], epoch: int, step: int) -> None:
        """An evaluation begins."""
        self._before = dict(self.callback_metrics), self.current_epoch, self.global_step
        self.current_epoch, self.global_step = epoch, step
        self.state.fn, self.evaluating, self.validating = fn, True, fn == "fit"
        self.val_dataloaders, self.num_val_batches = loader, [_length(loader)]

    def end(self) -> None:
        """The evaluation is over."""
        self.state.fn, self.evaluating, self.val_dataloaders = "fit", False, None

    def drop(self) -> None:
        """The evaluation was broken off: what was logged in it never was."""
        self.callback_metrics, self.current_epoch, self.global_step = self._before
        self._unsent = {}
        self.end()

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


class HeldModel(nn.Module):
    """The user's model as the module that callbacks are given; it holds it as ``model``, and is held by nobody.

    Args:
        model: is watched, and not changed.
        log: takes what monitors log.
        convert: makes of inputs what the model is really given, for example in another type.
    """

    def __init__(
        self, model: nn.Module, log: Callable[[Mapping[str, Tensor]], None], convert: Callable[[Any], Any]
    ) -> None:
        super().__init__()
        self.model = model
        self._log, self._convert = log, convert

    @property
    def device(self) -> torch.device:
        """Where the model is by now."""
        return next(self.model.parameters()).device

    def log_dict(self, values: Mapping[str, Tensor], **_: Any) -> None:
        """Log as a LightningModule does; the options of its own are about a Trainer."""
        self._log({key: value.detach().clone() for key, value in values.items()})

    def forward(self, *arguments: Any, **named: Any) -> Any:
        """The model's."""
        arguments, named = self._convert((arguments, named))
        return self.model(*arguments, **named)


def _is_distributed() -> bool:
    return torch.distributed.is_available() and torch.distributed.is_initialized()


def _length(loader: Any) -> float:
    try:
        return len(loader)
    except TypeError:  # a stream
        return math.inf


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
