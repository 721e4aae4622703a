"""What each kind of content of the images tells of their labels, and what is told without it, in closed form."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from lightning_failures.functional.content_descriptors import (
    CONTENTS,
    content_descriptor,
    neutralise,
    typical_row,
    why_no_content,
)
from lightning_failures.functional.cues import by_pixel
from lightning_failures.functional.discriminant import linear_discriminant
from lightning_failures.functional.moments import class_moments

__all__ = ["ContentsRight", "content_rows", "contents_right", "without_content"]

MOST_CHANNELS = 64  # that are looked at one by one
BEST_CHANNELS = 3  # of them, without which the images are looked at
NUMBERS = 2**24  # of all training images that are changed, or all held-out ones
GROUPS, PATTERN = 4, 8  # of channels, and cells along each side of what a linear model sees of whole images
#: Noise on each number that a linear model sees of whole images, over its deviation, since an exchange is not exact:
#: what the colour left of coloured scenes, much fainter than this, told 0.58 of four classes, and with the noise 0.27.
#: It costs 0.01 on digits whose colour or level is the label, less on plain ones, and hides what rounding leaves.
BLUR = 0.25


class ContentsRight(NamedTuple):
    """Which held-out images a linear model gets right; (m), bool."""

    whole: Tensor  # from the whole image; the first ones of them, where images are large
    alone: dict[str, Tensor]  # from one content, and nothing else
    without: dict[str, Tensor]  # from images that all have this content of one image; as many as from whole ones
    left_out: dict[str, str]  # content -> why it was not looked at


def content_rows(images: Tensor) -> dict[str, Tensor]:
    """What is kept of some images, to be read by :func:`contents_right`; one row per image.

    Args:
        images: in raw units where they are known; (n b h w) or (n b).
    """
    kinds = [kind for kind in CONTENTS if why_no_content(images[:0], kind) is None]
    rows = {f"content {kind}": content_descriptor(images, kind).float() for kind in kinds}
    pixels = by_pixel(images)
    if 1 < images.shape[1] <= MOST_CHANNELS:
        rows["content channels"] = pixels.mean(2)
    # what lies below 0, and all: the two sums that tell whether these can be amounts of light
    rows["content light"] = torch.stack([pixels.clamp(max=0).sum((1, 2)), pixels.abs().sum((1, 2))], 1)
    return rows


def contents_right(
    train: Mapping[str, Tensor], held: Mapping[str, Tensor], classes: int, shape: Sequence[int]
) -> ContentsRight:
    """Which held-out images linear models get right that see one content alone, all of the image, or all but it.

    Args:
        train: training images ``raw`` or else ``images`` (n b h w), their ``target`` (n), and :func:`content_rows`.
        held: held-out images; as ``train``.
        classes: number of classes.
        shape: of an image as it came, (b h w) or (b).
    """
    left_out = {kind: why for kind in CONTENTS if (why := _left_out(train, shape, kind))}
    columns = {kind: train[f"content {kind}"] for kind in CONTENTS if kind not in left_out}
    others = {kind: held[f"content {kind}"] for kind in columns}
    channels = train.get("content channels")
    if channels is None:
        left_out["channel"] = "the images have one channel" if shape[0] == 1 else f"there are more than {MOST_CHANNELS}"
    else:
        names = [f"channel {channel}" for channel in range(channels.shape[1])]
        columns.update(zip(names, channels.split(1, 1), strict=True))
        others.update(zip(names, held["content channels"].split(1, 1), strict=True))
    target, truth = train["target"], held["target"]
    alone = {kind: _right(rows, target, others[kind], truth, classes) for kind, rows in columns.items()}
    single = sorted((kind for kind in alone if kind.startswith("channel ")), key=lambda kind: -int(alone[kind].sum()))
    looked = [kind for kind in alone if kind not in single[BEST_CHANNELS:]]
    blurred = _Blurred(train, held, classes)
    return ContentsRight(blurred.right(None), alone, {kind: blurred.right(kind) for kind in looked}, left_out)


def without_content(train: Mapping[str, Tensor], held: Mapping[str, Tensor], kind: str) -> tuple[Tensor, Tensor]:
    """Training and held-out images that all have a content of one training image; (n b h w), float32.

    Args:
        train: as in :func:`contents_right`.
        held: held-out images; as ``train``.
        kind: of content.
    """
    donor = _raw(train)[typical_row(_raw(train))]
    return neutralise(_raw(train), kind, donor), neutralise(_raw(held), kind, donor)


def _left_out(train: Mapping[str, Tensor], shape: Sequence[int], kind: str) -> str | None:
    """Why a kind was not looked at; None where it was."""
    if f"content {kind}" not in train:
        return why_no_content(torch.zeros(0, *shape), kind) or "each pixel has a label of its own"
    if kind == "colour":
        below, all_of_it = train["content light"].double().sum(0).tolist()
        return why_no_content(torch.tensor([[below, all_of_it + below]]), kind)
    return why_no_content(_raw(train)[:0], kind)  # those that are kept may be smaller


class _Blurred:
    """Linear models of whole images, and of images without a content, blurred by the same noise."""

    def __init__(self, train: Mapping[str, Tensor], held: Mapping[str, Tensor], classes: int) -> None:
        self.classes = classes
        few = max(1, NUMBERS // _raw(train)[0].numel())  # the first ones, which are drawn at random
        train, held = ({name: rows[:few] for name, rows in side.items()} for side in (train, held))
        self.train, self.held = train, held
        self.donor, self.given = _raw(train)[typical_row(_raw(train))], _features(_raw(train))
        self.noise = BLUR * self.given.std(0, correction=0)

    def right(self, kind: str | None) -> Tensor:
        """Which held-out images are read right without a content; None: from the images as they are."""
        generator = torch.Generator().manual_seed(0)
        made = [self.given if kind is None else self._rows(self.train, kind), self._rows(self.held, kind)]
        rows, others = (each + self.noise * torch.randn(each.shape, generator=generator) for each in made)
        return _right(rows, self.train["target"], others, self.held["target"], self.classes)

    def _rows(self, side: Mapping[str, Tensor], kind: str | None) -> Tensor:
        return _features(_raw(side) if kind is None else neutralise(_raw(side), kind, self.donor))


def _right(rows: Tensor, target: Tensor, others: Tensor, truth: Tensor, classes: int) -> Tensor:
    """What a linear model of some rows gets right of others; where it is undefined it names the most frequent class."""
    model = linear_discriminant(class_moments(rows.double(), target, classes))
    preds = model.predict(others.double())
    return torch.where(preds < 0, target.bincount().argmax(), preds) == truth


def _features(images: Tensor) -> Tensor:
    """What a linear model sees of images: their pattern, the channels' statistics, and the texture of their mean."""
    height, width = images.shape[2:]
    groups = torch.stack([part.mean(1) for part in images.tensor_split(min(GROUPS, images.shape[1]), 1)], 1)
    coarse = F.adaptive_avg_pool2d(groups, (min(PATTERN, height), min(PATTERN, width)))
    features = [content_descriptor(coarse, torch.ones(coarse.shape[2:], dtype=torch.bool))]
    if height * width == 1:
        return torch.cat([*features, by_pixel(images).mean(2)], 1)
    features.append(content_descriptor(images, "channel_statistics"))
    return torch.cat([*features, content_descriptor(images.mean(1, keepdim=True), "texture")], 1)


def _raw(side: Mapping[str, Tensor]) -> Tensor:
    return side.get("raw", side["images"])
