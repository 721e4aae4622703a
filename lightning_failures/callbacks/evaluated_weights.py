"""The weights that an evaluation ran with, where a callback that averages weights has taken them back already."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer

__all__ = ["evaluated_weights", "final_weights"]


@contextmanager
def evaluated_weights(trainer: Trainer, module: LightningModule, callback: Callback) -> Iterator[None]:
    """At the end of an evaluation, its own weights inside, and those that training goes on with outside.

    ``WeightAveraging`` and ``EMAWeightAveraging`` of Lightning put the averaged weights into the module for each
    validation, and take them out in ``on_validation_epoch_end``, before the callbacks that stand after them.

    Args:
        trainer: whose validation ends.
        module: is evaluated.
        callback: whose turn it is.
    """
    callbacks = list(trainer.callbacks)  # type: ignore[attr-defined]
    before = callbacks[: callbacks.index(callback)] if callback in callbacks and not trainer.testing else []
    with _swapped(module, before):
        yield


@contextmanager
def final_weights(trainer: Trainer, module: LightningModule, callback: Callback) -> Iterator[None]:
    """At the end of a ``fit``, the weights that it ends with inside, and what the next callbacks find outside.

    ``WeightAveraging`` puts the averaged weights into the module for good in ``on_train_end``; where it stands after a
    callback, that callback finds the others.

    Args:
        trainer: whose ``fit`` ends.
        module: was trained.
        callback: whose turn it is.
    """
    callbacks = list(trainer.callbacks)  # type: ignore[attr-defined]
    with _swapped(module, callbacks[callbacks.index(callback) + 1 :] if callback in callbacks else []):
        yield


@contextmanager
def _swapped(module: LightningModule, callbacks: list[Callback]) -> Iterator[None]:
    """The averaged weights of some callbacks inside."""
    back: list[Any] = [each for each in callbacks if _averages(each) and each._average_model is not None]  # type: ignore[attr-defined]
    for each in reversed(back):
        each._swap_models(module)
    try:
        yield
    finally:
        for each in back:
            each._swap_models(module)


def _averages(callback: Any) -> bool:
    """Whether it is Lightning's, of either name, which versions before 2.6 do not have."""
    return any(base.__name__ == "WeightAveraging" and "lightning" in base.__module__ for base in type(callback).__mro__)
