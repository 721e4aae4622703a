"""Hashes of the images that a run has seen, by side of the split; of bounded size."""

import math

import torch
from torch import Tensor

from lightning_failures.callbacks.ranks import gather
from lightning_failures.functional.image_hashes import ImageSets, image_hashes, image_labels, in_sample
from lightning_failures.observe.observation import Observation

__all__ = ["ImageRecord", "ImageSide"]

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
        self._seen: dict[str, tuple[int, Tensor | int]] = {}  # of each side, all images and the blank ones

    def clear(self, side: str) -> None:
        """Forget the images of a side."""
        self._sides[side] = ImageSide()
        self._seen.pop(side, None)

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
        if seen.inputs[0].numel() > 1:  # else each image is blank
            before, blank = self._seen.get(side, (0, 0))
            self._seen[side] = before + len(hashes), blank + (hashes == 0).sum()
        own = self._sides[side]
        own.add(hashes, image_labels(seen.targets, hashes))
        room = max(1, self.most // processes)
        if own.images > 2 * room:
            own.thin(self.one_in)
            while own.images > room and self.one_in < _LARGEST:
                self.one_in *= 2
                own.thin(self.one_in)

    def blank(self, side: str) -> float:
        """Share of the images of a side that are blank, of all processes; nan of none. Every process must call it.

        Example:
            >>> record = ImageRecord()
            >>> record.add("held", Observation(None, inputs=torch.tensor([[[0.0, 1.0]], [[2.0, 2.0]]])))
            >>> record.blank("held"), record.blank("train")
            (0.5, nan)
        """
        images, blank = self._seen.get(side, (0, 0))
        said = gather((images, int(blank)))
        everything = sum(images for images, _ in said)
        return sum(blank for _, blank in said) / everything if everything else math.nan

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
