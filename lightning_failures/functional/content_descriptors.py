"""One kind of content of an image as few numbers, and images in which it is the same for all.

What a model of these numbers alone reads of the labels is what the content can carry; what a model reads of images that
all have the content of one image is what is there to be had without it. The contents are those that
:mod:`lightning_failures.functional.contents` exchanges.
"""

import torch
from einops import rearrange
from torch import Tensor
from torch.nn import functional as F

from lightning_failures.errors import InputError, UnknownNameError
from lightning_failures.functional.contents import (
    TRANSPLANTS,
    border_mask,
    frequency_radius,
    low_frequency_radius,
    transplant_channels,
    transplant_region,
)
from lightning_failures.functional.cues import by_pixel
from lightning_failures.functional.empty_batches import never_empty

__all__ = ["CONTENTS", "content_descriptor", "neutralise", "typical_row", "why_no_content"]

#: Contents that are known by name, the smaller and poorer ones first; beside them ``"channel 0"``, ``"channel 1"``, ...
CONTENTS = ("level", "colour", "channel_statistics", "texture", "border", "low_frequencies", "centre")
_SPATIAL = ("texture", "low_frequencies", "border", "centre")
_MOST = 512  # numbers of one kind, which keeps a linear model of them at some hundredths of a second
_CELLS = 16  # of a region along each side
_GROUPS = 4  # of adjacent channels, whose pixels are averaged
_RINGS, _SECTORS = 7, 4  # of spatial frequencies
_FAINT = 1e-6  # of an image's whole amplitude; less is rounding


def content_descriptor(images: Tensor, kind: str | Tensor) -> Tensor:
    """What a kind of content holds in each image, as a few numbers.

    ``level``: the mean of all values. ``channel N``: the mean of that channel. ``colour``: the share of each channel in
    the sum of all. ``channel_statistics``: the means and the standard deviations of the channels. ``texture``: the mean
    of the image, and the logarithm of the Fourier amplitude in 28 sectors of rings. ``low_frequencies``: the Fourier
    coefficients up to :func:`low_frequency_radius`. ``border`` and ``centre``, or a region: the mean of each cell of a
    grid in it, as fine as the pixels in small images. Of a kind with more than 512 numbers, adjacent channels or pixels
    are averaged first, and of the frequencies the lowest are taken.

    Args:
        images: in raw units where they are known; (n b h w) or, for the contents that need no image, (n b ...), any
            number.
        kind: one of :data:`CONTENTS`, or ``"channel N"``; or where a region is; (h w), bool.

    Convention:
        An image that is black, whose sum is not above 0, has no colour: its shares are 0. A mean that is 0 up to
        the rounding of its values is 0. NaN and infinity spread to all numbers that they are part of.

    Returns:
        One row per image; (n k), float32 or float64.

    Raises:
        UnknownNameError: no such kind.
        InputError: images that cannot have it, see :func:`why_no_content`; a region of another size or of no pixel.

    Example:
        >>> images = torch.tensor([[1.0, 3.0], [0.0, 2.0]]).reshape(1, 2, 1, 2)
        >>> content_descriptor(images, "level"), content_descriptor(images, "channel 1")
        (tensor([[1.5000]]), tensor([[1.]]))
        >>> content_descriptor(images, "channel_statistics")
        tensor([[2., 1., 1., 1.]])
    """
    where = "content_descriptor"
    kind = _checked(where, images, kind)
    exact = images if images.dtype == torch.float64 else images.float()
    if kind == "texture":
        return _texture(exact)
    if isinstance(kind, str) and kind in ("border", "centre"):
        edge = border_mask(*exact.shape[2:])
        kind = edge if kind == "border" else ~edge
    return _cells(exact, kind) if isinstance(kind, Tensor) else _numbers(exact, kind)


def neutralise(images: Tensor, kind: str | Tensor, donor: Tensor) -> Tensor:
    """All images with the content of one image, so that it tells nothing of them any more.

    What the content shares with others goes with it: without ``channel_statistics`` there is no level and no colour. A
    model that scales its features, as :func:`.linear_discriminant` does, may read what rounding leaves of a content:
    give it images that were float64 before.

    Args:
        images: in raw units where they are known; (n b h w), or (n b ...) for the contents that need no image.
        kind: as in :func:`content_descriptor`.
        donor: whose content all get; one that is typical, since of an even one nothing is left of a channel's pattern;
            (b h w) or (b ...).

    Returns:
        Float32 where the images are integers; (n b ...).

    Raises:
        UnknownNameError: no such kind.
        InputError: as :func:`content_descriptor`; a donor of another shape.

    Example:
        >>> neutralise(torch.tensor([[0.0, 2.0], [5.0, 7.0]]), "level", torch.tensor([1.0, 1.0]))
        tensor([[0., 2.],
                [0., 2.]])
    """
    where = "neutralise"
    kind = _checked(where, images, kind)
    if donor.shape != images.shape[1:]:
        given = f"donor {tuple(donor.shape)} for images {tuple(images.shape)}"
        raise InputError(where, "the donor is no such image", given, "Pass one image without the first axis: (b h w).")
    exact = images if images.is_floating_point() else images.float()
    donors = donor.to(exact).expand_as(exact)
    if isinstance(kind, Tensor):
        return transplant_region(exact, donors, kind)
    if kind in TRANSPLANTS:
        return TRANSPLANTS[kind](exact, donors)
    return transplant_channels(exact, donors, torch.arange(exact.shape[1]) == _channel(kind))


def typical_row(images: Tensor) -> int:
    """The image whose values vary as much as those of most: neither an even one nor the most vivid.

    Args:
        images: one at least; (n b ...), float.

    Example:
        >>> typical_row(torch.tensor([[0.0, 0.0], [0.0, 9.0], [0.0, 1.0]]))
        2
    """
    variation = images.flatten(1).var(1, correction=0).nan_to_num(0.0)
    return int(variation.argsort()[len(variation) // 2])


def why_no_content(images: Tensor, kind: str) -> str | None:
    """Why such images cannot have a kind of content; None where they can.

    Args:
        images: of the shape and units in question; any number.
        kind: one of :data:`CONTENTS`, or ``"channel N"``.

    Example:
        >>> why_no_content(torch.zeros(4, 1, 8, 8), "colour"), why_no_content(torch.zeros(4, 3), "border")
        ('the images have one channel', 'the inputs are no images (n b h w)')
    """
    space = images.shape[2:]
    if kind in _SPATIAL and images.ndim != 4:
        return "the inputs are no images (n b h w)"
    if kind in _SPATIAL and space.numel() == 1:
        return "the images have one pixel"
    if kind == "channel_statistics" and space.numel() == 1:
        return "the inputs have no pixels over which a channel deviates"
    if (kind == "colour" or kind.startswith("channel ")) and images.shape[1] == 1:
        return "the images have one channel"
    if kind in ("border", "centre") and min(space) < 3:
        return "a side of the images has fewer than three pixels, so that they are all border"
    if kind == "colour" and bool(-images.clamp(max=0).double().sum() > 0.01 * images.abs().double().sum()):
        return "the images hold values below 0, which are no light; pass denormalize"
    return None


def _numbers(images: Tensor, kind: str) -> Tensor:
    """A kind of content that has no place in the image."""
    if kind == "low_frequencies":
        return _waves(images)
    pixels = by_pixel(images)
    if kind == "level":
        return _mean(rearrange(pixels, "n b p -> n 1 (b p)"))
    means = _mean(pixels)
    if kind == "channel_statistics":
        deviations = (pixels - means[:, :, None]).square().mean(2).sqrt()
        return torch.cat([_few(means, _MOST // 2), _few(deviations, _MOST // 2)], 1)
    if kind == "colour":
        total = means.sum(1, keepdim=True)
        shares = torch.where(total <= 0, 0.0, means / torch.where(total <= 0, 1.0, total))
        return _few(shares, _MOST)
    return means[:, [_channel(kind)]]


def _mean(values: Tensor) -> Tensor:
    """The mean over the last axis; 0 where nothing but rounding is left of it; (n b)."""
    means, largest = values.mean(2), never_empty(torch.amax)(values.abs(), 2)
    return torch.where(means.abs() <= 16 * torch.finfo(values.dtype).eps * largest, 0.0, means)


def _texture(images: Tensor) -> Tensor:
    """The mean, and the logarithm of the root mean square amplitude in each sector of a ring."""
    power = torch.view_as_real(never_empty(torch.fft.fft2)(images, norm="ortho")).square().sum((1, -1))
    radius = frequency_radius(images)
    rows, columns = (torch.fft.fftfreq(side, device=images.device) for side in images.shape[2:])
    angle = torch.atan2(rows[:, None].expand_as(radius), columns.expand_as(radius)) / torch.pi % 1
    ring = (radius * (2 * _RINGS)).long().clamp(max=_RINGS - 1)
    # a wave along a side lies in the middle of a sector
    place = ring * _SECTORS + (angle * _SECTORS + 0.5).long() % _SECTORS
    inside = F.one_hot(place, _RINGS * _SECTORS).to(power) * (radius > 0)[..., None]
    number = inside.sum((0, 1))
    held = torch.einsum("nhw,hwk->nk", power, inside)[:, number > 0] / number[number > 0]
    whole = power.sum((1, 2))[:, None]
    logs = torch.maximum(held, _FAINT**2 * whole).sqrt().log()
    means = _mean(images.flatten(1)[:, None])
    return torch.cat([means, torch.where(whole == 0, 0.0, logs)], 1)


def _waves(images: Tensor) -> Tensor:
    """Real and imaginary parts of the lowest coefficients, of groups of channels, on half of the plane."""
    height, width = images.shape[2:]
    groups = _few(images, max(1, min(images.shape[1], _MOST // 8)))
    coefficients = never_empty(torch.fft.rfft2)(groups, norm="ortho")
    radius = frequency_radius(images)[:, : coefficients.shape[3]]
    low = (radius <= low_frequency_radius(height, width)).nonzero()
    order = radius[low[:, 0], low[:, 1]].argsort(stable=True)[: max(1, _MOST // (2 * groups.shape[1]))]
    rows, columns = low[order].unbind(1)
    some = coefficients[:, :, rows, columns]
    return rearrange(torch.view_as_real(some), "n b k part -> n (b k part)")


def _cells(images: Tensor, mask: Tensor) -> Tensor:
    """Means of the pixels under a mask in the cells of a grid over its bounding box."""
    rows, columns = (mask.any(axis).nonzero()[:, 0] for axis in (1, 0))
    box = (slice(int(rows[0]), int(rows[-1]) + 1), slice(int(columns[0]), int(columns[-1]) + 1))
    groups, inside = _few(images, _GROUPS)[:, :, *box], mask[box].to(images)
    cells = _CELLS
    while True:
        size = (min(cells, inside.shape[0]), min(cells, inside.shape[1]))
        pool = never_empty(F.adaptive_avg_pool2d)
        weight = pool(inside[None, None], size)[0, 0]
        if cells == 1 or int((weight > 0).sum()) * groups.shape[1] <= _MOST:
            break
        cells -= 1
    held = pool(torch.where(inside > 0, groups, 0.0), size)
    return rearrange((held / weight)[:, :, weight > 0], "n b k -> n (b k)")


def _few(images: Tensor, most: int) -> Tensor:
    """Adjacent channels averaged, so that there are no more than so many; (n b ...)."""
    if images.shape[1] <= most:
        return images
    flat = rearrange(by_pixel(images), "n b p -> n p b")
    pooled = rearrange(never_empty(F.adaptive_avg_pool1d)(flat, most), "n p b -> n b p")
    return pooled.reshape(len(images), most, *images.shape[2:])


def _checked(where: str, images: Tensor, kind: str | Tensor) -> str | Tensor:
    """The kind, of images that can have it; a region on their device."""
    if isinstance(kind, Tensor):
        if images.ndim != 4 or kind.dtype != torch.bool or kind.shape != images.shape[2:] or not bool(kind.any()):
            given = f"region {tuple(kind.shape)} {kind.dtype} for images {tuple(images.shape)}"
            raise InputError(where, "the region does not fit the images", given, "Pass (h w), bool, with some pixels.")
        return kind.to(images.device)
    if kind not in CONTENTS and not (kind.startswith("channel ") and kind[8:].isdecimal()):
        fix = f"Use one of {', '.join(CONTENTS)}, channel 0 and so on, or a region (h w), bool."
        raise UnknownNameError(where, "there is no such kind of content", repr(kind), fix)
    why = why_no_content(images[:0], kind)
    if why is None and kind.startswith("channel ") and _channel(kind) >= images.shape[1]:
        why = f"the images have {images.shape[1]} channels, counted from 0"
    if why is not None:
        fix = "Leave it out; why_no_content(images, kind) says beforehand."
        raise InputError(where, f"the images cannot have {kind!r}", f"{tuple(images.shape)}: {why}", fix)
    return kind


def _channel(kind: str) -> int:
    return int(kind.removeprefix("channel "))
