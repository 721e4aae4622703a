"""The step under which loggers keep what belongs to an evaluation."""

from lightning.pytorch import Trainer

__all__ = ["logged_step"]


def logged_step(trainer: Trainer) -> int:
    """The step under which Lightning logs the figures of the evaluation that a trainer is at.

    Lightning counts batches after which an optimizer stepped, and counts the last one after the evaluation that follows
    it. What we log beside the figures belongs under the same step. A loop without Lightning has the global step alone.

    Args:
        trainer: of Lightning, or what stands for one.
    """
    loop = getattr(getattr(trainer, "fit_loop", None), "epoch_loop", None)
    return int(getattr(loop, "_batches_that_stepped", trainer.global_step))
