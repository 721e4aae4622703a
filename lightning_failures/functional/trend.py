"""Continuous factors, such as brightness or size, in bins with fixed edges: error ratio by bin, trend and ranking."""

from typing import NamedTuple

import torch
from einops import rearrange
from torch import Tensor

from lightning_failures.functional.clusters import FEWEST_GROUPS, clustered_error, degrees_of_freedom, student_p_value
from lightning_failures.functional.factors import FactorCounts

__all__ = [
    "TrendCounts",
    "bin_counts",
    "cochran_armitage",
    "count_trend",
    "error_auc",
    "trend_of_images",
    "trend_p_value",
]


class TrendCounts(NamedTuple):
    """Errors by bin of each continuous factor; adds up across batches and across ranks."""

    wrong: Tensor  # (f b) int64, misclassified images in each bin
    seen: Tensor  # (f b) int64, images in each bin
    all_wrong: Tensor  # () int64, misclassified images, those in no bin too
    all_seen: Tensor  # () int64, images

    @classmethod
    def zero(cls, num_factors: int, num_bins: int) -> "TrendCounts":
        """The counts of no images."""
        bins, overall = torch.zeros(num_factors, num_bins, dtype=torch.int64), torch.zeros((), dtype=torch.int64)
        return cls(bins, bins.clone(), overall, overall.clone())


def count_trend(wrong: Tensor, values: Tensor, edges: Tensor) -> TrendCounts:
    """Count a batch.

    Args:
        wrong: which images are misclassified; (n), bool.
        values: value of each factor; (n f), float. Where it is ``nan``, the image is in no bin.
        edges: increasing values to cut each factor at, a value on an edge belonging above it; (f b-1), float. Fewer
            are filled up with ``inf``.
    """
    bins = torch.searchsorted(edges.to(values), values.T.contiguous(), right=True).T  # (n f)
    known = ~values.isnan()
    bins = torch.where(known, bins, 0)
    zero = torch.zeros(edges.shape[0], edges.shape[1] + 1, dtype=torch.int64, device=values.device)
    wrong = wrong.bool()
    return TrendCounts(
        zero.scatter_add(1, bins.T, (known & wrong[:, None]).long().T),
        zero.scatter_add(1, bins.T, known.long().T),
        wrong.sum(),
        torch.full((), len(wrong), device=wrong.device),
    )


def trend_of_images(wrong: Tensor, values: Tensor, edges: Tensor) -> TrendCounts:
    """What each image adds to :func:`count_trend`, so that it can be added up by group; each with a leading axis (n).

    Args:
        wrong: as there.
        values: as there.
        edges: as there.
    """
    bins = torch.searchsorted(edges.to(values), values.T.contiguous(), right=True).T
    places = torch.arange(edges.shape[1] + 1, device=values.device)
    seen = ((bins[..., None] == places) & ~values.isnan()[..., None]).long()
    wrong = wrong.long()
    return TrendCounts(seen * wrong[:, None, None], seen, wrong, torch.ones_like(wrong))


def bin_counts(counts: TrendCounts) -> FactorCounts:
    """Every bin as a factor of its own, in the order of the factors; (f*b), or (g f*b) of the counts of groups."""
    wrong, seen = (rearrange(each, "... f b -> ... (f b)") for each in (counts.wrong, counts.seen))
    return FactorCounts(wrong, seen, counts.all_wrong, counts.all_seen)


def cochran_armitage(counts: TrendCounts, by_group: TrendCounts | None = None) -> Tensor:
    """The Cochran-Armitage trend of errors over the bins, each a step from the last, as a standard normal deviate.

    With groups it is the same sum over its standard error between groups, the score test of Boos (1992), and to be
    held against Student's t: see :func:`trend_p_value`.

    Convention:
        Above 0 errors rise with the value; beyond 2 in size is seldom chance. ``nan``: all images are in one bin, or
        all are right, or all wrong; or these are of fewer than :data:`.FEWEST_GROUPS` groups.

    Args:
        counts: the counts.
        by_group: the same counts of each group of images that belong together, with a leading axis (g). None: images
            are independent.

    Returns:
        One deviate per factor; (f), float64.

    Example:
        >>> wrong, seen = torch.tensor([[1, 5, 9]]), torch.tensor([[10, 10, 10]])
        >>> counts = TrendCounts(wrong, seen, wrong.sum(), seen.sum())
        >>> cochran_armitage(counts)
        tensor([3.5777], dtype=torch.float64)
    """
    e, n = counts.wrong.double(), counts.seen.double()
    score = torch.arange(e.shape[1], dtype=torch.float64, device=e.device)
    E, N = e.sum(1), n.sum(1)
    p = E / N
    excess = (score * (e - n * p[:, None])).sum(1)
    variance = p * (1 - p) * ((n * score**2).sum(1) - (n * score).sum(1) ** 2 / N)
    defined = ((n > 0).sum(1) > 1) & (E > 0) & (E < N)
    if by_group is not None:
        centred = score - ((n * score).sum(1) / N)[:, None]
        each = (centred * (by_group.wrong.double() - by_group.seen.double() * p[:, None])).sum(2)
        variance = clustered_error(each - each.mean(0)).square()
        defined = defined & (_freedom(by_group) > 0) & ((by_group.seen.sum(2) > 0).sum(0) >= FEWEST_GROUPS)
    return torch.where(defined, excess / variance.sqrt(), torch.nan)


def trend_p_value(counts: TrendCounts, by_group: TrendCounts | None = None) -> Tensor:
    """How often so strong a trend would arise by chance, two-sided and not adjusted; (f), float64, ``nan`` as there.

    Args:
        counts: as for :func:`cochran_armitage`.
        by_group: as there.

    Example:
        >>> wrong, seen = torch.tensor([[1, 5, 9]]), torch.tensor([[10, 10, 10]])
        >>> trend_p_value(TrendCounts(wrong, seen, wrong.sum(), seen.sum()))
        tensor([0.0003], dtype=torch.float64)
    """
    trend = cochran_armitage(counts, by_group)
    by_chance: Tensor = torch.special.erfc(trend.abs() / 2**0.5)
    return by_chance if by_group is None else student_p_value(trend, _freedom(by_group))


def _freedom(by_group: TrendCounts) -> Tensor:
    return degrees_of_freedom(by_group.seen.sum(2))


def error_auc(counts: TrendCounts) -> Tensor:
    """Chance that a misclassified image is in a higher bin than a correctly classified one, a tie counting half.

    Convention:
        0.5: the value says nothing about errors; 1: errors are above all else, 0: below. ``nan``: no image that has a
        value is wrong, or none is right.

    Returns:
        One probability per factor; (f), float64.

    Example:
        >>> counts = TrendCounts(torch.tensor([[0, 2]]), torch.tensor([[2, 2]]), torch.tensor(2), torch.tensor(4))
        >>> error_auc(counts)
        tensor([1.], dtype=torch.float64)
    """
    wrong = counts.wrong.double()
    right = counts.seen.double() - wrong
    below = right.cumsum(1) - right
    return (wrong * (below + right / 2)).sum(1) / (wrong.sum(1) * right.sum(1))
