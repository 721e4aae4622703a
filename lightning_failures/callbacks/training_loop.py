"""What callbacks ask of the loop that they run in: Lightning's Trainer answers it, and so does a loop of one's own."""

from typing import Any, Protocol

__all__ = ["TrainingLoop"]


class TrainingLoop(Protocol):
    """The part of a :class:`~lightning.pytorch.Trainer` that monitors, diagnosis and gates read.

    Whoever reads something else of a Trainer adds it here, so that the type checker says which loops lack it.
    """

    should_stop: bool
    accumulate_grad_batches: int

    @property
    def current_epoch(self) -> int:
        """Counted from 0."""

    @property
    def global_step(self) -> int:
        """Steps of the optimizer so far."""

    @property
    def state(self) -> Any:
        """Its ``fn`` says what runs: ``"fit"``, ``"validate"`` or ``"test"``."""

    @property
    def sanity_checking(self) -> bool:
        """Whether some evaluation batches run before any training."""

    @property
    def validating(self) -> bool:
        """Whether an evaluation of the course of the run is the last thing that took place."""

    @property
    def testing(self) -> bool:
        """Whether a test runs."""

    @property
    def enable_validation(self) -> bool:
        """Whether anything is evaluated while training."""

    @property
    def limit_val_batches(self) -> Any:
        """How many of its batches are taken, or which share of them."""

    @property
    def lightning_module(self) -> Any:
        """The module that is trained."""

    @property
    def train_dataloader(self) -> Any:
        """The loader of the training."""

    @property
    def num_training_batches(self) -> Any:
        """How many batches it gives; infinite where that is not known."""

    @property
    def max_steps(self) -> int:
        """After which the training ends; -1: none."""

    @property
    def val_dataloaders(self) -> Any:
        """The loader of the evaluation, or several."""

    @property
    def test_dataloaders(self) -> Any:
        """The loader of the test, or several."""

    @property
    def num_val_batches(self) -> Any:
        """How many batches each of them gives."""

    @property
    def num_test_batches(self) -> Any:
        """How many batches each of them gives."""

    @property
    def callback_metrics(self) -> Any:
        """The value that was logged last under each key."""

    @property
    def loggers(self) -> Any:
        """Where values, tables and pictures go."""

    @property
    def progress_bar_callback(self) -> Any:
        """The progress bar; None where there is none."""

    @property
    def precision_plugin(self) -> Any:
        """Its ``forward_context()`` is the context of mixed precision."""

    @property
    def strategy(self) -> Any:
        """Its ``reduce_boolean_decision`` decides for all processes, its ``reduce`` adds up over them."""

    @property
    def world_size(self) -> int:
        """Number of processes."""

    @property
    def is_global_zero(self) -> bool:
        """Whether this is the first process."""
