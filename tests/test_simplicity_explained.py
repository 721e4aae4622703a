"""What a simple model explains of a model, against literal sums, scikit-learn and shuffles."""

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from sklearn.metrics import mutual_info_score
from sklearn.metrics.cluster import expected_mutual_information
from torch import Tensor

from lightning_failures import ExplainedBySimple
from lightning_failures.errors import InputError
from lightning_failures.functional import (
    ExplainedCounts,
    count_explained,
    expected_information,
    explained_by_simple,
    lowest_rung,
    mutual_information,
)


def labels(n: int, c: int, seed: int) -> Tensor:
    return torch.randint(c, (n,), generator=torch.Generator().manual_seed(seed))


def literal(F: np.ndarray, L: np.ndarray, Y: np.ndarray) -> tuple[float, float]:
    conditional = sum(rows.mean() * mutual_info_score(F[rows], Y[rows]) for rows in (np.unique(L)[:, None] == L))
    return mutual_info_score(F, Y), conditional


@settings(deadline=None, max_examples=50)
@given(st.integers(1, 80), st.integers(2, 5), st.integers(0, 1000))
@example(59, 2, 287)  # next to no information, and a share of thousands
def test_both_informations_are_their_definitions(n: int, c: int, seed: int) -> None:
    F, L, Y = (labels(n, c, 3 * seed + k) for k in range(3))
    result = explained_by_simple(count_explained(F, L, Y, c))
    information, conditional = literal(F.numpy(), L.numpy(), Y.numpy())
    assert float(result.information) == pytest.approx(information, abs=1e-9)
    assert float(result.conditional) == pytest.approx(conditional, abs=1e-9)
    if information > 1e-9:
        assert float(result.explained) == pytest.approx((information - conditional) / information, rel=1e-6, abs=1e-6)


@settings(deadline=None, max_examples=50)
@given(
    st.lists(st.lists(st.integers(0, 30), min_size=3, max_size=3), min_size=2, max_size=4).filter(
        lambda t: min(map(sum, t)) > 0 and all(map(sum, zip(*t, strict=True)))
    )
)
def test_the_null_is_scikit_learns_expected_information(table: list[list[int]]) -> None:
    counts = np.array(table)
    oracle = expected_mutual_information(counts.astype(np.int64), int(counts.sum()))
    assert float(expected_information(torch.tensor(table))) == pytest.approx(oracle, abs=1e-9)


def test_the_null_of_a_million_pixels_is_the_chi_square_one() -> None:
    table = torch.full((4, 5), 50_000)
    assert float(expected_information(table)) == pytest.approx(3 * 4 / (2 * 1_000_000), rel=1e-3)


def test_the_nulls_are_the_means_of_shuffles() -> None:
    F, L, Y = (labels(40, 3, seed) for seed in range(3))
    result = explained_by_simple(count_explained(F, L, Y, 3))
    generator = torch.Generator().manual_seed(0)
    joint, within = [], []
    for _ in range(400):
        order = torch.randperm(40, generator=generator)
        joint.append(mutual_info_score(F, Y[order]))
        within.append(literal(F.numpy(), L[order].numpy(), Y.numpy())[1])
    for values, null in ((joint, result.information_null), (within, result.conditional_null)):
        assert float(null) == pytest.approx(np.mean(values), abs=4 * np.std(values) / np.sqrt(400))


def test_a_model_that_is_the_simple_one_is_explained() -> None:
    F, Y = labels(200, 4, 0), labels(200, 4, 1)
    result = explained_by_simple(count_explained(F, F, Y, 4))
    assert float(result.explained) == pytest.approx(1)
    assert float(result.explained_adjusted) == pytest.approx(1)


def test_a_simple_model_that_has_nothing_to_do_with_it_explains_nothing() -> None:
    Y, L = labels(20_000, 4, 0), labels(20_000, 4, 1)
    F = torch.where(labels(20_000, 3, 2) == 0, labels(20_000, 4, 3), Y)
    result = explained_by_simple(count_explained(F, L, Y, 4))
    assert abs(float(result.explained)) < 0.01
    assert abs(float(result.explained_adjusted)) < 0.005


def test_the_adjusted_share_is_right_where_the_plain_one_is_biased() -> None:
    plain, adjusted = [], []
    for seed in range(30):
        Y, L = labels(150, 8, 4 * seed), labels(150, 8, 4 * seed + 1)
        F = torch.where(labels(150, 2, 4 * seed + 2) == 0, labels(150, 8, 4 * seed + 3), Y)
        result = explained_by_simple(count_explained(F, L, Y, 8))
        plain.append(float(result.explained))
        adjusted.append(float(result.explained_adjusted))
    assert np.mean(plain) < -0.2
    assert abs(np.mean(adjusted)) < 4 * np.std(adjusted) / np.sqrt(30) < 0.05


def test_xor_with_the_simple_model_is_below_zero() -> None:
    L, Y = torch.tensor([0, 0, 1, 1, 0]), torch.tensor([0, 1, 0, 1, 0])
    result = explained_by_simple(count_explained(L ^ Y, L, Y, 2))
    assert result.explained < 0


def test_predictions_without_information_are_nan_and_say_why() -> None:
    metric = ExplainedBySimple(3)
    metric.update(torch.zeros(6, dtype=torch.long), labels(6, 3, 0), labels(6, 3, 1))
    values = metric.compute()
    assert values["information"] == 0
    reason = "no image with a label and both predictions, or predictions that say nothing of the labels"
    assert metric.undefined == {"explained": reason, "explained_adjusted": reason}


def test_no_images_are_nan_and_say_why() -> None:
    metric = ExplainedBySimple(3)
    assert all(value.isnan() for value in metric.compute().values())
    assert metric.undefined["information"] == "no image with a label and both predictions"


def test_pixels_without_a_label_or_a_prediction_are_left_out() -> None:
    F, L, Y = torch.tensor([[0, 1, 1, 0]]), torch.tensor([[0, 1, -1, 1]]), torch.tensor([[0, 255, 1, 1]])
    counts = count_explained(F, L, Y, 2, ignore_index=1)
    expected = torch.zeros(2, 2, 2, dtype=torch.int64)
    expected[0, 0, 0] = 1
    assert counts.table.equal(expected)


def test_an_empty_table_has_no_information() -> None:
    assert mutual_information(torch.zeros(2, 2)).isnan()
    assert expected_information(torch.zeros(2, 2)).isnan()
    assert ExplainedCounts.zero(2).table.shape == (2, 2, 2)


def test_the_lowest_rung_is_the_first_that_reaches_the_threshold() -> None:
    shares = {"a": torch.tensor(torch.nan), "b": torch.tensor(0.5), "c": torch.tensor(0.91), "d": torch.tensor(1.0)}
    assert lowest_rung(shares) == "c"
    assert lowest_rung(shares, threshold=0.4) == "b"
    assert lowest_rung(shares, threshold=1.1) is None


def test_what_cannot_be_counted_is_refused() -> None:
    with pytest.raises(InputError) as error:
        ExplainedBySimple(1000)
    assert str(error.value) == (
        "ExplainedBySimple: the number of classes cannot be used; given 1000. "
        "It counts triples of classes: group them into 2 to 256."
    )
    with pytest.raises(InputError) as error:
        ExplainedBySimple(3).update(torch.zeros(4, 3), torch.zeros(4), torch.zeros(4))
    assert str(error.value) == (
        "ExplainedBySimple.update: predictions and target are not of the same images; given preds (4, 3), "
        "simple_preds (4,), target (4,). Pass labels, not scores: preds.argmax(1)."
    )


def test_a_rung_that_reaches_the_threshold_exactly_explains_the_model() -> None:
    shares = {"total": torch.tensor(torch.nan), "mean_spectrum": torch.tensor(0.75), "low": torch.tensor(1.0)}
    assert lowest_rung(shares, threshold=0.75) == "mean_spectrum"
    assert lowest_rung(shares, threshold=0.7500001) == "low"
    assert lowest_rung({}, threshold=0.75) is None
