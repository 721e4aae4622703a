"""Intervals and tests that count groups: what they are, what they equal, and that nothing changes without groups."""

import math
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import statsmodels.api as sm
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import t as student
from scipy.stats import ttest_1samp
from torch import Tensor

from lightning_failures import (
    ClassAdjustedErrorRatio,
    FactorErrorRatio,
    FactorMeanError,
    PairedErrorRatio,
    TransplantShares,
    UntappedInformation,
)
from lightning_failures.errors import InputError
from lightning_failures.functional import (
    FactorCounts,
    GroupedClasses,
    add_by_group,
    clustered_error,
    clustered_rate,
    cochran_mantel_haenszel,
    correlation,
    count_by_class,
    count_factor_errors,
    count_paired_errors,
    degrees_of_freedom,
    difference_interval,
    error_difference_interval,
    error_ratio_interval,
    factor_errors_of_images,
    factor_limits,
    factor_p_value,
    group_p_value,
    mantel_haenszel_difference_interval,
    mantel_haenszel_interval,
    mcnemar,
    mean_error_interval,
    mean_error_sums,
    mean_errors_of_images,
    odds_ratio_interval,
    paired_errors_of_images,
    paired_log_error,
    student_p_value,
    student_tail,
    wilson,
)
from lightning_failures.metrics.paired import FactorSetback
from tests.processes import run_on_processes


def alike(images: int = 400, groups: int = 20, seed: int = 0) -> dict[str, Tensor]:
    """Images of groups that share their error rate, with one factor inside the groups and one of whole groups."""
    generator = torch.Generator().manual_seed(seed)
    of = torch.randint(groups, (images,), generator=generator)
    rate = torch.rand(groups, generator=generator).square()
    inside = torch.rand(images, generator=generator) < 0.4
    wrong = torch.rand(images, generator=generator) < rate[of] + 0.1 * inside
    target = torch.randint(3, (images,), generator=generator)
    return {
        "wrong": wrong,
        "reference": torch.rand(images, generator=generator) < rate[of],
        "groups": of * 7919 - 11,
        "factors": torch.stack([inside, of < groups // 3], 1),
        "target": target,
        "preds": (target + wrong.long()) % 3,
        "errors": torch.rand(images, generator=generator) + wrong,
    }


def grouped(values: Any, groups: Tensor) -> Any:
    """The literal way: one group after the other."""
    each = [type(values)(*(value[groups == group].sum(0) for value in values)) for group in groups.unique()]
    return type(values)(*map(torch.stack, zip(*each, strict=True)))


def test_the_sums_of_groups_are_those_of_a_loop_over_them() -> None:
    data = alike()
    rows = torch.stack([data["wrong"].long(), data["target"]], 1)
    ids, sums = add_by_group(rows, data["groups"])
    for place, group in enumerate(ids):
        assert sums[place].equal(rows[data["groups"] == group].sum(0))


def test_groups_that_two_numbers_name_are_kept_apart() -> None:
    ids, sums = add_by_group(torch.tensor([[1], [2], [4]]), torch.tensor([[0, 1], [1, 0], [0, 1]]))
    assert ids.tolist() == [[0, 1], [1, 0]]
    assert sums.tolist() == [[5], [2]]


def test_the_standard_error_of_a_rate_is_that_of_a_clustered_regression_on_a_constant() -> None:
    data = alike()
    one = torch.ones(400, dtype=torch.int64)
    ids = data["groups"]
    _, sums = add_by_group(torch.stack([data["wrong"].long(), one], 1), ids)
    rate = clustered_rate(sums[:, 0], sums[:, 1])
    fit = sm.OLS(data["wrong"].double().numpy(), np.ones((400, 1))).fit(
        cov_type="cluster", cov_kwds={"groups": ids.numpy(), "use_correction": False}
    )
    groups = len(sums)
    assert float(clustered_error(rate.residuals)) == pytest.approx(fit.bse[0] * math.sqrt(groups / (groups - 1)))


@pytest.mark.parametrize("factor", [0, 1])
def test_the_error_of_a_difference_is_that_of_a_clustered_regression_on_the_factor(factor: int) -> None:
    data = alike()
    by_group = grouped(factor_errors_of_images(data["wrong"], data["factors"]), data["groups"])
    one = clustered_rate(by_group.wrong, by_group.seen)
    other = clustered_rate(by_group.all_wrong[:, None] - by_group.wrong, by_group.all_seen[:, None] - by_group.seen)
    spread = (one.residuals - other.residuals)[:, factor]
    x = sm.add_constant(data["factors"][:, factor].double().numpy())
    fit = sm.OLS(data["wrong"].double().numpy(), x).fit(
        cov_type="cluster", cov_kwds={"groups": data["groups"].numpy(), "use_correction": False}
    )
    assert float(spread.square().sum().sqrt()) == pytest.approx(fit.bse[1])
    shared = float((one.residuals * other.residuals).sum(0)[factor])
    covariance = fit.cov_params()  # of the rate without, and of the difference
    assert shared == pytest.approx(covariance[0, 0] + covariance[0, 1], abs=1e-12)


def test_the_interval_of_a_difference_is_close_to_a_bootstrap_of_whole_groups() -> None:
    data = alike(images=4000, groups=120)
    rows = factor_errors_of_images(data["wrong"], data["factors"])
    by_group = grouped(rows, data["groups"])
    low, high = error_difference_interval(FactorCounts(*(value.sum(0) for value in rows)), 0.95, by_group)
    generator = torch.Generator().manual_seed(1)
    drawn = torch.randint(len(by_group.all_seen), (4000, len(by_group.all_seen)), generator=generator)
    a, n, E, N = (value.double()[drawn].sum(1) for value in by_group)
    differences = a / n - (E[:, None] - a) / (N[:, None] - n)
    ends = differences.quantile(torch.tensor([0.025, 0.975], dtype=torch.float64), 0)
    assert ((high - low) / (ends[1] - ends[0])).sub(1).abs().max() < 0.12
    assert (low - ends[0]).abs().max() < 0.1 * (ends[1] - ends[0]).max()


def test_images_that_are_their_own_groups_have_nearly_the_interval_of_independent_ones() -> None:
    data = alike(images=3000)
    rows = factor_errors_of_images(data["wrong"], data["factors"])
    counts = FactorCounts(*(value.sum(0) for value in rows))
    for interval in (error_ratio_interval, error_difference_interval, odds_ratio_interval):
        plain, clustered = interval(counts), interval(counts, 0.95, rows)
        width = plain.high - plain.low
        assert (clustered.low - plain.low).abs().max() < 0.02 * width.max()
        assert (clustered.high - plain.high).abs().max() < 0.02 * width.max()
    assert (factor_p_value(counts, rows) - factor_p_value(counts)).abs().max() < 0.03


def test_whole_groups_that_answer_alike_count_as_one_image_each() -> None:
    seen = torch.full((12,), 50)
    some = torch.tensor([50, 0] * 6)
    rate = clustered_rate(some, seen)
    plain = wilson(torch.tensor(6), torch.tensor(12))
    assert rate.low < plain.low
    assert rate.high > plain.high


def test_a_rate_of_0_or_1_counts_each_group_as_one_image() -> None:
    rate = clustered_rate(torch.zeros(10, dtype=torch.int64), torch.full((10,), 49))
    worth = 10 * (1.959963984540054 / student.ppf(0.975, 9)) ** 2
    expected = wilson(torch.tensor(0.0), torch.tensor(worth)).high
    assert float(rate.low) == 0
    assert float(rate.high) == pytest.approx(float(expected))
    assert float(rate.high) > 0.2  # 490 independent images would give 0.008


def test_few_groups_have_no_interval_and_one_group_has_no_p_value() -> None:
    data = alike(groups=3)
    rows = factor_errors_of_images(data["wrong"], data["factors"])
    counts, by_group = FactorCounts(*(value.sum(0) for value in rows)), grouped(rows, data["groups"])
    for interval in (error_ratio_interval, error_difference_interval, odds_ratio_interval):
        assert all(bool(end.isnan().all()) for end in interval(counts, 0.95, by_group))
    assert bool(factor_p_value(counts, by_group)[1].isnan())  # one of the three groups carries it


def test_the_p_value_of_groups_is_a_t_test_of_what_they_add() -> None:
    added = torch.randn(15, generator=torch.Generator().manual_seed(0)).double() + 0.4
    expected = ttest_1samp(added.numpy(), 0).pvalue
    assert float(group_p_value(added, torch.tensor(14))) == pytest.approx(expected)


def test_groups_that_add_nothing_have_a_p_value_of_1() -> None:
    assert group_p_value(torch.zeros(6, 1, dtype=torch.float64), torch.tensor([5])).tolist() == [1.0]


@given(value=st.floats(-50, 50), freedom=st.integers(1, 300))
@settings(max_examples=60, deadline=None)
def test_student_tails_are_those_of_scipy(value: float, freedom: int) -> None:
    # scipy itself is off by up to 2e-9 within 1e-7 of 0: see the next test.
    assert student_tail(value, freedom) == pytest.approx(student.sf(value, freedom), abs=1e-8)


@given(value=st.floats(0, 50))
@settings(max_examples=60, deadline=None)
def test_a_student_tail_of_one_degree_of_freedom_is_that_of_cauchy(value: float) -> None:
    assert student_tail(value, 1) == pytest.approx(0.5 - math.atan(value) / math.pi, abs=1e-15)


def test_a_p_value_without_a_degree_of_freedom_is_nan() -> None:
    assert bool(student_p_value(torch.tensor([2.0]), torch.tensor([0])).isnan())


def test_groups_of_unequal_size_have_fewer_degrees_of_freedom() -> None:
    assert int(degrees_of_freedom(torch.full((8,), 10))) == 7
    assert int(degrees_of_freedom(torch.tensor([1000, 1, 1, 1]))) == 0
    assert int(degrees_of_freedom(torch.zeros(3, dtype=torch.int64))) == 0


def test_two_rates_of_the_same_images_go_together() -> None:
    seen = torch.full((6,), 10)
    rate = clustered_rate(torch.tensor([1, 5, 2, 8, 4, 4]), seen)
    assert float(correlation(rate, rate)) == pytest.approx(1)
    low, high = difference_interval(
        rate.value, (rate.low, rate.high), rate.value, (rate.low, rate.high), correlation(rate, rate)
    )
    assert float(low) <= 0 <= float(high)
    assert float(high - low) < float(rate.high - rate.low)


def test_without_groups_the_limits_are_wilsons() -> None:
    counts = count_factor_errors(torch.tensor([True, True, False, False]), torch.tensor([[1], [1], [0], [1]]))
    carried, others, together = factor_limits(counts)
    assert carried == wilson(torch.tensor([2]), torch.tensor([3]))
    assert others == wilson(torch.tensor([0]), torch.tensor([1]))
    assert float(together) == 0


def test_the_paired_error_of_images_that_are_their_own_groups_is_that_of_independent_ones() -> None:
    data = alike(images=2000)
    given_ = (data["wrong"], data["reference"], data["factors"])
    counts, rows = count_paired_errors(*given_), paired_errors_of_images(*given_)
    expected = paired_log_error(counts) * math.sqrt(2000 / 1999)
    torch.testing.assert_close(paired_log_error(counts, rows), expected)


def test_mcnemar_of_groups_is_a_t_test_of_their_differences() -> None:
    data = alike(groups=30)
    rows = grouped(paired_errors_of_images(data["wrong"], data["reference"], data["factors"]), data["groups"])
    counts = count_paired_errors(data["wrong"], data["reference"], data["factors"])
    p = mcnemar(counts, rows)
    difference = (rows.own - rows.reference)[:, 0].double().numpy()
    deviate = ttest_1samp(difference, 0).statistic
    freedom = int(degrees_of_freedom(rows.seen[:, 0]))
    assert float(p[0]) == pytest.approx(2 * student.sf(abs(deviate), freedom))


def test_the_interval_of_a_mean_error_of_images_that_are_their_own_groups_is_that_of_independent_ones() -> None:
    data = alike(images=3000)
    sums = mean_error_sums(data["errors"], data["factors"])
    plain = mean_error_interval(sums)
    clustered = mean_error_interval(sums, 0.95, mean_errors_of_images(data["errors"], data["factors"]))
    for one, other in zip(plain, clustered, strict=True):
        torch.testing.assert_close(one, other, rtol=2e-3, atol=0)


def metrics() -> dict[str, Any]:
    """Each metric that takes groups, and how a batch is given to it."""
    names = ["inside", "whole"]
    return {
        "ratio": (FactorErrorRatio(names), ("preds", "target", "factors")),
        "adjusted": (ClassAdjustedErrorRatio(names, 3), ("preds", "target", "factors")),
        "paired": (PairedErrorRatio(names), ("preds", "others", "target", "factors")),
        "mean": (FactorMeanError(names), ("errors", "factors")),
        "setback": (FactorSetback(names), ("wrong", "references", "factors")),
        "untapped": (UntappedInformation(), ("preds", "others", "target")),
        "transplants": (TransplantShares(["level"]), ("target", "donors", "transplanted", "control")),
    }


def batch() -> dict[str, Tensor]:
    data = alike(images=301)
    others = (data["target"] + data["reference"].long()) % 3
    references = data["reference"][:, None].expand(-1, 2)
    donors = (data["target"] + 1) % 3
    transplanted = torch.where(data["wrong"], donors, data["target"])[:, None]
    control = torch.where(data["factors"][:, 0], donors, data["target"])[:, None]
    data |= {"donors": donors, "transplanted": transplanted, "control": control}
    return data | {"others": others, "references": references, "errors": data["errors"].mul(64).round().div(64)}


def measure(rank: int, world: int, shards: list[list[slice]]) -> dict[str, float]:
    """Every value of every metric, over the batches of this rank's shard."""
    data, results = batch(), {}
    for title, (metric, fields) in metrics().items():
        for rows in shards[rank]:
            metric.update(*(data[field][rows] for field in fields), groups=data["groups"][rows])
        results |= {f"{title}: {key}": float(value) for key, value in metric.compute().items()}
    return results


@pytest.mark.parametrize("cuts", [[0, 301], [0, 1, 150, 301], [*range(0, 301, 25), 301]])
def test_any_cut_of_the_data_gives_the_same_figures(cuts: list[int]) -> None:
    whole = measure(0, 1, [[slice(0, 301)]])
    parts = [slice(start, stop) for start, stop in pairwise(cuts)]
    assert repr(measure(0, 1, [parts])) == repr(whole)
    assert sum(math.isnan(value) for value in whole.values()) == 0


@pytest.mark.slow
@pytest.mark.parametrize("shards", [[[slice(0, 100)], [slice(100, 301)]], [[], [slice(0, 300)], [slice(300, 301)]]])
def test_processes_with_uneven_and_empty_shards_give_the_figures_of_one(shards: list[list[slice]]) -> None:
    whole = measure(0, 1, [[slice(0, 301)]])
    for found in run_on_processes(len(shards), measure, shards):
        assert repr(found) == repr(whole)


def test_an_empty_batch_with_groups_adds_nothing() -> None:
    metric, names = FactorErrorRatio(["dark"]), torch.zeros(0, dtype=torch.int64)
    metric.update(names, names, torch.zeros(0, 1).bool(), groups=names)
    assert metric.compute()["images/all"] == 0


def grouped_classes(wrong: Tensor, carried: Tensor, target: Tensor, group: Tensor) -> GroupedClasses:
    """The literal way: one pair of a group and a class after the other."""
    pairs = [(g, c) for g in range(int(group.max()) + 1) for c in target[group == g].unique().tolist()]
    rows = factor_errors_of_images(wrong, carried)
    sums = [FactorCounts(*(value[(group == g) & (target == c)].sum(0) for value in rows)) for g, c in pairs]
    groups, classes = torch.tensor(pairs).unbind(1)
    return GroupedClasses(groups, classes, FactorCounts(*map(torch.stack, zip(*sums, strict=True))))


def test_within_classes_images_that_are_their_own_groups_have_nearly_the_interval_of_independent_ones() -> None:
    generator = torch.Generator().manual_seed(0)
    target = torch.randint(4, (1200,), generator=generator)
    carried = torch.rand(1200, 1, generator=generator) < 0.3
    wrong = torch.rand(1200, generator=generator) < 0.1 + 0.1 * target + 0.15 * carried[:, 0]
    counts = count_by_class(wrong, carried, target, 4)
    groups = grouped_classes(wrong, carried, target, torch.arange(1200))
    for interval in (mantel_haenszel_interval, mantel_haenszel_difference_interval):
        plain, clustered = interval(counts), interval(counts, 0.95, groups)
        width = plain.high - plain.low
        assert (clustered.high - clustered.low - width).abs() < 0.05 * width
    assert cochran_mantel_haenszel(counts, groups)[0] < 1e-3
    assert cochran_mantel_haenszel(counts)[0] < 1e-3


@pytest.mark.parametrize("whole", [False, True])
def test_within_classes_intervals_that_count_groups_cover_and_those_by_images_do_not_of_whole_groups(
    whole: bool,
) -> None:
    generator = torch.Generator().manual_seed(1)
    repeats, held, plain, small = 200, [0, 0], 0, 0
    for _ in range(repeats):
        group = torch.arange(900) // 15  # 60 groups
        target = torch.randint(3, (900,), generator=generator)
        carried = (group % 3 == 0 if whole else torch.rand(900, generator=generator) < 1 / 3)[:, None]
        alike = 0.25 * torch.randn(60, generator=generator).clamp(-1, 1)
        wrong = torch.rand(900, generator=generator) < 0.35 + 0.1 * (target - 1) + alike[group]
        counts, groups = count_by_class(wrong, carried, target, 3), grouped_classes(wrong, carried, target, group)
        difference = mantel_haenszel_difference_interval(counts, 0.95, groups)
        ratio = mantel_haenszel_interval(counts, 0.95, groups)
        held = [held[0] + bool(difference.low <= 0 <= difference.high), held[1] + bool(ratio.low <= 1 <= ratio.high)]
        alone = mantel_haenszel_difference_interval(counts)
        plain += bool(alone.low <= 0 <= alone.high)
        small += bool(cochran_mantel_haenszel(counts, groups) < 0.05)
    assert all(0.9 <= some / repeats <= 0.99 for some in held)
    assert 0.01 <= small / repeats <= 0.1
    assert plain / repeats < 0.8 if whole else plain / repeats > 0.9


def test_groups_widen_the_interval_of_a_factor_of_whole_groups() -> None:
    data = alike()
    plain, clustered = FactorErrorRatio(["inside", "whole"]), FactorErrorRatio(["inside", "whole"])
    plain.update(data["preds"], data["target"], data["factors"])
    clustered.update(data["preds"], data["target"], data["factors"], groups=data["groups"])
    one, other = plain.compute(), clustered.compute()
    assert set(other) - set(one) == {"groups/inside", "groups/whole", "groups/all"}
    assert other["groups/whole"] == 6
    for key in ("error_ratio/whole", "error/whole", "images/whole", "error_difference/whole"):
        assert one[key].equal(other[key])
    narrow = one["difference_high/whole"] - one["difference_low/whole"]
    assert other["difference_high/whole"] - other["difference_low/whole"] > 1.5 * narrow
    assert other["p_value/whole"] > one["p_value/whole"]


def test_too_few_groups_say_why_there_is_no_interval() -> None:
    metric = FactorErrorRatio(["dark"])
    metric.update(
        torch.tensor([0, 1, 0, 1]),
        torch.tensor([0, 0, 1, 1]),
        torch.tensor([[1], [0], [1], [0]]),
        groups=torch.tensor([0, 0, 1, 1]),
    )
    assert math.isnan(metric.compute()["difference_low/dark"])
    assert metric.undefined["difference_low/dark"].endswith(
        "; or fewer than 4 groups hold such images, or one of them holds most"
    )


def test_a_batch_without_groups_among_others_with_them_is_an_error() -> None:
    metric = FactorErrorRatio(["dark"])
    preds, target, factors = torch.tensor([0, 1]), torch.tensor([0, 0]), torch.tensor([[1], [0]])
    metric.update(preds, target, factors)
    metric.update(preds, target, factors, groups=torch.tensor([0, 1]))
    with pytest.raises(InputError, match="only some images have a group; given 2 images with a group, 2 without"):
        metric.compute()


def test_groups_that_are_no_whole_numbers_are_an_error() -> None:
    metric = FactorErrorRatio(["dark"])
    preds, target, factors = torch.tensor([0, 1]), torch.tensor([0, 0]), torch.tensor([[1], [0]])
    with pytest.raises(InputError, match="groups are not one whole number for each image"):
        metric.update(preds, target, factors, groups=torch.tensor([0.5, 1.0]))
    with pytest.raises(InputError, match="groups are not one whole number for each image"):
        metric.update(preds, target, factors, groups=torch.tensor([[0, 1]]))


def test_reset_forgets_the_groups_and_forward_gives_those_of_a_batch() -> None:
    data = batch()
    metric = FactorErrorRatio(["inside", "whole"])
    given_ = (data["preds"], data["target"], data["factors"])
    first = metric(*given_, groups=data["groups"])
    metric(*given_, groups=data["groups"] + 1)
    assert metric.compute()["groups/all"] == 2 * first["groups/all"]
    metric.reset()
    metric.update(*given_, groups=data["groups"])
    assert repr(metric.compute()) == repr(first)


def test_a_linear_model_is_compared_by_groups_as_a_paired_difference_of_their_rates() -> None:
    data = batch()
    metric = UntappedInformation()
    metric.update(data["preds"], data["others"], data["target"], data["groups"])
    found = metric.compute()
    right = torch.stack([data["others"] == data["target"], data["preds"] == data["target"]], 1).double()
    one = torch.ones(len(right), 1)
    ids, sums = add_by_group(torch.cat([right, one], 1), data["groups"])
    difference = (sums[:, 0] - sums[:, 1]).sum() / sums[:, 2].sum()
    residual = (sums[:, 0] - sums[:, 1] - difference * sums[:, 2]) / sums[:, 2].sum()
    reach = student.ppf(0.975, int(degrees_of_freedom(sums[:, 2]))) * float(clustered_error(residual))
    assert float(found["difference"]) == pytest.approx(float(difference))
    assert float(found["high"] - found["low"]) == pytest.approx(2 * reach, rel=0.1)  # Wilson's limits are not symmetric
    assert found["groups/all"] == len(ids)


def test_receivers_of_one_group_that_answer_alike_widen_the_interval_of_a_transplant() -> None:
    own, donors = torch.zeros(200, dtype=torch.int64), torch.ones(200, dtype=torch.int64)
    moved = (torch.arange(200) // 20 % 2)[:, None]  # ten groups of 20, each all or none
    plain, grouped_ = TransplantShares(["level"]), TransplantShares(["level"])
    plain.update(own, donors, moved)
    grouped_.update(own, donors, moved, groups=torch.arange(200) // 20)
    one, other = plain.compute(), grouped_.compute()
    assert one["donor/level"] == other["donor/level"] == 0.5
    assert other["donor_high/level"] - other["donor_low/level"] > 3 * (one["donor_high/level"] - one["donor_low/level"])
