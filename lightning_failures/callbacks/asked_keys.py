"""The logged keys that somebody in a run decides by: checkpoints, early stopping, gates, schedules."""

from typing import Any

from lightning.pytorch import Trainer

__all__ = ["asked_keys"]


def asked_keys(trainer: Trainer) -> set[str]:
    """What callbacks and schedules of a run ask for by name; a gate's keys may hold stars.

    Args:
        trainer: whose callbacks and schedules have a ``monitor``; gates of this package have ``gate_keys``.

    Example:
        >>> from lightning.pytorch.callbacks import ModelCheckpoint
        >>> trainer = Trainer(
        ...     callbacks=[ModelCheckpoint(monitor="failures/kept")], logger=False, accelerator="cpu",
        ...     enable_progress_bar=False, enable_model_summary=False,
        ... )
        >>> asked_keys(trainer)
        {'failures/kept'}
    """
    asked: set[Any] = set()
    for callback in getattr(trainer, "callbacks", ()):
        asked.add(getattr(callback, "monitor", None))
        asked.update(getattr(callback, "gate_keys", ()))
    asked.update(getattr(schedule, "monitor", None) for schedule in getattr(trainer, "lr_scheduler_configs", ()))
    return {key for key in asked if isinstance(key, str)}
