"""Images of the data that occur more than once: the same, or nearly, on both sides of the split or on one."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import torch
from einops import reduce
from torch import Tensor

from lightning_failures.audit.sample import Sample
from lightning_failures.functional.estimate import Estimate
from lightning_failures.functional.image_hashes import ImageSets, find_copies, image_hashes, image_labels
from lightning_failures.functional.near_copies import find_near_copies, image_sketches
from lightning_failures.functional.paired_accuracy import accuracy_difference, count_pairs
from lightning_failures.functional.proportions import wilson
from lightning_failures.records.strict_json import strict

__all__ = ["NO_NEAR_COPIES", "CopyRecords", "DataCopies"]

NO_NEAR_COPIES = (
    "not looked for: they take 20 held-out images of a class each, and ten training images of other classes"
)

TRAIN_SKETCHES, HELD_SKETCHES = 20_000, 1000  # images that are looked at for near copies
NAMED = 8  # rows that are kept to be named
FEWEST = 20  # held-out images that are compared with those of other classes


class DataCopies(NamedTuple):
    """How many images occur more than once; blank ones, in which each channel has one value, are left out."""

    held: int  # held-out images
    leaked: int  # of these, those that stand among the training images too
    repeated: int  # those that are equal to an earlier held-out one
    contradicting: int  # those that stand elsewhere under another label
    train: int  # training images
    train_repeated: int
    train_contradicting: int
    share: Estimate  # of the held-out images that is leaked
    near: Estimate  # share of the held-out images that are no training image but nearly one
    by_chance: Estimate  # share that are as near to a training image of another class
    excess: Estimate  # the one share less the other
    rows: Mapping[str, tuple[tuple[int, int], ...]]  # the first few, leaked and near: row held out, training row
    split: bool  # whether the held-out images were drawn from the training data here

    def to_dict(self) -> dict[str, Any]:
        """As strict JSON has it."""
        plain: dict[str, Any] = self._asdict()
        for name, value in plain.items():
            if isinstance(value, Estimate):
                plain[name] = {part: strict(number) for part, number in value._asdict().items()}
        return plain | {"rows": {name: [list(pair) for pair in pairs] for name, pairs in self.rows.items()}}


class _Side:
    """The images of one side: hash, label and row of each, and sketches of some."""

    def __init__(self, sketches: int) -> None:
        self.hashes: list[Tensor] = []
        self.labels: list[Tensor] = []
        self.rows: list[Tensor] = []
        self.sketches = Sample(sketches)

    def add(self, chosen: Tensor, hashes: Tensor, labels: Tensor, rows: Tensor) -> None:
        for kept, new in ((self.hashes, hashes), (self.labels, labels), (self.rows, rows)):
            kept.append(new[chosen])

    def all(self) -> tuple[Tensor, Tensor, Tensor]:
        none = torch.zeros(0, dtype=torch.int64)
        hashes, labels, rows = (torch.cat([none, *kept]) for kept in (self.hashes, self.labels, self.rows))
        return hashes, labels, rows


class CopyRecords:
    """What is kept of each image to find its copies; the same however the data are cut into batches."""

    def __init__(self) -> None:
        self._train, self._held = _Side(TRAIN_SKETCHES), _Side(HELD_SKETCHES)
        self._read = {False: 0, True: 0}
        self._split = False
        self._images = 0

    def add(self, images: Tensor, target: Tensor, held: Tensor, priority: Tensor, side: float) -> None:
        """Add a batch.

        Args:
            images: as they were given; (n b h w) or (n b).
            target: label of each, negative where it has none; (n), or of each pixel (n h w).
            held: whether each is held out; (n), bool.
            priority: which images are sketched where there are too many, smallest first; (n).
            side: share of the loader's images that is held out: 0, 1, or what lies between.
        """
        self._split = self._split or 0 < side < 1
        rows = torch.arange(len(images)) + self._read[side == 1]
        self._read[side == 1] += len(images)
        hashes, by_pixel = image_hashes(images), target.ndim > 1
        labels = image_labels(target, hashes)
        images = images.float()
        # pixels have classes, not images: nothing tells what is near by chance
        usable = (hashes != 0) & reduce(images.isfinite(), "n ... -> n", "all")
        usable = usable & (torch.zeros_like(held) if by_pixel else target >= 0)
        for part, chosen in ((self._train, ~held), (self._held, held)):
            part.add(chosen, hashes, labels, rows)
            some = chosen & usable
            if bool(some.any()):
                values = {"sketch": image_sketches(images[some]), "target": target[some], "row": rows[some]}
                part.sketches.add(priority[some], values | {"hash": hashes[some]})

    def find(self) -> DataCopies:
        """The copies among all images that were added."""
        train, train_labels, train_rows = self._train.all()
        held, held_labels, held_rows = self._held.all()
        copies = find_copies(ImageSets(train, train_labels, held, held_labels))
        place = copies.leaked.nonzero().squeeze(1)[:NAMED]
        pairs = zip(held_rows[place].tolist(), train_rows[copies.source[place]].tolist(), strict=True)
        seen = int((held != 0).sum())
        near, by_chance, excess, near_rows = self._near(held[copies.leaked])
        return DataCopies(
            held=seen,
            leaked=int(copies.leaked.sum()),
            repeated=int(copies.repeated.sum()),
            contradicting=int(copies.contradicting.sum()),
            train=int((train != 0).sum()),
            train_repeated=int(copies.train_repeated.sum()),
            train_contradicting=int(copies.train_contradicting.sum()),
            share=_share(copies.leaked.sum(), torch.tensor(seen)),
            near=near,
            by_chance=by_chance,
            excess=excess,
            rows={"leaked": tuple(pairs), "near": near_rows},
            split=self._split,
        )

    def _near(self, leaked: Tensor) -> tuple[Estimate, Estimate, Estimate, tuple[tuple[int, int], ...]]:
        """Shares of near copies, by chance, and their difference, with the first few rows; nan where none is known."""
        unknown = Estimate(torch.nan, torch.nan, torch.nan)
        if not len(self._train.sketches) or not len(self._held.sketches):
            return unknown, unknown, unknown, ()
        train, held = self._train.sketches.rows, self._held.sketches.rows
        found = find_near_copies(held["sketch"], held["target"], train["sketch"], train["target"])
        tried, near = found.tried & ~torch.isin(held["hash"], leaked), found.near
        if int(tried.sum()) < FEWEST:
            return unknown, unknown, unknown, ()
        pairs = count_pairs(near[tried], found.by_chance[tried], torch.ones_like(near[tried]))
        excess = Estimate(*(float(value) for value in accuracy_difference(*(pair.double() for pair in pairs))))
        order = held["row"].argsort()
        rows = order[(near & tried)[order]][:NAMED]
        named = zip(held["row"][rows].tolist(), train["row"][found.source[rows]].tolist(), strict=True)
        shares = (_share(each[tried].sum(), tried.sum()) for each in (near, found.by_chance))
        return (*shares, excess, tuple(named))  # type: ignore[return-value]


def _share(some: Tensor, of: Tensor) -> Estimate:
    """One count over another, with Wilson's interval; nan of none."""
    low, high = wilson(some, of)
    return Estimate(float(some.double() / of.double()), float(low), float(high))
