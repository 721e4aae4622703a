import itertools
import warnings

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from lightning_failures import functional as m

SHIFTED = "shifted float32, summed in float64"


def rows(n, d, seed=0, mean=0.0):
    return torch.randn(n, d, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) + mean


def add(*parts):
    return type(parts[0])(*(sum(values[1:], values[0]) for values in zip(*parts, strict=True)))


def close(a, b, rtol=1e-12, atol=1e-12):
    for name, x, y in zip(a._fields, a, b, strict=True):
        torch.testing.assert_close(x, y, rtol=rtol, atol=atol, msg=lambda text, name=name: f"{name}: {text}")


@given(cuts=st.lists(st.integers(0, 40), max_size=4), seed=st.integers(0, 99))
def test_sums_of_any_cut_of_the_rows_add_up_to_those_of_all(cuts, seed):
    x, y = rows(40, 3, seed, mean=2.0), torch.arange(40) % 4
    edges = [0, *sorted(cuts), 40]
    parts = [slice(a, b) for a, b in itertools.pairwise(edges)]
    close(add(*(m.moments(x[p]) for p in parts)), m.moments(x))
    close(add(*(m.power_sums(x[p]) for p in parts)), m.power_sums(x), rtol=1e-11)
    close(add(*(m.class_moments(x[p], y[p], 4) for p in parts)), m.class_moments(x, y, 4))


def test_power_sums_are_what_their_comments_say():
    x = rows(7, 3)
    sums = m.power_sums(x)
    lengths = [float(sum(v * v for v in row)) for row in x]
    assert sums.count == 7
    torch.testing.assert_close(sums.outer, sum(torch.outer(row, row) for row in x))
    torch.testing.assert_close(sums.squares.item(), sum(lengths))
    torch.testing.assert_close(sums.cubes, sum(length * row for length, row in zip(lengths, x, strict=True)))
    torch.testing.assert_close(sums.fourths.item(), sum(length**2 for length in lengths))
    close(m.Moments.of(sums), m.moments(x))


def test_class_moments_are_moments_of_each_class():
    x, y = rows(20, 3), torch.arange(20) % 3
    sums = m.class_moments(x, y, 4)
    assert sums.counts.tolist() == [7, 7, 6, 0]
    for c in range(4):
        torch.testing.assert_close(sums.totals[c], x[y == c].sum(0))
        torch.testing.assert_close(sums.squares[c], x[y == c].square().sum())
    close(sums.all, m.moments(x))


@pytest.mark.parametrize("how", ["float64", SHIFTED])
def test_rows_that_do_not_count_leave_no_trace(how):
    x, y = rows(9, 4), torch.arange(9) % 3
    keep = torch.ones(9, dtype=torch.bool)
    keep[[2, 5]] = False
    dirty, wild = x.clone(), y.clone()
    dirty[2], dirty[5], wild[5] = torch.nan, torch.inf, 77
    tolerance = 1e-12 if how == "float64" else 1e-6
    close(m.power_sums(dirty, keep, how), m.power_sums(x[keep], None, how), rtol=tolerance, atol=tolerance)
    close(
        m.class_moments(dirty, wild, 3, keep, how),
        m.class_moments(x[keep], y[keep], 3, None, how),
        rtol=tolerance,
        atol=tolerance,
    )
    assert m.finite_rows(dirty).tolist() == keep.tolist()


def test_mean_and_covariance_equal_those_of_torch():
    x = rows(30, 4, mean=5.0)
    torch.testing.assert_close(m.mean(m.moments(x)), x.mean(0))
    torch.testing.assert_close(m.covariance(m.moments(x)), x.T.cov())


def test_fewer_than_two_rows_have_no_covariance_and_none_no_mean():
    assert m.covariance(m.moments(rows(1, 2))).isnan().all()
    assert m.covariance(m.Moments.zero(2)).isnan().all()
    assert m.mean(m.Moments.zero(2)).isnan().all()


@pytest.mark.parametrize("value", [0.1, 1 / 3, 1e4, 1e-20])
@pytest.mark.parametrize("n", [2, 1000, 25600])
def test_constant_rows_have_a_covariance_of_exactly_zero(value, n):
    x = torch.full((n, 8), value)
    assert m.covariance(add(*(m.moments(part) for part in x.split(256)))).count_nonzero() == 0


def test_a_variation_that_float32_can_hold_is_not_taken_for_rounding():
    x = torch.ones(1000, 2)
    x[::2] += 1e-6
    assert m.covariance(m.moments(x))[0, 0].item() == pytest.approx(2.5e-13, rel=0.2)


def test_spectrum_is_descending_and_what_rounding_explains_is_zero():
    basis = torch.linalg.qr(rows(50, 50)).Q
    planted = torch.cat([torch.tensor([4.0, 2.0, 1e-3]), torch.zeros(47)]).double()
    values = m.spectrum(basis * planted @ basis.T)
    torch.testing.assert_close(values, planted)
    assert (values[3:] == 0).all()
    assert (m.spectrum(basis * planted @ basis.T, rounding=torch.tensor(3.0))[1:] == 0).all()


def test_spectrum_of_nan_is_nan():
    assert m.spectrum(torch.full((3, 3), torch.nan)).isnan().all()


def test_principal_directions_are_orthonormal_descending_and_have_one_sign():
    x = rows(200, 5) * torch.tensor([1.0, 5.0, 2.0, 4.0, 3.0], dtype=torch.float64)
    cov = x.T.cov()
    U = m.principal_directions(cov)
    torch.testing.assert_close(U.T @ U, torch.eye(5, dtype=torch.float64))
    torch.testing.assert_close((U.T @ cov @ U).diagonal(), m.spectrum(cov))
    assert U.abs().argmax(0).tolist() == [1, 3, 4, 2, 0]
    assert (U.gather(0, U.abs().argmax(0, keepdim=True)) > 0).all()
    torch.testing.assert_close(m.principal_directions(cov * 2), U)


def test_a_decomposition_that_fails_is_done_again_on_the_cpu_in_float64(monkeypatch):
    calls = []
    real = torch.linalg.eigvalsh

    def fails_once(matrix):
        calls.append((matrix.device.type, matrix.dtype))
        if len(calls) == 1:
            raise torch.linalg.LinAlgError("cusolver error: failed to converge")
        return real(matrix)

    monkeypatch.setattr(torch.linalg, "eigvalsh", fails_once)
    assert m.spectrum(torch.eye(2)).tolist() == [1, 1]
    assert calls == [("cpu", torch.float64)] * 2


@pytest.mark.parametrize("mean", [0.0, 1.0, 100.0])
def test_shifted_float32_sums_are_close_to_float64_even_far_from_zero(mean):
    x = rows(600, 20, mean=mean).float()
    parts = [m.moments(part, how=SHIFTED) for part in x.split(97)]
    shifted, exact = add(*parts), m.moments(x)
    assert all(value.dtype == torch.float64 for value in (shifted.total, shifted.outer))
    torch.testing.assert_close(m.covariance(shifted), m.covariance(exact), rtol=0, atol=2e-6)
    naive = m.Moments(torch.tensor(600), x.sum(0).double(), (x.T @ x).double())
    if mean == 100:
        worst = [(m.covariance(sums) - m.covariance(exact)).abs().max().item() for sums in (naive, shifted)]
        assert worst[0] > 1000 * worst[1]


def test_autocast_and_tf32_are_off_inside_and_as_before_outside():
    x = rows(64, 8, mean=3.0).float()
    plain = m.moments(x, how=SHIFTED)
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("medium")
    try:
        with warnings.catch_warnings(), torch.autocast("cpu", dtype=torch.bfloat16):
            warnings.simplefilter("error")
            inside = m.moments(x, how=SHIFTED)
            exact = m.moments(x)
            assert torch.is_autocast_enabled("cpu")
        assert torch.get_float32_matmul_precision() == "medium"
        assert torch.backends.cuda.matmul.allow_tf32
    finally:
        torch.set_float32_matmul_precision(before)
    close(inside, plain, rtol=1e-6)
    close(exact, m.moments(x), rtol=0, atol=0)


def test_numerics_follow_the_device(monkeypatch):
    assert m.numerics(torch.device("cpu")) == "float64"
    assert m.numerics(torch.device("mps")) == "float64 on the CPU"
    for capability, how in [((9, 0), "float64"), ((8, 0), "float64"), ((8, 9), SHIFTED), ((7, 5), SHIFTED)]:
        monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device, c=capability: c)
        assert m.numerics(torch.device("cuda")) == how
    monkeypatch.setattr(torch.version, "hip", "6.2")
    for capability, how in [((9, 4), "float64"), ((11, 0), SHIFTED)]:
        monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device, c=capability: c)
        assert m.numerics(torch.device("cuda")) == how


def test_half_precision_rows_are_summed_in_float64():
    x = rows(100, 4).to(torch.bfloat16)
    close(m.power_sums(x), m.power_sums(x.double()), rtol=0, atol=0)
