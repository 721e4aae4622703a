"""Which sets of bands to replace for Shapley values, and the values that their scores give.

Shapley, "A value for n-person games" (1953); sampling by orders: Castro, Gomez and Tejada (2009); an order with its
reverse: Mitchell, Cooper, Frank and Holmes, "Sampling permutations for Shapley value estimation" (JMLR, 2022).
"""

import math
from typing import NamedTuple

import torch
from einops import rearrange
from torch import Tensor

__all__ = ["ShapleyPlan", "shapley_plan", "shapley_values"]


class ShapleyPlan(NamedTuple):
    """Sets of bands to replace, each once, and how to read Shapley values off their scores."""

    replaced: Tensor  # (s g) bool, the bands replaced in each set; the first is empty, in an order of small steps
    paths: Tensor  # (m g+1) int64, the sets along each order; empty (0 g+1) where all sets are there
    orders: Tensor  # (m g) int64, the order in which bands are replaced

    @property
    def exact(self) -> bool:
        """Whether all sets are there."""
        return len(self.orders) == 0


def shapley_plan(num_bands: int, orders: int, generator: torch.Generator | None = None) -> ShapleyPlan:
    """Sets of bands to replace: all of them where that costs no more than random orders, else along random orders.

    Args:
        num_bands: number of bands g.
        orders: number of random orders; every second one is the reverse of the one before, and pairs are evenly shifted
            against each other, so that every band comes early as well as late.
        generator: source of the random orders.

    Example:
        >>> shapley_plan(3, 8).exact, len(shapley_plan(10, 8).orders)
        (True, 8)
    """
    sampled = orders * (num_bands - 1) + 2
    if num_bands < 63 and 2**num_bands <= sampled:
        return _all_sets(num_bands)
    drawn = _shifted((orders + 1) // 2, num_bands, generator)
    both = torch.stack([order for pair in drawn for order in (pair, pair.flip(0))][:orders])
    index: dict[bytes, int] = {}
    sets: list[Tensor] = []
    paths = torch.zeros(len(both), num_bands + 1, dtype=torch.int64)
    for row, order in enumerate(both):
        current = torch.zeros(num_bands, dtype=torch.bool)
        for step in range(num_bands + 1):
            key = current.numpy().tobytes()
            if key not in index:
                index[key] = len(sets)
                sets.append(current.clone())
            paths[row, step] = index[key]
            if step < num_bands:
                current[order[step]] = True
    return ShapleyPlan(torch.stack(sets), paths, both)


def shapley_values(plan: ShapleyPlan, scores: Tensor) -> tuple[Tensor, Tensor]:
    """Shapley values of what is lost without each band, and their variance by the random orders.

    Convention:
        The values of an image sum to its score with nothing replaced minus its score with all bands replaced, whatever
        the number of orders; bands that are copies of each other share evenly when exact. The variance is 0 when exact,
        nan for fewer than two pairs of orders, and else that of independent pairs, which the shifts do not exceed.

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
    if plan.exact:
        return (_weights(plan.replaced).to(scores.device) @ scores).T, scores.new_zeros(plan.replaced.shape[1])
    paths, orders = plan.paths.to(scores.device), plan.orders.to(scores.device)
    lost = scores[paths[:, :-1]] - scores[paths[:, 1:]]  # (m g n), in the order of replacement
    by_band = torch.empty_like(lost).scatter_(1, orders[:, :, None].expand_as(lost), lost)
    pairs = len(orders) // 2
    if pairs < 2:
        return by_band.mean(0).T, scores.new_full((orders.shape[1],), torch.nan)
    means = rearrange(by_band.nanmean(2)[: 2 * pairs], "(pairs two) g -> pairs two g", two=2).mean(1)
    return by_band.mean(0).T, means.var(0) / pairs


def _shifted(count: int, num_bands: int, generator: torch.Generator | None) -> list[Tensor]:
    """Random orders, up to as many as there are bands the even shifts of one of them; each by itself is uniform."""
    found: list[Tensor] = []
    blocks = -(-count // num_bands)
    for block in range(blocks):
        size = (count + block) // blocks
        order = torch.randperm(num_bands, generator=generator)
        found += [order.roll(shift * num_bands // size) for shift in range(size)]
    return found


def _all_sets(num_bands: int) -> ShapleyPlan:
    """All sets in Gray order: each differs from the one before by one band."""
    number = torch.arange(2**num_bands)
    gray = number ^ (number >> 1)
    replaced = (gray[:, None] >> torch.arange(num_bands)) & 1 == 1
    none = torch.zeros(0, num_bands, dtype=torch.int64)
    return ShapleyPlan(replaced, torch.zeros(0, num_bands + 1, dtype=torch.int64), none)


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
