"""Images that lie otherwise than those of training: mirrored, turned or transposed; and what puts them back."""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from lightning_failures.callbacks.causes.answers import answers

__all__ = ["ORIENTATIONS", "Orientation", "put_back"]


class Orientation(NamedTuple):
    """One way in which images may lie otherwise."""

    words: str  # after "validation images are"
    undo: Callable[[Tensor], Tensor]  # of (n b h w)
    square: bool  # whether it gives images of the same size of square ones alone


#: In the order in which they are counted; each is another element of the symmetries of a square.
ORIENTATIONS = (
    Orientation("mirrored, left to right", lambda images: images.flip(3), False),
    Orientation("mirrored, top to bottom", lambda images: images.flip(2), False),
    Orientation("turned by half a turn", lambda images: images.flip(2, 3), False),
    Orientation("transposed, with rows as columns", lambda images: images.transpose(2, 3), True),
    Orientation("turned by a quarter to the left", lambda images: images.rot90(-1, (2, 3)), True),
    Orientation("turned by a quarter to the right", lambda images: images.rot90(1, (2, 3)), True),
)


def put_back(
    model: Callable[[Tensor], Tensor], images: Tensor, before: Tensor, target: Tensor
) -> tuple[Tensor, Tensor] | None:
    """Answers to images that are put back, in the way that is best.

    Which way is best is told on every second image and judged on those between, and the other way round, so that the
    best of several is not better by chance.

    Args:
        model: from images to logits (n c).
        images: (n b h w).
        before: predicted classes of the images as they are; (n), int.
        target: (n), below 0 where there is none.

    Returns:
        Predicted classes, each image in the way that is best for the other half, or as it is; (n), int64; and those in
        each way, -1 where images of other sides would come out; (6 n), int64. None where there is nothing to be turned:
        no images, or maps of labels.

    Example:
        >>> images = torch.eye(2)[:, None, None]  # rows of two pixels, each a class
        >>> images = torch.cat([images, 0 * images], 2)
        >>> found = put_back(lambda some: some[:, 0, 0], images, torch.tensor([0, 1]), torch.tensor([1, 0]))
        >>> found[0], found[1][0]
        (tensor([1, 0]), tensor([1, 0]))
    """
    if images.ndim != 4 or min(images.shape[2:]) < 2 or target.ndim != 1:
        return None
    alike = images.shape[2] == images.shape[3]
    nothing = torch.full_like(target, -1)
    ways = torch.stack(
        [answers(model(each.undo(images)), target)[0] if alike or not each.square else nothing for each in ORIENTATIONS]
    )
    possible = torch.cat([before[None], ways])  # (7 n)
    right = (possible == target) & (target >= 0)
    rows = torch.arange(len(target), device=target.device)
    best = torch.stack([right[:, rows % 2 != half].sum(1).argmax() for half in (0, 1)])
    return possible[best[rows % 2], rows], ways
