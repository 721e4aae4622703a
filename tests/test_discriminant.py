"""The linear reference against scikit-learn, and paired accuracy against published examples."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest
from sklearn.covariance import shrunk_covariance
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from statsmodels.stats.contingency_tables import mcnemar

from lightning_failures.errors import InputError
from lightning_failures.functional import (
    ClassMoments,
    UntappedCounts,
    class_moments,
    count_pairs,
    count_untapped,
    exact_mcnemar,
    linear_discriminant,
    oas_shrinkage,
    untapped_information,
)


def scene(n: int = 300, d: int = 12, c: int = 4, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    target = torch.randint(c, (n,), generator=generator)
    mixing = torch.randn(d, d, generator=generator, dtype=torch.float64)
    centres = torch.randn(c, d, generator=generator, dtype=torch.float64)
    noise = torch.randn(n, d, generator=generator, dtype=torch.float64)
    return centres[target] + noise @ mixing + 3, target


class Shrunk:
    """The covariance of one class as ours has it: shrunk, and with the pooled degrees of freedom below."""

    def __init__(self, shrinkage: float, factor: float) -> None:
        self.shrinkage, self.factor = shrinkage, factor

    def fit(self, rows: np.ndarray) -> "Shrunk":
        covariance = np.cov(rows, rowvar=False, bias=True) * self.factor
        self.covariance_ = (1 - self.shrinkage) * covariance + self.shrinkage * np.eye(len(covariance))
        return self


def within_scale(rows: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    residual = torch.cat([rows[target == k] - rows[target == k].mean(0) for k in target.unique()])
    return (residual.square().sum(0) / (len(rows) - len(target.unique()))).sqrt()


@pytest.mark.parametrize("shrinkage", [0.0, 0.01, 0.3, 1.0])
def test_scores_are_those_of_scikit_learn_on_standardised_rows(shrinkage: float) -> None:
    rows, target = scene()
    ours = linear_discriminant(class_moments(rows, target, 4), shrinkage)
    scale = within_scale(rows, target)
    oracle = LinearDiscriminantAnalysis(solver="lsqr", covariance_estimator=Shrunk(shrinkage, 300 / 296))
    oracle.fit((rows / scale).numpy(), target.numpy())
    posterior = oracle.predict_proba((rows / scale).numpy())
    torch.testing.assert_close(ours.scores(rows).softmax(-1), torch.tensor(posterior), rtol=1e-6, atol=1e-9)


def test_without_shrinkage_the_predictions_are_those_of_plain_scikit_learn() -> None:
    rows, target = scene()
    ours = linear_discriminant(class_moments(rows, target, 4), 0.0)
    oracle = LinearDiscriminantAnalysis(solver="lsqr").fit(rows.numpy(), target.numpy())
    assert ours.predict(rows).tolist() == oracle.predict(rows.numpy()).tolist()


def test_the_default_shrinkage_is_equation_23_of_its_paper() -> None:
    rows, target = scene(n=60)
    residual = torch.cat([rows[target == k] - rows[target == k].mean(0) for k in range(4)]) / within_scale(rows, target)
    s, p, n = residual.T @ residual / 56, 12, 56
    literal = ((1 - 2 / p) * torch.trace(s @ s) + torch.trace(s) ** 2) / (
        (n + 1 - 2 / p) * (torch.trace(s @ s) - torch.trace(s) ** 2 / p)
    )
    assert 0 < literal < 1
    torch.testing.assert_close(oas_shrinkage(s, torch.tensor(56)), literal)
    sums = class_moments(rows, target, 4)
    torch.testing.assert_close(linear_discriminant(sums), linear_discriminant(sums, float(literal)))


def test_shrinkage_meets_scikit_learns_definition() -> None:
    rows, _ = scene(n=40)
    covariance = np.cov(rows.numpy(), rowvar=False)
    scaled = covariance / np.sqrt(np.outer(covariance.diagonal(), covariance.diagonal()))
    np.testing.assert_allclose(shrunk_covariance(scaled, 0.2), 0.8 * scaled + 0.2 * np.eye(12))


def test_scaling_and_shifting_channels_changes_no_prediction() -> None:
    rows, target = scene()
    scale = torch.logspace(-6, 6, 12, dtype=torch.float64)
    shift = torch.linspace(-3, 3, 12, dtype=torch.float64) * scale
    plain = linear_discriminant(class_moments(rows, target, 4))
    scaled = linear_discriminant(class_moments(rows * scale + shift, target, 4))
    torch.testing.assert_close(scaled.scores(rows * scale + shift), plain.scores(rows), rtol=1e-7, atol=1e-7)


def test_constant_channels_and_absent_classes_are_left_alone() -> None:
    rows, target = scene(c=3)
    padded = torch.cat([rows[:, :5], torch.full((300, 2), 0.1), rows[:, 5:]], 1)
    plain = linear_discriminant(class_moments(rows, target, 3))
    wide = linear_discriminant(class_moments(padded, target + target.gt(0), 5))
    assert wide.weight[:, 5:7].eq(0).all()
    assert wide.bias[[1, 4]].tolist() == [-torch.inf, -torch.inf]
    torch.testing.assert_close(wide.scores(padded)[:, [0, 2, 3]], plain.scores(rows), rtol=1e-9, atol=1e-9)


def test_a_channel_that_is_the_label_is_read_without_error() -> None:
    target = torch.arange(40) % 4
    noise = torch.randn(40, 3, generator=torch.Generator().manual_seed(0))
    for rows in (target[:, None].double(), torch.cat([noise, target[:, None]], 1)):
        reference = linear_discriminant(class_moments(rows, target, 4))
        assert reference.predict(rows).equal(target)


def test_more_channels_than_rows_are_fine_with_shrinkage() -> None:
    rows, target = scene(n=30, d=80, c=2)
    reference = linear_discriminant(class_moments(rows, target, 2))
    assert reference.predict(rows).eq(target).float().mean() == 1


@pytest.mark.parametrize(
    ("rows", "target", "shrinkage"),
    [
        (torch.zeros(0, 2), torch.zeros(0, dtype=torch.long), None),
        (torch.eye(2), torch.tensor([0, 1]), None),
        (torch.randn(9, 2), torch.zeros(9, dtype=torch.long), None),
        (torch.full((8, 2), 0.1), torch.arange(8) % 2, None),
        (scene(n=20, d=19, c=2)[0], torch.arange(20) % 2, 0.0),
    ],
    ids=["no rows", "no more rows than classes", "one class", "no channel varies", "singular without shrinkage"],
)
def test_too_little_to_fit_on_is_nan_and_predicts_minus_one(rows, target, shrinkage) -> None:  # type: ignore[no-untyped-def]
    reference = linear_discriminant(class_moments(rows, target, 2), shrinkage)
    assert reference.weight.isnan().all()
    assert reference.bias.isnan().all()
    assert reference.predict(torch.zeros(3, rows.shape[1])).tolist() == [-1, -1, -1]


def test_nan_in_the_features_is_nan_in_the_reference() -> None:
    rows, target = scene()
    rows[7, 3] = torch.nan
    assert linear_discriminant(class_moments(rows, target, 4)).predict(rows[:2]).tolist() == [-1, -1]


def test_an_impossible_shrinkage_is_refused() -> None:
    with pytest.raises(InputError) as error:
        linear_discriminant(ClassMoments.zero(2, 3), 1.5)
    assert str(error.value) == (
        "linear_discriminant: shrinkage is no weight; given 1.5. Pass a number in [0, 1], or None for the default."
    )


def test_indian_pines_patches_reach_what_the_docstring_says() -> None:
    pytest.importorskip("tensorly")
    from lightning_failures import load_indian_pines
    from lightning_failures.data import Patches

    def rows(patches: Patches) -> tuple[torch.Tensor, torch.Tensor]:
        spectra = torch.cat([patches.scene[part].mean((1, 2)) for part in patches.pixels.split(500)])
        return spectra, patches.labels

    accuracies = []
    for scaling in ("raw", "standardised"):
        scene = load_indian_pines(scaling, seed=0)  # type: ignore[arg-type]
        reference = linear_discriminant(class_moments(*rows(scene.train), 16))
        features, target = rows(scene.validation)
        accuracies.append(float(reference.predict(features).eq(target).double().mean()))
    assert accuracies[0] == pytest.approx(0.840, abs=0.003)
    assert accuracies[1] == pytest.approx(accuracies[0], abs=0.001)  # a scaling of the channels changes nothing


def literal_newcombe(a: float, b: float, c: float, d: float) -> tuple[float, float]:
    n = a + b + c + d

    def wilson(x: float) -> tuple[float, float]:
        z = 1.959963984540054
        root = z * np.sqrt(z * z + 4 * x * (1 - x / n))
        return (2 * x + z * z - root) / (2 * (n + z * z)), (2 * x + z * z + root) / (2 * (n + z * z))

    p1, p2 = (a + b) / n, (a + c) / n
    (l1, u1), (l2, u2) = wilson(a + b), wilson(a + c)
    product = (a + b) * (c + d) * (a + c) * (b + d)
    if product == 0:
        phi = 0.0
    elif a * d > b * c:
        phi = max(a * d - b * c - n / 2, 0) / np.sqrt(product)
    else:
        phi = (a * d - b * c) / np.sqrt(product)
    delta = np.sqrt(max((p1 - l1) ** 2 - 2 * phi * (p1 - l1) * (u2 - p2) + (u2 - p2) ** 2, 0))
    epsilon = np.sqrt(max((u1 - p1) ** 2 - 2 * phi * (u1 - p1) * (p2 - l2) + (p2 - l2) ** 2, 0))
    return p1 - p2 - delta, p1 - p2 + epsilon


@settings(deadline=None, max_examples=200)
@given(st.lists(st.integers(0, 60), min_size=4, max_size=4).filter(any))
def test_untapped_information_is_its_sources_on_any_table(table: list[int]) -> None:
    both, model_only, reference_only, neither = table
    result = untapped_information(UntappedCounts(*torch.tensor(table)))
    low, high = literal_newcombe(both, reference_only, model_only, neither)
    assert float(result.low) == pytest.approx(low, abs=1e-12)
    assert float(result.high) == pytest.approx(high, abs=1e-12)
    assert float(result.difference) == pytest.approx((reference_only - model_only) / sum(table))
    exact = mcnemar([[both, model_only], [reference_only, neither]], exact=True).pvalue
    assert float(result.p_value) == pytest.approx(min(exact, 1), rel=1e-9)


def test_the_airway_example_of_the_literature_is_reproduced() -> None:
    # 21 children before and after a transplant: 1, 1, 7, 12; Newcombe's interval -0.507 to -0.026, exact p 0.070
    result = untapped_information(UntappedCounts(*torch.tensor([1, 7, 1, 12])))
    assert float(result.difference) == pytest.approx(-0.286, abs=5e-4)
    assert float(result.low) == pytest.approx(-0.507, abs=5e-4)
    assert float(result.high) == pytest.approx(-0.026, abs=5e-4)
    assert float(result.p_value) == pytest.approx(0.0703, abs=5e-5)


def test_no_images_are_nan() -> None:
    result = untapped_information(UntappedCounts.zero())
    assert result.images == 0
    assert all(value.isnan() for value in result[:-1])


def test_a_million_pixels_have_a_p_value() -> None:
    result = untapped_information(UntappedCounts(*torch.tensor([400_000, 300_000, 301_000, 0])))
    oracle = mcnemar([[400_000, 300_000], [301_000, 0]], exact=True).pvalue
    assert float(result.p_value) == pytest.approx(oracle, rel=1e-6)


def test_pixels_without_a_label_or_a_prediction_are_left_out() -> None:
    target = torch.tensor([[0, 1, -100, 255, 1]])
    preds = torch.tensor([[0, 0, 0, 0, 1]])
    reference = torch.tensor([[0, 1, 0, 0, -1]])
    counts = count_untapped(preds, reference, target, ignore_index=255)
    assert [int(count) for count in counts] == [1, 0, 1, 0]


def test_mcnemar_is_the_binomial_test_of_either_side_for_every_factor_at_once() -> None:
    first, second = torch.tensor([[0, 3], [12, 5]]), torch.tensor([[0, 1], [2, 5]])
    expected = [1.0, *(binomtest(one, one + other).pvalue for one, other in ((3, 1), (12, 2), (5, 5)))]
    assert exact_mcnemar(first, second).flatten().tolist() == pytest.approx(expected, rel=1e-12)
    assert torch.equal(exact_mcnemar(first, second), exact_mcnemar(second, first))
    assert exact_mcnemar(first[:0], second[:0]).shape == (0, 2)


def test_pairs_are_counted_where_they_are_kept() -> None:
    first = torch.tensor([True, True, False, False, True])
    second = torch.tensor([True, False, True, False, False])
    kept = torch.tensor([True, True, True, True, False])
    assert [int(count) for count in count_pairs(first, second, kept)] == [1, 1, 1, 1]


@pytest.mark.parametrize("noise", [0.0, 1e-9])
def test_channels_that_are_constant_within_each_class_tell_it_exactly(noise):
    colours = torch.tensor([[0.5, 0.25, 0.25], [0.25, 0.5, 0.25], [0.25, 0.25, 0.5], [0.35, 0.35, 0.3]])
    labels = torch.arange(400) % 4
    generator = torch.Generator().manual_seed(0)
    rows = colours.double()[labels] + noise * torch.randn(400, 3, generator=generator, dtype=torch.float64)
    for columns in (slice(0, 1), slice(0, 2), slice(0, 3)):
        told = colours[:, columns].unique(dim=0, return_inverse=True)[1]
        model = linear_discriminant(class_moments(rows[:, columns], told[labels], int(told.max()) + 1))
        assert (model.predict(rows[:, columns]) == told[labels]).all()
