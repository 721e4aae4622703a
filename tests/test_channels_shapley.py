"""Shapley values from sets of bands: exact against the definition, sampled with its efficiency."""

from itertools import permutations

import pytest
import torch
from torch import Tensor

from lightning_failures.functional import ShapleyPlan, shapley_plan, shapley_values


def literal(value: dict[frozenset[int], float], bands: int) -> list[float]:
    """Mean over all orders of what is lost when each band is replaced; keys are the bands replaced."""
    totals = [0.0] * bands
    orders = list(permutations(range(bands)))
    for order in orders:
        gone: frozenset[int] = frozenset()
        for band in order:
            totals[band] += value[gone] - value[gone | {band}]
            gone = gone | {band}
    return [total / len(orders) for total in totals]


def random_game(plan: ShapleyPlan, seed: int = 0) -> tuple[Tensor, dict[frozenset[int], float]]:
    scores = torch.randn(len(plan.replaced), 1, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    keys = [frozenset(row.nonzero().flatten().tolist()) for row in plan.replaced]
    return scores, dict(zip(keys, scores[:, 0].tolist(), strict=True))


@pytest.mark.parametrize("bands", [1, 2, 3, 4, 5])
def test_all_sets_give_the_mean_over_all_orders(bands: int) -> None:
    plan = shapley_plan(bands, 1000)
    assert plan.exact
    scores, value = random_game(plan)
    values, variance = shapley_values(plan, scores)
    assert values[0].tolist() == pytest.approx(literal(value, bands))
    assert variance.tolist() == [0.0] * bands


def test_all_sets_come_once_and_each_is_one_band_from_the_last() -> None:
    plan = shapley_plan(5, 8)
    assert plan.exact
    assert len(plan.replaced.unique(dim=0)) == 32
    assert not bool(plan.replaced[0].any())
    assert bool(((plan.replaced[1:] ^ plan.replaced[:-1]).sum(1) == 1).all())


@pytest.mark.parametrize(("bands", "orders"), [(6, 1), (10, 8), (7, 3)])
def test_sampled_values_sum_to_the_total_for_any_number_of_orders(bands: int, orders: int) -> None:
    plan = shapley_plan(bands, orders, torch.Generator().manual_seed(1))
    assert not plan.exact
    scores = torch.randn(len(plan.replaced), 3, dtype=torch.float64)
    values, _ = shapley_values(plan, scores)
    every = plan.replaced.all(1).nonzero().item()
    assert torch.allclose(values.sum(1), scores[0] - scores[every])


def test_sampled_values_are_the_mean_over_the_orders_drawn() -> None:
    plan = shapley_plan(6, 4, torch.Generator().manual_seed(1))
    scores, value = random_game(plan)
    expected = torch.zeros(6, dtype=torch.float64)
    for order in plan.orders.tolist():
        gone: frozenset[int] = frozenset()
        for band in order:
            expected[band] += (value[gone] - value[gone | {band}]) / len(plan.orders)
            gone = gone | {band}
    assert torch.allclose(shapley_values(plan, scores)[0][0], expected)


def test_every_second_order_is_the_reverse_of_the_one_before() -> None:
    plan = shapley_plan(10, 8, torch.Generator().manual_seed(0))
    assert torch.equal(plan.orders[1::2], plan.orders[::2].flip(1))


def test_no_set_is_asked_for_twice() -> None:
    plan = shapley_plan(10, 8, torch.Generator().manual_seed(0))
    assert len(plan.replaced.unique(dim=0)) == len(plan.replaced) <= 8 * 9 + 2


def test_an_additive_game_is_exact_from_one_pair_of_orders() -> None:
    plan = shapley_plan(9, 2, torch.Generator().manual_seed(0))
    worth = torch.arange(9, dtype=torch.float64)
    values, _ = shapley_values(plan, ((~plan.replaced).double() @ worth)[:, None])
    assert torch.allclose(values[0], worth)


def test_a_pair_of_orders_is_exact_for_bands_that_act_in_pairs() -> None:
    plan = shapley_plan(8, 2, torch.Generator().manual_seed(0))
    present = (~plan.replaced).double()
    scores = present[:, 0] * present[:, 1] + 2 * present[:, 2] * present[:, 3]
    values, _ = shapley_values(plan, scores[:, None])
    assert values[0].tolist() == pytest.approx([0.5, 0.5, 1, 1, 0, 0, 0, 0])


def test_copies_share_evenly() -> None:
    plan = shapley_plan(3, 8)
    present = ~plan.replaced
    scores = (present[:, 0] | present[:, 1]).double() * 4 + present[:, 2].double()
    assert shapley_values(plan, scores[:, None])[0][0].tolist() == pytest.approx([2, 2, 1])


def test_the_variance_by_orders_is_not_below_that_of_repeated_draws() -> None:
    gen = torch.Generator().manual_seed(5)
    weights = torch.randn(2**8, generator=gen, dtype=torch.float64)
    powers = 2 ** torch.arange(8)
    found, said = [], []
    for seed in range(300):
        plan = shapley_plan(8, 8, torch.Generator().manual_seed(seed))
        scores = weights[(plan.replaced.long() * powers).sum(1)][:, None]
        values, variance = shapley_values(plan, scores)
        found.append(values[0])
        said.append(variance)
    ratio = torch.stack(said).mean(0) / torch.stack(found).var(0)
    assert 0.9 < float(ratio.mean()) < 3, ratio


def test_shifted_orders_are_nearer_to_the_truth_than_three_times_as_many_independent_ones() -> None:
    def score(replaced: Tensor) -> Tensor:
        """A saturating game: what the first bands give, the later ones cannot."""
        return ((~replaced).double() @ torch.linspace(0.5, 2, 10, dtype=torch.float64)).div(3).tanh()[:, None]

    every = shapley_plan(10, 10_000)
    assert every.exact
    truth = shapley_values(every, score(every.replaced))[0]
    ours, theirs = [], []
    for seed in range(60):
        gen = torch.Generator().manual_seed(seed)
        plan = shapley_plan(10, 8, gen)
        ours.append((shapley_values(plan, score(plan.replaced))[0] - truth).square().mean())
        estimate = torch.zeros(10, dtype=torch.float64)
        for order in [torch.randperm(10, generator=gen) for _ in range(25)]:
            sets = torch.stack([torch.isin(torch.arange(10), order[:step]) for step in range(11)])
            estimate[order] -= score(sets)[:, 0].diff() / 25
        theirs.append((estimate - truth[0]).square().mean())
    assert float(torch.stack(ours).mean()) < float(torch.stack(theirs).mean())


def test_every_band_comes_early_as_well_as_late() -> None:
    plan = shapley_plan(10, 20, torch.Generator().manual_seed(0))
    places = plan.orders[::2].argsort(1)
    assert torch.equal(places.sort(0).values, torch.arange(10)[:, None].expand(10, 10))
    assert len(shapley_plan(10, 25, torch.Generator().manual_seed(0)).orders) == 25


def test_fewer_than_two_pairs_of_orders_have_no_variance() -> None:
    plan = shapley_plan(8, 2, torch.Generator().manual_seed(0))
    assert bool(shapley_values(plan, torch.randn(len(plan.replaced), 1))[1].isnan().all())
