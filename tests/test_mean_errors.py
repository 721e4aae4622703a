"""Mean errors by factor: a literal restatement, the bootstrap, and any cut of the data."""

import pytest
import torch
from torch import Tensor

from lightning_failures import FactorErrorRatio, FactorMeanError
from lightning_failures.errors import InputError
from lightning_failures.functional import mean_error_interval, mean_error_ratio, mean_error_sums


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
