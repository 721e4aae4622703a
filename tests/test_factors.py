import math
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torchmetrics import MetricCollection

from lightning_failures import FactorErrorRatio
from lightning_failures.errors import InputError
from lightning_failures.functional import (
    FactorCounts,
    count_errors_of_models,
    count_factor_errors,
    error_difference,
    error_difference_interval,
    error_rates,
    error_ratio,
    error_ratio_interval,
    factor_p_value,
    holm,
    misclassified,
    misclassified_real,
    odds_ratio,
    odds_ratio_interval,
    shrunk_error_ratio,
)

NAMES = ("blurred", "dark", "rare")
RATIO = ("error_ratio", "low", "high", "p_value")


def random_batch(images: int, seed: int = 0, classes: int = 5) -> tuple[Tensor, Tensor, Tensor]:
    """Scores, targets and factors; the factor "rare" is carried by the last image only."""
    generator = torch.Generator().manual_seed(seed)
    scores = torch.randn(images, classes, generator=generator)
    target = torch.randint(classes, (images,), generator=generator)
    scores[torch.arange(images), target] += 1
    factors = torch.rand(images, 3, generator=generator) < torch.tensor([0.5, 0.2, 0.0])
    factors[-1:, 2] = True
    return scores, target, factors


def values_of(metric: FactorErrorRatio) -> dict[str, float]:
    return {key: float(value) for key, value in metric.compute().items()}


# floor 1


@settings(deadline=None)
@given(st.integers(1, 40), st.integers(1, 4), st.randoms(use_true_random=False))
def test_the_ratio_is_that_of_imagenet_x_written_out_in_pandas(images: int, names: int, random: Any) -> None:
    pd = pytest.importorskip("pandas")
    columns = [f"f{column}" for column in range(names)]
    frame = pd.DataFrame({name: [random.random() < 0.4 for _ in range(images)] for name in columns})
    frame["is_correct"] = [random.random() < 0.6 for _ in range(images)]
    average = frame["is_correct"].mean()
    counts = count_factor_errors(~torch.tensor(frame["is_correct"].values), torch.tensor(frame[columns].values))
    for name, ratio in zip(columns, error_ratio(counts).tolist(), strict=True):
        carrying = frame[frame[name]]
        if len(carrying) == 0 or average == 1:
            assert math.isnan(ratio)
        else:
            assert ratio == pytest.approx((1 - carrying["is_correct"].mean()) / (1 - average), rel=1e-9, abs=1e-12)


def test_a_network_whose_scores_are_all_equal_predicts_the_first_class() -> None:
    wrong = misclassified(torch.zeros(4, 4), torch.arange(4))
    assert wrong.tolist() == [False, True, True, True]


@pytest.mark.parametrize("top_k", [1, 2, 4])
def test_top_k_errors_are_those_of_a_stable_sort(top_k: int) -> None:
    generator = torch.Generator().manual_seed(0)
    scores = torch.randint(4, (200, 6), generator=generator).float()  # full of ties
    target = torch.randint(6, (200,), generator=generator)
    named = scores.argsort(dim=1, descending=True, stable=True)[:, :top_k]
    assert torch.equal(misclassified(scores, target, top_k), (named != target[:, None]).all(1))


def test_scores_and_their_argmax_give_the_same_errors() -> None:
    scores, target, _ = random_batch(100)
    assert torch.equal(misclassified(scores, target), misclassified(scores.argmax(1), target))


@pytest.mark.parametrize("bad", [torch.nan, torch.inf])
def test_a_score_that_is_not_finite_is_no_prediction_even_with_many_allowed(bad: float) -> None:
    scores = torch.tensor([[0.0, bad, 1.0], [0.0, -torch.inf, 1.0]])
    assert misclassified(scores, torch.tensor([2, 2]), top_k=3).tolist() == [True, False]


def test_any_of_the_real_labels_is_right_and_none_is_wrong() -> None:
    accepted = torch.tensor([[4, -1], [2, 4], [-1, -1]])
    assert misclassified_real(torch.tensor([4, 4, 4]), accepted).tolist() == [False, False, True]
    assert misclassified_real(torch.tensor([-1]), torch.tensor([[-1]])).tolist() == [True]


def test_counts_of_different_images_are_refused() -> None:
    with pytest.raises(InputError) as error:
        count_factor_errors(torch.zeros(3, dtype=torch.bool), torch.zeros(4, 2))
    assert str(error.value) == (
        "count_factor_errors: wrong and factors do not describe the same images; given wrong (3,), factors (4, 2). "
        "Pass wrong (n) and factors (n f)."
    )


@pytest.mark.parametrize("table", [(81, 130, 120, 1000), (490, 490, 600, 1000), (0, 30, 5, 40), (1, 10, 0, 500)])
def test_the_interval_of_the_error_difference_is_that_of_statsmodels(table: tuple[int, int, int, int]) -> None:
    proportion = pytest.importorskip("statsmodels.stats.proportion")
    wrong, seen, others_wrong, others = table
    counts = FactorCounts(*(torch.tensor(n) for n in ([wrong], [seen], wrong + others_wrong, seen + others)))
    low, high = error_difference_interval(counts)
    expected = proportion.confint_proportions_2indep(wrong, seen, others_wrong, others, method="newcomb")
    assert (float(low), float(high)) == pytest.approx(expected, abs=1e-12)
    assert float(error_difference(counts)) == pytest.approx(wrong / seen - others_wrong / others)


def test_a_factor_of_no_image_or_of_every_image_has_no_error_difference() -> None:
    for seen in (0, 40):
        counts = FactorCounts(torch.tensor([seen // 4]), torch.tensor([seen]), torch.tensor(10), torch.tensor(40))
        assert all(bool(end.isnan()) for end in (error_difference(counts), *error_difference_interval(counts)))


# floor 2


def test_the_metric_reports_what_its_functions_say() -> None:
    scores, target, factors = random_batch(300)
    metric = FactorErrorRatio(NAMES)
    metric.update(scores, target, factors)
    counts = count_factor_errors(misclassified(scores, target), factors)
    low, high = error_ratio_interval(counts)
    odds_low, odds_high = odds_ratio_interval(counts)
    difference_low, difference_high = error_difference_interval(counts)
    error, error_without = error_rates(counts)
    expected: dict[str, Tensor] = {"images/all": torch.tensor(300), "images/non_finite": torch.tensor(0)}
    for column, name in enumerate(NAMES):
        expected |= {
            f"error_ratio/{name}": error_ratio(counts)[column],
            f"low/{name}": low[column],
            f"high/{name}": high[column],
            f"p_value/{name}": holm(factor_p_value(counts))[column],
            f"images/{name}": factors[:, column].sum(),
            f"errors/{name}": (scores.argmax(1) != target)[factors[:, column]].sum(),
            f"odds_ratio/{name}": odds_ratio(counts)[column],
            f"odds_low/{name}": odds_low[column],
            f"odds_high/{name}": odds_high[column],
            f"error/{name}": error[column],
            f"error_without/{name}": error_without[column],
            f"error_difference/{name}": error_difference(counts)[column],
            f"difference_low/{name}": difference_low[column],
            f"difference_high/{name}": difference_high[column],
        }
    expected["error_ratio/worst"] = error_ratio(counts).max()
    expected["error_ratio/worst_shrunk"] = shrunk_error_ratio(counts).max()
    expected["error/all"] = (scores.argmax(1) != target).double().mean()
    values = metric.compute()
    assert values.keys() == expected.keys()
    for key, value in values.items():
        torch.testing.assert_close(value, expected[key])
        assert value.shape == ()


def test_an_absent_factor_is_nan_and_says_why() -> None:
    metric = FactorErrorRatio(("dark", "never"))
    metric.update(torch.tensor([0, 1]), torch.tensor([1, 1]), torch.tensor([[1, 0], [1, 0]]))
    values = metric.compute()
    assert math.isnan(values["error_ratio/never"])
    assert values["images/never"] == 0
    reason = "no image carries the factor, or nothing is misclassified"
    of_ratio = {key: why for key, why in metric.undefined.items() if key.split("/")[0] in RATIO}
    assert of_ratio == dict.fromkeys(("error_ratio/never", "low/never", "high/never", "p_value/never"), reason)
    reason = "no image or every image carries the factor, or the images with and without it are all right or all wrong"
    assert metric.undefined["odds_ratio/never"] == metric.undefined["odds_low/dark"] == reason
    assert metric.undefined["difference_low/never"] == "no image or every image carries the factor"
    assert metric.undefined["error/never"] == "no image carries the factor"
    assert metric.undefined["error_without/dark"] == "every image carries the factor, or no image was seen"
    assert values["error_without/never"] == values["error/dark"] == 0.5


def test_a_network_without_errors_has_no_worst_factor() -> None:
    metric = FactorErrorRatio(("dark",))
    metric.update(torch.tensor([0, 1]), torch.tensor([0, 1]), torch.tensor([[1], [0]]))
    assert math.isnan(metric.compute()["error_ratio/worst"])
    assert metric.worst is None
    assert metric.worst_shrunk is None


def test_a_metric_that_saw_nothing_is_nan_and_says_why() -> None:
    metric = FactorErrorRatio(("dark",))
    assert math.isnan(metric.compute()["error/all"])
    assert metric.undefined["error/all"] == "no image was seen"


def test_the_worst_factors_are_named() -> None:
    metric = FactorErrorRatio(("pair", "many"))
    wrong = torch.tensor([1] * 2 + [1] * 60 + [0] * 40 + [0] * 200)
    factors = torch.zeros(302, 2, dtype=torch.bool)
    factors[:2, 0] = factors[2:102, 1] = True
    metric.update(wrong, torch.zeros(302, dtype=torch.int64), factors)
    assert metric.worst is None  # nothing is computed yet
    metric.compute()
    assert metric.worst == "pair"
    metric.reset()
    assert metric.worst is None


def test_scores_that_are_not_finite_count_as_errors_and_are_counted() -> None:
    metric = FactorErrorRatio(("dark",))
    scores = torch.tensor([[0.0, 1.0], [torch.nan, 1.0], [0.0, torch.inf], [0.0, -torch.inf]])
    metric.update(scores, torch.tensor([1, 1, 1, 0]), torch.ones(4, 1, dtype=torch.int64))
    values = metric.compute()
    assert values["images/non_finite"] == 2
    assert values["errors/dark"] == 2


def test_reset_forgets_everything() -> None:
    metric = FactorErrorRatio(NAMES)
    metric.update(*random_batch(50))
    metric.reset()
    metric.update(*random_batch(20, seed=5))
    fresh = FactorErrorRatio(NAMES)
    fresh.update(*random_batch(20, seed=5))
    assert values_of(metric) == values_of(fresh)


def test_two_ranks_of_one_collection_do_not_share_their_counts() -> None:
    collection = MetricCollection({"one": FactorErrorRatio(NAMES), "two": FactorErrorRatio(NAMES, top_k=2)})
    scores, target, factors = random_batch(60)
    right = scores.clone()
    right[torch.arange(60), target] += 100  # the first batch has no errors: every count is equal
    collection.update(right, target, factors)
    collection.update(scores, target, factors)
    alone = FactorErrorRatio(NAMES, top_k=2)
    alone.update(right, target, factors)
    alone.update(scores, target, factors)
    assert float(collection["two"].compute()["error/all"]) == values_of(alone)["error/all"]
    assert float(collection["one"].compute()["error/all"]) > values_of(alone)["error/all"]


def test_half_precision_leaves_the_counts_alone() -> None:
    metric = FactorErrorRatio(NAMES).half()
    metric.update(*random_batch(3000))
    assert metric.compute()["images/all"] == 3000


def message(call: Any, *args: Any, **kwargs: Any) -> str:
    with pytest.raises(InputError) as error:
        call(*args, **kwargs)
    return str(error.value)


def test_bad_names_are_refused() -> None:
    fix = "Pass a list of different names, one per column."
    assert message(FactorErrorRatio, []) == f"FactorErrorRatio: factors are not a list of names; given []. {fix}"
    assert (
        message(FactorErrorRatio, "dark") == f"FactorErrorRatio: factors are not a list of names; given 'dark'. {fix}"
    )
    assert message(FactorErrorRatio, ["a", " "]) == (
        f"FactorErrorRatio: factors are not a list of names; given ['a', ' ']. {fix}"
    )
    assert message(FactorErrorRatio, ["a", "b", "a"]) == f"FactorErrorRatio: factor names stand twice; given a. {fix}"
    assert message(FactorErrorRatio, ["a", "worst", "all"]) == (
        "FactorErrorRatio: factor names are those of a total; given worst, all. "
        "Rename them: all, non_finite, worst, worst_shrunk are taken."
    )


def test_bad_settings_are_refused() -> None:
    assert message(FactorErrorRatio, ["a"], top_k=0) == (
        "FactorErrorRatio: top_k is not positive; given 0. Pass top_k of 1 or more."
    )
    assert message(FactorErrorRatio, ["a"], confidence=95) == (
        "FactorErrorRatio: confidence is no probability; given 95. Pass a value such as 0.95."
    )


def test_bad_batches_are_refused_and_leave_the_counts_alone() -> None:
    metric = FactorErrorRatio(NAMES)
    scores, target, factors = random_batch(4)
    where = "FactorErrorRatio.update: "
    assert message(metric.update, scores, target, factors[:, :2]) == where + (
        "the factor columns do not match; given factors (4, 2) bool for 4 images and 3 names: blurred, dark, rare. "
        "Pass factors (n f): one row per image, one column per name."
    )
    assert message(metric.update, scores, target, factors[:3]).startswith(where + "the factor columns do not match")
    assert message(metric.update, scores, target, factors.float()) == where + (
        "factors are not bool or int; given factors (4, 3) float32. "
        "Compare a continuous factor with a threshold, or use FactorTrend."
    )
    labels = "Pass preds (n) as integer labels or (n c) as scores, and target (n) as integer labels."
    assert message(metric.update, scores[:3], target, factors) == where + (
        f"preds and target do not describe the same images; given preds (3, 5) float32, target (4,) int64. {labels}"
    )
    assert message(metric.update, scores.long(), target, factors) == where + (
        f"preds and target are not labels or scores; given preds (4, 5) int64, target (4,) int64. {labels}"
    )
    assert message(metric.update, scores, target.float(), factors) == where + (
        f"preds and target are not labels or scores; given preds (4, 5) float32, target (4,) float32. {labels}"
    )
    assert message(metric.update, scores, target - 100, factors) == where + (
        "labels are out of range; given 4 labels below 0 or not below the number of classes. "
        "Leave unlabelled images out, or correct the labels."
    )
    assert metric.all_seen == 0


def test_top_k_without_enough_scores_is_refused() -> None:
    metric = FactorErrorRatio(NAMES, top_k=6)
    scores, target, factors = random_batch(4)
    assert message(metric.update, scores, target, factors) == (
        "FactorErrorRatio.update: top_k=6 is more than the classes; given preds (4, 5) float32. Lower top_k."
    )
    assert message(metric.update, target, target, factors) == (
        "FactorErrorRatio.update: labels have no top_k=6; given preds (4,) int64. Pass scores (n c)."
    )


@pytest.mark.parametrize("seed", range(3))
def test_errors_of_several_models_are_counted_as_of_each_alone(seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    wrong = torch.rand(4, 500, generator=generator) < 0.3
    factors = (torch.rand(500, 6, generator=generator) < 0.2).long()
    known = torch.rand(500, generator=generator) < 0.9
    for kept in (None, known):
        with torch.autocast("cpu", torch.bfloat16):
            counts = count_errors_of_models(wrong, factors, kept)
        rows = [row for row in range(500) if kept is None or kept[row]]
        for own, model in zip(counts, wrong, strict=True):
            assert own.wrong.tolist() == [sum(int(model[row] & factors[row, f]) for row in rows) for f in range(6)]
            assert own.seen.tolist() == [sum(int(factors[row, f]) for row in rows) for f in range(6)]
            assert (int(own.all_wrong), int(own.all_seen)) == (sum(int(model[row]) for row in rows), len(rows))
            assert {count.dtype for count in own} == {torch.int64}
            assert all(torch.equal(*pair) for pair in zip(own, count_factor_errors(model, factors, kept), strict=True))
    assert [int(own.all_seen) for own in count_errors_of_models(wrong[:, :0], factors[:0])] == [0] * 4


def test_errors_of_models_on_other_images_are_refused() -> None:
    with pytest.raises(InputError) as error:
        count_errors_of_models(torch.zeros(2, 3, dtype=torch.bool), torch.zeros(4, 2))
    assert str(error.value) == (
        "count_errors_of_models: wrong and factors do not describe the same images; "
        "given wrong (2, 3), factors (4, 2). Pass wrong (m n) and factors (n f)."
    )
