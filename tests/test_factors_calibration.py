from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from lightning_failures import FactorCalibration
from lightning_failures.data import FACTORS
from lightning_failures.errors import InputError
from lightning_failures.functional import (
    CalibrationOfGroups,
    add_by_group,
    calibration_error,
    calibration_of_images,
    count_calibration,
    overconfidence,
    overconfidence_interval,
)
from tests.published import joined, published


def literal_error(right: list[bool], confidence: list[float], bins: int) -> float:
    """Naeini et al., bin by bin."""
    total = 0.0
    for index in range(bins):
        low, high = index / bins, (index + 1) / bins
        here = [row for row, c in enumerate(confidence) if (low < c <= high) or (index == 0 and c == 0)]
        if here:
            accuracy = sum(right[row] for row in here) / len(here)
            total += len(here) / len(right) * abs(accuracy - sum(confidence[row] for row in here) / len(here))
    return total


@settings(deadline=None)
@given(
    st.lists(st.tuples(st.booleans(), st.floats(0, 1, width=32)), min_size=1, max_size=60), st.sampled_from([1, 4, 15])
)
def test_the_error_is_that_of_its_bins_written_out(rows: list[tuple[bool, float]], bins: int) -> None:
    right, confidence = zip(*rows, strict=True)
    counts = count_calibration(
        ~torch.tensor(right), torch.tensor(confidence, dtype=torch.float64), torch.zeros(len(rows), 1), bins
    )
    expected = literal_error(list(right), list(confidence), bins)
    assert float(calibration_error(counts)[1]) == pytest.approx(expected, abs=1e-9)


def test_the_error_agrees_with_torchmetrics() -> None:
    from torchmetrics.functional.classification import multiclass_calibration_error

    generator = torch.Generator().manual_seed(0)
    scores, target = torch.randn(1000, 5, generator=generator), torch.randint(5, (1000,), generator=generator)
    metric = FactorCalibration(["dark"])
    metric.update(scores, target, torch.ones(1000, 1, dtype=torch.bool))
    expected = float(multiclass_calibration_error(scores.softmax(1), target, num_classes=5, n_bins=15))
    values = metric.compute()
    assert float(values["calibration_error/dark"]) == float(values["calibration_error/all"])
    assert float(values["calibration_error/all"]) == pytest.approx(expected, abs=1e-6)


def test_overconfidence_is_confidence_minus_accuracy() -> None:
    wrong, confidence = torch.tensor([0, 1, 1, 0]), torch.tensor([0.5, 1.0, 0.75, 0.25])
    counts = count_calibration(wrong, confidence, torch.tensor([[0], [1], [1], [0]]))
    assert overconfidence(counts).tolist() == [0.875, 0.125]


def test_any_order_and_cut_of_the_data_gives_the_same_values_to_the_last_digit() -> None:
    generator = torch.Generator().manual_seed(1)
    scores, target = torch.randn(1000, 5, generator=generator), torch.randint(5, (1000,), generator=generator)
    factors = torch.rand(1000, 2, generator=generator) < 0.3
    results = []
    for sizes in ([1000], [1, 9, 490, 500], [250] * 4):
        metric = FactorCalibration(["dark", "wet"])
        for rows in torch.randperm(1000, generator=generator).split(sizes):
            metric.update(scores[rows], target[rows], factors[rows])
        results.append({key: float(value) for key, value in metric.compute().items()})
    assert results[0] == results[1] == results[2]


def drawn(images: int, groups: int, seed: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Which images are wrong, confidences and a factor, in groups that differ in both."""
    generator = torch.Generator().manual_seed(seed)
    group = torch.randint(groups, (images,), generator=generator)
    shift = torch.randn(groups, generator=generator)[group]
    sure = (torch.randn(images, generator=generator) + shift + 1).sigmoid()
    wrong = torch.rand(images, generator=generator) > (sure * 0.9).clamp(0, 1)
    return wrong, sure.double(), (torch.rand(images, 1, generator=generator) < 0.4), group


def of_groups(wrong: Tensor, sure: Tensor, factors: Tensor, group: Tensor) -> CalibrationOfGroups:
    parts = calibration_of_images(wrong, sure, factors)
    sums = add_by_group(torch.cat(list(parts), 1), group).sums
    return CalibrationOfGroups(*sums.split(factors.shape[1] + 1, 1))


def test_the_interval_by_images_is_that_of_the_mean_difference_where_images_are_many() -> None:
    wrong, sure, factors, _ = drawn(20_000, 50, 0)
    low, high = overconfidence_interval(count_calibration(wrong, sure, factors))
    for column, rows in enumerate((factors[:, 0], torch.ones(20_000, dtype=torch.bool))):
        gaps = sure[rows] - (~wrong[rows]).double()
        half = 1.959964 * float(gaps.std() / len(gaps) ** 0.5)
        assert (float(low[column]), float(high[column])) == pytest.approx(
            (float(gaps.mean()) - half, float(gaps.mean()) + half), abs=0.02 * half
        )


def test_the_interval_by_groups_is_that_of_the_cluster_covariance_of_statsmodels() -> None:
    api = pytest.importorskip("statsmodels.api")
    wrong, sure, factors, group = drawn(8000, 400, 1)
    interval = overconfidence_interval(
        count_calibration(wrong, sure, factors), 0.95, of_groups(wrong, sure, factors, group)
    )
    gaps, ones = (sure - (~wrong).double()).numpy(), torch.ones(8000, 1).numpy()
    known = api.OLS(gaps, ones).fit(cov_type="cluster", cov_kwds={"groups": group.numpy()}, use_t=True).conf_int()[0]
    width = known[1] - known[0]
    assert [float(end[1]) for end in interval] == pytest.approx(list(known), abs=0.03 * width)


def test_the_interval_by_groups_is_as_wide_as_a_bootstrap_of_whole_groups() -> None:
    wrong, sure, factors, group = drawn(4000, 100, 2)
    by_group = of_groups(wrong, sure, factors, group)
    low, high = overconfidence_interval(count_calibration(wrong, sure, factors), 0.95, by_group)
    gaps = by_group.confidence[:, 1].double() * 2.0**-32 - by_group.right[:, 1]
    again = torch.randint(100, (4000, 100), generator=torch.Generator().manual_seed(3))
    means = gaps[again].sum(1) / by_group.seen[again, 1].sum(1)
    assert float(high[1] - low[1]) == pytest.approx(2 * 1.984 * float(means.std()), rel=0.06)


def test_images_that_are_alike_in_their_groups_widen_the_interval() -> None:
    wrong, sure, factors, _ = drawn(50, 5, 4)
    ten = [value.repeat_interleave(10, 0) for value in (wrong, sure, factors)]
    plain, grouped = FactorCalibration(["dark"]), FactorCalibration(["dark"])
    labels, right = ten[0].long(), torch.zeros(500, dtype=torch.int64)
    plain.update(labels, right, ten[2], ten[1])
    grouped.update(labels, right, ten[2], ten[1], torch.arange(50).repeat_interleave(10))
    one, other = plain.compute(), grouped.compute()
    assert other["groups/all"] == 50
    assert "groups/all" not in one
    narrow, wide = (v["overconfidence_high/all"] - v["overconfidence_low/all"] for v in (one, other))
    assert 2.8 < float(wide / narrow) < 3.7
    assert float(one["overconfidence/all"]) == float(other["overconfidence/all"])


def test_an_interval_does_not_vanish_where_all_images_are_right() -> None:
    counts = count_calibration(torch.zeros(20, dtype=torch.bool), torch.ones(20), torch.zeros(20, 0))
    low, high = overconfidence_interval(counts)
    assert (float(low), float(high)) == pytest.approx((0, 1 - 20 / (20 + 1.959964**2)), abs=1e-6)


def test_three_groups_give_no_interval_and_say_why() -> None:
    wrong, sure, factors, _ = drawn(60, 5, 5)
    metric = FactorCalibration(["dark"])
    metric.update(wrong.long(), torch.zeros(60, dtype=torch.int64), factors, sure, torch.arange(60) % 3)
    assert metric.compute()["overconfidence_low/all"].isnan()
    assert metric.undefined["overconfidence_low/all"] == (
        "fewer than two images with a finite confidence carry the factor; or fewer than 4 groups hold such images, or "
        "one of them holds most"
    )


@published
def test_the_errors_of_a_published_model_are_those_of_the_bins_written_out() -> None:
    numpy = pytest.importorskip("numpy")
    data = joined("ResNet50")
    metric = FactorCalibration(FACTORS)
    metric.update(data.preds, data.classes, data.factors, data.confidence)
    values = metric.compute()

    def literal(rows: Tensor) -> float:
        right, confidence = (data.preds == data.classes)[rows].numpy(), data.confidence[rows].numpy()
        bins = numpy.digitize(confidence, numpy.linspace(0, 1, 16)[1:-1], right=True)
        gaps = [abs(right[bins == b].mean() - confidence[bins == b].mean()) * (bins == b).mean() for b in set(bins)]
        return float(sum(gaps))

    for column, name in enumerate(FACTORS):
        assert float(values[f"calibration_error/{name}"]) == pytest.approx(literal(data.factors[:, column]), abs=1e-9)
    assert float(values["calibration_error/all"]) == pytest.approx(literal(torch.arange(46110)), abs=1e-9)


def test_an_image_without_finite_scores_is_counted_and_left_out() -> None:
    metric = FactorCalibration(["dark", "broken"])
    scores = torch.tensor([[0.0, 1.0], [torch.nan, 0.0], [0.0, torch.inf]])
    metric.update(scores, torch.tensor([1, 1, 1]), torch.tensor([[1, 0], [0, 1], [0, 1]]))
    values = metric.compute()
    assert (values["images/non_finite"], values["images/all"], values["images/broken"]) == (2, 1, 0)
    reason = "no image with a finite confidence carries the factor"
    few = "fewer than two images with a finite confidence carry the factor"
    assert metric.undefined == {
        "calibration_error/broken": reason,
        "overconfidence/broken": reason,
        **{f"overconfidence_{end}/{name}": few for name in ("dark", "broken", "all") for end in ("low", "high")},
    }


def message(call: Any, *args: Any) -> str:
    with pytest.raises(InputError) as error:
        call(*args)
    return str(error.value)


def test_bad_confidences_are_refused() -> None:
    metric = FactorCalibration(["dark"])
    labels, factors = torch.tensor([0, 1]), torch.ones(2, 1, dtype=torch.bool)
    where = "FactorCalibration.update: "
    assert message(metric.update, labels, labels, factors) == (
        f"{where}labels have no confidence; given preds (2,) int64. Pass logits (n c), or confidence (n)."
    )
    assert message(metric.update, labels, labels, factors, torch.tensor([0.5, 7.0])) == (
        f"{where}confidences are no probabilities; given 1 values outside 0 to 1. Pass probabilities, not scores."
    )
    assert message(metric.update, labels, labels, factors, torch.tensor([[0.5, 0.5]])) == (
        f"{where}confidence is not one probability an image; given confidence (1, 2) float32, target (2,) int64. "
        "Pass confidence (n), float."
    )
    assert message(FactorCalibration(["dark"]).update, labels, labels, factors, torch.ones(2), torch.ones(3)) == (
        f"{where}groups are not one whole number for each image; given shape (3,), torch.float32 for 2 images. "
        "Pass groups (n), int: the number of each image's patient, slide or scanner."
    )
    assert message(lambda: FactorCalibration(["dark"], interval=1.0)) == (
        "FactorCalibration: confidence is no probability; given 1.0. Pass a value such as 0.95."
    )
    assert message(FactorCalibration, ["dark"], 0) == (
        "FactorCalibration: num_bins is not positive; given 0. Pass num_bins of 1 or more."
    )
