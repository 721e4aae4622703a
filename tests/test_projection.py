import pytest
import torch

from lightning_failures.functional import gaussian_projection, unproject_participation_ratio


def ratio(eigenvalues):
    return eigenvalues.sum() ** 2 / eigenvalues.square().sum()


def test_a_projection_is_the_same_each_time_and_draws_nothing_from_the_global_generator():
    before = torch.get_rng_state()
    first = gaussian_projection(30, 8)
    assert torch.equal(first, gaussian_projection(30, 8))
    assert not torch.equal(first, gaussian_projection(30, 8, seed=1))
    assert torch.equal(torch.get_rng_state(), before)


def test_a_projection_keeps_lengths_on_average():
    rows = torch.randn(200, 400, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    share = (rows @ gaussian_projection(400, 256)).square().sum() / rows.square().sum()
    assert share.item() == pytest.approx(1, abs=0.05)


@pytest.mark.parametrize(
    ("eigenvalues", "tolerance"),
    [
        (torch.tensor([1.0] + [0.0] * 299), 1e-9),
        (torch.tensor([1.0] * 5 + [0.0] * 295), 0.03),
        (1 / torch.arange(1, 301.0), 0.1),
        (torch.ones(300), 0.1),
    ],
)
def test_the_ratio_before_a_projection_comes_back(eigenvalues, tolerance):
    found = []
    for seed in range(8):
        P = gaussian_projection(300, 64, seed)
        after = torch.linalg.eigvalsh((P.T * eigenvalues.double()) @ P)
        found.append(unproject_participation_ratio(ratio(after), 64))
    assert torch.stack(found).mean().item() == pytest.approx(ratio(eigenvalues).item(), rel=tolerance)


def test_one_dimension_stays_one_where_the_simple_rule_does_not():
    one = torch.ones((), dtype=torch.float64)
    assert unproject_participation_ratio(one, 16).item() == pytest.approx(1, rel=1e-12)
    assert (1 / (1 / one - 1 / 16)).item() == pytest.approx(1.067, abs=1e-3)


def test_a_ratio_that_reaches_the_width_tells_nothing_and_zero_stays_zero():
    values = unproject_participation_ratio(torch.tensor([0.0, 16.0, 20.0, torch.nan], dtype=torch.float64), 16)
    assert values[0] == 0
    assert values[1:].isnan().all()
