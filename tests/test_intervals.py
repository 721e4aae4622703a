import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import t

from lightning_failures.functional import (
    FactorCounts,
    error_ratio,
    error_ratio_interval,
    factor_p_value,
    holm,
    log_ratio_error,
    shrunk_error_ratio,
    student_quantile,
    wilson,
)

Z = 1.959963984540054


def counts_of(*tables: tuple[int, int], all_wrong: int, all_seen: int) -> FactorCounts:
    wrong, seen = zip(*tables, strict=True)
    return FactorCounts(torch.tensor(wrong), torch.tensor(seen), torch.tensor(all_wrong), torch.tensor(all_seen))


@st.composite
def random_counts(draw: st.DrawFn) -> FactorCounts:
    all_seen = draw(st.integers(1, 400))
    all_wrong = draw(st.integers(0, all_seen))
    tables = []
    for _ in range(draw(st.integers(1, 5))):
        seen = draw(st.integers(0, all_seen))
        tables.append((draw(st.integers(max(0, seen - (all_seen - all_wrong)), min(seen, all_wrong))), seen))
    return counts_of(*tables, all_wrong=all_wrong, all_seen=all_seen)


def literal_wilson(a: float, n: float) -> tuple[float, float]:
    p = a / n
    centre = (p + Z * Z / (2 * n)) / (1 + Z * Z / n)
    half = Z / (1 + Z * Z / n) * math.sqrt(p * (1 - p) / n + Z * Z / (4 * n * n))
    return centre - half, centre + half


def literal_interval(a: int, n: int, E: int, N: int) -> tuple[float, float]:
    """MOVER-R as Donner and Zou write it, then through g."""
    c, m, w = E - a, N - n, n / N
    t1, t2 = a / n, c / m
    (l1, u1), (l2, u2) = literal_wilson(a, n), literal_wilson(c, m)
    low = (t1 * t2 - math.sqrt(max(0.0, (t1 * t2) ** 2 - l1 * u2 * (2 * t1 - l1) * (2 * t2 - u2)))) / (
        u2 * (2 * t2 - u2)
    )
    high = (t1 * t2 + math.sqrt(max(0.0, (t1 * t2) ** 2 - u1 * l2 * (2 * t1 - u1) * (2 * t2 - l2)))) / (
        l2 * (2 * t2 - l2)
    )
    return low / (w * low + 1 - w), high / (w * high + 1 - w)


def test_the_interval_is_the_published_formula_through_g() -> None:
    tables = [(30, 100), (3, 10), (55, 60), (1, 40)]
    low, high = error_ratio_interval(counts_of(*tables, all_wrong=300, all_seen=1000))
    for column, (a, n) in enumerate(tables):
        assert (float(low[column]), float(high[column])) == pytest.approx(literal_interval(a, n, 300, 1000), rel=1e-9)


def test_wilson_agrees_with_statsmodels() -> None:
    proportion = pytest.importorskip("statsmodels.stats.proportion")
    wrong, seen = torch.tensor([0, 1, 5, 40, 40]), torch.tensor([10, 7, 10, 40, 46000])
    for confidence in (0.9, 0.95):
        low, high = proportion.proportion_confint(wrong.numpy(), seen.numpy(), alpha=1 - confidence, method="wilson")
        ours = wilson(wrong, seen, confidence)
        torch.testing.assert_close(ours.low, torch.tensor(low), rtol=1e-12, atol=1e-15)
        torch.testing.assert_close(ours.high, torch.tensor(high), rtol=1e-12, atol=1e-15)


@settings(deadline=None)
@given(random_counts())
def test_the_interval_holds_the_ratio_and_respects_its_bounds(counts: FactorCounts) -> None:
    ratio, (low, high) = error_ratio(counts), error_ratio_interval(counts)
    defined = ~ratio.isnan()
    assert torch.equal(low.isnan(), ratio.isnan())
    assert torch.equal(high.isnan(), ratio.isnan())
    largest = counts.all_seen / counts.seen
    assert bool((low <= ratio + 1e-12)[defined].all())
    assert bool((ratio <= high + 1e-12)[defined].all())
    assert bool((low >= 0)[defined].all())
    assert bool((high <= largest.double() * (1 + 1e-6))[defined].all())


def test_an_error_free_factor_has_zero_as_its_lower_end() -> None:
    low, high = error_ratio_interval(counts_of((0, 20), all_wrong=10, all_seen=100))
    assert float(low) == 0
    assert 0 < float(high) < 5


def test_a_factor_with_all_errors_has_its_largest_ratio_as_upper_end() -> None:
    low, high = error_ratio_interval(counts_of((10, 20), all_wrong=10, all_seen=100))
    assert float(high) == 5
    assert 0 < float(low) < 5


def test_a_factor_that_every_image_carries_is_one_for_certain() -> None:
    low, high = error_ratio_interval(counts_of((10, 100), all_wrong=10, all_seen=100))
    assert (float(low), float(high)) == (1, 1)


def test_an_undefined_ratio_has_no_interval_error_or_p_value() -> None:
    for counts in (
        counts_of((0, 0), all_wrong=3, all_seen=9),
        counts_of((0, 4), all_wrong=0, all_seen=9),
        counts_of((0, 0), all_wrong=0, all_seen=0),
    ):
        values = [*error_ratio_interval(counts), log_ratio_error(counts), factor_p_value(counts)]
        assert all(bool(value.isnan().all()) for value in values)


def test_the_delta_error_is_the_published_formula() -> None:
    a, n, E, N = 30, 100, 300, 1000
    c, m = E - a, N - n
    literal = (1 - a / E) * math.sqrt(1 / a - 1 / n + 1 / c - 1 / m)
    assert float(log_ratio_error(counts_of((a, n), all_wrong=E, all_seen=N))) == pytest.approx(literal, rel=1e-12)


@settings(deadline=None, max_examples=60)
@given(random_counts())
def test_p_values_are_fishers_exact_ones(counts: FactorCounts) -> None:
    stats = pytest.importorskip("scipy.stats")
    E, N = int(counts.all_wrong), int(counts.all_seen)
    for a, n, p in zip(counts.wrong.tolist(), counts.seen.tolist(), factor_p_value(counts).tolist(), strict=True):
        if not math.isnan(p):
            expected = stats.fisher_exact([[a, n - a], [E - a, N - n - E + a]]).pvalue
            assert p == pytest.approx(expected, rel=1e-6, abs=1e-300)


def test_holm_agrees_with_statsmodels() -> None:
    multitest = pytest.importorskip("statsmodels.stats.multitest")
    generator = torch.Generator().manual_seed(0)
    for size in (1, 2, 16, 50):
        p = torch.rand(size, generator=generator, dtype=torch.float64) ** 3
        p[::5] = p[0]  # ties
        expected = torch.tensor(multitest.multipletests(p.numpy(), method="holm")[1])
        torch.testing.assert_close(holm(p), expected, rtol=1e-12, atol=0)


def test_an_undefined_p_value_does_not_count_among_the_many() -> None:
    p = torch.tensor([0.02, torch.nan, 0.01, torch.nan], dtype=torch.float64)
    adjusted = holm(p)
    torch.testing.assert_close(adjusted[[0, 2]], holm(p[[0, 2]]))
    assert bool(adjusted[[1, 3]].isnan().all())


def test_shrinkage_is_dersimonian_and_lairds() -> None:
    tables = [(300, 1000), (60, 100), (9, 20), (100, 900)]
    counts = counts_of(*tables, all_wrong=600, all_seen=4000)
    theta = [math.log(a / n / (600 / 4000)) for a, n in tables]
    s2 = [(1 - a / 600) ** 2 * (1 / a - 1 / n + 1 / (600 - a) - 1 / (4000 - n)) for a, n in tables]
    v = [1 / s for s in s2]
    fixed = sum(x * t for x, t in zip(v, theta, strict=True)) / sum(v)
    Q = sum(x * (t - fixed) ** 2 for x, t in zip(v, theta, strict=True))
    tau2 = max(0.0, (Q - len(v) + 1) / (sum(v) - sum(x * x for x in v) / sum(v)))
    weights = [1 / (s + tau2) for s in s2]
    mean = sum(x * t for x, t in zip(weights, theta, strict=True)) / sum(weights)
    expected = [math.exp(mean + tau2 / (tau2 + s) * (t - mean)) for t, s in zip(theta, s2, strict=True)]
    assert shrunk_error_ratio(counts).tolist() == pytest.approx(expected, rel=1e-12)


def test_shrinkage_meets_the_random_effects_mean_of_statsmodels() -> None:
    meta = pytest.importorskip("statsmodels.stats.meta_analysis")
    counts = counts_of((300, 1000), (60, 100), (9, 20), (100, 900), all_wrong=600, all_seen=4000)
    theta, s2 = error_ratio(counts).log().numpy(), log_ratio_error(counts).square().numpy()
    result = meta.combine_effects(theta, s2, method_re="dl")
    tau2, mean = result.tau2, result.mean_effect_re
    expected = torch.tensor(mean + tau2 / (tau2 + s2) * (theta - mean)).exp()
    torch.testing.assert_close(shrunk_error_ratio(counts), expected)


def test_three_unlucky_images_are_not_the_worst_factor_after_shrinkage() -> None:
    counts = counts_of((3, 3), (450, 1000), (200, 1000), (1350, 5000), all_wrong=2000, all_seen=8000)
    assert int(error_ratio(counts).argmax()) == 0
    assert int(shrunk_error_ratio(counts).argmax()) == 1


def test_factors_that_differ_by_chance_alone_are_shrunk_to_one_level() -> None:
    counts = counts_of((10, 100), (11, 100), (9, 100), all_wrong=100, all_seen=1000)
    shrunk = shrunk_error_ratio(counts)
    torch.testing.assert_close(shrunk, shrunk[0].expand(3))


@settings(deadline=None)
@given(random_counts())
def test_shrunk_ratios_are_finite_where_ratios_are(counts: FactorCounts) -> None:
    ratio, shrunk = error_ratio(counts), shrunk_error_ratio(counts)
    assert torch.equal(ratio.isnan(), shrunk.isnan())
    assert not bool(shrunk.isinf().any())


def test_the_largest_of_many_noisy_ratios_is_too_large_and_shrinkage_mends_it() -> None:
    generator = torch.Generator().manual_seed(1)
    seen, rate, worst, worst_shrunk = torch.full((20,), 40), torch.full((20,), 0.25), [], []
    for _ in range(200):
        wrong = torch.binomial(seen.double(), rate.double(), generator=generator).long()
        counts = FactorCounts(wrong, seen, wrong.sum() + 2300, torch.tensor(10000))
        worst.append(float(error_ratio(counts).max()))
        worst_shrunk.append(float(shrunk_error_ratio(counts).max()))
    too_large, left = sum(worst) / 200 - 1, sum(worst_shrunk) / 200 - 1  # the truth is 1 for every factor
    assert too_large > 0.4
    assert left < too_large / 3


@pytest.mark.parametrize(("a", "n"), [(0, 3), (6, 8), (8, 9), (8, 10)])
def test_tables_as_probable_as_the_one_seen_count_though_rounding_tells_them_apart(a: int, n: int) -> None:
    stats = pytest.importorskip("scipy.stats")
    expected = stats.fisher_exact([[a, n - a], [10 - a, 10 - n + a]]).pvalue
    assert float(factor_p_value(counts_of((a, n), all_wrong=10, all_seen=20))) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("freedom", [1, 2, 3, 4, 7, 30, 127, 1000])
@pytest.mark.parametrize("probability", [0.5, 0.9, 0.9975, 0.99999])
def test_student_quantiles_are_those_of_scipy(probability: float, freedom: int) -> None:
    expected = t.ppf(probability, freedom)
    assert float(student_quantile(probability, freedom)) == pytest.approx(expected, abs=1e-9, rel=1e-9)


def test_without_a_degree_of_freedom_no_finite_value_is_certain() -> None:
    assert float(student_quantile(0.975, 0)) == math.inf
