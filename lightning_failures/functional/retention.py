"""Images with one part of their information removed, and how much accuracy a model keeps on them.

Bags of pixels: Brendel and Bethge, "Approximating CNNs with bag-of-local-features models" (2019).
"""

from typing import NamedTuple

import torch
from einops import rearrange
from torch import Tensor

from lightning_failures.functional.paired_accuracy import accuracy_difference, count_pairs

__all__ = [
    "Retained",
    "RetainedPairs",
    "RetentionCounts",
    "count_retention",
    "keep_intensity",
    "keep_mean_spectrum",
    "retained",
    "retention_of_images",
    "shuffle_pixels",
    "unit_total",
]


class RetentionCounts(NamedTuple):
    """Right and wrong before and after each of k changes; adds up across batches and across ranks."""

    both: Tensor  # (k) int64, images right before and after
    before_only: Tensor  # (k) int64, images right only as they are
    after_only: Tensor  # (k) int64, images right only when changed
    neither: Tensor  # (k) int64, images wrong before and after
    classes: Tensor  # (c) int64, images of each class
    right: Tensor  # () int64, images right as they are

    @classmethod
    def zero(cls, num_changes: int, num_classes: int) -> "RetentionCounts":
        """The counts of no images."""
        changes = torch.zeros(num_changes, dtype=torch.int64)
        classes, right = torch.zeros(num_classes, dtype=torch.int64), torch.zeros((), dtype=torch.int64)
        return cls(changes, changes, changes, changes, classes, right)


class RetainedPairs(NamedTuple):
    """The paired counts of :class:`RetentionCounts` alone, such as of one image or of one group."""

    both: Tensor  # (... k) int64
    before_only: Tensor  # (... k) int64
    after_only: Tensor  # (... k) int64
    neither: Tensor  # (... k) int64


class Retained(NamedTuple):
    """What :func:`retained` gives."""

    accuracy: Tensor  # () as they are
    chance: Tensor  # () share of the largest class
    changed: Tensor  # (k) accuracy when changed
    retained: Tensor  # (k)
    lost: Tensor  # (k) accuracy before minus after
    lost_low: Tensor  # (k)
    lost_high: Tensor  # (k)


def shuffle_pixels(images: Tensor, generator: torch.Generator | None = None) -> Tensor:
    """Each image with its pixels in random order, the same order for all its channels: no shapes, the same spectra.

    Args:
        images: (n b h w).
        generator: on the CPU; None: torch's own.
    """
    n, _, h, w = images.shape
    order = torch.rand(n, 1, h * w, generator=generator).argsort(2).to(images.device)
    pixels = rearrange(images, "n b h w -> n b (h w)").gather(2, order.expand(-1, images.shape[1], -1))
    return rearrange(pixels, "n b (h w) -> n b h w", h=h)


def keep_mean_spectrum(images: Tensor) -> Tensor:
    """Each image with its mean spectrum at every pixel: nothing spatial; (n b h w)."""
    return images.mean((2, 3), keepdim=True).expand_as(images)


def keep_intensity(raw: Tensor) -> Tensor:
    """Each pixel with its own total and the shape of its image's mean spectrum: a grey image; (n b h w).

    Args:
        raw: images in raw units, whose totals are not 0; (n b h w).
    """
    mean = raw.mean((2, 3), keepdim=True)
    return mean * raw.sum(1, keepdim=True) / mean.sum(1, keepdim=True)


def unit_total(raw: Tensor, level: Tensor | float = 1.0) -> Tensor:
    """Each pixel divided by its total over the channels: no intensity, the same shapes of spectra; (n b h w).

    Args:
        raw: images in raw units, whose totals are not 0; (n b h w).
        level: total that every pixel gets, such as the mean over the data, so that the scale stays known to the model.
    """
    return raw * (level / raw.sum(1, keepdim=True))


def count_retention(preds: Tensor, changed_preds: Tensor, target: Tensor, num_classes: int) -> RetentionCounts:
    """Count right and wrong before and after each change.

    Args:
        preds: classes predicted for images as they are; (n ...), int64.
        changed_preds: classes predicted for changed images, one change a column, -1 where there is none; (n ... k).
        target: true classes, those outside [0, c) left out; (n ...), int64.
        num_classes: number of classes c.
    """
    target, preds = target.flatten(), preds.flatten()
    changed = rearrange(changed_preds, "n ... k -> (n ...) k")
    known = (target >= 0) & (target < num_classes)
    before, after = (preds == target)[:, None], changed == target[:, None]
    kept = known[:, None] & (changed >= 0)
    classes = torch.zeros(num_classes, dtype=torch.int64, device=target.device)
    return RetentionCounts(
        *count_pairs(before, after, kept),
        classes.index_add_(0, torch.where(known, target, 0), known.long()),
        (known & before[:, 0]).sum(),
    )


def retention_of_images(preds: Tensor, changed_preds: Tensor, target: Tensor, num_classes: int) -> RetainedPairs:
    """What each image adds to the paired counts of :func:`count_retention`; (n k) each.

    Args:
        preds: as there.
        changed_preds: as there.
        target: as there.
        num_classes: as there.
    """
    preds, target = (rearrange(value, "n ... -> (...) n 1") for value in (preds, target))
    changed = rearrange(changed_preds, "n ... k -> (...) n k")
    kept = (target >= 0) & (target < num_classes) & (changed >= 0)
    return RetainedPairs(*count_pairs(preds == target, changed == target, kept))


def retained(counts: RetentionCounts, by_group: RetainedPairs | None = None) -> Retained:
    """Accuracy on changed images, and which share of the accuracy above chance they keep.

    Convention:
        ``retained`` is (changed - chance) / (accuracy - chance), on the images that have a changed version: 1 keeps
        everything, 0 leaves chance, below 0 misleads; ``nan`` where the accuracy is not above chance, the share of the
        largest class. ``lost`` is accuracy minus changed, in [-1, 1], with a 95% paired interval (Newcombe's method
        10). ``nan`` without images; the interval also where they are of fewer than :data:`.FEWEST_GROUPS` groups.

    Args:
        counts: the counts.
        by_group: the paired counts of each group of images that belong together, (g k), so that the interval counts
            groups; None: images are independent.

    Returns:
        Accuracy and chance, and the rest by change.

    Example:
        >>> right = torch.tensor([0, 1, 0, 1])
        >>> retained(count_retention(right, torch.tensor([[0], [1], [0], [0]]), right, num_classes=2)).retained
        tensor([0.5000], dtype=torch.float64)
    """
    images = counts.classes.sum().double()
    chance = counts.classes.max() / images
    both, before_only, after_only, neither = (count.double() for count in counts[:4])
    pairs = both + before_only + after_only + neither
    before, after = (both + before_only) / pairs, (both + after_only) / pairs
    share = torch.where(before > chance, (after - chance) / (before - chance), torch.nan)
    lost = accuracy_difference(both, before_only, after_only, neither, by_group=by_group)
    return Retained(counts.right / images, chance, after, share, *lost)
