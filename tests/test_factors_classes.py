import math

import pytest
import torch

from lightning_failures import WorstClasses
from lightning_failures.data import FACTORS
from lightning_failures.functional import (
    ClassCounts,
    FactorCounts,
    count_class_errors,
    fit_profile,
    matched_residual,
    worst_classes,
    worst_classes_accuracy,
)
from tests.published import DATA, joined, published

# the classes that fare worst


def test_the_worst_classes_are_those_of_pandas() -> None:
    pd = pytest.importorskip("pandas")
    generator = torch.Generator().manual_seed(0)
    target = torch.randint(20, (997,), generator=generator)
    wrong = torch.rand(997, generator=generator) < target / 25
    frame = pd.DataFrame({"right": (~wrong).numpy(), "target": target.numpy()})
    order = frame.groupby("target")["right"].mean().sort_values(kind="stable").index
    counts = count_class_errors(wrong, target, 22)  # two classes have no images
    for k in (1, 5, 20):
        assert worst_classes(counts, k).tolist() == order[:k].tolist()
        expected = frame[frame["target"].isin(order[:k])]["right"].mean()
        assert float(worst_classes_accuracy(counts, k)) == pytest.approx(expected, rel=1e-12)
    assert len(worst_classes(counts, 22)) == 20


def test_among_equal_classes_the_lower_comes_first() -> None:
    counts = ClassCounts(torch.tensor([1, 0, 2, 1]), torch.tensor([2, 2, 4, 2]))
    assert worst_classes(counts, 3).tolist() == [0, 2, 3]


def test_the_metric_names_the_worst_classes() -> None:
    metric = WorstClasses(num_classes=4, k=2)
    metric.update(torch.eye(4)[torch.tensor([0, 0, 1, 1, 2, 2])], torch.tensor([0, 0, 1, 2, 3, 3]))
    assert {key: float(value) for key, value in metric.compute().items()} == {
        "accuracy/worst_classes": 0,
        "accuracy/worst_class": 0,
        "accuracy/all": 0.5,
        "images/all": 6,
    }
    assert metric.worst == [2, 3]


def test_without_images_the_accuracy_is_nan_and_says_why() -> None:
    metric = WorstClasses(num_classes=4)
    assert math.isnan(metric.compute()["accuracy/worst_classes"])
    assert metric.undefined["accuracy/worst_classes"] == "no image was seen"
    assert metric.worst == []


# published profiles


def table() -> tuple[torch.Tensor, torch.Tensor]:
    pd = pytest.importorskip("pandas")
    frame = pd.read_csv(DATA / "testbed_accuracies_per_factor.csv")
    return torch.tensor(frame["average"].values), torch.tensor(frame[list(FACTORS)].values)


@published
def test_raw_ratios_move_with_accuracy_over_the_testbed_and_residuals_much_less() -> None:
    stats = pytest.importorskip("scipy.stats")
    accuracy, by_factor = table()
    ratio = (1 - by_factor) / (1 - accuracy)[:, None]
    images = joined("ResNet50").factors.sum(0)
    line = fit_profile(accuracy, by_factor, images)
    for name, known in {"pose": -0.983, "subcategory": 0.991, "texture": 0.944}.items():
        column = FACTORS.index(name)
        assert stats.spearmanr(accuracy, ratio[:, column]).statistic == pytest.approx(known, abs=5e-4)
        residual = torch.stack(
            [
                matched_residual(
                    line,
                    FactorCounts(
                        ((1 - a) * images).round().long(),
                        images,
                        ((1 - overall) * 46110).round().long(),
                        torch.tensor(46110),
                    ),
                )[column]
                for overall, a in zip(accuracy, by_factor, strict=True)
            ]
        )
        usual = ~residual.isnan()
        assert abs(stats.spearmanr(accuracy[usual], residual[usual]).statistic) < 0.5
        assert float(residual[usual].std()) == pytest.approx(1, abs=0.15)


def test_the_line_is_least_squares_of_scipy() -> None:
    stats = pytest.importorskip("scipy.stats")
    generator = torch.Generator().manual_seed(0)
    accuracy = torch.rand(30, generator=generator, dtype=torch.float64) * 0.8 + 0.1
    by_factor = (0.8 * accuracy.logit() - 0.5 + 0.2 * torch.randn(30, generator=generator)).sigmoid()[:, None]
    line = fit_profile(accuracy, by_factor)
    fit = stats.linregress(accuracy.logit(), by_factor[:, 0].logit())
    assert float(line.slope) == pytest.approx(fit.slope)
    assert float(line.offset) == pytest.approx(fit.intercept)
    spread = by_factor[:, 0].logit() - fit.slope * accuracy.logit() - fit.intercept
    assert float(line.variance) == pytest.approx(float(spread.square().sum()) / 28)


def test_the_residual_is_the_published_formula_written_out() -> None:
    accuracy = torch.tensor([0.3, 0.5, 0.6, 0.8])
    by_factor = torch.tensor([[0.2], [0.45], [0.5], [0.75]])
    line = fit_profile(accuracy, by_factor)
    counts = FactorCounts(torch.tensor([30]), torch.tensor([100]), torch.tensor(400), torch.tensor(1000))

    def logit(p: float) -> float:
        return math.log(p / (1 - p))

    b, g, s2 = (float(value) for value in line)
    z = (logit(0.7) - b * logit(0.6) - g) / math.sqrt(s2 + 1 / (100 * 0.7 * 0.3))
    assert float(matched_residual(line, counts)) == pytest.approx(z)


def test_a_model_at_the_ends_or_too_few_models_have_no_residual() -> None:
    accuracy, by_factor = torch.tensor([0.3, 0.5, 0.6, 0.8]), torch.tensor([[0.2], [0.45], [0.5], [0.75]])
    flawless = FactorCounts(torch.tensor([0]), torch.tensor([10]), torch.tensor(4), torch.tensor(100))
    assert bool(matched_residual(fit_profile(accuracy, by_factor), flawless).isnan())
    assert bool(fit_profile(accuracy[:2], by_factor[:2]).slope.isnan())
    ends = torch.cat([by_factor, torch.tensor([[1.0]])])
    torch.testing.assert_close(
        fit_profile(torch.cat([accuracy, accuracy[:1]]), ends).slope, fit_profile(accuracy, by_factor).slope
    )


def test_the_rows_of_the_worst_classes_are_their_errors_with_wilsons_interval() -> None:
    metric = WorstClasses(num_classes=4, k=2)
    metric.update(torch.tensor([0, 1, 1, 1, 0]), torch.tensor([0, 2, 2, 1, 1]))
    metric.compute()
    first, second = metric.rows
    assert (first.label, first.errors, first.images, first.error, first.high) == (2, 2, 2, 1.0, 1.0)
    assert (second.label, second.errors, second.images, second.error) == (1, 1, 2, 0.5)
    assert first.low == pytest.approx(2 / (2 + 1.959964**2), rel=1e-6)


@pytest.mark.parametrize(("classes", "given", "kept"), [(10, None, 1), (4, None, 1), (1000, None, 100), (10, 100, 10)])
def test_the_worst_classes_are_a_tenth_of_them_unless_told_and_never_more_than_there_are(
    classes: int, given: int | None, kept: int
) -> None:
    assert WorstClasses(classes, given).k == kept


def test_the_worst_of_ten_classes_is_one_and_not_all() -> None:
    target = torch.arange(10).repeat(10)
    preds = torch.where((target == 3) & (torch.arange(100) < 50), 4, target)
    metric = WorstClasses(10)
    metric.update(preds, target)
    values = metric.compute()
    assert (metric.worst, float(values["accuracy/worst_classes"]), float(values["accuracy/all"])) == ([3], 0.5, 0.95)
