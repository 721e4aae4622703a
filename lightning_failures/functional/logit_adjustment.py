"""Logits as they would be if all classes had been equally frequent in training.

Menon et al., "Long-tail learning via logit adjustment" (ICLR 2021): a network that is trained on classes of shares p
learns scores that hold log p; without it, they are those of classes that are equally frequent.
"""

import torch
from torch import Tensor

from lightning_failures.errors import InputError

__all__ = ["adjust_logits", "are_uneven"]

#: Chance below which class counts are not those of classes that are equally frequent.
UNEVEN = 1e-6


def are_uneven(counts: Tensor) -> bool:
    """Whether class counts are not those of equally frequent classes, by Pearson's chi-square test at one in a million.

    Args:
        counts: images of each class in a sample of the training images; (c), at least 0.

    Convention:
        False where there are fewer images than classes, which is too few to tell, and for one class.

    Example:
        >>> are_uneven(torch.tensor([26, 24, 30, 20])), are_uneven(torch.tensor([80, 10, 5, 5]))
        (False, True)
    """
    images, classes = float(counts.sum()), len(counts)
    if classes < 2 or images < classes:
        return False
    expected = images / classes
    statistic = (counts.double() - expected).square().sum() / expected
    half = torch.tensor((classes - 1) / 2, dtype=torch.float64)
    return bool(torch.special.gammaincc(half, statistic.cpu() / 2) < UNEVEN)


def adjust_logits(logits: Tensor, counts: Tensor) -> Tensor:
    """Logits less the logarithm of each class's share of the training images.

    Args:
        logits: (n c ...).
        counts: images of each class in a sample of the training images; (c), at least 0.

    Convention:
        A class without an image in the sample counts as half an image.

    Raises:
        InputError: there is not one count for each class.

    Example:
        >>> adjust_logits(torch.tensor([[1.0, 0.0]]), torch.tensor([9, 1])).argmax(1)
        tensor([1])
    """
    if logits.shape[1] != len(counts):
        given = f"logits of {logits.shape[1]} classes and {len(counts)} counts"
        raise InputError("adjust_logits", "there is not one count for each class", given, "Count all classes.")
    share = counts.double().clamp(min=0.5) / counts.sum()
    return logits - share.log().to(logits).reshape(-1, *[1] * (logits.ndim - 2))
