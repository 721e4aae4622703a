"""Hashes of the images that a run has seen, by side of the split; of bounded size."""

import math
from functools import reduce
from typing import NamedTuple

import torch
from torch import Tensor

from lightning_failures.callbacks.ranks import gather
from lightning_failures.functional.image_hashes import ImageSets, image_hashes, image_labels, in_sample
from lightning_failures.observe.observation import Observation

__all__ = ["BlankImages", "ImageRecord", "ImageSide"]

#: Most images of a side, over all processes, whose hashes and labels are compared; twice as many are kept, in 6.4 MB.
MOST = 200_000

_LARGEST = 2**32  # from which what is left is one image over and over again


class ImageSide:
    """Hash and label of each image of one side, on the device that it came on."""

    def __init__(self) -> None:
        self._parts: list[tuple[Tensor, Tensor]] = []
        self.images = 0  #: that are kept

    def add(self, hashes: Tensor, labels: Tensor) -> None:
        """Add a batch; (n) each."""
        self._parts.append((hashes, labels))
        self.images += len(hashes)

    def thin(self, one_in: int) -> None:
        """Keep of so many images one, by their hashes."""
        hashes, labels = self.all()
        keep = in_sample(hashes, one_in)
        self._parts, self.images = [], 0
        self.add(hashes[keep], labels[keep])

    def all(self) -> tuple[Tensor, Tensor]:
        """Hashes and labels; (n) each."""
        if not self._parts:
            return torch.zeros(0, dtype=torch.int64), torch.zeros(0, dtype=torch.int64)
        hashes, labels = (torch.cat(column) for column in zip(*self._parts, strict=True))
        self._parts = [(hashes, labels)]
        return hashes, labels


class BlankImages(NamedTuple):
    """How many images are blank, and between what their values lie; adds up over batches and processes."""

    images: int  # of more than one number each
    blank: Tensor  # () int64, those in which each channel has one value throughout
    low: Tensor  # (b) float64, the smallest value of each channel among these
    high: Tensor  # (b) float64, the largest

    @classmethod
    def of(cls, images: Tensor, hashes: Tensor) -> "BlankImages | None":
        """Those of a batch, without a device synchronisation; None of single numbers, which are blank always.

        Args:
            images: of any real dtype; (n b ...).
            hashes: of them; (n), int64.
        """
        if images[0].numel() < 2 or images.is_complex():
            return None
        blank = hashes == 0
        values = images.detach().reshape(*images.shape[:2], -1)[:, :, 0].double()
        low, high = (torch.where(blank[:, None], values, end) for end in (math.inf, -math.inf))
        return cls(len(images), blank.sum(), low.amin(0), high.amax(0))

    def plus(self, other: "BlankImages") -> "BlankImages":
        """Those of both."""
        alike = self.low.shape == other.low.shape
        low = torch.minimum(self.low, other.low) if alike else torch.full_like(self.low, -math.inf)
        high = torch.maximum(self.high, other.high) if alike else torch.full_like(self.high, math.inf)
        return BlankImages(self.images + other.images, self.blank + other.blank, low, high)

    @property
    def share(self) -> float:
        """Share of the images that are blank, all of them with the same values; 0 where blank images differ.

        Evenly lit samples of several channels are blank too, and each has its own spectrum.

        Example:
            >>> grey = torch.tensor([[[2.0, 2.0], [3.0, 3.0]], [[2.0, 2.0], [3.0, 3.0]]])
            >>> apart = grey * torch.tensor([1.0, 4.0])[:, None, None]
            >>> [BlankImages.of(images, image_hashes(images)).share for images in (grey, apart)]
            [1.0, 0.0]
        """
        return float(self.blank) / self.images if bool((self.low >= self.high).all()) else 0.0


class ImageRecord:
    """The images of training, of an evaluation, and some of training that are seen again.

    Where a side has more than :data:`MOST` images, a sample is kept that is drawn by the hashes alone, the same one on
    all sides: shares of images that occur on both sides stay what they are, but for chance.

    Args:
        most: images of a side, over all processes.

    Example:
        >>> record, images = ImageRecord(), torch.rand(4, 3, 8, 8)
        >>> record.add("train", Observation(None, inputs=images))
        >>> record.add("held", Observation(None, inputs=images[:2]))
        >>> (record.gathered("held").train[:2] == record.gathered("held").held).tolist()
        [True, True]
    """

    def __init__(self, most: int = MOST) -> None:
        self.most = most
        self.one_in = 1  #: a power of two; of so many images one is kept
        self._sides = {name: ImageSide() for name in ("train", "held", "again")}
        self._blank: dict[str, BlankImages | None] = dict.fromkeys(self._sides)

    def clear(self, side: str) -> None:
        """Forget the images of a side."""
        self._sides[side] = ImageSide()
        self._blank[side] = None

    def images(self, side: str) -> int:
        """How many images of a side are kept on this process."""
        return self._sides[side].images

    def add(self, side: str, seen: Observation, processes: int = 1) -> None:
        """Add a batch; a device is synchronised only where a side has become too large.

        Args:
            side: ``"train"``, ``"held"``, or ``"again"``.
            seen: the batch.
            processes: of the run, which share the memory.
        """
        if seen.inputs is None or seen.empty:
            return
        hashes = image_hashes(seen.inputs)
        blank, before = BlankImages.of(seen.inputs, hashes), self._blank[side]
        self._blank[side] = before if blank is None else blank if before is None else before.plus(blank)
        own = self._sides[side]
        own.add(hashes, image_labels(seen.targets, hashes))
        room = max(1, self.most // processes)
        if own.images > 2 * room:
            own.thin(self.one_in)
            while own.images > room and self.one_in < _LARGEST:
                self.one_in *= 2
                own.thin(self.one_in)

    def blank(self, side: str) -> float:
        """Share of the images of a side that are blank and all alike, of all processes; nan of no image.

        Every process must call it.

        Example:
            >>> record = ImageRecord()
            >>> record.add("held", Observation(None, inputs=torch.tensor([[[0.0, 1.0]], [[2.0, 2.0]]])))
            >>> record.blank("held"), record.blank("train")
            (0.5, nan)
        """
        mine = self._blank[side]
        told = gather(None if mine is None else (mine.images, *(part.cpu() for part in mine[1:])))
        parts = [BlankImages(*part) for part in told if part is not None]
        return reduce(BlankImages.plus, parts).share if parts else math.nan

    def gathered(self, side: str) -> ImageSets:
        """The images of training and of another side, of all processes, on the CPU; every process must call it."""
        mine = [tuple(part.cpu() for part in self._sides[name].all()) for name in ("train", side)]
        said = gather((self.one_in, mine))
        columns = [
            tuple(torch.cat([sides[place][part] for _, sides in said]) for part in range(2)) for place in range(2)
        ]
        self.one_in = max(theirs for theirs, _ in said)
        kept = [in_sample(hashes, self.one_in) for hashes, _ in columns]
        while max(int(keep.sum()) for keep in kept) > self.most and self.one_in < _LARGEST:
            self.one_in *= 2
            kept = [in_sample(hashes, self.one_in) for hashes, _ in columns]
        return ImageSets(*(part[keep] for column, keep in zip(columns, kept, strict=True) for part in column))
