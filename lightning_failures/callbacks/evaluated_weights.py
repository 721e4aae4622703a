"""The weights that an evaluation ran with, where a callback that averages weights has taken them back already."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer

__all__ = ["evaluated_weights"]


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
    back: list[Any] = [each for each in before if _averages(each) and each._average_model is not None]
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
