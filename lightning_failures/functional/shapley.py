"""Which sets of bands to replace for Shapley values, and the values that their scores give.

Shapley, "A value for n-person games" (1953); as the coefficients of a weighted regression on sets: Lundberg and Lee, "A
unified approach to interpreting model predictions" (2017); a set with the one that holds all its other bands: Covert
and Lee, "Improving KernelSHAP" (2021); no set twice: Musco and Witter, "Provably accurate Shapley value estimation via
leverage score sampling" (2025).
"""

import math
from itertools import combinations
from typing import NamedTuple

import torch
from torch import Tensor

__all__ = ["ShapleyPlan", "shapley_plan", "shapley_values"]

#: Of a pair's fitted value, the least part that hangs on other pairs which the variance reckons with.
LEAST = 0.05

#: Standard errors within which a band that was seen to change nothing is taken to do so.
CHANCE = 3.0

#: Change of a score, over its size where that is above 1, that float32 gives.
ROUNDING = 1e-6


class ShapleyPlan(NamedTuple):
    """Sets of bands to replace, each once, and how to read Shapley values off their scores."""

    replaced: Tensor  # (s g) bool, the bands replaced in each set; the first is empty, in an order of small steps
    pairs: Tensor  # (p 2) int64, sets of which one holds what the other does not; empty (0 2) where all are there
    weights: Tensor  # (p) float64, of each pair in the regression
    unseen: Tensor  # (p) float64, share of the pairs of its sizes that were not drawn

    @property
    def exact(self) -> bool:
        """Whether all sets are there."""
        return len(self.pairs) == 0


def shapley_plan(num_bands: int, draws: int, generator: torch.Generator | None = None) -> ShapleyPlan:
    """Sets of bands to replace: all of them where that costs no more than random ones, else random pairs.

    A pair is a set and the one of all other bands, so that what bands do in twos cancels. Each band alone is among
    them. Of larger sets as many are drawn as they count in the regression, none twice, and each band as often as
    others, but for one.

    Args:
        num_bands: number of bands g.
        draws: g - 1 sets each, as a random order of the bands has between its ends; in all at least two for each band.
        generator: source of the random sets.

    Example:
        >>> shapley_plan(3, 8).exact, len(shapley_plan(10, 8).replaced)
        (True, 74)
    """
    count = max(draws * (num_bands - 1) // 2, num_bands)
    if num_bands < 63 and 2**num_bands <= 2 * count + 2:
        return _all_sets(num_bands)
    expected = _expected(num_bands, count)
    offset, before = float(torch.rand((), generator=generator)), 0.0
    sets, weights, unseen = [], [], []
    for size, wanted in expected.items():  # rounded up or down at random, so that the mean is what is expected
        drawn = math.floor(before + wanted + offset) - math.floor(before + offset)
        before += wanted
        there = _pairs_of(num_bands, size)
        drawn = min(drawn, there)
        sets += _sets(num_bands, size, drawn, generator)
        weights += [_mass(num_bands, size) / wanted] * drawn
        unseen += [1 - drawn / there] * drawn
    chosen = torch.zeros(len(sets), num_bands, dtype=torch.bool)
    for row, members in enumerate(sets):
        chosen[row, list(members)] = True
    ends = torch.tensor([[False], [True]]).expand(2, num_bands)
    every = torch.cat([ends[:1], chosen, ~chosen, ends[1:]])
    order = _small_steps(every)
    place = order.argsort()
    pairs = torch.stack([place[1 : 1 + len(chosen)], place[1 + len(chosen) : -1]], 1)
    weight, share = (torch.tensor(each, dtype=torch.float64) for each in (weights, unseen))
    return ShapleyPlan(every[order], pairs, weight, share)


def shapley_values(plan: ShapleyPlan, scores: Tensor) -> tuple[Tensor, Tensor]:
    """Shapley values of what is lost without each band, and their variance by the random sets.

    Convention:
        The values of an image sum to its score with nothing replaced minus its score with all bands replaced, whatever
        the number of sets; a band that changes the score of no set has 0; bands that are copies of each other share
        evenly when exact. The variance is that of the regression's residuals, each as if its pair had been left out,
        over sets of sizes of which not all were drawn: 0 when exact, nan where there are no more pairs than bands.

    Args:
        plan: the sets.
        scores: score of each image with each set replaced; (s n), float64.

    Returns:
        Values (n g) and variance of their mean over images (g), float64.

    Example:
        >>> plan = shapley_plan(2, 8)
        >>> present = (~plan.replaced).double()
        >>> shapley_values(plan, (present @ torch.tensor([1.0, 2.0], dtype=torch.float64))[:, None])[0]
        tensor([[1., 2.]], dtype=torch.float64)
    """
    scores = scores.double()
    if plan.exact:
        weights = _weights(plan.replaced).to(scores.device)
        return (weights @ scores).T, scores.new_zeros(len(weights))
    everything = torch.ones(plan.replaced.shape[1], dtype=torch.bool)
    values, variance = _regression(plan, scores, everything)
    beyond = values.nanmean(0).abs() > CHANCE * variance.sqrt()
    counts = ~_without_effect(plan, scores) | beyond.cpu()
    return (values, variance) if bool(counts.all()) else _regression(plan, scores, counts)


def _regression(plan: ShapleyPlan, scores: Tensor, counts: Tensor) -> tuple[Tensor, Tensor]:
    """Values (n g) and variance of their mean (g), 0 for all bands but those that count; (g), bool."""
    values, variance = scores.new_zeros(scores.shape[1], len(counts)), scores.new_zeros(len(counts))
    bands = int(counts.sum())
    if bands == 0:
        return values + ((scores[0] - scores[-1]) / len(counts))[:, None], variance
    sides = plan.replaced[plan.pairs[:, 0]][:, counts].double() * 2 - 1  # (p g): 1 where a pair's first replaces it
    centred = sides - sides.mean(1, keepdim=True)  # what the sum of all values does not say
    weighted = plan.weights[:, None] * centred
    solved = torch.linalg.pinv(centred.T @ weighted, hermitian=True) @ weighted.T  # (g p)
    alone = (1 - (centred * solved.T).sum(1)).clamp(min=LEAST)  # what of a pair's fitted value is not its own doing
    counts, centred, sides, solved, alone, unseen, first, second = (
        each.to(scores.device) for each in (counts, centred, sides, solved, alone, plan.unseen, *plan.pairs.T)
    )
    share = (scores[0] - scores[-1]) / bands
    rest = scores[second] - scores[first] - sides.sum(1)[:, None] * share  # (p n)
    values[:, counts] = (solved @ rest + share).T
    mean = rest.nanmean(1)
    missed = (mean - centred @ (solved @ mean)) / alone
    spread = (solved.square() * (missed.square() * unseen)).sum(1)
    variance[counts] = spread if len(plan.pairs) > bands else torch.nan
    return values, variance


def _without_effect(plan: ShapleyPlan, scores: Tensor) -> Tensor:
    """Bands that change no score, by more than rounding, in any of the sets that differ by them alone; (g), bool."""
    sides = plan.replaced.float() * 2 - 1
    before, after = torch.triu(sides @ sides.T == sides.shape[1] - 2).nonzero().T
    band = (plan.replaced[before] ^ plan.replaced[after]).int().argmax(1)
    scores = scores.detach().cpu()
    change = (scores[before] - scores[after]).abs().nan_to_num(0.0).amax(1)
    most = torch.zeros(sides.shape[1], dtype=change.dtype).scatter_reduce(0, band, change, "amax")
    return most <= ROUNDING * max(1.0, float(scores.abs().nan_to_num(0.0).max()))


def _expected(num_bands: int, count: int) -> dict[int, float]:
    """How many pairs of each size to draw: each band alone, and of larger sizes by their part in the regression."""
    found, left = {1: float(num_bands)}, float(count - num_bands)
    open_sizes = list(range(2, num_bands // 2 + 1))
    while open_sizes and left > 0:
        scale = left / sum(_mass(num_bands, size) for size in open_sizes)
        full = [size for size in open_sizes if _pairs_of(num_bands, size) <= scale * _mass(num_bands, size)]
        if not full:
            return found | {size: scale * _mass(num_bands, size) for size in open_sizes}
        found |= {size: float(_pairs_of(num_bands, size)) for size in full}
        left -= sum(found[size] for size in full)
        open_sizes = [size for size in open_sizes if size not in full]
    return found


def _mass(num_bands: int, size: int) -> float:
    """Part of all pairs of a size in the regression."""
    return (0.5 if 2 * size == num_bands else 1.0) / (size * (num_bands - size))


def _pairs_of(num_bands: int, size: int) -> int:
    """How many pairs of a size there are."""
    every = math.comb(num_bands, size)
    return every // 2 if 2 * size == num_bands else every


def _sets(num_bands: int, size: int, count: int, generator: torch.Generator | None) -> list[tuple[int, ...]]:
    """Random sets of a size, no pair twice, in which each band comes as often as others, but for one."""
    there = _pairs_of(num_bands, size)
    if 2 * count > there:
        left_out = {*_sets(num_bands, size, there - count, generator)}
        every = combinations(range(num_bands), size)
        return [each for each in every if (0 in each or 2 * size != num_bands) and each not in left_out]
    found: dict[tuple[int, ...], None] = {}
    waiting: list[int] = []
    while len(found) < count:
        while len(waiting) < size + num_bands:
            waiting += torch.randperm(num_bands, generator=generator).tolist()
        members = list(dict.fromkeys(waiting))[:size]
        for each in members:
            waiting.remove(each)
        if 2 * size == num_bands and 0 not in members:
            members = [each for each in range(num_bands) if each not in members]
        found[tuple(sorted(members))] = None
    return list(found)


def _small_steps(sets: Tensor) -> Tensor:
    """Order of sets in which each is followed by the nearest one of those to come, from the empty one to the full."""
    sides = sets.float() * 2 - 1
    alike = sides @ sides.T
    order, to_come = [0], torch.ones(len(sets), dtype=torch.bool)
    to_come[0] = to_come[-1] = False
    while to_come.any():
        order.append(int(alike[order[-1]].masked_fill(~to_come, -torch.inf).argmax()))
        to_come[order[-1]] = False
    return torch.tensor([*order, len(sets) - 1])


def _all_sets(num_bands: int) -> ShapleyPlan:
    """All sets in Gray order: each differs from the one before by one band."""
    number = torch.arange(2**num_bands)
    gray = number ^ (number >> 1)
    replaced = (gray[:, None] >> torch.arange(num_bands)) & 1 == 1
    none = torch.zeros(0, dtype=torch.float64)
    return ShapleyPlan(replaced, torch.zeros(0, 2, dtype=torch.int64), none, none)


def _weights(replaced: Tensor) -> Tensor:
    """Weight of each set's score in each band's Shapley value; (g s), float64."""
    num_bands = replaced.shape[1]
    size = replaced.sum(1).tolist()
    without = torch.tensor([_share(num_bands, k - 1) if k else 0.0 for k in size], dtype=torch.float64)
    with_it = torch.tensor([_share(num_bands, k) if k < num_bands else 0.0 for k in size], dtype=torch.float64)
    return torch.where(replaced.T, -without, with_it)


def _share(num_bands: int, others: int) -> float:
    """Share of all orders in which exactly these ``others`` are replaced before a given band."""
    return 1 / (num_bands * math.comb(num_bands - 1, others))
