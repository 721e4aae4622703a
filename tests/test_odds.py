import math

import pytest
import torch

from lightning_failures.functional import FactorCounts, odds_ratio, odds_ratio_interval


def counts(a, n, c, m):
    """Counts of one factor: a of n images with it are wrong, c of m others."""
    return FactorCounts(*(torch.tensor(value) for value in ([a], [n], a + c, n + m)))


def test_it_is_the_cross_product_of_the_table():
    assert float(odds_ratio(counts(6, 10, 20, 100))) == pytest.approx((6 * 80) / (4 * 20))


def test_statsmodels_agrees_on_the_ratio_and_nearly_on_the_interval_of_large_tables():
    tables = pytest.importorskip("statsmodels.stats.contingency_tables")
    oracle = tables.Table2x2([[120, 280], [900, 3100]])
    table = counts(120, 400, 900, 4000)
    assert float(odds_ratio(table)) == pytest.approx(oracle.oddsratio)
    low, high = odds_ratio_interval(table)
    assert (float(low), float(high)) == pytest.approx(oracle.oddsratio_confint(), rel=0.01)


@pytest.mark.parametrize(
    ("table", "ratio", "low_is_zero", "high_is_infinite"),
    [
        ((0, 10, 20, 100), 0.0, True, False),
        ((10, 10, 20, 100), math.inf, False, True),
        ((5, 10, 0, 100), math.inf, False, True),
        ((5, 10, 100, 100), 0.0, True, False),
    ],
)
def test_empty_cells_give_one_open_end_and_one_finite(table, ratio, low_is_zero, high_is_infinite):
    low, high = (float(end) for end in odds_ratio_interval(counts(*table)))
    assert float(odds_ratio(counts(*table))) == ratio
    assert (low == 0) == low_is_zero
    assert math.isinf(high) == high_is_infinite
    assert 0 <= low < high


@pytest.mark.parametrize("table", [(0, 0, 5, 10), (5, 10, 0, 0), (0, 10, 0, 10), (10, 10, 10, 10)])
def test_it_is_nan_where_a_group_is_empty_or_nothing_differs(table):
    assert math.isnan(odds_ratio(counts(*table)))
    assert all(math.isnan(end) for end in odds_ratio_interval(counts(*table)))


def test_the_interval_covers_at_forty_of_many_images():
    generator = torch.Generator().manual_seed(0)
    repeats, n, m, p, q = 4000, 40, 46_000, 0.6, 0.24
    a = torch.binomial(torch.full((repeats,), float(n)), torch.full((repeats,), p), generator=generator).long()
    c = torch.binomial(torch.full((repeats,), float(m)), torch.full((repeats,), q), generator=generator).long()
    many = FactorCounts(a, torch.full_like(a, n), a + c, torch.full_like(a, n + m))
    low, high = odds_ratio_interval(many)
    truth = p / (1 - p) / (q / (1 - q))
    assert 0.94 < float(((low <= truth) & (truth <= high)).double().mean()) < 0.97
