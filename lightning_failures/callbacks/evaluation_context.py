"""What one evaluation is: of which module, at which epoch and step, over which loader."""

import math
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
import torch.distributed
from lightning.pytorch import LightningModule, Trainer
from torch import Tensor

from lightning_failures.callbacks.logged_step import logged_step
from lightning_failures.data.class_names import class_names_of
from lightning_failures.observe.dataset_rows import DatasetRows
from lightning_failures.observe.factor_reader import FactorReader
from lightning_failures.observe.group_reader import GroupReader
from lightning_failures.observe.observation import Observation

__all__ = ["EvaluationContext", "progress"]


@dataclass(frozen=True)
class EvaluationContext:
    """One evaluation of ``fit``, ``validate`` or ``test``; handed on to all that takes part in it.

    Args:
        trainer: runs it.
        module: is evaluated.
        epoch: Lightning's epoch, counted from 0.
        step: the global step.
        fitting: whether it belongs to a ``fit``, so that it counts in the course of the run.
        loader: the first evaluation loader; None where none is known.
        batches: how many batches of it are to come; infinite if unknown.
        training: whether its batches are those of training, since nothing is validated.
    """

    trainer: Trainer
    module: LightningModule
    epoch: int
    step: int
    fitting: bool
    loader: Any = None
    batches: float = 0.0
    training: bool = False

    @classmethod
    def of(cls, trainer: Trainer, module: LightningModule) -> "EvaluationContext":
        """The evaluation that a trainer is at."""
        loaders, batches = trainer.val_dataloaders, trainer.num_val_batches
        if trainer.testing:
            loaders, batches = trainer.test_dataloaders, trainer.num_test_batches
        return cls(
            trainer,
            module,
            trainer.current_epoch,
            trainer.global_step,
            trainer.state.fn == "fit",
            loaders[0] if isinstance(loaders, list | tuple) and loaders else loaders,
            (batches[0] if batches else 0.0) if isinstance(batches, list) else batches,
        )

    @classmethod
    def of_training(cls, trainer: Trainer, module: LightningModule, batches: float) -> "EvaluationContext":
        """One over training batches.

        Args:
            trainer: runs it.
            module: is evaluated.
            batches: how many are to come.
        """
        epoch, step, loader = trainer.current_epoch, trainer.global_step, trainer.train_dataloader
        return cls(trainer, module, epoch, step, True, loader, batches, training=True)

    @property
    def logged_step(self) -> int:
        """The step under which loggers keep its figures, see :func:`.logged_step`."""
        return logged_step(self.trainer)

    @property
    def device(self) -> torch.device:
        """Where the module is."""
        return self.module.device

    @property
    def world_size(self) -> int:
        """Number of processes."""
        return self.trainer.world_size

    @property
    def distributed(self) -> bool:
        """Whether there is a process group, be it of one process; Lightning then warns of what is not synchronised."""
        together = torch.distributed.is_available() and torch.distributed.is_initialized()
        return together or self.world_size > 1

    @property
    def precision(self) -> Callable[[], AbstractContextManager[object]]:
        """Makes the context of mixed precision that the trainer's own steps run in."""
        return self.trainer.precision_plugin.forward_context

    @cached_property
    def rows(self) -> DatasetRows:
        """Dataset rows of the loader's batches."""
        return DatasetRows(self.loader)

    @cached_property
    def class_names(self) -> tuple[str, ...] | None:
        """Names of the classes that the loader's dataset knows; None where it knows none."""
        return class_names_of(getattr(self.loader, "dataset", None))

    def places(self, seen: Observation, batch_idx: int) -> Tensor | None:
        """Row of the dataset of each image; (n), int64, on the CPU; None where the loader has an order of its own."""
        return seen.of_batch(self.rows.of(batch_idx).rows[: seen.batch_images]) if self.rows.known else None

    def read(self, reader: FactorReader | GroupReader, seen: Observation, batch_idx: int) -> Tensor:
        """The factors (n f) or the groups (n) of the images of a batch."""
        return seen.of_batch(reader.read(seen.batch, seen.batch_images, self.rows, batch_idx))


def progress(trainer: Trainer) -> float:
    """Share of a ``fit`` that is done, by its steps; nan where nobody knows how long it is."""
    steps = float(trainer.max_steps)
    if steps < 0:
        epochs, batches = getattr(trainer, "max_epochs", None), float(trainer.num_training_batches)
        if epochs is None or epochs < 0 or not math.isfinite(batches):
            return math.nan
        steps = epochs * math.ceil(batches / trainer.accumulate_grad_batches)
    return min(1.0, trainer.global_step / steps) if steps else math.nan
