import math

import pytest
import torch
from torch import Tensor

from lightning_failures import FactorInteraction
from lightning_failures.functional import (
    InteractionCounts,
    count_factor_errors,
    count_interactions,
    error_ratio,
    pair_error_ratio,
    phi,
    risk_difference,
)


def images(seed: int, count: int = 400) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    factors = torch.rand(count, 4, generator=generator) < torch.tensor([0.5, 0.3, 0.1, 0.4])
    factors[:, 3] |= factors[:, 0]
    return torch.rand(count, generator=generator) < 0.1 + 0.3 * factors[:, 0] + 0.2 * factors[:, 2], factors


def test_correlations_are_those_of_pandas() -> None:
    pd = pytest.importorskip("pandas")
    wrong, factors = images(0)
    expected = torch.tensor(pd.DataFrame(factors.double().numpy()).corr().values)
    torch.testing.assert_close(phi(count_interactions(wrong, factors)), expected)


def test_pairs_are_factors_of_their_own() -> None:
    wrong, factors = images(1)
    pairs = (factors[:, :, None] & factors[:, None, :]).flatten(1)
    expected = error_ratio(count_factor_errors(wrong, pairs)).view(4, 4)
    torch.testing.assert_close(pair_error_ratio(count_interactions(wrong, factors)), expected)


def test_risk_differences_are_least_squares_of_statsmodels() -> None:
    linear = pytest.importorskip("statsmodels.api")
    wrong, factors = images(2)
    design = linear.add_constant(factors.double().numpy())
    expected = torch.tensor(linear.OLS(wrong.double().numpy(), design).fit().params[1:])
    torch.testing.assert_close(risk_difference(count_interactions(wrong, factors)), expected)


def test_a_factor_that_only_comes_with_a_hard_one_adds_nothing_itself() -> None:
    wrong, factors = images(3, count=20000)
    difference = risk_difference(count_interactions(wrong, factors)).tolist()
    assert difference[0] == pytest.approx(0.3, abs=0.03)
    assert difference[2] == pytest.approx(0.2, abs=0.03)
    assert difference[3] == pytest.approx(0, abs=0.03)
    assert float(error_ratio(count_factor_errors(wrong, factors))[3]) > 1.1


def test_factors_that_cannot_be_told_apart_have_no_risk_difference_but_others_have() -> None:
    wrong, factors = images(4)
    twice = torch.cat([factors, factors[:, :1], torch.zeros(400, 1, dtype=torch.bool)], 1)
    difference = risk_difference(count_interactions(wrong, twice))
    assert difference.isnan().tolist() == [True, False, False, False, True, True]
    torch.testing.assert_close(difference[1:4], risk_difference(count_interactions(wrong, factors))[1:])


def test_a_rare_factor_among_millions_keeps_its_risk_difference() -> None:
    n, rare = 10**7, 3
    counts = InteractionCounts(
        torch.tensor([[n // 2, 1], [1, rare]]),
        torch.tensor([[n // 20, 1], [1, rare]]),
        torch.tensor(n // 10),
        torch.tensor(n),
    )
    assert float(risk_difference(counts)[1]) == pytest.approx(0.9, abs=1e-5)


def test_counts_stay_exact_under_autocast() -> None:
    wrong, factors = images(5, count=3000)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        counts = count_interactions(wrong, factors)
    assert torch.equal(counts.together, factors.T.long() @ factors.long())
    assert torch.equal(counts.together_wrong, factors.T.long() @ (factors & wrong[:, None]).long())


def test_the_metric_names_every_pair_once_and_every_factor() -> None:
    wrong, factors = images(6)
    metric = FactorInteraction(["a", "b", "c", "d"])
    metric.update(wrong.long(), torch.zeros(400, dtype=torch.int64), factors)
    counts = count_interactions(wrong, factors)
    values = metric.compute()
    pairs = ["a&b", "a&c", "a&d", "b&c", "b&d", "c&d"]
    assert values.keys() == {
        *(f"{statistic}/{pair}" for statistic in ("phi", "error_ratio", "images", "errors") for pair in pairs),
        *(f"risk_difference/{name}" for name in "abcd"),
    }
    torch.testing.assert_close(values["phi/b&d"], phi(counts)[1, 3])
    torch.testing.assert_close(values["error_ratio/a&c"], pair_error_ratio(counts)[0, 2])
    torch.testing.assert_close(values["risk_difference/d"], risk_difference(counts)[3])
    assert values["images/c&d"] == (factors[:, 2] & factors[:, 3]).sum()
    assert values["errors/c&d"] == (factors[:, 2] & factors[:, 3] & wrong).sum()


def test_an_absent_factor_is_nan_and_says_why() -> None:
    metric = FactorInteraction(["dark", "never"])
    metric.update(torch.tensor([0, 1]), torch.tensor([1, 1]), torch.tensor([[1, 0], [0, 0]]))
    values = metric.compute()
    assert math.isnan(values["phi/dark&never"])
    assert metric.undefined == {
        "phi/dark&never": "all images carry one of the two factors, or none does",
        "error_ratio/dark&never": "no image carries both factors, or nothing is misclassified",
        "risk_difference/never": "no image carries the factor, or it is a combination of the others",
    }
