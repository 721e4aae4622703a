"""Mean errors by factor: a literal restatement, the bootstrap, and any cut of the data."""

import lightning as L
import pytest
import torch
from scipy.stats import ttest_ind
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from lightning_failures import FactorErrorMonitor, FactorErrorRatio, FactorMeanError, FailureDiagnosis
from lightning_failures.errors import InputError
from lightning_failures.functional import (
    mean_error_interval,
    mean_error_p_value,
    mean_error_ratio,
    mean_error_sums,
    mean_errors_of_images,
)
from tests.runs import fit


def data(images: int = 400, seed: int = 0) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    factors = torch.rand(images, 3, generator=generator) < torch.tensor([0.5, 0.2, 0.05])
    errors = torch.rand(images, generator=generator) ** 2 * (1 + factors[:, 0])
    return errors, factors


def test_it_is_the_mean_on_the_factors_images_over_the_mean_on_all() -> None:
    errors, factors = data()
    expected = [errors[factors[:, place]].double().mean() / errors.double().mean() for place in range(3)]
    torch.testing.assert_close(mean_error_ratio(mean_error_sums(errors, factors)), torch.stack(expected))


def test_of_errors_that_are_0_or_1_it_is_the_error_ratio() -> None:
    wrong, factors = data()[0] > 0.5, data()[1]
    ratios = FactorErrorRatio(["a", "b", "c"])
    ratios.update(wrong.long(), torch.zeros(len(wrong), dtype=torch.long), factors)
    own = FactorMeanError(["a", "b", "c"])
    own.update(wrong.float(), factors)
    for name in "abc":
        torch.testing.assert_close(own.compute()[f"mean_error_ratio/{name}"], ratios.compute()[f"error_ratio/{name}"])


def test_the_interval_is_as_wide_as_the_bootstraps() -> None:
    errors, factors = data()
    generator = torch.Generator().manual_seed(1)
    draws = []
    for _ in range(2000):
        rows = torch.randint(len(errors), (len(errors),), generator=generator)
        draws.append(mean_error_ratio(mean_error_sums(errors[rows], factors[rows])))
    spread = torch.stack(draws).log().quantile(torch.tensor([0.025, 0.975], dtype=torch.float64), 0)
    low, high = mean_error_interval(mean_error_sums(errors, factors))
    torch.testing.assert_close((high / low).log()[:2], (spread[1] - spread[0])[:2], rtol=0.08, atol=0)


def test_any_cut_of_the_data_gives_the_same_and_errors_that_are_not_finite_are_left_out() -> None:
    errors, factors = data()
    whole, parts = FactorMeanError(["a", "b", "c"]), FactorMeanError(["a", "b", "c"])
    whole.update(errors, factors)
    for some in (slice(0, 0), slice(0, 7), slice(7, 400)):
        parts.update(errors[some], factors[some])
    parts.update(torch.tensor([torch.nan, torch.inf]), torch.ones(2, 3, dtype=torch.bool))
    for key, value in whole.compute().items():
        torch.testing.assert_close(parts.compute()[key], value)


def test_without_images_or_errors_it_is_nan_with_a_reason() -> None:
    metric = FactorMeanError(["rare"])
    metric.update(torch.tensor([1.0, 2.0]), torch.zeros(2, 1, dtype=torch.bool))
    assert metric.compute()["mean_error_ratio/rare"].isnan()
    assert metric.undefined["mean_error_ratio/rare"] == "no image carries the factor, or no image has an error"


def test_errors_of_another_shape_say_what_to_pass() -> None:
    with pytest.raises(InputError) as error:
        FactorMeanError(["a"]).update(torch.ones(2, 2), torch.ones(2, 1, dtype=torch.bool))
    assert str(error.value) == (
        "FactorMeanError.update: errors are not one number per image; given shape (2, 2), torch.float32. "
        "Pass errors (n), float."
    )


@pytest.mark.parametrize("images", [30, 400])
def test_the_p_value_is_that_of_welchs_test(images: int) -> None:
    errors, factors = data(images, seed=3)
    expected = [
        ttest_ind(errors[row].double(), errors[~row].double(), equal_var=False).pvalue for row in factors[:, :2].T
    ]
    found = mean_error_p_value(mean_error_sums(errors, factors[:, :2]))
    assert found.tolist() == pytest.approx(expected, abs=0.005)  # degrees of freedom are rounded down


def test_with_groups_of_one_image_each_the_p_value_is_nearly_that_of_images() -> None:
    errors, factors = data()
    plain = mean_error_p_value(mean_error_sums(errors, factors))
    grouped = mean_error_p_value(mean_error_sums(errors, factors), mean_errors_of_images(errors, factors))
    assert (plain - grouped).abs().max() < 0.02


def test_images_that_are_copied_within_their_group_prove_no_more() -> None:
    generator = torch.Generator().manual_seed(0)
    errors, factors = torch.rand(40, generator=generator), torch.rand(40, 1, generator=generator) < 0.4
    once = mean_error_sums(errors, factors), mean_errors_of_images(errors, factors)
    copied = mean_error_sums(errors.repeat(5), factors.repeat(5, 1))
    by_group = type(copied)(*(5 * part for part in once[1]))
    torch.testing.assert_close(mean_error_p_value(copied, by_group), mean_error_p_value(*once))
    assert mean_error_p_value(copied) < mean_error_p_value(once[0])


def test_equal_means_have_a_p_value_of_1_and_too_few_images_none() -> None:
    errors, one = torch.tensor([1.0, 3.0, 1.0, 3.0]), torch.tensor([[1, 1], [1, 0], [0, 0], [0, 0]])
    found = mean_error_p_value(mean_error_sums(errors, one))
    assert found[0] == 1
    assert found[1].isnan()


def test_p_values_are_adjusted_for_the_number_of_factors() -> None:
    errors, factors = data()
    metric = FactorMeanError(["a", "b", "c"])
    metric.update(errors, factors)
    plain = mean_error_p_value(mean_error_sums(errors, factors))
    assert metric.compute()["mean_error_p_value/a"] == 3 * plain[0] < 0.001


class SeveralLabels(L.LightningModule):
    """Answers five labels; wrongly, for images that are marked, in as many of them as it is told."""

    def __init__(self, wrong_of_marked: int) -> None:
        super().__init__()
        self.wrong_of_marked = wrong_of_marked
        self.scale = nn.Parameter(torch.ones(()))
        self.answers = nn.Identity()
        self.loss = nn.BCEWithLogitsLoss()

    def training_step(self, batch: list[Tensor], _: int) -> Tensor:
        inputs, targets, marked = batch
        logits = self.scale * inputs[:, :5]
        turned = marked[:, None] & (torch.arange(5) < self.wrong_of_marked)
        loss: Tensor = self.loss(self.answers(torch.where(turned, -logits, logits)), targets)
        return loss

    def validation_step(self, batch: list[Tensor], index: int) -> None:
        self.log("val_loss", self.training_step(batch, index))

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.0)


@pytest.mark.parametrize(("wrong_of_marked", "found"), [(3, [("marked", "failure")]), (0, [])])
def test_images_with_several_labels_that_are_wrong_in_most_of_them_are_found(
    wrong_of_marked: int, found: list[tuple[str, str]]
) -> None:
    generator = torch.Generator().manual_seed(0)
    targets = (torch.rand(400, 5, generator=generator) < 0.5).float()
    noise = torch.rand(400, 5, generator=generator) < 0.1  # a tenth of the answers is wrong in any case
    inputs = torch.where(noise, 1 - 2 * targets, 2 * targets - 1)
    marked = torch.rand(400, generator=generator) < 0.2
    loader = DataLoader(TensorDataset(inputs, targets, marked), 20)
    diagnosis = FailureDiagnosis()
    diagnosis.announce = "nothing"
    monitor = FactorErrorMonitor({"marked": "2", "odd": lambda batch: torch.arange(20) % 2}, on_error="raise")
    fit([monitor, diagnosis], SeveralLabels(wrong_of_marked), data=(loader, loader), epochs=5)
    standing = [one for one in diagnosis.history if one.standing and one.kind == "factor_failure"]
    assert [(one.subject, one.severity) for one in standing] == found
    for one in standing:
        assert "images marked marked have" in one.message
        assert "times the mean error of all images" in one.message
