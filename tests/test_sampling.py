import pytest
import torch

from lightning_failures.functional import LEVELS, RowSample, drawn_rows, sample_rows


def randn(n, d, seed=0):
    return torch.randn(n, d, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def sample(rows, slots=64, batch=None, seed=0):
    whole = RowSample.zero(slots, rows.shape[1])
    for part in rows.split(batch or max(len(rows), 1)):
        new = sample_rows(part, torch.ones(len(part), dtype=torch.bool), slots, seed)
        whole = RowSample(whole.taken + new.taken, whole.slots + new.slots)
    return whole


@pytest.mark.parametrize("batch", [1, 13, 500])
def test_any_cut_and_any_order_draw_the_same_rows(batch):
    rows = randn(500, 3)
    shuffled = rows[torch.randperm(500, generator=torch.Generator().manual_seed(1))]
    expected = drawn_rows(sample(rows))
    assert torch.equal(drawn_rows(sample(rows, batch=batch)), expected)
    assert torch.equal(drawn_rows(sample(shuffled, batch=batch)), expected)


@pytest.mark.parametrize("n", [1, 20, 64, 500, 5_000, 200_000])
def test_a_good_share_of_the_slots_draws_rows_however_many_there_are(n):
    drawn = drawn_rows(sample(randn(n, 2), slots=64))
    assert len(drawn) >= 0.55 * min(n, 64)
    assert len(drawn) <= 100


def test_drawn_rows_are_rows_bit_by_bit_and_none_twice():
    rows = randn(1000, 3) * 1e-7 + 1e9
    drawn = drawn_rows(sample(rows, batch=100)).tolist()
    assert {tuple(row) for row in drawn} <= {tuple(row) for row in rows.tolist()}
    assert len({tuple(row) for row in drawn}) == len(drawn)


def test_the_sample_is_fair():
    rows = torch.arange(20_000, dtype=torch.float64)[:, None]
    means = torch.stack([drawn_rows(sample(rows, slots=512, seed=seed)).mean() for seed in range(20)])
    assert means.mean().item() == pytest.approx(10_000, abs=5 * 5774 / (20 * 400) ** 0.5)


def test_another_seed_draws_other_rows():
    rows = randn(2000, 2)
    first, second = (set(map(tuple, drawn_rows(sample(rows, seed=seed)).tolist())) for seed in (0, 1))
    assert len(first & second) < 20


def test_rows_that_do_not_count_are_never_drawn():
    rows = randn(50, 2)
    keep = torch.arange(50) < 10
    drawn = drawn_rows(sample_rows(rows, keep, 64))
    assert 5 <= len(drawn) <= 10
    assert {tuple(row) for row in drawn.tolist()} <= {tuple(row) for row in rows[:10].tolist()}


def test_rows_that_occur_twice_are_never_drawn():
    rows = randn(30, 2)
    drawn = drawn_rows(sample(torch.cat([rows, rows[:15]])))
    assert len(drawn) > 5
    assert not {tuple(row) for row in drawn.tolist()} & {tuple(row) for row in rows[:15].tolist()}


def test_minus_zero_is_zero():
    rows = torch.tensor([[0.0, -0.0], [-0.0, 0.0]], dtype=torch.float64)
    assert sample(rows).taken.max() == 2


def test_no_random_numbers_are_drawn():
    before = torch.get_rng_state()
    sample(randn(100, 3))
    assert torch.equal(torch.get_rng_state(), before)


def test_its_size_is_fixed():
    assert sample(randn(1000, 5), slots=32).slots.shape == (32 * LEVELS, 5)
