"""Channels that say nothing in one set of images and something in another: empty, constant, saturated, not finite."""

from typing import NamedTuple

import torch
from torch import Tensor

from lightning_failures.functional.input_statistics import InputSums, channel_statistics

__all__ = ["ChannelFaults", "channel_faults", "only_constant"]

#: Share of images, or of values, from which a channel is faulty, and below which it is sound in the other images. A
#: black background is at the smallest value in both. Of 256 images of which some are cropped beyond their edge, a
#: sixteenth of the values is padding.
OFTEN, SELDOM = 0.2, 0.05

#: Images on either side below which nothing is said.
FEWEST = 8


class ChannelFaults(NamedTuple):
    """What :func:`channel_faults` gives; each (b), bool; a channel has one fault at most, the first that it has."""

    not_finite: Tensor  # holds NaN or infinity
    empty: Tensor  # is 0 everywhere, in a fifth of the images or more
    constant: Tensor  # has one value everywhere, other than 0
    saturated: Tensor  # a fifth of its values or more are its smallest, or its largest one


def channel_faults(images: InputSums, others: InputSums) -> ChannelFaults:
    """Faults that channels have in some images and not in others.

    Convention:
        A fault of a twentieth of the other images, or of their values, and less is none; one of more is a fault of
        both, and not told. Nothing is told of fewer than eight images on one side.

    Args:
        images: sums of the images that may be at fault.
        others: sums of the others, of equally many channels.

    Example:
        >>> from lightning_failures.functional.input_statistics import input_sums
        >>> sound = torch.randn(20, 2, 4, generator=torch.Generator().manual_seed(0))
        >>> found = channel_faults(input_sums(sound * torch.tensor([[1.0], [0.0]])), input_sums(sound))
        >>> found.empty, found.saturated
        (tensor([False,  True]), tensor([False, False]))
    """
    here, there = channel_statistics(images), channel_statistics(others)
    enough = (images.images >= FEWEST) & (others.images >= FEWEST)
    many = (images.seen >= FEWEST) & (others.seen >= FEWEST)
    not_finite = many & (here.non_finite > 0) & (there.non_finite == 0)
    empty = enough & (here.empty >= OFTEN) & (there.empty <= SELDOM) & ~not_finite
    constant = enough & _one_value(images) & ~_one_value(others) & ~not_finite & ~empty
    low = (here.at_minimum >= OFTEN) & (there.at_minimum <= SELDOM)
    high = (here.at_maximum >= OFTEN) & (there.at_maximum <= SELDOM)
    return ChannelFaults(not_finite, empty, constant, enough & (low | high) & ~not_finite & ~empty & ~constant)


def only_constant(images: InputSums, others: InputSums) -> Tensor:
    """The value of each channel that has one value in all images, 0 or another, and varies in others; (b), float64.

    Convention:
        ``nan`` for every other channel, and for all with fewer than eight images on one side.

    Args:
        images: sums of the images whose channels may not vary.
        others: sums of the others, of equally many channels.

    Example:
        >>> from lightning_failures.functional.input_statistics import input_sums
        >>> sound = torch.randn(20, 2, 4, generator=torch.Generator().manual_seed(0))
        >>> only_constant(input_sums(sound * torch.tensor([[1.0], [0.0]])), input_sums(sound))
        tensor([nan, 0.], dtype=torch.float64)
    """
    enough = (images.images >= FEWEST) & (others.images >= FEWEST)
    return torch.where(enough & _one_value(images) & ~_one_value(others), images.low, torch.nan)


def _one_value(sums: InputSums) -> Tensor:
    return sums.low == sums.high  # without an image, infinity and minus infinity
