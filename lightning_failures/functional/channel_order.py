"""Whether the channels of two sets of images stand in the same order, told from what each channel holds."""

from typing import NamedTuple

import torch
from torch import Tensor

from lightning_failures.functional.assignment import best_assignment
from lightning_failures.functional.input_statistics import (
    InputSums,
    channel_correlations,
    channel_statistics,
    mean_error,
    relative_deviation_error,
)

__all__ = ["ChannelMatch", "match_channels"]

FAR = 1e6  # squared distance of what is known on one side only, or differs without any spread
NOISE = 3.0  # squared distance of a channel from itself in other images: one for its mean, deviation and correlations
CHANCE = 14.0  # a squared normal exceeds it once in 5,000 times: what channels reach by chance that all move as one
ROUNDS = 3  # of putting the correlations in the order found; orders that exist are found in one or two
ALMOST_ONE = 1 - 1e-12


class ChannelMatch(NamedTuple):
    """What :func:`match_channels` gives."""

    order: Tensor  # (b) int64, channels of validation in the order of training: `validation[:, order]`
    gain: Tensor  # () float64, share of the distance between both that the order takes away
    distance: Tensor  # () float64, mean squared distance of a channel with the order as it is; about 3 by chance
    matched: Tensor  # () float64, with the order found


def match_channels(train: InputSums, validation: InputSums, *, rescaled: bool = False) -> ChannelMatch:
    """The order of the validation channels that goes best with the training channels.

    Each channel is known by its mean, its deviation, and its correlations with the other channels; a difference counts
    in standard errors. The squared distance of a channel is the sum of the three, correlations as their mean over the
    others (Fisher's transformation). Pairs are those of least distance together.

    Convention:
        ``gain`` is from 0 to 1, of the distance above chance: near 1, the channels are the same in another order, above
        all where ``matched`` is near 3 too; 0, another order does no better, and ``order`` is 0, 1, 2, ... It is 0
        where means, deviations and correlations each differ no more than they may by chance if all channels move as
        one. Channels that hold the same cannot be told apart: check that a network is right again with this order.
        ``nan``, with the order as it is, with fewer than four images on one side that are finite in every channel.

    Args:
        train: sums of training images.
        validation: sums of validation images, of equally many channels.
        rescaled: the channels may be on another scale too, so that their correlations alone tell them apart.

    Example:
        >>> from lightning_failures.functional.input_statistics import input_sums
        >>> images = torch.randn(100, 3, generator=torch.Generator().manual_seed(0)) + torch.tensor([0.0, 4.0, 9.0])
        >>> found = match_channels(input_sums(images[:50]), input_sums(images[50:, [2, 0, 1]]))
        >>> found.order, found.gain > 0.95
        (tensor([1, 2, 0]), tensor(True))
    """
    train, validation = InputSums(*(value.cpu() for value in train)), InputSums(*(value.cpu() for value in validation))
    b = len(train.images)
    identity, undefined = torch.arange(b), torch.tensor(torch.nan, dtype=torch.float64)
    if min(int(train.whole), int(validation.whole)) < 4:
        return ChannelMatch(identity, undefined, undefined, undefined)
    values, own, other = _own_distances(train, validation), _linked(train), _linked(validation)
    values, noise = (torch.zeros_like(values), NOISE / 3) if rescaled else (values, NOISE)
    variance = 1 / (train.whole.double() - 3) + 1 / (validation.whole.double() - 3)

    def distances(order: Tensor) -> Tensor:  # (3), mean over the channels
        return torch.stack([*values, _linked_distance(own, other, order) / variance])[:, identity, order].mean(1)

    apart = distances(identity)
    as_it_is = apart.sum()
    if b < 2 or apart.max() < CHANCE:
        return ChannelMatch(identity, torch.zeros_like(as_it_is), as_it_is, as_it_is)
    # sorted, the correlations of a channel do not depend on the order of the others
    start = torch.cdist(_sorted(own), _sorted(other)).square() / (b - 1)
    best = best_assignment(values.sum(0) + start / variance)
    for _ in range(ROUNDS):
        order = best_assignment(values.sum(0) + _linked_distance(own, other, best) / variance)
        if distances(order).sum() >= distances(best).sum():
            break
        best = order
        if distances(best).sum() > as_it_is / 2:
            break  # nothing like a mere change of order, which more rounds would not find either
    matched = distances(best).sum()
    gain = 1 - (matched - noise).clamp(min=0) / (as_it_is - noise)
    if gain <= 0:
        return ChannelMatch(identity, torch.zeros_like(gain), as_it_is, as_it_is)
    return ChannelMatch(best, gain, as_it_is, matched)


def _own_distances(train: InputSums, validation: InputSums) -> Tensor:
    """Squared differences of mean and of deviation of each training channel and each validation channel; (2 b b)."""
    own, other = channel_statistics(train), channel_statistics(validation)
    means = _squared(own.mean, other.mean, mean_error(train), mean_error(validation))
    errors = relative_deviation_error(train), relative_deviation_error(validation)
    return torch.stack([means, _squared(own.deviation.log(), other.deviation.log(), *errors)])


def _squared(own: Tensor, other: Tensor, own_error: Tensor, other_error: Tensor) -> Tensor:
    a, b = own[:, None], other[None]
    variance = own_error.square()[:, None] + other_error.square()[None]
    alike = (a == b) | (a.isnan() & b.isnan())
    return torch.where(alike, 0.0, (a - b).square() / variance).nan_to_num(FAR).clamp(max=FAR)


def _linked(sums: InputSums) -> Tensor:
    """Fisher's transformation of the correlations, 0 of a channel with itself or one that does not vary; (b b)."""
    transformed = channel_correlations(sums).nan_to_num(0.0).clamp(-ALMOST_ONE, ALMOST_ONE).atanh()
    return transformed.fill_diagonal_(0.0)


def _linked_distance(own: Tensor, other: Tensor, order: Tensor) -> Tensor:
    """Mean squared difference of two channels' correlations with the others, which are paired as in an order; (b b)."""
    paired = other[:, order]
    total = torch.cdist(own, paired, compute_mode="donot_use_mm_for_euclid_dist").square()
    # a channel's correlation with itself, or with its rival's partner, is no difference between the two
    total = total - paired.T.square() - own[:, order.argsort()].square()
    at = torch.arange(len(order)), order
    total[at] = (own - paired[order]).square().sum(1)
    return total.clamp(min=0) / max(len(order) - 1, 1)


def _sorted(linked: Tensor) -> Tensor:
    """The correlations of each channel with the others, in ascending order; (b b-1)."""
    others = ~torch.eye(len(linked), dtype=torch.bool)
    return linked[others].view(len(linked), -1).sort(1).values
