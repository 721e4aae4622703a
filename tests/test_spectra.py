import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from lightning_failures.functional import spectra as s

RANKS = [s.effective_rank, s.participation_ratio, s.stable_rank]


def power_law(exponent, d=512):
    return torch.arange(1, d + 1, dtype=torch.float64) ** -exponent


def entropy_rank(values):
    """Roy and Vetterli, one value at a time."""
    shares = [v / math.fsum(values) for v in values if v > 0]
    return math.exp(-math.fsum(p * math.log(p) for p in shares))


@pytest.mark.parametrize("k", [1, 3, 40])
def test_k_equal_eigenvalues_have_every_rank_k(k):
    values = torch.cat([torch.full((k,), 0.7), torch.zeros(50 - k)]).double()
    for rank in [*RANKS, s.rankme]:
        assert rank(values).item() == pytest.approx(k, rel=1e-12)
    assert s.top1_share(values).item() == pytest.approx(1 / k)


@pytest.mark.parametrize("p", [0.5, 0.9, 0.999])
def test_two_eigenvalues_have_the_exponential_of_their_entropy(p):
    expected = math.exp(-p * math.log(p) - (1 - p) * math.log(1 - p))
    assert s.effective_rank(torch.tensor([p, 1 - p], dtype=torch.float64)).item() == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize(("exponent", "known"), [(1, (409.55, 117.23, 28.28)), (2, (117.23, 5.06, 2.49))])
def test_power_laws_have_their_known_ranks(exponent, known):
    values = power_law(exponent)
    found = s.rankme(values), s.effective_rank(values), s.participation_ratio(values)
    assert tuple(round(value.item(), 2) for value in found) == known


def test_an_empty_spectrum_has_rank_0_and_no_share():
    zero = torch.zeros(5, dtype=torch.float64)
    assert [rank(zero).item() for rank in [*RANKS, s.rankme]] == [0, 0, 0, 0]
    assert s.top1_share(zero).isnan()


def test_nan_stays_nan():
    bad = torch.full((200,), torch.nan, dtype=torch.float64)
    values = [f(bad) for f in [*RANKS, s.rankme, s.top1_share]]
    values += [*s.alpha(bad), s.marchenko_pastur_rank(bad, torch.tensor(9))]
    assert all(value.isnan() for value in values)


@given(st.lists(st.floats(1e-6, 1e6), min_size=1, max_size=30))
def test_ranks_equal_their_literal_restatements_and_keep_their_order(values):
    spectrum = torch.tensor(values, dtype=torch.float64)
    total, largest = math.fsum(values), max(values)
    assert s.effective_rank(spectrum).item() == pytest.approx(entropy_rank(values), rel=1e-10)
    assert s.rankme(spectrum).item() == pytest.approx(entropy_rank([math.sqrt(v) for v in values]), rel=1e-10)
    squares = math.fsum(v * v for v in values)
    assert s.participation_ratio(spectrum).item() == pytest.approx(total**2 / squares, rel=1e-10)
    assert s.stable_rank(spectrum).item() == pytest.approx(total / largest, rel=1e-10)
    assert s.top1_share(spectrum).item() == pytest.approx(largest / total, rel=1e-10)
    low, middle, high = s.stable_rank(spectrum), s.participation_ratio(spectrum), s.effective_rank(spectrum)
    assert 1 - 1e-9 <= low <= middle * (1 + 1e-9)
    assert middle <= high * (1 + 1e-9)
    assert high <= len(values) * (1 + 1e-9)


@pytest.mark.parametrize("exponent", [0.5, 1.0, 2.3])
def test_alpha_is_the_exponent_of_a_power_law(exponent):
    slope, fit = s.alpha(power_law(exponent))
    assert slope.item() == pytest.approx(exponent, rel=1e-12)
    assert fit.item() == pytest.approx(1, rel=1e-12)


def test_alpha_is_the_least_squares_fit_over_ranks_10_to_99():
    stats = pytest.importorskip("scipy.stats")
    noise = torch.rand(300, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    values = (power_law(1.2, 300) * (0.5 + noise)).sort(descending=True).values
    line = stats.linregress([math.log(i) for i in range(10, 100)], values[9:99].log().tolist())
    slope, fit = s.alpha(values)
    assert slope.item() == pytest.approx(-line.slope, rel=1e-10)
    assert fit.item() == pytest.approx(line.rvalue**2, rel=1e-10)


def test_alpha_leaves_zeros_out_and_needs_ten_values():
    values = power_law(1.5)
    cut = torch.where(torch.arange(512) < 19, values, 0)
    assert s.alpha(cut)[0].item() == pytest.approx(1.5, rel=1e-10)
    cut[18] = 0
    assert s.alpha(cut)[0].isnan()
    assert s.alpha(power_law(1.0, 18))[0].isnan()
    assert s.alpha(power_law(1.0, 19))[0].item() == pytest.approx(1)


def test_a_flat_spectrum_has_alpha_0():
    assert s.alpha(torch.ones(128, dtype=torch.float64))[0].abs() < 1e-12


@pytest.mark.parametrize("ratio", [0.01, 0.2, 0.5, 0.9, 1.0])
def test_the_median_of_the_noise_law_halves_its_density(ratio):
    integrate = pytest.importorskip("scipy.integrate")
    low, high = (1 - math.sqrt(ratio)) ** 2, (1 + math.sqrt(ratio)) ** 2
    median = s.marchenko_pastur_median(ratio)

    def density(x):
        return math.sqrt(max((high - x) * (x - low), 0)) / (2 * math.pi * ratio * x)

    below = integrate.quad(density, low, median, limit=200)[0]
    assert below == pytest.approx(0.5, abs=2e-5)


def test_the_median_at_ratio_1_gives_the_known_optimal_threshold():
    # Gavish and Donoho 2014: 4 / sqrt(3) over the root of the median is 2.858
    assert 4 / math.sqrt(3) / math.sqrt(s.marchenko_pastur_median(1.0)) == pytest.approx(2.858, abs=5e-4)


@pytest.mark.parametrize(("n", "d"), [(2000, 100), (300, 300), (150, 600)])
def test_planted_signals_are_counted_above_the_noise(n, d):
    generator = torch.Generator().manual_seed(n)
    noise = torch.randn(n, d, generator=generator, dtype=torch.float64)
    signal = torch.randn(n, 5, generator=generator, dtype=torch.float64) * 4
    directions = torch.linalg.qr(torch.randn(d, 5, generator=generator, dtype=torch.float64)).Q
    count = torch.tensor(n)
    eigenvalues = torch.linalg.eigvalsh((noise + signal @ directions.T).T.cov()).clamp(min=0).flip(0)
    assert s.marchenko_pastur_rank(eigenvalues, count) == 5
    pure = torch.linalg.eigvalsh(noise.T.cov()).clamp(min=0).flip(0)
    assert s.marchenko_pastur_rank(pure, count) <= 1


def test_the_noise_rank_of_exact_rank_k_is_k_and_of_one_row_is_nan():
    values = torch.cat([torch.ones(3), torch.zeros(20)]).double()
    assert s.marchenko_pastur_rank(values, torch.tensor(100)) == 3
    assert s.marchenko_pastur_rank(torch.zeros(4, dtype=torch.float64), torch.tensor(100)) == 0
    assert s.marchenko_pastur_rank(values, torch.tensor(1)).isnan()
