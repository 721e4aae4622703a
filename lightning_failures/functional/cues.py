"""Scalar cues of an image, how much of the logits' variance one explains, and images rescaled to another's cue.

The share explained is Pearson's correlation ratio over fixed bins of the cue.
"""

from typing import NamedTuple

import torch
from einops import rearrange
from torch import Tensor

from lightning_failures.errors import InputError

__all__ = [
    "CueExplained",
    "CueRows",
    "CueSums",
    "add_cue_rows",
    "by_pixel",
    "cue_edges",
    "cue_explained_variance",
    "cue_rows",
    "cue_sums",
    "grey_level",
    "rescale_to",
    "total_absorbance",
]


class CueSums(NamedTuple):
    """Centred logits by label and by bin of a cue; adds up across batches and across ranks.

    The last of the y groups holds the rows without a label.
    """

    counts: Tensor  # (y q) int64, rows in each bin
    totals: Tensor  # (y q c) float64, sum of the centred logits by bin
    squares: Tensor  # (y) float64, sum of their squares
    left_out: Tensor  # () int64, rows whose cue or logits are not finite

    @classmethod
    def zero(cls, num_bins: int, num_classes: int) -> "CueSums":
        """The sums of no rows; a single logit is that of two classes."""
        groups = max(num_classes, 2) + 1
        return cls(
            torch.zeros(groups, num_bins, dtype=torch.int64),
            torch.zeros(groups, num_bins, num_classes, dtype=torch.float64),
            torch.zeros(groups, dtype=torch.float64),
            torch.zeros((), dtype=torch.int64),
        )


class CueExplained(NamedTuple):
    """What :func:`cue_explained_variance` gives; each (), float64."""

    eta2: Tensor
    null: Tensor
    eta2_within: Tensor
    null_within: Tensor
    rows: Tensor
    left_out: Tensor


def by_pixel(images: Tensor) -> Tensor:
    """Images with their pixels on one axis, (n b p), spectra as images of one pixel.

    Args:
        images: (n b h w), (n b t) or (n b).
    """
    return rearrange(images, "n b ... -> n b (...)")


def total_absorbance(raw: Tensor) -> Tensor:
    """Sum over the channels of an image's mean spectrum; (n).

    Args:
        raw: images in raw units (absorbance), not standardised ones; (n b h w) or (n b).

    Example:
        >>> total_absorbance(torch.tensor([[0.25, 0.5]]))
        tensor([0.7500])
    """
    return by_pixel(raw).mean(2).sum(1)


def grey_level(images: Tensor) -> Tensor:
    """Mean luma of colour images, by the weights of ITU-R BT.601; (n).

    Args:
        images: red, green and blue; (n 3 h w) or (n 3).

    Example:
        >>> grey_level(torch.ones(1, 3, 2, 2))
        tensor([1.])
    """
    red, green, blue = by_pixel(images).mean(2).unbind(1)
    return 0.299 * red + 0.587 * green + 0.114 * blue  # a tensor of weights would have to be sent to the device


def rescale_to(donors: Tensor, own: Tensor, theirs: Tensor) -> Tensor:
    """Donor images in raw units, multiplied so that a proportional cue takes the receivers' values.

    Args:
        donors: images in raw units; (n b ...).
        own: the cue of each receiver, such as its total absorbance; (n).
        theirs: the cue of each donor; (n). Where it is 0 the images become nan.

    Example:
        >>> rescale_to(torch.tensor([[1.0, 3.0]]), own=torch.tensor([2.0]), theirs=torch.tensor([4.0]))
        tensor([[0.5000, 1.5000]])
    """
    ratio = torch.where(theirs == 0, torch.nan, own / theirs)
    return donors * ratio.to(donors).reshape(-1, *[1] * (donors.ndim - 1))


def cue_edges(values: Tensor, bins: int = 16) -> Tensor:
    """Edges that cut a cue into bins of equally many images; fixed once, so that sums over bins stay exact.

    Args:
        values: the cue on a sample of images; (n), any float.
        bins: number of bins. A cue of few values gives fewer; for one of categories pass
            ``torch.arange(1, categories) - 0.5`` as edges instead.

    Returns:
        Inner edges in ascending order; at most (bins - 1), float64.

    Raises:
        InputError: fewer images than bins, NaN or infinity, or a constant cue.

    Example:
        >>> cue_edges(torch.arange(8.0), bins=4)
        tensor([1.7500, 3.5000, 5.2500], dtype=torch.float64)
    """
    rounding = 16 * torch.finfo(values.dtype if values.is_floating_point() else torch.float64).eps
    values = values.detach().double()
    fix = "Pass the cue of every image of a sample: (n), finite, n at least bins."
    if values.ndim != 1 or len(values) < bins:
        raise InputError("cue_edges", "fewer images than bins", f"shape {tuple(values.shape)}, {bins} bins", fix)
    if not bool(values.isfinite().all()):
        wrong = f"{int((~values.isfinite()).sum())} of {len(values)} values"
        raise InputError("cue_edges", "the cue holds NaN or infinity", wrong, fix)
    if bool(values.max() - values.min() <= rounding * values.abs().max()):
        raise InputError("cue_edges", "the cue is constant", f"{float(values[0])} for {len(values)} images", fix)
    levels = torch.arange(1, bins, dtype=torch.float64, device=values.device) / bins
    ordered = values.sort().values  # torch.quantile takes no more than 16 million values
    place = levels * (len(values) - 1)
    left = place.long()
    edges = torch.lerp(ordered[left], ordered[(left + 1).clamp(max=len(values) - 1)], place - left)
    return edges[edges.diff(prepend=edges.new_tensor([-torch.inf])) > 0]


class CueRows(NamedTuple):
    """Centred logits of a batch, and where each row belongs in :class:`CueSums`."""

    rows: Tensor  # (r c) float64, 0 where left out
    kept: Tensor  # (r) bool, whether cue and logits are finite
    group: Tensor  # (r) int64, the label; the last group without one
    bin: Tensor  # (r) int64, of the cue


def cue_rows(logits: Tensor, cue: Tensor, edges: Tensor, target: Tensor | None = None) -> CueRows:
    """The rows of one batch; as for :func:`cue_sums`."""
    rows, values = logits.detach().double(), cue.detach().double()
    if rows.ndim > 2 and values.ndim == 1:
        rows = rearrange(rows, "n c ... -> n c (...)").mean(2)
    rows = rearrange(rows, "n c ... -> (n ...) c")
    values = values.flatten()
    if rows.shape[1] > 1:
        rows = rows - rows.mean(1, keepdim=True)
    kept = values.isfinite() & rows.isfinite().all(1)
    unknown = max(rows.shape[1], 2)
    group = torch.full_like(kept, unknown, dtype=torch.int64)
    if target is not None:
        labels = target.flatten().to(group)
        group = torch.where((labels >= 0) & (labels < unknown), labels, group)
    bins = torch.bucketize(torch.where(kept, values, 0.0), edges.to(values), right=True)
    return CueRows(torch.where(kept[:, None], rows, 0.0), kept, group, bins)


def add_cue_rows(sums: CueSums, batch: CueRows) -> None:
    """Add the rows of a batch to sums, in place.

    The sums of many classes are far larger than a batch: 80 MB for 1,000 classes and ten bins. Only what a batch
    belongs to is touched.
    """
    place = batch.group * sums.counts.shape[1] + batch.bin
    sums.counts.view(-1).index_add_(0, place, batch.kept.long())
    sums.totals.view(-1, sums.totals.shape[2]).index_add_(0, place, batch.rows)
    sums.squares.index_add_(0, batch.group, batch.rows.square().sum(1))
    sums.left_out.add_((~batch.kept).sum())


def cue_sums(logits: Tensor, cue: Tensor, edges: Tensor, target: Tensor | None = None) -> CueSums:
    """Sums of one batch of centred logits by bin of the cue.

    Args:
        logits: one row per image, (n c); or (n c h w), which is averaged over the pixels where the cue has one value
            per image. Each row is centred, as a shift of all logits decides nothing, but where c is 1.
        cue: one value per image, (n), or per pixel, (n h w).
        edges: inner edges of the bins, ascending; (q - 1).
        target: label of each row, those outside [0, c) unknown; shape of the cue, int64. None: all are unknown.
    """
    batch = cue_rows(logits, cue, edges, target)
    zero = CueSums.zero(len(edges) + 1, batch.rows.shape[1])
    sums = CueSums(*(torch.zeros_like(part, device=batch.rows.device) for part in zero))
    add_cue_rows(sums, batch)
    return sums


def cue_explained_variance(sums: CueSums) -> CueExplained:
    """Share of the logits' variance that a scalar cue explains, less what it would explain by chance.

    Convention:
        ``eta2`` is the correlation ratio over the bins minus ``null``, its mean where cue and logits are independent,
        (occupied bins - 1) / (rows - 1): about 0 for an independent cue, at most 1 - null, where the logits are a
        function of the bin. It is also large for a cue that a good model never sees, if the cue goes with the labels;
        ``eta2_within`` is the same within the labels, pooled over them, where such a cue explains nothing. That one
        alone is large, too, for a cue that makes logits larger and changes no decision: a cue that decides has both.
        Rows with a cue or logits that are not finite are left out and counted. ``nan`` with fewer than two rows, fewer
        than two occupied bins, or constant logits (in every label, for the latter).

    Returns:
        Both shares, their nulls, and the rows used and left out.

    Example:
        >>> cue = torch.arange(64.0)
        >>> logits = torch.stack([cue.floor(), -cue.floor()], 1)
        >>> cue_explained_variance(cue_sums(logits, cue, cue_edges(cue, bins=4))).eta2.round(decimals=3)
        tensor(0.8900, dtype=torch.float64)
    """
    by_group = sums.counts, sums.totals, sums.squares
    eta2, null = _correlation_ratio(*(part.sum(0, keepdim=True) for part in by_group))
    eta2_within, null_within = _correlation_ratio(*(part[:-1] for part in by_group))
    rows = sums.counts.sum().double()
    return CueExplained(eta2, null, eta2_within, null_within, rows, sums.left_out.double())


def _correlation_ratio(numbers: Tensor, totals: Tensor, squares: Tensor) -> tuple[Tensor, Tensor]:
    """Share of the variance within the groups that lies between the bins, less its null, and that null."""
    counts = numbers.double()
    rows, occupied = counts.sum(1), (numbers > 0).sum(1)
    mean = totals.sum(1) / rows[:, None]
    by_bin = torch.where(counts[..., None] > 0, totals / counts[..., None], mean[:, None])
    used = (rows > 1) & (occupied > 1)
    between = (counts[..., None] * (by_bin - mean[:, None]).square()).sum((1, 2))
    variation = squares - rows * mean.square().sum(1)
    by_chance = variation * (occupied - 1) / (rows - 1)
    between, variation, by_chance = (torch.where(used, part, 0.0).sum() for part in (between, variation, by_chance))
    defined = variation > 1e-12 * torch.where(used, squares, 0.0).sum()
    null = torch.where(defined, by_chance / variation, torch.nan)
    return between / variation - null, null
