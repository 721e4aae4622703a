import math
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from lightning_failures import PairedErrorRatio
from lightning_failures.data import FACTORS
from lightning_failures.errors import InputError
from lightning_failures.functional import (
    PairedCounts,
    count_factor_errors,
    count_paired_errors,
    error_ratio,
    mcnemar,
    paired_interval,
    paired_log_error,
    paired_p_value,
    paired_ratio,
    risk_ratio,
    risk_ratio_interval,
    spillover,
)
from tests.published import joined, published


def images(seed: int, count: int = 500) -> tuple[Tensor, Tensor, Tensor]:
    """Errors of one's own, of the reference, which agree more often than by chance, and factors."""
    generator = torch.Generator().manual_seed(seed)
    hard = torch.rand(count, generator=generator)
    factors = torch.rand(count, 3, generator=generator) < torch.tensor([0.5, 0.2, 0.05])
    own = hard + 0.3 * torch.rand(count, generator=generator) > 0.9
    reference = hard + 0.3 * torch.rand(count, generator=generator) > 0.8
    return own, reference, factors


def test_the_ratio_is_one_error_ratio_over_the_other() -> None:
    own, reference, factors = images(0)
    ratios = (error_ratio(count_factor_errors(wrong, factors)) for wrong in (own, reference))
    torch.testing.assert_close(paired_ratio(count_paired_errors(own, reference, factors)), next(ratios) / next(ratios))


def test_the_variance_is_the_published_formula_written_out() -> None:
    own, reference, factors = images(1)
    counts = count_paired_errors(own, reference, factors)
    carried = factors[:, 1]
    a_a, a_b, a_ab = ((wrong & carried).sum().item() for wrong in (own, reference, own & reference))
    e_a, e_b, e_ab = (wrong.sum().item() for wrong in (own, reference, own & reference))
    variance = 1 / a_a + 1 / a_b - 1 / e_a - 1 / e_b
    variance += -2 * a_ab / (a_a * a_b) + 2 * a_ab / (a_a * e_b) + 2 * a_ab / (a_b * e_a) - 2 * e_ab / (e_a * e_b)
    assert float(paired_log_error(counts)[1]) == pytest.approx(math.sqrt(variance), rel=1e-12)
    ratio = float(paired_ratio(counts)[1])
    low, high = paired_interval(counts)
    assert float(low[1]) == pytest.approx(ratio * math.exp(-1.959963985 * math.sqrt(variance)), rel=1e-9)
    assert float(high[1]) == pytest.approx(ratio * math.exp(1.959963985 * math.sqrt(variance)), rel=1e-9)
    z = math.log(ratio) / math.sqrt(variance)
    assert float(paired_p_value(counts)[1]) == pytest.approx(math.erfc(abs(z) / math.sqrt(2)), rel=1e-9)


def test_the_standard_error_is_the_spread_over_resampled_images() -> None:
    own, reference, factors = images(2, count=4000)
    generator = torch.Generator().manual_seed(0)
    resampled = []
    for _ in range(400):
        rows = torch.randint(4000, (4000,), generator=generator)
        resampled.append(paired_ratio(count_paired_errors(own[rows], reference[rows], factors[rows])).log())
    spread = torch.stack(resampled).std(0)
    torch.testing.assert_close(
        paired_log_error(count_paired_errors(own, reference, factors)), spread, rtol=0.15, atol=0
    )


@settings(deadline=None)
@given(st.integers(0, 300), st.integers(0, 300), st.integers(0, 50))
def test_mcnemar_agrees_with_statsmodels(only_own: int, only_reference: int, both: int) -> None:
    tables = pytest.importorskip("statsmodels.stats.contingency_tables")
    each = [torch.tensor([value]) for value in (only_own + both, only_reference + both, both, 1000)]
    counts = PairedCounts(*each, *(value.squeeze() for value in each))
    expected = tables.mcnemar([[both, only_own], [only_reference, 0]], exact=True).pvalue
    assert float(mcnemar(counts)) == pytest.approx(min(1.0, expected), rel=1e-9)


def test_perturbed_over_clean_errors_have_the_published_variance() -> None:
    own, reference, factors = images(3)
    counts = count_paired_errors(own, reference, factors)
    e_1, e_0 = own.sum().item(), reference.sum().item()
    n_10, n_01 = (own & ~reference).sum().item(), (~own & reference).sum().item()
    low, high = risk_ratio_interval(counts.everything)
    assert float(risk_ratio(counts.everything)) == pytest.approx(e_1 / e_0)
    spread = math.exp(1.959963985 * math.sqrt((n_10 + n_01) / (e_1 * e_0)))
    assert float(low) == pytest.approx(e_1 / e_0 / spread, rel=1e-9)
    assert float(high) == pytest.approx(e_1 / e_0 * spread, rel=1e-9)


def test_equal_predictions_have_a_ratio_of_one_and_no_doubt() -> None:
    own, _, factors = images(4)
    counts = count_paired_errors(own, own, factors)
    ones = torch.ones(3, dtype=torch.float64)
    for value in (paired_ratio(counts), *paired_interval(counts), paired_p_value(counts), mcnemar(counts)):
        torch.testing.assert_close(value, ones)


def test_a_factor_that_fell_behind_a_better_network_is_spillover() -> None:
    factors = torch.zeros(2000, 2, dtype=torch.bool)
    factors[:200, 0] = factors[200:, 1] = True
    reference, own = torch.zeros(2000, dtype=torch.bool), torch.zeros(2000, dtype=torch.bool)
    reference[:60] = reference[200:1000] = True
    own[:90] = own[200:700] = True  # the first factor: 60 to 90 errors, all others: 800 to 500
    counts = count_paired_errors(own, reference, factors)
    assert spillover(counts).tolist() == [1, 0]
    assert spillover(count_paired_errors(reference, own, factors)).tolist() == [0, 0]  # a worse network is no spillover


def test_a_ratio_that_rose_though_its_errors_fell_is_seen_by_mcnemar() -> None:
    factors = torch.zeros(2000, 1, dtype=torch.bool)
    factors[:200] = True
    reference, own = torch.zeros(2000, dtype=torch.bool), torch.zeros(2000, dtype=torch.bool)
    reference[:100] = reference[200:1200] = True
    own[:80] = own[200:500] = True
    counts = count_paired_errors(own, reference, factors)
    assert float(paired_ratio(counts)) > 2
    assert float(mcnemar(counts)) < 1e-5
    assert bool(counts.own < counts.reference)


def test_the_metric_reports_what_its_functions_say() -> None:
    own, reference, factors = images(5)
    metric = PairedErrorRatio(["a", "b", "c"])
    scores = torch.nn.functional.one_hot(own.long(), 2).float()  # the true class is 0
    metric.update(scores, reference.long(), torch.zeros(500, dtype=torch.int64), factors)
    counts = count_paired_errors(own, reference, factors)
    values = metric.compute()
    torch.testing.assert_close(values["ratio/b"], paired_ratio(counts)[1])
    torch.testing.assert_close(values["low/b"], paired_interval(counts).low[1])
    torch.testing.assert_close(values["mcnemar_p/b"], mcnemar(counts)[1])
    torch.testing.assert_close(values["risk_ratio/c"], risk_ratio(counts)[2])
    torch.testing.assert_close(values["mcnemar_p/all"], mcnemar(counts.everything)[0])
    torch.testing.assert_close(values["risk_ratio_high/all"], risk_ratio_interval(counts.everything).high[0])
    assert values["reference_errors/c"] == (reference & factors[:, 2]).sum()
    assert values["images/all"] == 500
    assert float(values["error/all"]) == own.double().mean()
    assert {key.split("/")[0] for key in values} == {
        *("ratio", "low", "high", "p_value", "spillover", "images", "errors", "reference_errors", "mcnemar_p"),
        *("risk_ratio", "risk_ratio_low", "risk_ratio_high", "error", "reference_error"),
    }


@published
def test_dino_beats_resnet_on_texture_only_in_part() -> None:
    dino, resnet = joined("DINO"), joined("ResNet50")
    metric = PairedErrorRatio(FACTORS)
    metric.update(dino.preds, resnet.preds, dino.classes, dino.factors)
    values = {key: float(value) for key, value in metric.compute().items()}
    assert values["ratio/texture"] == pytest.approx(2.15032 / 2.39386, abs=1e-5)
    assert values["ratio/pattern"] == pytest.approx(0.927478 / 0.771442, abs=1e-5)
    assert (values["error/all"], values["reference_error/all"]) == (11330 / 46110, 11680 / 46110)
    assert values["spillover/pattern"] == 1
    assert values["mcnemar_p/pattern"] < 1e-10
    assert values["spillover/texture"] == 0


def test_a_factor_without_errors_is_nan_and_says_why() -> None:
    metric = PairedErrorRatio(["mended", "never"])
    factors = torch.tensor([[1, 0], [1, 0], [0, 0]])
    metric.update(torch.tensor([0, 0, 1]), torch.tensor([1, 0, 1]), torch.tensor([0, 0, 0]), factors)
    values = metric.compute()
    assert values["ratio/mended"] == 0
    one_has_none = "one of the two has no errors on the factor"
    assert metric.undefined == {
        **{f"{statistic}/mended": one_has_none for statistic in ("low", "high", "p_value", "spillover")},
        **{f"{statistic}/never": one_has_none for statistic in ("low", "high", "p_value", "spillover")},
        "ratio/never": "no image carries the factor, or the reference has no errors on it",
        "mcnemar_p/never": "no image carries the factor",
        "risk_ratio/never": "the reference has no errors there",
        **{
            f"risk_ratio_{end}/{name}": "one of the two has no errors there"
            for end in ("low", "high")
            for name in ("mended", "never")
        },
    }


def test_predictions_of_other_images_are_refused() -> None:
    metric = PairedErrorRatio(["dark"])
    arguments: tuple[Any, ...] = (torch.zeros(3).long(), torch.zeros(2).long(), torch.zeros(3).long(), torch.ones(3, 1))
    with pytest.raises(InputError) as error:
        metric.update(*arguments)
    assert str(error.value) == (
        "PairedErrorRatio.update: the predictions are not of the same images; "
        "given preds (3,) int64, reference_preds (2,) int64. Pass one of each an image."
    )


def test_a_factor_that_fell_behind_a_network_no_better_than_before_is_no_spillover() -> None:
    dark = torch.arange(800) < 400
    own, reference = dark & (torch.arange(800) < 200), ~dark & (torch.arange(800) < 600)
    own, reference = own | (torch.arange(800) >= 780), reference | (torch.arange(800) < 20)
    counts = count_paired_errors(own, reference, dark[:, None])
    assert counts.all_own == counts.all_reference == 220
    assert float(paired_ratio(counts)) == 10
    assert float(paired_p_value(counts)) < 1e-6
    assert spillover(counts).tolist() == [0]
