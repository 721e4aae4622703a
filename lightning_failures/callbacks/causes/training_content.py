"""What training images hold and validation images lack: given it, validation images are judged as training images."""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from lightning_failures.callbacks.causes.answers import answers
from lightning_failures.functional.class_shift import class_shift
from lightning_failures.functional.content_descriptors import content_descriptor
from lightning_failures.functional.contents import TRANSPLANTS, cell_mask, transplant_region

__all__ = ["MOST", "TRAINING_CONTENTS", "TrainingContent", "give_content"]

#: Validation images that are asked at most: of more, the first ones.
MOST = 96

#: Pixels along a side of an image below which it has no contents.
SIDE = 4

#: Times as far as chance brings them that the class means of training and validation must be apart in a content, beyond
#: what all classes share. A network that knows images by heart knows them by a quarter, too, and these are not apart.
APART = 3.0


class TrainingContent(NamedTuple):
    """One content that may tell the class in training images alone."""

    words: str
    give: Callable[[Tensor, Tensor], Tensor]  # receivers, donors -> receivers with the donors' content; (n b h w)
    read: Callable[[Tensor], Tensor]  # what it is in each image; (n b h w) -> (n d)


def _quarter(words: str, row: int, column: int) -> TrainingContent:
    def mask(images: Tensor) -> Tensor:
        height, width = images.shape[2:]
        return cell_mask(height, width, 2, row, column)

    return TrainingContent(
        words,
        lambda receivers, donors: transplant_region(receivers, donors, mask(receivers)),
        lambda images: content_descriptor(images, mask(images)),
    )


#: In the order in which they are counted; of several that are as good the first, and most precise, is named.
TRAINING_CONTENTS = (
    _quarter("upper left quarter", 0, 0),
    _quarter("upper right quarter", 0, 1),
    _quarter("lower left quarter", 1, 0),
    _quarter("lower right quarter", 1, 1),
    TrainingContent("border", TRANSPLANTS["border"], lambda images: content_descriptor(images, "border")),
)


def give_content(
    model: Callable[[Tensor], Tensor], images: Tensor, target: Tensor, training: Tensor, training_target: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor] | None:
    """Answers to validation images that are given one content of another image of their own class.

    Once that image is of validation, and once of training: what the content tells of the class is in both, and the
    difference is what training images hold beyond it. Only contents are tried in which classes differ between training
    and validation, see :func:`.class_shift`. Which content is best is told on every second image and judged on
    those between, and the other way round, so that the best of several is not better by chance.

    Args:
        model: from images to logits (n c).
        images: of validation; (n b h w), float.
        target: (n), int64, below 0 where there is none.
        training: (m b h w).
        training_target: (m), int64.

    Returns:
        Rows of those images whose class has another validation image and a training image, (p), int64; predicted
        classes with the content of validation, and with that of training, of the content that is best for the other
        half, each (p); and those with each content, (5 p) each, -1 where it was not tried. None where there is nothing
        to be exchanged: no images, or tiny ones, maps of labels, no such class, or no content that differs.

    Example:
        >>> images, target = torch.zeros(4, 1, 4, 4), torch.tensor([1, 1, 2, 2])
        >>> training = images.clone()
        >>> training[:, 0, 0, 0] = target  # upper left
        >>> say = lambda some: torch.nn.functional.one_hot(some[:, 0, 0, 0].long(), 3).float()
        >>> found = give_content(say, images, target, training, target)
        >>> found[1], found[2]
        (tensor([0, 0, 0, 0]), tensor([1, 1, 2, 2]))
    """
    if images.ndim != 4 or min(images.shape[2:]) < SIDE or target.ndim != 1 or not images.is_floating_point():
        return None
    own, theirs = _of_own_class(target, target, shift=1), _of_own_class(target, training_target)
    rows = ((own >= 0) & (own != torch.arange(len(own), device=own.device)) & (theirs >= 0)).nonzero()[:MOST, 0]
    if not len(rows):
        return None
    tried = [
        float(class_shift(each.read(training), training_target, each.read(images), target)) > APART
        for each in TRAINING_CONTENTS
    ]
    if not any(tried):
        return None
    receivers, labels = images[rows], target[rows]
    of_validation, of_training = images[own[rows]], training[theirs[rows].to(training.device)].to(images)
    nothing = torch.full_like(labels, -1)
    before, after = (
        torch.stack(
            [
                answers(model(each.give(receivers, donors)), labels)[0] if some else nothing
                for each, some in zip(TRAINING_CONTENTS, tried, strict=True)
            ]
        )
        for donors in (of_validation, of_training)
    )
    right = (after == labels).int()
    half = torch.arange(len(rows), device=labels.device) % 2
    best = torch.stack([right[:, half != which].sum(1).argmax() for which in (0, 1)])[half]
    column = torch.arange(len(rows), device=labels.device)
    return rows, before[best, column], after[best, column], before, after


def _of_own_class(target: Tensor, classes: Tensor, shift: int = 0) -> Tensor:
    """For each image one of the others that has its class, each in its turn, -1 where there is none; (n), int64.

    Args:
        target: class of each image; (n), below 0 where there is none.
        classes: of the others; (m).
        shift: by how many places the turn is ahead, so that of the same images none is its own.
    """
    found = torch.full_like(target, -1)
    for label in target[target >= 0].unique().tolist():
        mine, others = (target == label).nonzero()[:, 0], (classes.to(target.device) == label).nonzero()[:, 0]
        if len(others):
            found[mine] = others[(torch.arange(len(mine), device=target.device) + shift) % len(others)]
    return found
