"""Images that are nearly another one: the same in other files, other frames of one scene, crops that overlap.

The nearest image against the tenth nearest is the ratio test of Lowe, "Distinctive image features from scale-invariant
keypoints" (IJCV 2004), taken to the tenth so that a few copies do not hide each other.
"""

from typing import NamedTuple

import torch
from einops import rearrange
from torch import Tensor
from torch.nn import functional as F

from lightning_failures.functional.empty_batches import never_empty

__all__ = ["NEAR", "NEIGHBOURS", "NearCopies", "find_near_copies", "image_sketches"]

#: Largest distance of a near copy, over that of the tenth nearest image. Nearest of images that are no copies, 8 x 8
#: digits, spectral scenes of two kinds and patches of Indian Pines split by blocks: 0.30 and more. Copies with noise of
#: 5% of the deviation, other brightness and contrast, or in half the resolution of a smooth scene: 0.20 and less.
NEAR = 0.25

#: Which neighbour the nearest is compared with; so that up to nine copies of an image are found.
NEIGHBOURS = 10

_SIDE, _CHANNELS, _NUMBERS = 8, 3, 192
_AT_ONCE = 256
_CANDIDATES = 32  # by their product, of which the nearest are found


class NearCopies(NamedTuple):
    """What :func:`find_near_copies` gives, of each held-out image."""

    source: Tensor  # (m) int64, the nearest training image
    near: Tensor  # (m) bool, whether it is a near copy
    tried: Tensor  # (m) bool, whether there are enough images of other classes to compare with
    by_chance: Tensor  # (m) bool, whether among the training images of other classes one is as near


@never_empty
def image_sketches(images: Tensor) -> Tensor:
    """A few numbers per image that stay nearly the same under other brightness, contrast, resolution and some noise.

    Images of 8 x 8 pixels and three channels, averages of neighbouring ones; spectra of 192. Each less its mean, and of
    length one; 0 throughout for a blank image.

    Args:
        images: (n b h w), or spectra (n b), float.

    Returns:
        (n k), float32, with k at most 192.
    """
    if images.ndim == 2:
        sketches = F.adaptive_avg_pool1d(images.float()[:, None], min(_NUMBERS, images.shape[1]))[:, 0]
    else:
        parts = images.float().tensor_split(min(_CHANNELS, images.shape[1]), 1)
        few = torch.stack([part.mean(1) for part in parts], 1)
        size = min(_SIDE, images.shape[2]), min(_SIDE, images.shape[3])
        sketches = rearrange(F.adaptive_avg_pool2d(few, size), "n b h w -> n (b h w)")
    return F.normalize(sketches - sketches.mean(1, keepdim=True), dim=1)


def find_near_copies(held: Tensor, held_target: Tensor, train: Tensor, train_target: Tensor) -> NearCopies:
    """Which held-out images are a quarter or less as far from a training image as from its tenth nearest one.

    Convention:
        ``by_chance`` asks the same among the training images of other classes alone, where copies do not lie: its share
        is how often data of this kind look so without a copy. It is high where images differ along a few directions
        only, and then nearness tells nothing.

    Args:
        held: sketches of the held-out images; (m k).
        held_target: their classes; (m), int64.
        train: sketches of the training images; (t k).
        train_target: their classes; (t), int64.

    Example:
        >>> generator = torch.Generator().manual_seed(0)
        >>> train = image_sketches(torch.rand(100, 3, 8, 8, generator=generator))
        >>> copy = image_sketches(torch.rand(1, 3, 8, 8, generator=generator))
        >>> held, classes = torch.cat([train[7:8], copy]), torch.arange(100) % 2
        >>> found = find_near_copies(held, torch.tensor([1, 0]), train, classes)
        >>> found.source[0].item(), found.near.tolist(), found.by_chance.tolist()
        (7, [True, False], [False, False])
    """
    if len(train) < NEIGHBOURS or not len(held):
        nothing = torch.zeros(len(held), dtype=torch.bool, device=held.device)
        return NearCopies(nothing.long() - 1, nothing, nothing, nothing)
    usual = train.mean(0)  # smooth spectra are nearly the same but for what they have not in common
    around = F.normalize(train - usual, dim=1)
    found = [
        _find(F.normalize(some - usual, dim=1), some.any(1), target, around, train_target)
        for some, target in zip(held.split(_AT_ONCE), held_target.split(_AT_ONCE), strict=True)
    ]
    return NearCopies(*(torch.cat(column) for column in zip(*found, strict=True)))


def _find(held: Tensor, real: Tensor, held_target: Tensor, train: Tensor, train_target: Tensor) -> NearCopies:
    alike = held @ train.T
    place, nearest = _nearest(held, train, alike)
    _, among = _nearest(held, train, alike.masked_fill(held_target[:, None] == train_target, -torch.inf))
    tried = among[:, NEIGHBOURS - 1].isfinite() & real
    near, by_chance = (
        (found[:, 0] <= NEAR * found[:, NEIGHBOURS - 1]) & (found[:, NEIGHBOURS - 1] > 0) for found in (nearest, among)
    )
    return NearCopies(place[:, 0], near & real, tried, by_chance & tried)


def _nearest(held: Tensor, train: Tensor, alike: Tensor) -> tuple[Tensor, Tensor]:
    """Places and distances of the nearest rows, the nearest first; (m k) each, infinite where none is allowed."""
    best, place = alike.topk(min(_CANDIDATES, len(train)), 1)
    # of differences, since a product rounds away what is left between near copies
    apart = torch.where(best.isfinite(), (held[:, None] - train[place]).norm(dim=2), torch.inf)
    order = apart.argsort(dim=1, stable=True)
    return place.gather(1, order), apart.gather(1, order)
