from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from lightning_failures import FactorCalibration
from lightning_failures.data import FACTORS
from lightning_failures.errors import InputError
from lightning_failures.functional import calibration_error, count_calibration, overconfidence
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
    assert metric.undefined == {"calibration_error/broken": reason, "overconfidence/broken": reason}


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
    assert message(FactorCalibration, ["dark"], 0) == (
        "FactorCalibration: num_bins is not positive; given 0. Pass num_bins of 1 or more."
    )
