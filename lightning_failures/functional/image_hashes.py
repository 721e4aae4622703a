"""Images that occur more than once, found by a number that each one's bytes give.

The bits are mixed as the finaliser of MurmurHash3 (Austin Appleby, public domain) does it, word by word.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from lightning_failures.functional.proportions import wilson

__all__ = [
    "NOT_LABELLED",
    "Copies",
    "ImageSets",
    "copies_statistics",
    "find_copies",
    "image_hashes",
    "image_labels",
    "in_sample",
]

#: Stands for an image without a label among the labels of :class:`ImageSets`.
NOT_LABELLED = -(2**63)

_WORDS = 2**16  # that are mixed at a time, so that they stay in a processor's cache
_STEP = -0x61C8864680B583EB  # 2^64 over the golden ratio, odd
_FIRST, _SECOND = -0x00AE502812AA7333, -0x3B314601E57A13AD  # MurmurHash3's two multipliers


class ImageSets(NamedTuple):
    """Hashes and labels of the images on both sides of a split; grows across batches and across ranks.

    Blank images have the hash 0. A label is a class, or the hash of a map of labels.
    """

    train: Tensor  # (t) int64, hashes
    train_labels: Tensor  # (t) int64
    held: Tensor  # (m) int64, hashes
    held_labels: Tensor  # (m) int64

    @classmethod
    def zero(cls) -> "ImageSets":
        """Of no image."""
        none = torch.zeros(0, dtype=torch.int64)
        return cls(none, none, none, none)


class Copies(NamedTuple):
    """Which images occur elsewhere too; blank ones never do."""

    source: Tensor  # (m) int64, the first training image that a held-out one is equal to; -1: it is equal to none
    repeated: Tensor  # (m) bool, held-out images that are equal to an earlier held-out one
    contradicting: Tensor  # (m) bool, held-out images that stand elsewhere, on either side, under another label
    train_repeated: Tensor  # (t) bool, likewise of the training images
    train_contradicting: Tensor  # (t) bool

    @property
    def leaked(self) -> Tensor:
        """Which held-out images stand among the training images; (m), bool."""
        return self.source >= 0


def image_hashes(images: Tensor) -> Tensor:
    """A number of 64 bits for each image: equal where the images are, byte for byte.

    Convention:
        Images of other shapes, dtypes or values have other numbers, but for chance: among N images that differ, two
        share a number with odds of about N^2 / 2^65, 1 to 37 million for a million images. Images made on purpose to
        share one are not withstood. 0 stands for a blank image, in which each channel has one
        value throughout, or of a single pixel all channels the same: such images are equal without being one. The
        numbers are the same on every device, for any cut into batches and any layout in memory. -0.0 and 0.0 differ.

    Args:
        images: of any dtype; (n b h w), spectra (n b), or any (n ...).

    Returns:
        (n), int64, on the images' device; nothing is synchronised.

    Example:
        >>> images = torch.tensor([[[0.0, 1.0]], [[2.0, 3.0]], [[0.0, 1.0]], [[5.0, 5.0]]])
        >>> hashes = image_hashes(images)
        >>> (hashes[0] == hashes[2]).item(), (hashes[0] == hashes[1]).item(), hashes[3].item()
        (True, False, 0)
    """
    rows = images.detach()
    rows = torch.view_as_real(rows.resolve_conj()) if rows.is_complex() else rows
    n = len(rows)
    if not rows.numel():
        return torch.zeros(n, dtype=torch.int64, device=rows.device)
    flat = rows.contiguous().reshape(n, -1)
    pixels = flat.reshape(n, rows.shape[1], -1) if rows.ndim > 2 and rows[0, 0].numel() > 1 else flat[:, None]
    blank = (pixels == pixels[:, :, :1]).flatten(1).all(1)
    data = flat.view(torch.uint8)
    data = torch.nn.functional.pad(data, (0, -data.shape[1] % 8))
    # a view of the user's memory may begin anywhere
    words = (data.clone() if data.storage_offset() % 8 else data).view(torch.int64)
    keys = torch.arange(1, words.shape[1] + 1, device=words.device) * _STEP
    at_once = max(1, _WORDS // words.shape[1])
    sums = torch.cat([_mix(part ^ keys).sum(1) for part in words.split(at_once)])
    described = int.from_bytes(f"{images.dtype} {tuple(images.shape[1:])}".encode()) % (2**61 - 1)
    hashes = _mix(sums + described)
    return torch.where(blank, 0, torch.where(hashes == 0, 1, hashes))


def _mix(words: Tensor) -> Tensor:
    """Words of 64 bits, each bit of which depends on all; in place, and one to one."""
    words ^= _shifted(words, 33)
    words *= _FIRST
    words ^= _shifted(words, 33)
    words *= _SECOND
    words ^= _shifted(words, 33)
    return words


def _shifted(words: Tensor, bits: int) -> Tensor:
    """Shifted to the right, with zeros from the left."""
    return (words >> bits).bitwise_and_((1 << (64 - bits)) - 1)


def image_labels(targets: Tensor | None, hashes: Tensor) -> Tensor:
    """One number an image that is equal where the labels are, :data:`NOT_LABELLED` where there is none; (n), int64.

    Args:
        targets: one class per image, negative where it has none; (n), int64; or maps of labels (n h w); None: no
            labels.
        hashes: of the images; (n), int64.
    """
    if targets is None:
        return torch.full_like(hashes, NOT_LABELLED)
    if targets.ndim == 1:
        return torch.where(targets < 0, NOT_LABELLED, targets).to(hashes.device)
    if not targets.numel():
        return torch.zeros_like(hashes)
    return (image_hashes(targets) ^ (targets.flatten(1)[:, 0] + 1)).to(hashes.device)  # maps of one class have hash 0


def in_sample(hashes: Tensor, one_in: int) -> Tensor:
    """Which images belong to a sample that is drawn by the hashes alone; (n), bool.

    Of equal images either all are in it or none is, wherever they stand, so that shares of images that occur elsewhere
    are, but for chance, those of all images. Blank images are never in it.

    Args:
        hashes: of the images; (n), int64.
        one_in: a power of two: of so many images one is in the sample; what is in a sample is in each larger one.
    """
    return ((hashes & (one_in - 1)) == 0) & (hashes != 0)


def find_copies(sets: ImageSets) -> Copies:
    """Which images occur more than once, on one side or on both.

    Args:
        sets: hashes and labels of both sides.

    Example:
        >>> train, held = torch.tensor([11, 12, 12]), torch.tensor([12, 13, 13])
        >>> labels = torch.tensor([0, 0, 1])
        >>> copies = find_copies(ImageSets(train, labels, held, labels))
        >>> copies.source.tolist(), copies.repeated.tolist(), copies.contradicting.tolist()
        ([1, -1, -1], [False, False, True], [True, True, True])
    """
    hashes = torch.cat([sets.train, sets.held])
    labels = torch.cat([sets.train_labels, sets.held_labels])
    images, known = len(sets.train), labels != NOT_LABELLED
    unique, group = hashes.unique(return_inverse=True)
    place = torch.arange(len(hashes), device=hashes.device)
    nowhere = torch.full_like(unique, len(hashes))
    first_train, first_held = (
        nowhere.scatter_reduce(0, group[side], place[side], "amin") for side in (slice(images), slice(images, None))
    )
    lowest = torch.full_like(unique, 2**63 - 1).scatter_reduce(0, group[known], labels[known], "amin")
    highest = torch.full_like(unique, NOT_LABELLED).scatter_reduce(0, group[known], labels[known], "amax")
    real = hashes != 0
    contradicting = (lowest < highest)[group] & real & known
    repeated = (place > torch.where(place < images, first_train[group], first_held[group])) & real
    source = torch.where(real & (first_train[group] < len(hashes)), first_train[group], -1)
    return Copies(source[images:], repeated[images:], contradicting[images:], repeated[:images], contradicting[:images])


def copies_statistics(sets: ImageSets) -> dict[str, Tensor]:
    """Shares of images that occur more than once; scalars, of images that are not blank.

    Convention:
        ``leakage``: held-out images that stand among the training images, with Wilson's interval, in which the
        held-out images count as a sample, each by itself: hashes tell no groups, and where whole patients or slides
        were copied it is too narrow; ``duplicates``: held-out images that are equal to an earlier held-out one;
        ``contradicting_labels``: held-out images that stand elsewhere under another label; ``training_duplicates`` and
        ``training_contradicting_labels``: the same among all training images. In [0, 1], lower is better; ``nan``
        without an image of the sides that are compared, and for labels where no image of the side has one.

    Args:
        sets: hashes and labels of both sides.
    """
    copies = find_copies(sets)
    held, train = (sets.held != 0).sum(), (sets.train != 0).sum()
    leaked = copies.leaked.sum()
    compared = torch.where(train > 0, held, 0)
    low, high = wilson(leaked, compared)

    def contradicting(found: Tensor, hashes: Tensor, labels: Tensor) -> Tensor:
        return _share(found.sum(), ((hashes != 0) & (labels != NOT_LABELLED)).sum())

    return {
        "leakage": _share(leaked, compared),
        "leakage_low": low,
        "leakage_high": high,
        "duplicates": _share(copies.repeated.sum(), held),
        "contradicting_labels": contradicting(copies.contradicting, sets.held, sets.held_labels),
        "training_duplicates": _share(copies.train_repeated.sum(), train),
        "training_contradicting_labels": contradicting(copies.train_contradicting, sets.train, sets.train_labels),
        "leaked": leaked,
        "images": held,
        "training_images": train,
    }


def _share(some: Tensor, of: Tensor) -> Tensor:
    """One count over another; nan of none."""
    return torch.where(of > 0, some.double() / of.double(), torch.nan)
