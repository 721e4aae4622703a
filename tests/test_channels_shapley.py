"""Shapley values from sets of bands: exact against the definition, sampled with its efficiency."""

import math
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


@pytest.mark.parametrize(("bands", "draws"), [(6, 1), (10, 8), (7, 3)])
def test_sampled_values_sum_to_the_total_for_any_number_of_sets(bands: int, draws: int) -> None:
    plan = shapley_plan(bands, draws, torch.Generator().manual_seed(1))
    assert not plan.exact
    scores = torch.randn(len(plan.replaced), 3, dtype=torch.float64)
    values, _ = shapley_values(plan, scores)
    every = plan.replaced.all(1).nonzero().item()
    assert torch.allclose(values.sum(1), scores[0] - scores[every])


def test_sampled_values_minimise_the_weighted_squares_under_their_sum() -> None:
    plan = shapley_plan(8, 6, torch.Generator().manual_seed(1))
    scores, _ = random_game(plan)
    first = plan.replaced[plan.pairs[:, 0]].double()
    lost = (scores[plan.pairs[:, 1]] - scores[plan.pairs[:, 0]])[:, 0]
    design = 2 * first - 1
    normal = torch.zeros(9, 9, dtype=torch.float64)  # with a multiplier for the sum
    normal[:8, :8] = design.T @ torch.diag(plan.weights) @ design
    normal[8, :8] = normal[:8, 8] = 1
    right = torch.cat([design.T @ (plan.weights * lost), scores[0] - scores[-1]])
    assert torch.allclose(shapley_values(plan, scores)[0][0], torch.linalg.solve(normal, right)[:8])


def test_the_regression_on_all_sets_gives_shapleys_values() -> None:
    every = shapley_plan(6, 1000)
    assert every.exact
    scores, _ = random_game(every)
    size = every.replaced.sum(1)
    (empty,), (full,) = (size == 0).nonzero().tolist(), (size == 6).nonzero().tolist()
    halves = [number for number, row in enumerate(every.replaced.tolist()) if row[0] and not all(row)]
    others = [(every.replaced == ~every.replaced[number]).all(1).nonzero().item() for number in halves]
    order = torch.tensor([*empty, *halves, *map(int, others), *full])
    pairs = torch.arange(1, 2 * len(halves) + 1).view(2, -1)
    sizes = size[halves].tolist()
    weights = torch.tensor([1 / (math.comb(6, k) * k * (6 - k)) for k in sizes], dtype=torch.float64)
    plan = ShapleyPlan(every.replaced[order], pairs.T, weights, torch.zeros(len(halves), dtype=torch.float64))
    values, variance = shapley_values(plan, scores[order])
    assert torch.allclose(values, shapley_values(every, scores)[0])
    assert variance.tolist() == [0.0] * 6


def test_each_band_alone_is_among_the_sets_and_each_set_with_the_one_of_all_others() -> None:
    plan = shapley_plan(10, 3, torch.Generator().manual_seed(0))
    first, second = plan.replaced[plan.pairs[:, 0]], plan.replaced[plan.pairs[:, 1]]
    assert torch.equal(first, ~second)
    alone = plan.replaced[plan.replaced.sum(1) == 1]
    assert torch.equal(alone.sum(0), torch.ones(10, dtype=torch.int64))
    assert not bool(plan.replaced[0].any())
    assert bool(plan.replaced[-1].all())


@pytest.mark.parametrize(("bands", "draws"), [(10, 8), (64, 8), (11, 30), (9, 40)])
def test_no_set_is_asked_for_twice_and_no_more_than_were_allowed(bands: int, draws: int) -> None:
    for seed in range(5):
        plan = shapley_plan(bands, draws, torch.Generator().manual_seed(seed))
        assert len(plan.replaced.unique(dim=0)) == len(plan.replaced) <= draws * (bands - 1) + 4


def test_each_band_comes_as_often_as_others_among_sets_of_a_size() -> None:
    plan = shapley_plan(11, 12, torch.Generator().manual_seed(0))
    first = plan.replaced[plan.pairs[:, 0]]
    for size in first.sum(1).unique().tolist():
        often = first[first.sum(1) == size].sum(0)
        assert int(often.max() - often.min()) <= 2, size


def test_neighbours_differ_little() -> None:
    plan = shapley_plan(10, 8, torch.Generator().manual_seed(0))
    steps = (plan.replaced[1:] ^ plan.replaced[:-1]).sum(1).double()
    assert float(steps.mean()) < 3  # five in a random order


def test_an_additive_game_is_exact_from_the_fewest_sets() -> None:
    plan = shapley_plan(9, 2, torch.Generator().manual_seed(0))
    worth = torch.arange(9, dtype=torch.float64)
    values, _ = shapley_values(plan, ((~plan.replaced).double() @ worth)[:, None])
    assert torch.allclose(values[0], worth)


def test_the_fewest_sets_are_exact_for_bands_that_act_in_twos() -> None:
    plan = shapley_plan(8, 2, torch.Generator().manual_seed(0))
    present = (~plan.replaced).double()
    scores = present[:, 0] * present[:, 1] + 2 * present[:, 2] * present[:, 3]
    values, _ = shapley_values(plan, scores[:, None])
    assert values[0].tolist() == pytest.approx([0.5, 0.5, 1, 1, 0, 0, 0, 0])


def test_a_band_that_changes_no_score_has_nothing_and_one_that_does_so_among_some_others_has_its_share() -> None:
    plan = shapley_plan(9, 8, torch.Generator().manual_seed(0))
    present = (~plan.replaced).double()
    most_of_three = (present[:, :3].sum(1) >= 2).double()  # none of them alone changes anything, first or last
    scores = torch.stack([most_of_three + (present[:, 4:8] @ torch.rand(4, dtype=torch.float64)).tanh()], 1)
    values, variance = shapley_values(plan, scores + 1e-8 * torch.randn(scores.shape, dtype=torch.float64))
    assert values[0, [3, 8]].tolist() == variance[[3, 8]].tolist() == [0.0, 0.0]
    assert values[0, :3].tolist() == pytest.approx([1 / 3] * 3, abs=0.15)
    assert float(values.sum()) == pytest.approx(float(scores[0] - scores[-1]), abs=1e-6)


def test_where_no_score_changes_all_values_are_nothing() -> None:
    plan = shapley_plan(9, 4, torch.Generator().manual_seed(0))
    values, variance = shapley_values(plan, torch.full((len(plan.replaced), 2), 3.0))
    assert not values.any()
    assert not variance.any()


def test_copies_share_evenly() -> None:
    plan = shapley_plan(3, 8)
    present = ~plan.replaced
    scores = (present[:, 0] | present[:, 1]).double() * 4 + present[:, 2].double()
    assert shapley_values(plan, scores[:, None])[0][0].tolist() == pytest.approx([2, 2, 1])


def test_the_variance_is_not_below_that_of_repeated_draws() -> None:
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


def game(name: str, replaced: Tensor) -> Tensor:
    """Score of each set."""
    present = (~replaced).double()
    if name == "saturating":  # what the first bands give, the later ones cannot
        return (present @ torch.linspace(0.5, 2, 10, dtype=torch.float64)).div(3).tanh()[:, None]
    if name == "three copies":
        return (~replaced[:, :3]).any(1, keepdim=True).double() + 0.1 * present.sum(1, keepdim=True)
    weights = torch.randn(2**10, generator=torch.Generator().manual_seed(5), dtype=torch.float64)
    return (present.sum(1) + weights[(replaced.long() * 2 ** torch.arange(10)).sum(1)])[:, None]


@pytest.mark.parametrize("name", ["saturating", "three copies", "sum and noise"])
def test_pairs_of_sets_are_nearer_to_the_truth_than_three_times_as_many_of_independent_orders(name: str) -> None:
    every = shapley_plan(10, 10_000)
    assert every.exact
    truth = shapley_values(every, game(name, every.replaced))[0]
    ours, theirs = [], []
    for seed in range(60):
        gen = torch.Generator().manual_seed(seed)
        plan = shapley_plan(10, 8, gen)
        ours.append((shapley_values(plan, game(name, plan.replaced))[0] - truth).square().mean())
        estimate = torch.zeros(10, dtype=torch.float64)
        for order in [torch.randperm(10, generator=gen) for _ in range(25)]:
            sets = torch.stack([torch.isin(torch.arange(10), order[:step]) for step in range(11)])
            estimate[order] -= game(name, sets)[:, 0].diff() / 25
        theirs.append((estimate - truth[0]).square().mean())
    assert float(torch.stack(ours).mean()) < float(torch.stack(theirs).mean())


def test_no_more_pairs_than_bands_have_no_variance() -> None:
    plan = shapley_plan(8, 2, torch.Generator().manual_seed(0))
    assert bool(shapley_values(plan, torch.randn(len(plan.replaced), 1))[1].isnan().all())
