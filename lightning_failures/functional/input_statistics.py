"""What enters a network, channel by channel: mean, deviation, range, and values that say nothing.

An image is the unit of every interval: its pixels are alike, so that two images of a million pixels each are two draws
and not two million. Standard errors are those of the delta method on sums over images (cluster-robust; Liang and Zeger,
"Longitudinal data analysis using generalized linear models", Biometrika 73, 1986).
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from einops import rearrange
from torch import Tensor

from lightning_failures.functional.moments import EPSILON
from lightning_failures.functional.proportions import normal_quantile
from lightning_failures.functional.spread_places import spread_places

__all__ = [
    "ChannelStatistics",
    "InputComparison",
    "InputSums",
    "channel_correlations",
    "channel_statistics",
    "compare_inputs",
    "input_sums",
    "map_inputs",
    "mean_error",
    "merge_inputs",
    "relative_deviation_error",
]

#: Places of an image at which products of two channels are summed; its neighbours there say the same once more.
PLACES = 64

#: Values of a batch that are summed at a time on the CPU, so that they stay in a cache and no memory is asked for anew.
AT_ONCE = 2**17


class InputSums(NamedTuple):
    """All that :func:`channel_statistics` needs of images; :func:`merge_inputs` joins those of two batches.

    A channel of an image that holds NaN or infinity is left out of everything but ``seen`` and ``non_finite``. m is the
    mean of an image's channel over its pixels, v its variance over them.
    """

    seen: Tensor  # () int64, images
    images: Tensor  # (b) int64, images whose channel is finite
    spatial: Tensor  # (b) int64, of these, those with more than one pixel
    constant: Tensor  # (b) int64, of these, those whose channel does not vary
    empty: Tensor  # (b) int64, images whose channel is 0 everywhere
    non_finite: Tensor  # (b) float64, sum over images of the share of values that are not finite
    means: Tensor  # (4 b) float64, sum of m, m^2, m^3, m^4
    within: Tensor  # (4 b) float64, sum of v, v^2, m v, m^2 v
    low: Tensor  # (b) float64, the smallest value
    at_low: Tensor  # (b) float64, sum over images of the share of values that are equal to it
    high: Tensor  # (b) float64, the largest value
    at_high: Tensor  # (b) float64
    whole: Tensor  # () int64, images that are finite in every channel
    total: Tensor  # (b) float64, sum over these of the mean over some places
    outer: Tensor  # (b b) float64, sum over these of the mean product of two channels over the same places

    @classmethod
    def zero(cls, num_channels: int) -> "InputSums":
        """The sums of no images."""
        return input_sums(torch.zeros(0, num_channels))


class ChannelStatistics(NamedTuple):
    """What :func:`channel_statistics` gives; each (b), float64, but the counts."""

    mean: Tensor  # over images and their pixels
    deviation: Tensor  # standard deviation over images and their pixels
    minimum: Tensor
    maximum: Tensor
    constant: Tensor  # share of images whose channel does not vary
    empty: Tensor  # share of images whose channel is 0 everywhere
    non_finite: Tensor  # share of values that are NaN or infinity
    at_minimum: Tensor  # share of values that are equal to the minimum
    at_maximum: Tensor  # share of values that are equal to the maximum
    images: Tensor  # (b) int64, images that the figures rest on
    left_out: Tensor  # (b) int64, images whose channel holds NaN or infinity


class InputComparison(NamedTuple):
    """What :func:`compare_inputs` gives; each (b), float64."""

    shift: Tensor  # mean of validation less that of training, in standard deviations of training
    shift_low: Tensor
    shift_high: Tensor
    ratio: Tensor  # standard deviation of validation over that of training
    ratio_low: Tensor
    ratio_high: Tensor
    scale: Tensor  # what validation is to be multiplied by
    offset: Tensor  # what is then to be added, so that mean and deviation are those of training


def input_sums(images: Tensor) -> InputSums:
    """Sum up a batch, without a device synchronisation.

    Products of channels are summed at 64 places of each image, spread over its rows and columns, or at all where it
    has no more.

    Args:
        images: of any number of axes after the channels; (n b ...), any real type.

    Example:
        >>> sums = input_sums(torch.tensor([[[0.0, 2.0]], [[4.0, 4.0]]]))
        >>> sums.means[0], sums.within[0], sums.constant
        (tensor([5.], dtype=torch.float64), tensor([1.], dtype=torch.float64), tensor([1]))
    """
    images = images.detach()
    images = images.cpu() if images.device.type == "mps" else images  # which has no float64
    at_once = max(1, AT_ONCE // max(1, images[:1].numel()))
    if len(images) > at_once and images.device.type == "cpu":
        return merge_inputs([input_sums(part) for part in images.split(at_once)])
    values = (images.flatten(2) if images.ndim > 2 else images[..., None]).double()
    n, b, pixels = values.shape
    finite = values.isfinite()
    kept = finite.all(2)
    values = torch.where(kept[..., None], values, 0.0)
    lowest, highest = values.amin(2), values.amax(2)
    mean = values.mean(2)
    varies = highest > lowest
    mean = torch.where(varies, mean, lowest)  # a sum of equal numbers rounds
    variance = (values - mean[..., None]).square().mean(2)
    infinite = values.new_full((1, b), torch.inf)
    low = torch.cat([torch.where(kept, lowest, torch.inf), infinite]).amin(0)
    high = torch.cat([torch.where(kept, highest, -torch.inf), -infinite]).amax(0)
    whole = kept.all(1)
    places = spread_places(pixels, PLACES, values.device)
    rows = rearrange(torch.where(whole[:, None, None], values[..., places], 0.0), "n b k -> (n k) b")
    held = kept.double()
    return InputSums(
        torch.full((), n, device=values.device),
        kept.sum(0),
        (kept if pixels > 1 else torch.zeros_like(kept)).sum(0),
        (kept & ~varies if pixels > 1 else torch.zeros_like(kept)).sum(0),
        (kept & (lowest == 0) & (highest == 0)).sum(0),
        (~finite).double().mean(2).sum(0),
        torch.stack([mean.pow(power).sum(0) for power in (1, 2, 3, 4)]),
        torch.stack([part.sum(0) for part in (variance, variance**2, mean * variance, mean**2 * variance)]),
        low,
        ((values == low[:, None]).double().mean(2) * held).sum(0),
        high,
        ((values == high[:, None]).double().mean(2) * held).sum(0),
        whole.sum(),
        rows.sum(0) / len(places),
        rows.T @ rows / len(places),
    )


def merge_inputs(parts: Sequence[InputSums]) -> InputSums:
    """The sums of all parts together: sums add, of the extremes the outer one stays, with the values that reach it.

    Args:
        parts: at least one, of equally many channels and on one device.

    Example:
        >>> both = merge_inputs([input_sums(torch.tensor([[1.0]])), input_sums(torch.tensor([[3.0]]))])
        >>> both.low, both.at_low, both.means[0]
        (tensor([1.], dtype=torch.float64), tensor([1.], dtype=torch.float64), tensor([4.], dtype=torch.float64))
    """
    stacked = InputSums(*(torch.stack(fields) for fields in zip(*parts, strict=True)))
    low, high = stacked.low.amin(0), stacked.high.amax(0)
    return InputSums(*(field.sum(0) for field in stacked))._replace(
        low=low,
        at_low=torch.where(stacked.low == low, stacked.at_low, 0.0).sum(0),
        high=high,
        at_high=torch.where(stacked.high == high, stacked.at_high, 0.0).sum(0),
    )


def channel_statistics(sums: InputSums) -> ChannelStatistics:
    """What each channel holds.

    Convention:
        Each image counts the same, whatever its size. Shares are from 0 to 1. A deviation that rounding alone explains
        is 0. ``nan``: no image whose channel is finite; for ``non_finite``, no image; for ``constant``, no image of
        more than one pixel; for ``at_minimum`` and ``at_maximum``, a channel whose minimum is its maximum.

    Args:
        sums: of the images.

    Example:
        >>> found = channel_statistics(input_sums(torch.tensor([[[0.0, 2.0]], [[4.0, 4.0]]])))
        >>> found.mean, found.at_maximum
        (tensor([2.5000], dtype=torch.float64), tensor([0.5000], dtype=torch.float64))
    """
    n = sums.images.double()
    some, varies = sums.images > 0, sums.high > sums.low
    return ChannelStatistics(
        sums.means[0] / n,
        _variance(sums).sqrt(),
        torch.where(some, sums.low, torch.nan),
        torch.where(some, sums.high, torch.nan),
        sums.constant / sums.spatial.double(),
        sums.empty / n,
        sums.non_finite / sums.seen.double(),
        torch.where(varies, sums.at_low / n, torch.nan),
        torch.where(varies, sums.at_high / n, torch.nan),
        sums.images,
        sums.seen - sums.images,
    )


def mean_error(sums: InputSums) -> Tensor:
    """Standard error of each channel's mean over images; (b), float64; nan with fewer than two."""
    return (_central(sums)[0] / (sums.images - 1).clamp(min=1)).sqrt() + _few(sums)


def relative_deviation_error(sums: InputSums) -> Tensor:
    """Standard error of the logarithm of each channel's deviation; (b), float64.

    Convention:
        ``nan`` with fewer than two images, or a deviation of 0. Trustworthy where the mean is less than some thousand
        deviations: beyond, the fourth powers that it rests on leave nothing of float64.
    """
    spread = _central(sums)[1].clamp(min=0).sqrt() / (sums.images - 1).clamp(min=1).sqrt()
    return spread / (2 * _variance(sums)) + _few(sums)


def compare_inputs(train: InputSums, validation: InputSums, confidence: float = 0.95) -> InputComparison:
    """How validation images differ from training images in each channel, and the mapping that undoes it.

    ``validation * scale + offset`` has the mean and the deviation of training. A standardisation that was forgotten, or
    done with other statistics, is a ``ratio`` far from 1 or a ``shift`` far from 0 whose interval leaves these out.

    Convention:
        ``shift`` is signed; ``ratio`` at least 0, with an interval that is symmetric on a logarithm. All are ``nan``
        where a channel has no finite image on one side or does not vary in training; ``scale`` and ``offset`` also
        where it does not vary in validation; intervals with fewer than two images on one side.

    Args:
        train: sums of training images.
        validation: sums of validation images, of equally many channels.
        confidence: probability that an interval covers.

    Example:
        >>> images = torch.tensor([[0.0], [2.0], [4.0]])
        >>> found = compare_inputs(input_sums(images), input_sums(images / 2 + 7))
        >>> found.ratio, map_inputs(images / 2 + 7, found.scale, found.offset).round()
        (tensor([0.5000], dtype=torch.float64), tensor([[0.],
                [2.],
                [4.]]))
    """
    z = normal_quantile(confidence).to(train.means.device)
    own, other = channel_statistics(train), channel_statistics(validation)
    deviation = torch.where(own.deviation > 0, own.deviation, torch.nan)
    shift, ratio = (other.mean - own.mean) / deviation, other.deviation / deviation
    c2, spread, cross = _central(train)
    # influence of a training image: (m - mean) / s, and of its square shift / (2 s^2), which moves s
    bend = shift / (2 * deviation)
    of_train = (c2 + 2 * bend * cross + bend.square() * spread) / deviation.square() / (train.images - 1).clamp(min=1)
    of_validation = (mean_error(validation) / deviation).square()
    error = z * (of_train.clamp(min=0) + of_validation).sqrt() + _few(train)
    stretch = (
        z * (relative_deviation_error(train).square() + relative_deviation_error(validation).square()).sqrt()
    ).exp()
    scale = torch.where(ratio > 0, 1 / ratio, torch.nan)
    offset = own.mean - scale * other.mean
    return InputComparison(shift, shift - error, shift + error, ratio, ratio / stretch, ratio * stretch, scale, offset)


def map_inputs(images: Tensor, scale: Tensor, offset: Tensor) -> Tensor:
    """Each channel times its scale plus its offset; a channel whose mapping is nan stays; (n b ...), the images' type.

    Args:
        images: (n b ...), float.
        scale: (b), as :func:`compare_inputs` gives it.
        offset: (b).

    Example:
        >>> map_inputs(torch.ones(1, 2, 1), torch.tensor([2.0, torch.nan]), torch.tensor([3.0, torch.nan])).flatten()
        tensor([5., 1.])
    """
    known = scale.isfinite() & offset.isfinite()
    axes = (-1, *(1,) * (images.ndim - 2))
    factor = torch.where(known, scale, 1.0).to(images).view(axes)
    return images * factor + torch.where(known, offset, 0.0).to(images).view(axes)


def channel_correlations(sums: InputSums) -> Tensor:
    """Correlation of the values of two channels at the same place of an image; (b b), float64.

    Convention:
        From -1 to 1; over images that are finite in every channel. ``nan`` where one of the two does not vary, and
        without such images.
    """
    n = sums.whole.double()
    mean = sums.total / n
    products = sums.outer / n - torch.outer(mean, mean)
    variance = products.diagonal()
    noise = 64 * EPSILON * (sums.outer.diagonal() / n)
    deviation = torch.where(variance > noise, variance, torch.nan).sqrt()
    return (products / torch.outer(deviation, deviation)).clamp(-1, 1)


def _few(sums: InputSums) -> Tensor:
    """0 where there are two images, else nan."""
    return torch.where(sums.images > 1, 0.0, torch.nan).double()


def _variance(sums: InputSums) -> Tensor:
    """Variance of each channel over images and pixels, 0 where rounding explains it; (b)."""
    n = sums.images.double()
    within, between = sums.within[0] / n, sums.means[1] / n - (sums.means[0] / n).square()
    noise = EPSILON * (64 + n.sqrt()) * sums.means[1] / n
    return within + torch.where(between > noise, between, 0 * between)


def _central(sums: InputSums) -> tuple[Tensor, Tensor, Tensor]:
    """Variance of an image's mean m, variance of u = v + (m - mean)^2, and covariance of m and u; each (b)."""
    n = sums.images.double()
    m1, m2, m3, m4 = sums.means / n
    v1, v2, mv, m2v = sums.within / n
    c2 = torch.where(m2 - m1**2 > EPSILON * (64 + n.sqrt()) * m2, m2 - m1**2, 0 * m2)
    c3 = m3 - 3 * m1 * m2 + 2 * m1**3
    c4 = m4 - 4 * m1 * m3 + 6 * m1**2 * m2 - 3 * m1**4
    with_variance = mv - m1 * v1
    with_square = m2v - 2 * m1 * mv + m1**2 * v1 - c2 * v1
    spread = (v2 - v1**2) + (c4 - c2**2) + 2 * with_square
    return c2, spread, with_variance + c3
