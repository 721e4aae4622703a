"""What a model loses when channels are replaced: sums that add up, profiles, their share, error and stability.

Feature ablation and permutation importance: Fisher, Rudin and Dominici, "All models are wrong, but many are useful"
(2019). Patterns beside weights: Haufe et al., "On the interpretation of weight vectors of linear models" (NeuroImage,
2014).
"""

import math
from typing import Literal, NamedTuple

import torch
from einops import rearrange
from torch import Tensor
from torch.nn import functional as F

from lightning_failures.errors import InputError
from lightning_failures.functional.moments import Moments, covariance, finite_rows, moments
from lightning_failures.functional.proportions import student_quantile

__all__ = [
    "ChannelProfile",
    "ChannelSums",
    "Output",
    "band_floors",
    "chance_floor",
    "channel_sums",
    "haufe_pattern",
    "is_blank",
    "jensen_shannon",
    "mean_change",
    "null_floor",
    "pearson",
    "share",
    "signal_moments",
    "spearman",
    "standard_error",
    "target_scores",
]

#: The score whose loss is attributed: the log-probability of the target (minus its cross-entropy), or its logit.
Output = Literal["cross_entropy", "logit"]


class ChannelSums(NamedTuple):
    """Changes of the score by band; adds up across batches and across ranks."""

    images: Tensor  # () int64, images n
    total: Tensor  # (g) float64, sum of the change on replacing each band
    squares: Tensor  # (g) float64, sum of its square
    drawn: Tensor  # (g) float64, n times the deviation of the mean by random draws, which all parts share
    together: Tensor  # () float64, sum of the change with all bands replaced; nan where the method does not give it
    floor: Tensor  # () float64, n times the least floor; the mean floor of parts is not below that of the whole
    chance: Tensor  # () float64, images that were given with the demand that a rise be more than their chance

    @classmethod
    def zero(cls, num_bands: int) -> "ChannelSums":
        """The sums of no images."""
        vector, scalar = torch.zeros(num_bands, dtype=torch.float64), torch.zeros((), dtype=torch.float64)
        return cls(
            torch.zeros((), dtype=torch.int64),
            vector,
            vector.clone(),
            vector.clone(),
            *(scalar.clone() for _ in range(3)),
        )


class ChannelProfile(NamedTuple):
    """What a model loses without each band, measured on one batch.

    Convention:
        ``values`` are in nats (cross-entropy) or in units of the logit; 0: the model does not depend on the band, above
        0: it does worse without. ``share`` is dimensionless, at least 0, and sums to 1; ``nan`` throughout where
        nothing changes, or where no band passes its floor: then the profile is ``blank``, and its shape means nothing;
        see :func:`.is_blank`.
    """

    names: tuple[str, ...]  # bands, in the order of the axis (g)
    changes: Tensor  # (n g) float64, the change of each image
    members: Tensor  # (g C) bool, the channels of each band
    sampling: Tensor  # (g) float64, variance of the values by random sets or shuffles; 0 for exact methods
    positions: Tensor | None  # (g) float64, centre of each band on the axis
    total: Tensor  # () float64, the change with all bands replaced; nan where the method does not give it
    least: Tensor  # () float64, the least floor: the largest rise of a null model, what matters at all, or rounding
    method: str
    output: str
    baseline: str
    target: str  # "true" or "predicted"
    way: str  # how it was computed, with the reason where the fast way was not taken
    chance: bool = False  # whether a rise counts only beyond the chance of the images

    def __repr__(self) -> str:
        """The bands that matter most, with their errors; all numbers stand in ``values``, ``error`` and ``share``."""
        images, bands = self.changes.shape
        unit = "nats" if self.output == "cross_entropy" else "units of the logit"
        values, errors, shares = self.values, self.error, self.share
        said = "none passes its floor" if self.blank else f"floor {self.floor:.3g}"
        lines = [f"ChannelProfile: what the model loses without each of {bands} bands, {unit} over {images} images"]
        lines[0] += f" ({self.method}, {said})"
        most = values.abs().nan_to_num(0.0).argsort(descending=True)[:8].tolist()
        width = max((len(self.names[place]) for place in most), default=0)
        for place in most:
            share_of = "" if self.blank else f", share {shares[place]:.2f}"
            lines.append(f"  {self.names[place]:<{width}}  {values[place]:.3g} ± {errors[place]:.2g}{share_of}")
        return "\n".join(lines + [f"  and {bands - len(most)} more"] * (bands > len(most)))

    @property
    def sums(self) -> ChannelSums:
        """The sums that a metric adds up."""
        return channel_sums(self.changes, self.sampling, self.total, self.least, self.chance)

    @property
    def values(self) -> Tensor:
        """Mean change on replacing each band; (g), float64."""
        return mean_change(self.sums)

    @property
    def error(self) -> Tensor:
        """Standard error of the values, over images and over random draws; (g), float64; nan for one image."""
        return standard_error(self.sums)

    @property
    def blank(self) -> bool:
        """Whether no band's change is larger than its null floor."""
        return bool(is_blank(self.sums))

    @property
    def floor(self) -> Tensor:
        """That of the band that passes its own by most, or comes nearest to it; (), float64."""
        return null_floor(self.sums)

    @property
    def floors(self) -> Tensor:
        """Size of each band's change that means nothing, see :func:`.band_floors`; (g), float64."""
        return band_floors(self.sums)

    @property
    def share(self) -> Tensor:
        """Size of each value over the sum of sizes; (g), float64; nan where the profile is blank."""
        parts = share(self.values)
        return torch.full_like(parts, torch.nan) if self.blank else parts

    @property
    def gap(self) -> Tensor:
        """What the values leave of the total, at most about rounding for exact methods; (), float64."""
        return self.values.sum() - self.total


def target_scores(
    logits: Tensor,
    target: Tensor,
    output: Output = "cross_entropy",
    ignore: int = -100,
    where: str = "target_scores",
) -> Tensor:
    """Score of the target: its log-probability or its logit; (n), float64, differentiable; nan without a valid pixel.

    Args:
        logits: class scores, of images (n c) or pixels (n c h w); one column (n 1), (n) or (n 1 h w): two classes.
        target: class of each image (n) or pixel (n h w); int64.
        output: which score.
        ignore: target of pixels that do not count.
        where: the public name that was called, for an error.

    Raises:
        InputError: logits and targets whose shapes do not fit.

    Example:
        >>> target_scores(torch.tensor([[2.0, 0.0]]), torch.tensor([0]), "logit")
        tensor([2.], dtype=torch.float64)
    """
    if logits.device.type == "mps":  # which has no float64
        logits = logits.cpu()
    target = target.to(logits.device).long()
    if logits.ndim == target.ndim:
        logits = logits.unsqueeze(1)
    if logits.ndim < 2 or (logits.shape[0], *logits.shape[2:]) != tuple(target.shape):
        raise InputError(
            where,
            "logits and targets do not belong together",
            f"logits {tuple(logits.shape)}, targets {tuple(target.shape)}",
            "Give logits (n c) with targets (n), or logits (n c h w) with targets (n h w).",
        )
    valid = target != ignore
    logits = logits.float() if logits.dtype != torch.float64 else logits
    if logits.shape[1] == 1:
        signed = torch.where(target == 1, logits[:, 0], -logits[:, 0])
        scores = F.logsigmoid(signed) if output == "cross_entropy" else signed
    else:
        scores = logits.log_softmax(1) if output == "cross_entropy" else logits
        scores = scores.gather(1, target.where(valid, 0).unsqueeze(1)).squeeze(1)
    kept = rearrange(torch.where(valid, scores.double(), 0.0), "n ... -> n (...)").sum(1)
    count = rearrange(valid, "n ... -> n (...)").sum(1)
    return torch.where(count > 0, kept / count.clamp(min=1), torch.nan)


def channel_sums(
    changes: Tensor,
    sampling: Tensor | None = None,
    together: Tensor | None = None,
    floor: Tensor | None = None,
    chance: bool = False,
) -> ChannelSums:
    """Sums of the changes of one batch; images whose change is not finite do not count.

    Args:
        changes: change of the score on replacing each band; (n g), any float.
        sampling: variance of their mean by random draws; (g), any float; None: 0.
        together: mean change with all bands replaced; (), any float; None: not known.
        floor: size of change that a null gives; (), any float; None: 0.
        chance: whether a rise counts only beyond the chance of the images, see :func:`.chance_floor`.
    """
    rows = changes.detach().double()
    valid = finite_rows(rows)
    rows = torch.where(valid[:, None], rows, 0.0)
    images = valid.sum()

    def times(value: Tensor | None, unknown: float) -> Tensor:
        known = rows.new_tensor(unknown) if value is None else value.to(rows)
        return torch.where(images > 0, images * known, 0.0)

    drawn = times(None if sampling is None else sampling.sqrt(), 0.0).expand(rows.shape[1])
    sums = rows.sum(0), rows.square().sum(0)
    return ChannelSums(images, *sums, drawn, times(together, torch.nan), times(floor, 0.0), (images * chance).double())


def mean_change(sums: ChannelSums) -> Tensor:
    """Mean change on replacing each band; (g), float64; nan without images."""
    return sums.total / sums.images


def standard_error(sums: ChannelSums) -> Tensor:
    """Standard error of the mean change, over images with n - 1 below, and over random draws; (g), float64.

    Convention:
        In the unit of the change; ``nan`` with fewer than two images.

    Example:
        >>> standard_error(channel_sums(torch.tensor([[1.0], [3.0]])))
        tensor([1.], dtype=torch.float64)
    """
    spread = (sums.squares - sums.total.square() / sums.images).clamp(min=0)
    error = (spread / (sums.images - 1) / sums.images + (sums.drawn / sums.images).square()).sqrt()
    return torch.where(sums.images > 1, error, torch.nan)


def chance_floor(sums: ChannelSums, confidence: float = 0.95) -> Tensor:
    """The mean rise that chance gives each band at most, of a model to which no band is of use; (g), float64.

    Such a model's cross-entropy rises by nothing on the whole, or falls: what it shows on these images is their chance.
    Student's quantile, one-sided, for as many bands as there are (Bonferroni), times the band's standard error, which
    random sets or shuffles widen as well: more draws bring it down.

    Args:
        sums: changes of the score by band.
        confidence: that no band of such a model passes.

    Convention:
        In the unit of the change, at least 0; falls with the number of images. ``nan`` with fewer than two.

    Example:
        >>> chance_floor(channel_sums(torch.tensor([[1.0, 5.0], [2.0, 5.0], [3.0, 5.0]])))
        tensor([2.4841, 0.0000], dtype=torch.float64)
    """
    error = standard_error(sums)
    return error * student_quantile(1 - (1 - confidence) / len(sums.total), int(sums.images) - 1).to(error.device)


def band_floors(sums: ChannelSums, least: float = 0.0) -> Tensor:
    """Size of each band's change that means nothing: the least there is, and where asked for the chance of the images.

    Args:
        sums: changes of the score by band.
        least: size of change that means nothing, beside the one that the sums hold.

    Convention:
        In the unit of the change, at least 0; (g), float64; ``nan`` without images, or where the chance of one image
        alone is asked for.
    """
    floors = (sums.floor / sums.images).clamp(min=least).expand(sums.total.shape)
    return floors.maximum(chance_floor(sums)) if bool(sums.chance > 0) else floors


def null_floor(sums: ChannelSums, least: float = 0.0) -> Tensor:
    """The one of :func:`band_floors` that its band passes by most, or comes nearest to; (), float64."""
    floors = band_floors(sums, least)
    return floors[(_counted(sums) - floors).nan_to_num(-torch.inf).argmax()]


def is_blank(sums: ChannelSums, least: float = 0.0) -> Tensor:
    """Whether no band's change passes its floor, so that the shape of the profile means nothing; (), bool.

    Where the floor holds the chance of the images only a rise passes: a model that overfits errs less without any band,
    and by more than chance. Else a fall does as well.

    Args:
        sums: changes of the score by band.
        least: as in :func:`band_floors`.
    """
    return ~(_counted(sums) > band_floors(sums, least)).any()


def _counted(sums: ChannelSums) -> Tensor:
    """The changes, of which a fall counts by its size where the chance of the images does not count."""
    change = mean_change(sums)
    return torch.where(sums.chance > 0, change, change.abs())


def share(values: Tensor) -> Tensor:
    """Size of each value over the sum of sizes; (g), float64; nan where all are 0.

    A band whose replacement helps counts by its size too: the model depends on it all the same.

    Example:
        >>> share(torch.tensor([3.0, -1.0]))
        tensor([0.7500, 0.2500], dtype=torch.float64)
    """
    sizes = values.double().abs()
    return sizes / sizes.sum()


def haufe_pattern(sums: Moments, num_channels: int) -> Tensor:
    """Correlation of each channel's mean with each logit, over images: what carries the signal; (c C), float64.

    A weight, or an attribution, is also large where a channel only cancels noise of others; a pattern is not.

    Args:
        sums: moments of the image's channel means followed by its logits, by :func:`signal_moments`; d = C + c.
        num_channels: number of channels C.

    Convention:
        In [-1, 1]; ``nan`` for a channel or a logit that does not vary.

    Example:
        >>> inputs, logits = torch.tensor([[0.0], [1.0], [2.0]]), torch.tensor([[0.0, 1.0], [1.0, 0.0], [2.0, -1.0]])
        >>> haufe_pattern(signal_moments(inputs, logits), num_channels=1)
        tensor([[ 1.],
                [-1.]], dtype=torch.float64)
    """
    spread = covariance(sums)
    scale = spread.diagonal().clamp(min=0).sqrt()
    scale = torch.where(scale > 0, scale, torch.nan)
    return (spread / scale / scale[:, None])[num_channels:, :num_channels]


def signal_moments(inputs: Tensor, logits: Tensor, axis: int = 1) -> Moments:
    """Moments of each image's channel means followed by its logits, which add up, for :func:`haufe_pattern`.

    Images whose inputs or logits hold NaN or infinity are left out.

    Args:
        inputs: images (n C h w), or with any other axes, images first; any float.
        logits: class scores of images (n c) or of pixels (n c h w), whose mean counts; any float.
        axis: axis of the channels.
    """
    wide = torch.float32 if inputs.device.type == "mps" else torch.float64  # exact where a channel is constant
    channels = inputs.detach().movedim(axis, 1)  # einops names no axis whose place is a number
    means = rearrange(channels, "n C ... -> n C (...)").mean(2, dtype=wide)
    columns = logits.detach() if logits.ndim > 1 else logits.detach()[:, None]
    scores = rearrange(columns, "n c ... -> n c (...)").float().mean(2)
    rows = torch.cat([means, scores], 1)
    return moments(rows, finite_rows(rows))


def pearson(first: Tensor, second: Tensor) -> Tensor:
    """Correlation of two vectors; (), float64, in [-1, 1]; nan where one is constant or shorter than two.

    Args:
        first: (g), any float.
        second: (g), any float.
    """
    a, b = first.double() - first.double().mean(), second.double() - second.double().mean()
    product = a.norm() * b.norm()
    return torch.where(product > 0, (a @ b / product).clamp(-1, 1), torch.nan)


def spearman(first: Tensor, second: Tensor) -> Tensor:
    """Rank correlation of two profiles, ties sharing their mean rank; (), float64, in [-1, 1]; nan as of Pearson.

    Args:
        first: values by band; (g), any float.
        second: values of the same bands at another evaluation; (g), any float.

    Example:
        >>> round(float(spearman(torch.tensor([1.0, 2.0, 3.0]), torch.tensor([1.0, 4.0, 9.0]))), 6)
        1.0
    """
    if bool(first.isnan().any() | second.isnan().any()):
        return torch.tensor(torch.nan, dtype=torch.float64)
    return pearson(_ranks(first), _ranks(second))


def jensen_shannon(first: Tensor, second: Tensor) -> Tensor:
    """Jensen-Shannon divergence of two shares, to base 2; (), float64: 0 equal, 1 disjoint; nan in, nan out.

    Args:
        first: shares that sum to 1; (g), any float.
        second: shares of the same bands; (g), any float.

    Example:
        >>> jensen_shannon(torch.tensor([1.0, 0.0]), torch.tensor([0.0, 1.0]))
        tensor(1., dtype=torch.float64)
    """
    p, q = first.double(), second.double()
    middle = (p + q) / 2
    both = torch.stack([p, q])
    divergence: Tensor = torch.special.xlogy(both, both / torch.where(middle > 0, middle, 1.0)).sum() / 2
    return (divergence / math.log(2)).clamp(min=0)


def _ranks(values: Tensor) -> Tensor:
    _, inverse, counts = values.unique(return_inverse=True, return_counts=True)
    last = counts.cumsum(0).double()
    ranks: Tensor = (last - (counts - 1) / 2)[inverse]
    return ranks
