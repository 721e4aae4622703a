"""The step under which loggers keep what belongs to an evaluation, and the axis over which its curves are drawn."""

from typing import Literal

from lightning.pytorch import Trainer

__all__ = ["curve_axis", "logged_step"]


def curve_axis(trainer: Trainer) -> Literal["epoch", "trainer/global_step"]:
    """Over what curves are drawn: epochs, or steps where an epoch has several evaluations or nobody knows.

    Args:
        trainer: of Lightning, or what stands for one: a loop of one's own may evaluate whenever it likes.
    """
    once = getattr(trainer, "val_check_batch", None) == getattr(trainer, "num_training_batches", 0)
    return "epoch" if once else "trainer/global_step"


def logged_step(trainer: Trainer) -> int:
    """The step under which Lightning logs the figures of the evaluation that a trainer is at.

    Lightning counts batches after which an optimizer stepped, and counts the last one after the evaluation that follows
    it. What we log beside the figures belongs under the same step. A loop without Lightning has the global step alone.

    Args:
        trainer: of Lightning, or what stands for one.
    """
    loop = getattr(getattr(trainer, "fit_loop", None), "epoch_loop", None)
    return int(getattr(loop, "_batches_that_stepped", trainer.global_step))
