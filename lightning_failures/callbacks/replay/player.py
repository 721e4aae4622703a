"""Plays saved weights to the callbacks of a Trainer, in place of its training loop."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.utilities import CombinedLoader
from torch import Tensor

from lightning_failures.callbacks.both_names import TheirCallback
from lightning_failures.callbacks.monitor import Monitor, monitors_of
from lightning_failures.callbacks.replay.checkpoints import SavedCheckpoint
from lightning_failures.errors import InputError, few

__all__ = ["Player"]

#: Epochs whose training images are shown: what monitors take of training images, they take in the first two.
SHOWN = 2


class Player(Callback, TheirCallback):
    """Stands in for the training loop of a Trainer's ``fit``: loads the weights of a checkpoint, and validates.

    It is also the first callback, so that the first weights are there before anything runs. Everything else is
    Lightning's own: the setup of module and data, the sanity check, the validation loop, the order of hooks, and what
    is logged. The Trainer's epoch and global step are those of the checkpoint. No step is taken.

    Monitors that take no more of a training step than its batch, :attr:`.Monitor.reads_batches`, are shown the training
    images of as many epochs as the training itself had before a checkpoint, two at most. Where validation steps do not
    show what the module is trained for, one training step runs first; what it changes is loaded again afterwards.

    Args:
        where: the public name to put into an error.
        checkpoints: in the order of training.
        load: reads the content of a file.
        trains: whether there are training images.
        tell: is told of each checkpoint when it has been evaluated; None: nobody is.
    """

    def __init__(
        self,
        where: str,
        checkpoints: Sequence[SavedCheckpoint],
        load: Callable[[Path], Mapping[str, Any]],
        trains: bool,
        tell: Callable[[SavedCheckpoint, Trainer], None] | None = None,
    ) -> None:
        self.where, self.checkpoints, self.load, self.trains, self.tell = where, checkpoints, load, trains, tell
        self.trainer: Trainer | None = None
        self._shown = 0  # epochs of training images

    def take(self, trainer: Trainer) -> None:
        """Take the place of a Trainer's training loop."""
        self.trainer = trainer
        trainer.replays = True  # type: ignore[attr-defined]  # for monitors
        trainer.fit_loop.run = self.run  # type: ignore[method-assign]
        self._stand_at(trainer, self.checkpoints[0].epoch, self.checkpoints[0].step)

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """No optimizer is made without training images: a schedule may ask how many there are."""
        if not self.trains:
            trainer.strategy.setup_optimizers = lambda trainer: None  # type: ignore[method-assign]

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Load the first weights, before the sanity check."""
        self._load(pl_module, self.checkpoints[0])

    def run(self) -> None:
        """One validation for each checkpoint."""
        trainer = self.trainer
        assert trainer is not None
        loop, module = trainer.fit_loop, trainer.lightning_module
        if self.trains:
            loop.setup_data()
        loop.on_run_start()
        for checkpoint in self.checkpoints:
            while self.trains and self._shown < min(checkpoint.epoch + 1, SHOWN):
                self._show_training_images(trainer, checkpoint)
            self._stand_at(trainer, checkpoint.epoch, checkpoint.step)
            self._load(module, checkpoint)
            trainer.validating = True
            loop.epoch_loop.val_loop.run()
            trainer.training = True
            if self.tell is not None:
                self.tell(checkpoint, trainer)
        loop.on_run_end()

    def _stand_at(self, trainer: Trainer, epoch: int, step: int) -> None:
        """Let the Trainer's epoch and global step be these."""
        loop = trainer.fit_loop
        now: Any = loop.epoch_progress.current
        now.ready, now.started, now.processed, now.completed = epoch + 1, epoch + 1, epoch, epoch
        # of automatic and of manual optimization
        loop.epoch_loop.automatic_optimization.optim_progress.optimizer.step.total.completed = step
        loop.epoch_loop.manual_optimization.optim_step_progress.total.completed = step
        loop.epoch_loop._batches_that_stepped = step

    def _load(self, module: LightningModule, checkpoint: SavedCheckpoint) -> None:
        content = dict(self.load(checkpoint.file))
        module.on_load_checkpoint(content)
        try:
            module.load_state_dict(content["state_dict"], strict=module.strict_loading)
        except RuntimeError as error:
            apart = _apart(module.state_dict(), content["state_dict"])
            given = f"{checkpoint.file.name} {apart} for {type(module).__name__}"
            fix = "Name the module that was trained, with the options that it had."
            raise InputError(self.where, "the weights are of another module", given, fix) from error

    def _show_training_images(self, trainer: Trainer, checkpoint: SavedCheckpoint) -> None:
        """Show one epoch of training images to those that take no more than these."""
        module, epoch = trainer.lightning_module, self._shown
        self._shown += 1
        readers = [each for each in monitors_of(trainer) if each.reads_batches]
        if not readers:
            return
        self._stand_at(trainer, epoch, checkpoint.step)
        loader = CombinedLoader(trainer.train_dataloader, "max_size_cycle")
        iter(loader)
        for batch, batch_idx, _ in loader:
            if batch_idx >= trainer.num_training_batches:
                break
            moved = trainer.precision_plugin.convert_input(batch)
            moved = trainer.strategy.batch_to_device(module._on_before_batch_transfer(moved))
            for monitor in readers:
                monitor.on_train_batch_start(trainer, module, moved, batch_idx)
            outputs = self._step(trainer, readers, moved) if batch_idx == epoch == 0 else None
            for monitor in readers:
                monitor.on_train_batch_end(trainer, module, outputs, moved, batch_idx)

    def _step(self, trainer: Trainer, readers: Sequence[Monitor], batch: Any) -> Any:
        """One training step, where validation did not show what the module is trained for; its outputs."""
        module = trainer.lightning_module
        if all(monitor.probe.settled for monitor in readers) or not module.automatic_optimization:
            return None
        module._current_fx_name = "training_step"
        trainer._logger_connector.on_batch_start(batch)
        with torch.enable_grad(), trainer.precision_plugin.train_step_context():
            outputs = module.training_step(batch, 0) if _takes_index(module) else module.training_step(batch)
        module._current_fx_name = None
        trainer._logger_connector.reset_results()
        loss = outputs.get("loss") if isinstance(outputs, Mapping) else outputs
        if not isinstance(loss, Tensor):
            return None
        for monitor in readers:
            monitor.on_before_backward(trainer, module, loss)
        return outputs if isinstance(outputs, Mapping) else {"loss": loss}


def _apart(known: Mapping[str, Any], saved: Mapping[str, Any]) -> str:
    """How saved weights differ from those of a module."""
    lacking, unknown = few(sorted(known.keys() - saved.keys())), few(sorted(saved.keys() - known.keys()))
    said = [f"without {lacking}" if lacking else "", f"with {unknown}" if unknown else ""]
    if not any(said):
        shapes = [
            f"{name} {tuple(saved[name].shape)} in place of {tuple(each.shape)}"
            for name, each in known.items()
            if isinstance(each, Tensor) and isinstance(saved[name], Tensor) and each.shape != saved[name].shape
        ]
        said = [f"with {few(shapes, most=2, room=120)}"] if shapes else ["that it refuses"]
    return " and ".join(part for part in said if part)


def _takes_index(module: LightningModule) -> bool:
    code = getattr(module.training_step, "__code__", None)
    return code is None or code.co_argcount > 2 or bool(code.co_flags & 0x04)
