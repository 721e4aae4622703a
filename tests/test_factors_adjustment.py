import math
from typing import Any

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch import Tensor

from lightning_failures import ClassAdjustedErrorRatio
from lightning_failures.data import FACTORS
from lightning_failures.errors import InputError
from lightning_failures.functional import (
    cochran_mantel_haenszel,
    count_by_class,
    count_factor_errors,
    holm,
    mantel_haenszel,
    mantel_haenszel_difference,
    mantel_haenszel_difference_interval,
    mantel_haenszel_interval,
    mantel_haenszel_log_error,
    standardised_error_ratio,
)
from tests.published import joined, published


def images(seed: int, count: int = 600, classes: int = 6) -> tuple[Tensor, Tensor, Tensor]:
    """Wrong, factors and classes; the first factor prefers hard classes, the second is hard within each class."""
    generator = torch.Generator().manual_seed(seed)
    target = torch.randint(classes, (count,), generator=generator)
    factors = torch.rand(count, 2, generator=generator) < torch.stack([target / classes, torch.full((count,), 0.3)], 1)
    wrong = torch.rand(count, generator=generator) < 0.1 + 0.1 * target + 0.2 * factors[:, 1]
    return wrong, factors, target


def strata(wrong: Tensor, carried: Tensor, target: Tensor) -> list[tuple[int, int, int, int]]:
    """Wrong and right with the factor, wrong and right without, of each class that occurs."""
    tables = []
    for label in sorted(set(target.tolist())):
        here = target == label
        tables.append(
            tuple(
                int((here & (carried == with_factor) & (wrong == is_wrong)).sum())
                for with_factor in (True, False)
                for is_wrong in (True, False)
            )
        )
    return tables  # type: ignore[return-value]


def test_standardised_ratio_is_observed_over_expected_written_out_in_pandas() -> None:
    pd = pytest.importorskip("pandas")
    wrong, factors, target = images(0)
    frame = pd.DataFrame({"wrong": wrong.numpy(), "target": target.numpy(), "dark": factors[:, 0].numpy()})
    frame["usual"] = frame.groupby("target")["wrong"].transform("mean")
    dark = frame[frame["dark"]]
    ratio = standardised_error_ratio(count_by_class(wrong, factors, target, 6))[0]
    assert float(ratio) == pytest.approx(dark["wrong"].sum() / dark["usual"].sum(), rel=1e-12)


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 10**6), st.integers(20, 200))
def test_pooled_ratio_and_test_agree_with_statsmodels(seed: int, count: int) -> None:
    tables = pytest.importorskip("statsmodels.stats.contingency_tables")
    wrong, factors, target = images(seed, count)
    counts = count_by_class(wrong, factors, target, 6)
    stratified = [
        torch.tensor(table, dtype=torch.float64).reshape(2, 2).numpy()
        for table in strata(wrong, factors[:, 0], target)
        if sum(table) > 1  # statsmodels divides by n - 1
    ]
    oracle = tables.StratifiedTable(stratified)
    excess = abs(sum(t[0, 0] - t[0].sum() * t[:, 0].sum() / t.sum() for t in stratified))
    p, ratio = float(cochran_mantel_haenszel(counts)[0]), float(mantel_haenszel(counts)[0])
    assume(not math.isnan(p + ratio) and excess > 0.5 and len(stratified) == len(set(target.tolist())))
    assert ratio == pytest.approx(oracle.riskratio_pooled)
    assert p == pytest.approx(oracle.test_null_odds(correction=True).pvalue, abs=1e-12)


def test_variance_is_that_of_greenland_and_robins_written_out() -> None:
    wrong, factors, target = images(1)
    R = S = numerator = 0.0
    for a, b, c, d in strata(wrong, factors[:, 1], target):
        n_f, n_c, n = a + b, c + d, a + b + c + d
        R, S = R + a * n_c / n, S + c * n_f / n
        numerator += ((a + c) * n_f * n_c - a * c * n) / n**2
    counts = count_by_class(wrong, factors, target, 6)
    error = math.sqrt(numerator / (R * S))
    assert float(mantel_haenszel(counts)[1]) == pytest.approx(R / S)
    assert float(mantel_haenszel_log_error(counts)[1]) == pytest.approx(error)
    low, high = mantel_haenszel_interval(counts)
    assert float(low[1]) == pytest.approx(R / S * math.exp(-1.959964 * error), rel=1e-6)
    assert float(high[1]) == pytest.approx(R / S * math.exp(1.959964 * error), rel=1e-6)


def test_a_factor_that_prefers_hard_classes_is_cleared_and_one_hard_within_classes_is_not() -> None:
    counts = count_by_class(*(value for value in images(2, count=20000)), num_classes=6)
    assert float(standardised_error_ratio(counts)[0]) == pytest.approx(1, abs=0.05)
    assert float(cochran_mantel_haenszel(counts)[0]) > 0.01
    assert float(standardised_error_ratio(counts)[1]) > 1.2
    assert float(cochran_mantel_haenszel(counts)[1]) < 1e-6


def test_one_class_alone_is_the_plain_comparison_with_the_complement() -> None:
    wrong, factors, _ = images(3)
    counts = count_by_class(wrong, factors, torch.zeros(600, dtype=torch.int64), 1)
    a, n, E, N = (value.double() for value in count_factor_errors(wrong, factors))
    torch.testing.assert_close(mantel_haenszel(counts), (a / n) / ((E - a) / (N - n)))
    torch.testing.assert_close(standardised_error_ratio(counts), (a / n) / (E / N))


def test_the_counts_without_classes_are_the_factor_counts() -> None:
    wrong, factors, target = images(4)
    for one, other in zip(
        count_by_class(wrong, factors, target, 9).factors, count_factor_errors(wrong, factors), strict=True
    ):
        assert torch.equal(one, other)


@published
def test_the_published_adjusted_ratios_come_out() -> None:
    data = joined("ResNet50")
    metric = ClassAdjustedErrorRatio(FACTORS, num_classes=1000)
    metric.update(data.preds, data.classes, data.factors)
    values = metric.compute()
    known = {"pose": "0.7898", "texture": "1.6883", "style": "1.6174", "color": "1.0463", "shape": "1.3449"}
    assert {name: f"{float(values[f'standardised/{name}']):.4f}" for name in known} == known
    assert f"{float(values['mantel_haenszel/pose']):.4f}" == "0.7055"
    assert f"{float(values['mantel_haenszel/texture']):.4f}" == "1.7976"
    errors = dict(zip(FACTORS, mantel_haenszel_log_error(metric.sums).tolist(), strict=True))
    assert (f"{errors['pose']:.4f}", f"{errors['texture']:.4f}") == ("0.0191", "0.0511")


def test_the_metric_reports_what_its_functions_say() -> None:
    wrong, factors, target = images(5)
    metric = ClassAdjustedErrorRatio(["dark", "wet"], num_classes=7)
    metric.update((target + wrong) % 7, target, factors)
    counts = count_by_class(wrong, factors, target, 7)
    low, high = mantel_haenszel_interval(counts)
    values = metric.compute()
    expected = {
        "standardised": standardised_error_ratio(counts),
        "mantel_haenszel": mantel_haenszel(counts),
        "mantel_haenszel_low": low,
        "mantel_haenszel_high": high,
        "cmh_p_value": holm(cochran_mantel_haenszel(counts)),
        "error": counts.factors.wrong / counts.factors.seen.double(),
        "difference": mantel_haenszel_difference(counts),
        "difference_low": mantel_haenszel_difference_interval(counts).low,
        "difference_high": mantel_haenszel_difference_interval(counts).high,
        "images": factors.sum(0),
    }
    assert values.keys() == {f"{statistic}/{name}" for statistic in expected for name in ("dark", "wet")}
    for statistic, pair in expected.items():
        torch.testing.assert_close(torch.stack([values[f"{statistic}/dark"], values[f"{statistic}/wet"]]), pair)


def test_an_absent_factor_is_nan_and_says_why() -> None:
    metric = ClassAdjustedErrorRatio(["never"], num_classes=2)
    metric.update(torch.tensor([0, 1]), torch.tensor([1, 1]), torch.tensor([[0], [0]]))
    metric.compute()
    assert metric.undefined == {
        "standardised/never": "no image carries the factor, or no class that carries it has errors",
        **dict.fromkeys(
            ("mantel_haenszel/never", "mantel_haenszel_low/never", "mantel_haenszel_high/never"),
            "no class holds images with and without the factor and enough errors",
        ),
        **dict.fromkeys(
            ("difference/never", "difference_low/never", "difference_high/never"),
            "no class holds images with and without the factor",
        ),
        "error/never": "no image carries the factor",
        "cmh_p_value/never": "no class holds images with and without the factor, and both right and wrong ones",
    }


def message(call: Any, *args: Any) -> str:
    with pytest.raises(InputError) as error:
        call(*args)
    return str(error.value)


def test_bad_input_is_refused() -> None:
    where = "ClassAdjustedErrorRatio"
    assert message(ClassAdjustedErrorRatio, ["dark"], 0) == (
        f"{where}: num_classes is not positive; given 0. Pass num_classes of 1 or more."
    )
    metric = ClassAdjustedErrorRatio(["dark"], 3)
    factors = torch.ones(2, 1, dtype=torch.bool)
    assert message(metric.update, torch.zeros(2, 4), torch.tensor([0, 1]), factors) == (
        f"{where}.update: the scores are not those of the classes; given preds (2, 4) float32 for 3 classes. "
        "Pass one column per class."
    )
    assert message(metric.update, torch.tensor([0, 1]), torch.tensor([0, 3]), factors) == (
        f"{where}.update: labels are out of range; given 1 labels below 0 or not below the number of classes. "
        "Leave unlabelled images out, or correct the labels."
    )


def test_the_difference_within_classes_is_the_weighted_mean_of_theirs() -> None:
    wrong, factors, target = images(11)
    found = mantel_haenszel_difference(count_by_class(wrong, factors, target, 7))
    for f in range(2):
        above = below = 0.0
        for c in range(7):
            with_it, without = (target == c) & factors[:, f].bool(), (target == c) & ~factors[:, f].bool()
            if with_it.any() and without.any():
                weight = float(with_it.sum() * without.sum() / (target == c).sum())
                difference = wrong[with_it].double().mean() - wrong[without].double().mean()
                above, below = above + weight * float(difference), below + weight
        assert float(found[f]) == pytest.approx(above / below)


def test_in_one_class_the_difference_within_classes_is_the_difference_of_two_rates() -> None:
    counts = count_by_class(
        torch.arange(150) < 104, (torch.arange(150) >= 48)[:, None], torch.zeros(150, dtype=torch.int64), 1
    )
    a, n, c, m = 56, 102, 48, 48
    assert float(mantel_haenszel_difference(counts)) == pytest.approx(a / n - c / m)


@pytest.mark.parametrize(("size", "classes"), [(40, 3), (4, 60)])
def test_the_interval_of_the_difference_within_classes_covers(size: int, classes: int) -> None:
    generator = torch.Generator().manual_seed(0)
    held, repeats = 0, 400
    base = torch.rand(classes, generator=generator) * 0.5
    for _ in range(repeats):
        target = torch.arange(classes).repeat_interleave(size)
        carried = torch.rand(len(target), generator=generator) < 0.4
        wrong = torch.rand(len(target), generator=generator) < base[target] + 0.2 * carried
        low, high = mantel_haenszel_difference_interval(count_by_class(wrong, carried[:, None], target, classes))
        held += bool(low <= 0.2 <= high)
    assert 0.915 <= held / repeats <= 0.98


def test_images_without_a_label_count_nowhere_within_classes() -> None:
    wrong, factors, target = images(3)
    known = torch.arange(len(target)) % 3 > 0
    whole, part = (ClassAdjustedErrorRatio(["dark", "wet"], num_classes=7) for _ in range(2))
    whole.update((target + wrong) % 7, target, factors, known)
    part.update(((target + wrong) % 7)[known], target[known], factors[known])
    assert repr(whole.compute()) == repr(part.compute())
