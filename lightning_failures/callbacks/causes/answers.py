"""What a network answers to a batch, and what is right."""

from torch import Tensor

from lightning_failures.observe.pixels import draw_positions, pixel_rows

__all__ = ["answers"]


def answers(logits: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """Predicted classes and labels; of maps at 16 pixels of each image; each (m).

    Where the largest logit is not finite nothing is predicted, -1.

    Args:
        logits: (n c), or (n c h w).
        target: (n), or (n h w).

    Example:
        >>> import torch
        >>> answers(torch.tensor([[0.1, 0.9], [0.8, 0.2]]), torch.tensor([1, 1]))
        (tensor([1, 0]), tensor([1, 1]))
    """
    if logits.ndim == 4 and target.ndim == 3:
        places = draw_positions(len(logits), 16, 0)
        logits, target = pixel_rows(logits, places), pixel_rows(target, places)
    return logits.argmax(1).masked_fill(~logits.amax(1).isfinite(), -1), target
