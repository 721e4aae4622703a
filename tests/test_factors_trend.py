import math
from typing import Any

import pytest
import torch
from torch import Tensor
from torchmetrics import MetricCollection

from lightning_failures import FactorTrend
from lightning_failures.errors import InputError
from lightning_failures.functional import (
    TrendCounts,
    cochran_armitage,
    count_factor_errors,
    count_trend,
    error_auc,
    error_ratio,
    error_ratio_interval,
    holm,
    trend_of_images,
    trend_p_value,
)
from tests.processes import run_on_processes

EDGES = torch.tensor([[0.2, 0.4, 0.6, 0.8], [0.5, torch.inf, torch.inf, torch.inf]], dtype=torch.float64)


def images(seed: int, count: int = 500) -> tuple[Tensor, Tensor]:
    """Errors that rise with the first value and not with the second."""
    generator = torch.Generator().manual_seed(seed)
    values = torch.rand(count, 2, generator=generator, dtype=torch.float64)
    return torch.rand(count, generator=generator) < 0.1 + 0.4 * values[:, 0], values


def test_bins_hold_what_lies_between_their_edges() -> None:
    wrong, values = images(0)
    values[3, 0] = 0.4  # belongs above the edge
    values[5, 0] = math.nan
    counts = count_trend(wrong, values, EDGES)
    edges = [-math.inf, 0.2, 0.4, 0.6, 0.8, math.inf]
    for column in range(5):
        inside = (values[:, 0] >= edges[column]) & (values[:, 0] < edges[column + 1])
        assert counts.seen[0, column] == inside.sum()
        assert counts.wrong[0, column] == (inside & wrong).sum()
    assert counts.seen.sum(1).tolist() == [499, 500]
    assert counts.seen[1, 2:].sum() == 0


def test_the_trend_is_that_of_statsmodels_up_to_its_finite_correction() -> None:
    tables = pytest.importorskip("statsmodels.stats.contingency_tables")
    wrong, values = images(1)
    counts = count_trend(wrong, values, EDGES)
    table = torch.stack([counts.wrong[0], counts.seen[0] - counts.wrong[0]]).double().numpy()
    oracle = tables.Table(table, shift_zeros=False).test_ordinal_association(
        row_scores=torch.tensor([1.0, 0.0]).numpy(), col_scores=torch.arange(5.0).numpy()
    )
    assert float(cochran_armitage(counts)[0]) == pytest.approx(oracle.zscore * math.sqrt(500 / 499), rel=1e-9)


def test_the_ranking_is_the_area_of_scikit_learn() -> None:
    ranking = pytest.importorskip("sklearn.metrics")
    wrong, values = images(2)
    bins = torch.bucketize(values[:, 0].contiguous(), EDGES[0], right=True)
    expected = ranking.roc_auc_score(wrong.numpy(), bins.numpy())
    assert float(error_auc(count_trend(wrong, values, EDGES))[0]) == pytest.approx(expected, rel=1e-12)


def test_errors_that_rise_with_the_value_have_a_trend_and_others_have_none() -> None:
    wrong, values = images(3, count=5000)
    counts = count_trend(wrong, values, EDGES)
    assert float(cochran_armitage(counts)[0]) > 10
    assert abs(float(cochran_armitage(counts)[1])) < 3
    assert float(error_auc(counts)[0]) > 0.6


def test_the_metric_reports_what_its_functions_say() -> None:
    wrong, values = images(4)
    metric = FactorTrend({"light": [0.2, 0.4, 0.6, 0.8], "size": [0.5]})
    metric.update(wrong.long(), torch.zeros(500, dtype=torch.int64), values)
    result = metric.compute()
    assert [key.removeprefix("images/") for key in result if key.startswith("images/")] == [
        *("light<0.2", "0.2<=light<0.4", "0.4<=light<0.6", "0.6<=light<0.8", "light>=0.8", "size<0.5", "size>=0.5"),
        "all",
    ]
    bin_of_size = count_factor_errors(wrong, (values[:, 1:] >= 0.5))
    torch.testing.assert_close(result["error_ratio/size>=0.5"], error_ratio(bin_of_size)[0])
    low, high = error_ratio_interval(bin_of_size)
    torch.testing.assert_close(result["low/size>=0.5"], low[0])
    torch.testing.assert_close(result["high/size>=0.5"], high[0])
    counts = count_trend(wrong, values, EDGES)
    torch.testing.assert_close(result["trend/light"], cochran_armitage(counts)[0])
    torch.testing.assert_close(result["error_auc/size"], error_auc(counts)[1])
    p = holm(torch.special.erfc(cochran_armitage(counts).abs() / math.sqrt(2)))
    torch.testing.assert_close(result["p_value/size"], p[1])
    assert float(result["error/all"]) == wrong.double().mean()


def test_any_cut_of_the_data_gives_the_same_values_to_the_last_digit() -> None:
    wrong, values = images(5)
    results = []
    for sizes in ([500], [1, 99, 400]):
        metric = FactorTrend({"light": [0.3, 0.6], "size": [0.5]})
        for rows in torch.arange(500).split(sizes):
            metric.update(wrong[rows].long(), torch.zeros_like(rows), values[rows])
        results.append({key: float(value) for key, value in metric.compute().items()})
    assert results[0] == results[1]


def test_an_image_without_a_value_counts_among_all_but_in_no_bin() -> None:
    metric = FactorTrend({"light": [0.5]})
    metric.update(torch.tensor([1, 0, 1]), torch.zeros(3).long(), torch.tensor([[0.2], [torch.nan], [0.9]]))
    result = metric.compute()
    assert (result["images/light<0.5"], result["images/light>=0.5"], result["images/all"]) == (1, 1, 3)


def test_other_edges_of_one_collection_do_not_share_their_counts() -> None:
    collection = MetricCollection({"low": FactorTrend({"light": [0.1]}), "high": FactorTrend({"light": [0.9]})})
    labels = torch.zeros(2, dtype=torch.int64)
    collection.update(labels, labels, torch.tensor([[0.05], [0.95]]))  # every count is equal
    collection.update(labels, labels, torch.tensor([[0.5], [0.5]]))
    assert collection["low"].compute()["images/light<0.1"] == 1
    assert collection["high"].compute()["images/light<0.9"] == 3


def test_an_undefined_trend_is_nan_and_says_why() -> None:
    metric = FactorTrend({"light": [0.5]})
    metric.update(torch.tensor([0, 0]), torch.zeros(2).long(), torch.tensor([[0.2], [0.9]]))
    metric.compute()
    ratio = "no image is in the bin, or nothing is misclassified"
    trend = "all images are in one bin, or all of them right, or all wrong"
    assert metric.undefined == {
        **{
            f"{statistic}/{name}": ratio
            for statistic in ("error_ratio", "low", "high")
            for name in ("light<0.5", "light>=0.5")
        },
        "trend/light": trend,
        "p_value/light": trend,
        "error_auc/light": "no image with a value is misclassified, or all are",
    }
    empty = TrendCounts(torch.tensor([[2, 0]]), torch.tensor([[5, 0]]), torch.tensor(2), torch.tensor(5))
    assert bool(cochran_armitage(empty).isnan())


def message(call: Any, *args: Any) -> str:
    with pytest.raises(InputError) as error:
        call(*args)
    return str(error.value)


def test_bad_edges_and_values_are_refused() -> None:
    for edges in ([], [1, 1], [0.5, math.inf]):
        assert message(FactorTrend, {"light": edges}) == (
            f"FactorTrend: edges do not increase; given light: {edges}. Pass finite, increasing values to cut at."
        )
    metric = FactorTrend({"light": [0.5]})
    assert message(metric.update, torch.zeros(2).long(), torch.zeros(2).long(), torch.zeros(2)) == (
        "FactorTrend.update: the values do not match the factors; given values (2,) float32 for 2 images and "
        "1 factors. Pass values (n f): one row per image, one column per factor."
    )


def in_groups(seed: int, groups: int = 200, each: int = 12, slope: float = 0.2) -> tuple[Tensor, Tensor, Tensor]:
    """Errors that rise with the first value as given; a group shares its value and how hard it is."""
    generator = torch.Generator().manual_seed(seed)
    group = torch.arange(groups * each) // each
    own = torch.rand(groups, 2, generator=generator, dtype=torch.float64)
    hard = 0.3 + slope * (own[:, 0] - 0.5) + 0.25 * (torch.rand(groups, generator=generator) - 0.5)
    wrong = torch.rand(len(group), generator=generator) < hard[group]
    return wrong, own[group], group


def test_what_images_add_makes_the_counts() -> None:
    wrong, values = images(3)
    values[7, 1] = math.nan
    for one, other in zip(trend_of_images(wrong, values, EDGES), count_trend(wrong, values, EDGES), strict=True):
        assert torch.equal(one.sum(0), other)


def test_the_trend_by_groups_is_that_of_the_cluster_covariance_of_statsmodels() -> None:
    api = pytest.importorskip("statsmodels.api")
    wrong, values, group = in_groups(0, slope=0.08)
    metric = FactorTrend({"light": [0.2, 0.4, 0.6, 0.8]})
    metric.update(wrong.long(), torch.zeros(len(wrong)).long(), values[:, :1], group)
    found = metric.compute()
    score = torch.searchsorted(EDGES[0], values[:, 0].contiguous(), right=True).double()
    design = torch.stack([torch.ones_like(score), score], 1).numpy()
    model = api.OLS(wrong.double().numpy(), design)
    known = model.fit(cov_type="cluster", cov_kwds={"groups": group.numpy()}, use_t=True).tvalues[1]
    by_images = float(cochran_armitage(count_trend(wrong, values, EDGES))[0])
    assert float(found["trend/light"]) == pytest.approx(known, rel=0.05)  # a score test beside one of Wald
    assert by_images > 1.1 * float(found["trend/light"])
    assert found["groups/all"] == 200


def test_a_trend_of_whole_groups_that_is_none_is_found_as_seldom_as_it_should_be() -> None:
    found = []
    for seed in range(200):
        wrong, values, group = in_groups(seed, groups=30, slope=0.0)
        counts = count_trend(wrong, values, EDGES)
        order = torch.arange(len(group)) // 12
        each = trend_of_images(wrong, values, EDGES)
        by_group = TrendCounts(*(value.unflatten(0, (30, 12)).sum(1) for value in each))
        assert torch.equal(order, group)
        found.append((trend_p_value(counts, by_group)[0] < 0.05, trend_p_value(counts)[0] < 0.05))
    by_group_share, by_image_share = (sum(map(bool, column)) / 200 for column in zip(*found, strict=True))
    assert by_group_share < 0.09 < by_image_share


def test_without_groups_a_trend_is_what_it_was_and_of_three_it_has_no_test() -> None:
    wrong, values, group = in_groups(1, groups=3)
    plain, grouped = FactorTrend({"light": [0.5]}), FactorTrend({"light": [0.5]})
    none = torch.zeros(len(wrong)).long()
    plain.update(wrong.long(), none, values[:, :1])
    grouped.update(wrong.long(), none, values[:, :1], group)
    one, other = plain.compute(), grouped.compute()
    assert other.keys() - one.keys() == {"groups/all"}
    assert one["p_value/light"] == torch.special.erfc(one["trend/light"].abs() / 2**0.5)
    for key in ("error_ratio/light<0.5", "error_auc/light", "error/all"):
        assert one[key] == other[key]
    assert bool(other["p_value/light"].isnan())
    assert "fewer than 4 groups" in grouped.undefined["p_value/light"]


def trend_of(rank: int, world: int, shards: list[list[slice]]) -> dict[str, float]:
    wrong, values, group = in_groups(2, groups=9)
    metric = FactorTrend({"light": [0.2, 0.6], "size": [0.5]})
    for rows in shards[rank]:
        metric.update(wrong[rows].long(), torch.zeros_like(group[rows]), values[rows], group[rows])
    return {key: float(value) for key, value in metric.compute().items()}


@pytest.mark.slow
def test_processes_with_an_empty_shard_give_the_trend_by_groups_of_one() -> None:
    whole = trend_of(0, 1, [[slice(0, 108)]])
    for found in run_on_processes(3, trend_of, [[slice(0, 31), slice(31, 80)], [], [slice(80, 108)]]):
        assert repr(found) == repr(whole)
