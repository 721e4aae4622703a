"""What a network answers to a batch, and what is right."""

from torch import Tensor

from lightning_failures.observe.pixels import draw_positions, pixel_rows

__all__ = ["answers", "of_answers"]


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


def of_answers(groups: Tensor | None, images: int, rows: int) -> Tensor | None:
    """The group of each answer: that of its image, of which a map gives several answers that stand together.

    Args:
        groups: of each image, and perhaps of more behind these; (n), int64; None: not known.
        images: number of images that were asked.
        rows: number of answers m.

    Returns:
        (m), int64; None where the groups are not known.

    Example:
        >>> import torch
        >>> of_answers(torch.tensor([7, 3, 9]), 2, 4)
        tensor([7, 7, 3, 3])
    """
    return None if groups is None else groups[:images].repeat_interleave(rows // max(1, images))
