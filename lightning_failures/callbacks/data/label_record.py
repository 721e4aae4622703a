"""What training steps showed of each training image: margins of its label, and what was predicted at first."""

import math
from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor

from lightning_failures.callbacks.ranks import gather
from lightning_failures.functional.image_hashes import image_hashes
from lightning_failures.functional.margins import (
    Disagreement,
    error_norms,
    margins,
    mislabelled_interval,
    sure_disagreement,
)
from lightning_failures.functional.proportions import wilson

__all__ = ["LabelRecord", "LabelRow"]

#: Epochs over which probabilities are averaged: one epoch is noisy, after more wrong labels are known by heart.
WINDOW = 3

#: Fall of the disagreement from one epoch to the next, below which the network has learnt what it learns at first.
SETTLED = 0.08

#: Fewest of the surest images of which a share is told.
FEWEST = 50

#: Share of an epoch's images that must have come in the epoch before, so that images can be told apart.
RECOGNISED = 0.5

TOO_EARLY = "it takes three epochs of training, from the first one on"
CHANGED = "training images are augmented or drawn anew each epoch, so that none is recognised: name them with ids="
UNLEARNT = "the network does not tell most labels, even where it is surest, or no better than by chance"
FEW = f"it takes {FEWEST} images of which the network is sure"


class LabelRow(NamedTuple):
    """One training image, as the table shows it."""

    image: str | int  # its id, its row in the dataset, or the hash of its bytes in hexadecimal
    label: int
    predicted: int  # at its last epoch
    aum: float  # area under the margin: mean over the epochs
    el2n: float  # mean error norm
    epochs: int  # that were watched


class _Part(NamedTuple):
    """Some images of an epoch, or all that are known; a field each."""

    key: Tensor  # (n) int64, of image and label
    image: Tensor  # (n) int64
    label: Tensor  # (n) int64
    predicted: Tensor  # (n) int64
    margin: Tensor  # (n) float64, summed
    norm: Tensor  # (n) float64, summed
    seen: Tensor  # (n) int64


class LabelRecord:
    """Sums by image, over all epochs that are watched; and the softmax of the last three, until a share is told.

    An image under two labels counts as two. Nothing is exchanged between processes before :meth:`close`.
    """

    def __init__(self) -> None:
        self.why = TOO_EARLY  #: why there is no share
        self.share: dict[str, float] = dict.fromkeys(("mislabelled", "mislabelled_low", "mislabelled_high"), math.nan)
        self.changed = False  #: whether images do not come again
        self._pending: list[tuple[int, _Part, Tensor]] = []
        self._known: _Part | None = None
        self._early: dict[int, list[tuple[Tensor, Tensor, Tensor]]] = {}  # epoch -> keys, labels and softmax
        self._curve: dict[int, float] = {}  # epoch -> disagreement
        self._done = False

    def add(self, epoch: int, images: Tensor, logits: Tensor, target: Tensor) -> None:
        """Add a batch, without a device synchronisation.

        Args:
            epoch: Lightning's, counted from 0.
            images: a number that tells each image; (n), int64.
            logits: of the training step; (n c).
            target: labels, negative where there is none; (n), int64.
        """
        label = target.clamp(min=0)
        key = torch.where(target < 0, 0, image_hashes(torch.stack([images, ~label], 1)))
        margin, norm = margins(logits, label).double(), error_norms(logits, label).double()
        # an image whose logits are not finite has no margin at this epoch
        key = torch.where(margin.isfinite() & norm.isfinite(), key, 0)
        part = _Part(key, images, label, logits.argmax(1), margin, norm, torch.ones_like(key))
        soft = logits.detach().float().softmax(1).half() if not self._done else logits.new_zeros(len(logits), 0).half()
        self._pending.append((epoch, part, soft))

    def close(self, ended: int) -> None:
        """Take in what was added, of all processes; every process must call it.

        Args:
            ended: the last epoch that is complete; -1: none is.
        """
        mine = [(epoch, _Part(*(value.cpu() for value in part)), soft.cpu()) for epoch, part, soft in self._pending]
        self._pending = []
        for epoch, part, soft in (each for theirs in gather(mine) for each in theirs):
            keep = part.key != 0
            part, soft = _Part(*(value[keep] for value in part)), soft[keep]
            self._known = _merge(part if self._known is None else _joined(self._known, part))
            if not self._done:
                self._early.setdefault(epoch, []).append((part.key, part.label, soft))
        for epoch in range(ended + 1):
            if not self._done and epoch not in self._curve and epoch in self._early:
                self._look(epoch)

    def _look(self, epoch: int) -> None:
        """Find the disagreement of an epoch that is complete, and the share of three epochs once it no longer falls."""
        if epoch != len(self._curve):  # the run went on from a checkpoint
            return
        if epoch:
            before, now = (torch.cat([part[0] for part in self._early[each]]) for each in (epoch - 1, epoch))
            self.changed = float(torch.isin(now, before).double().mean()) < RECOGNISED
        if self.changed:
            self._finish(CHANGED)
            return
        wrong, seen = sure_disagreement(*self._mean([epoch]))
        self._curve[epoch] = float(wrong / seen)
        self._early = {each: parts for each, parts in self._early.items() if each > epoch - WINDOW}
        if epoch + 1 < WINDOW or self._curve[epoch - 2] - self._curve[epoch - 1] >= SETTLED:
            return
        soft, label = self._mean(range(epoch + 1 - WINDOW, epoch + 1))
        found = sure_disagreement(soft, label)
        if int(found.seen) < FEWEST:
            self._finish(FEW)
        elif not _tells(found, float(label.bincount().max() / len(label))):
            self.why = UNLEARNT  # yet
        else:
            low, high = mislabelled_interval(found)
            figures = float(found.wrong / found.seen), float(low), float(high)
            self.share = dict(zip(self.share, figures, strict=True))
            self._finish("")

    def _finish(self, why: str) -> None:
        self.why, self._done, self._early = why, True, {}

    def _mean(self, epochs: "list[int] | range") -> tuple[Tensor, Tensor]:
        """The mean softmax of each image over some epochs (n c), and its label (n)."""
        parts = [part for epoch in epochs for part in self._early[epoch]]
        keys, labels, soft = (torch.cat(column) for column in zip(*parts, strict=True))
        unique, group = keys.unique(return_inverse=True)
        totals = torch.zeros(len(unique), soft.shape[1]).index_add_(0, group, soft.float())
        label = labels.new_zeros(len(unique)).scatter_(0, group, labels)
        return totals / group.bincount()[:, None], label

    @property
    def images(self) -> int:
        """Labelled images that are known."""
        return 0 if self._known is None else len(self._known.key)

    @property
    def negative(self) -> float:
        """Share of the images with an area under the margin below 0; nan without one, or where none comes again."""
        if self._known is None or self.changed or not self.images:
            return math.nan
        return float((self._known.margin < 0).double().mean())

    def lowest(self, most: int) -> tuple[Tensor, list[LabelRow]]:
        """The images of the lowest area under the margin, lowest first: the number of each, and rows without names."""
        if self._known is None or self.changed:
            return torch.zeros(0, dtype=torch.int64), []
        known = self._known
        order = (known.margin / known.seen).argsort(stable=True)[:most]
        columns = (
            [f"{image % 2**64:016x}" for image in known.image[order].tolist()],
            known.label[order].tolist(),
            known.predicted[order].tolist(),
            (known.margin / known.seen)[order].tolist(),
            (known.norm / known.seen)[order].tolist(),
            known.seen[order].tolist(),
        )
        return known.image[order], [LabelRow(*row) for row in zip(*columns, strict=True)]


def named(rows: list[LabelRow], images: Tensor, names: Mapping[int, str | int]) -> list[LabelRow]:
    """The rows under the names of their images, where these are known."""
    return [row._replace(image=names.get(image, row.image)) for row, image in zip(rows, images.tolist(), strict=True)]


def _tells(found: Disagreement, chance: float) -> bool:
    """Whether the network tells labels where it is sure: most of them, and more than the most frequent one gives."""
    right = found.seen - found.wrong
    return bool(right >= found.wrong) and bool(wilson(right, found.seen).low > chance)


def _joined(one: _Part, other: _Part) -> _Part:
    return _Part(*(torch.cat(pair) for pair in zip(one, other, strict=True)))


def _merge(part: _Part) -> _Part:
    """One row per image under one label; what was seen last stands."""
    unique, group = part.key.unique(return_inverse=True)
    last = torch.zeros_like(unique).scatter_reduce(0, group, torch.arange(len(group)), "amax")
    margin, norm, seen = (
        torch.zeros(len(unique), dtype=value.dtype).index_add_(0, group, value)
        for value in (part.margin, part.norm, part.seen)
    )
    return _Part(unique, part.image[last], part.label[last], part.predicted[last], margin, norm, seen)
