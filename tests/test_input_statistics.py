"""Statistics of inputs: a literal restatement, any cut of the data, coverage of intervals, and orders of channels."""

import math
import statistics

import pytest
import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from lightning_failures.errors import InputError
from lightning_failures.functional import (
    InputSums,
    best_assignment,
    channel_correlations,
    channel_statistics,
    compare_inputs,
    input_sums,
    map_inputs,
    match_channels,
    mean_error,
    merge_inputs,
    relative_deviation_error,
)
from lightning_failures.metrics import InputStatistics
from tests.processes import run_on_processes


def images(n: int = 200, channels: int = 4, size: int = 5, seed: int = 0) -> Tensor:
    """Images with a level of their own, and channels that are linked."""
    generator = torch.Generator().manual_seed(seed)
    level = torch.randn(n, 1, 1, 1, generator=generator)
    noise = torch.randn(n, channels, size, size, generator=generator)
    place = torch.linspace(1, 3, channels)[:, None, None]
    return 5 * place + place * (level + noise) + noise.roll(1, 1) * place.sqrt()


def literal(batch: Tensor) -> list[dict[str, float]]:
    """What each channel holds, from its definition, in loops."""
    found = []
    for channel in range(batch.shape[1]):
        pictures = [picture[channel].flatten().tolist() for picture in batch]
        finite = [values for values in pictures if all(map(math.isfinite, values))]
        low, high = min(map(min, finite)), max(map(max, finite))
        mean = statistics.fmean(map(statistics.fmean, finite))
        squares = (statistics.fmean((value - mean) ** 2 for value in values) for values in finite)
        found.append(
            {
                "mean": mean,
                "deviation": math.sqrt(statistics.fmean(squares)),
                "minimum": low,
                "maximum": high,
                "constant": statistics.fmean(float(len(set(values)) == 1) for values in finite),
                "empty": statistics.fmean(float(set(values) == {0.0}) for values in finite),
                "non_finite": statistics.fmean(
                    statistics.fmean(float(not math.isfinite(value)) for value in values) for values in pictures
                ),
                "at_minimum": statistics.fmean(values.count(low) / len(values) for values in finite),
                "at_maximum": statistics.fmean(values.count(high) / len(values) for values in finite),
                "images": len(finite),
                "left_out": len(pictures) - len(finite),
            }
        )
    return found


def hurt(batch: Tensor) -> Tensor:
    """With values that are not finite, clipped, constant and empty ones."""
    batch = batch.clone()
    batch[3, 0, 0, 0] = torch.nan
    batch[5, 0, 1, :2] = torch.inf
    batch[:40, 1] = 0.0
    batch[40:45, 2] = 7.0
    batch[:, 3].clamp_(max=float(batch[:, 3].quantile(0.9)))
    return batch


def test_statistics_are_those_of_their_definition() -> None:
    batch = hurt(images())
    found = channel_statistics(input_sums(batch))
    for channel, expected in enumerate(literal(batch)):
        for name, value in expected.items():
            assert float(getattr(found, name)[channel]) == pytest.approx(value, rel=1e-10, abs=1e-12), name


def test_any_cut_and_any_order_of_the_data_gives_the_same_sums() -> None:
    batch = hurt(images())
    parts = [input_sums(batch[rows]) for rows in (slice(150, 200), slice(0, 0), slice(0, 1), slice(1, 150))]
    for name, own, whole in zip(InputSums._fields, merge_inputs(parts), input_sums(batch), strict=True):
        torch.testing.assert_close(own, whole, msg=name)
        assert own.dtype == whole.dtype


def test_no_images_are_nan_and_change_nothing() -> None:
    found = channel_statistics(InputSums.zero(3))
    assert all(bool(value.isnan().all()) for value in found[:9])
    assert found.images.tolist() == found.left_out.tolist() == [0, 0, 0]
    assert all(bool(value.isnan().all()) for value in compare_inputs(InputSums.zero(3), input_sums(images(channels=3))))
    match = match_channels(input_sums(images(channels=3)), InputSums.zero(3))
    assert (match.order.tolist(), math.isnan(match.gain)) == ([0, 1, 2], True)


def test_spectra_and_volumes_are_images_of_one_and_of_many_pixels() -> None:
    batch = images()
    spectra, volumes = (
        channel_statistics(input_sums(batch[..., 0, 0])),
        channel_statistics(input_sums(batch[..., None])),
    )
    assert bool(spectra.constant.isnan().all())
    assert float(spectra.mean[0]) == pytest.approx(float(batch[:, 0, 0, 0].mean()))
    torch.testing.assert_close(volumes, channel_statistics(input_sums(batch)))


def test_a_channel_that_never_varies_has_a_deviation_of_exactly_0() -> None:
    batch = torch.full((50, 2, 3, 3), 0.1)
    found = channel_statistics(input_sums(batch))
    assert found.deviation.tolist() == [0.0, 0.0]
    assert found.constant.tolist() == [1.0, 1.0]
    assert bool(found.at_maximum.isnan().all())
    assert bool(compare_inputs(input_sums(batch), input_sums(batch)).shift.isnan().all())


def test_a_large_offset_takes_nothing_from_mean_and_deviation() -> None:
    batch = images().double()
    near, far = channel_statistics(input_sums(batch)), channel_statistics(input_sums(batch + 1e5))
    torch.testing.assert_close(far.deviation, near.deviation, rtol=1e-6, atol=0)
    torch.testing.assert_close(
        relative_deviation_error(input_sums(batch + 1e3)),
        relative_deviation_error(input_sums(batch)),
        rtol=1e-3,
        atol=0,
    )


def test_correlations_are_those_of_the_values_at_the_places_looked_at() -> None:
    batch = images(size=8)
    expected = batch.transpose(0, 1).flatten(1).double().corrcoef()
    torch.testing.assert_close(channel_correlations(input_sums(batch)), expected)
    large = images(size=40, n=100)
    near = large.transpose(0, 1).flatten(1).double().corrcoef()
    torch.testing.assert_close(channel_correlations(input_sums(large)), near, rtol=0, atol=0.02)


def test_standard_errors_are_the_spread_over_draws_of_images_and_not_of_pixels() -> None:
    draws = [channel_statistics(input_sums(images(100, 2, seed=seed))) for seed in range(300)]
    sums = [input_sums(images(100, 2, seed=seed)) for seed in range(30)]
    spread = torch.stack([found.mean for found in draws]).std(0)
    torch.testing.assert_close(torch.stack([mean_error(found) for found in sums]).mean(0), spread, rtol=0.1, atol=0)
    spread = torch.stack([found.deviation.log() for found in draws]).std(0)
    own = torch.stack([relative_deviation_error(found) for found in sums]).mean(0)
    torch.testing.assert_close(own, spread, rtol=0.1, atol=0)


def test_intervals_cover_at_their_level() -> None:
    many, covered, runs = images(20000, 1, seed=10**6), torch.zeros(2), 400
    true = compare_inputs(input_sums(many), input_sums(many * 1.5 + 3))
    for seed in range(runs):
        train, validation = images(80, 1, seed=2 * seed), images(60, 1, seed=2 * seed + 1) * 1.5 + 3
        found = compare_inputs(input_sums(train), input_sums(validation))
        covered += torch.cat(
            [
                (found.shift_low < true.shift) & (true.shift < found.shift_high),
                (found.ratio_low < true.ratio) & (true.ratio < found.ratio_high),
            ]
        )
    assert bool((covered / runs - 0.95).abs().max() < 0.03)


def test_the_mapping_gives_validation_the_mean_and_the_deviation_of_training() -> None:
    train, validation = images(seed=0), images(seed=1) * torch.tensor([0.1, 1, 1, -3.0])[:, None, None] + 1000
    validation[:, 2] = 4.0
    found = compare_inputs(input_sums(train), input_sums(validation))
    mended = channel_statistics(input_sums(map_inputs(validation.double(), found.scale, found.offset)))
    own = channel_statistics(input_sums(train))
    torch.testing.assert_close(mended.mean[[0, 1, 3]], own.mean[[0, 1, 3]])
    torch.testing.assert_close(mended.deviation[[0, 1, 3]], own.deviation[[0, 1, 3]])
    assert bool(found.scale[2].isnan())
    assert float(mended.mean[2]) == 4.0


@pytest.mark.parametrize("size", [1, 2, 7, 40])
def test_assignments_cost_as_little_as_those_of_scipy(size: int) -> None:
    for seed in range(20):
        cost = torch.rand(size, size, generator=torch.Generator().manual_seed(seed)).round(
            decimals=2 if seed % 2 else 7
        )
        columns = best_assignment(cost)
        assert sorted(columns.tolist()) == list(range(size))
        rows, expected = linear_sum_assignment(cost.numpy())
        assert float(cost[range(size), columns].sum()) == pytest.approx(float(cost[rows, expected].sum()))


@pytest.mark.parametrize("channels", [3, 12])
@pytest.mark.parametrize("standardised", [False, True], ids=["as measured", "standardised"])
def test_channels_in_another_order_are_put_back(channels: int, standardised: bool) -> None:
    train, validation = images(400, channels, seed=1), images(300, channels, seed=2)
    if standardised:  # what is left to tell them apart are their correlations
        mixing = torch.randn(channels, channels, generator=torch.Generator().manual_seed(5))
        train, validation = (torch.einsum("n b h w, c b -> n c h w", batch, mixing) for batch in (train, validation))
        train, validation = (
            (batch - batch.mean((0, 2, 3), keepdim=True)) / batch.std((0, 2, 3), keepdim=True)
            for batch in (train, validation)
        )
    order = torch.randperm(channels, generator=torch.Generator().manual_seed(channels))
    assert order.tolist() != list(range(channels))
    found = match_channels(input_sums(train), input_sums(validation[:, order]))
    torch.testing.assert_close(validation[:, order][:, found.order], validation)
    assert float(found.gain) > 0.95
    assert float(found.matched) < 10 < float(found.distance)


def test_the_same_order_gains_nothing_whether_or_not_the_scale_is_another() -> None:
    for seed in range(10):
        train, validation = input_sums(images(300, 6, seed=2 * seed)), images(300, 6, seed=2 * seed + 1)
        same = match_channels(train, input_sums(validation))
        assert (same.order.tolist(), float(same.gain)) == (list(range(6)), 0.0)
        assert float(match_channels(train, input_sums(validation * 0.01)).gain) < 0.5


def test_a_channel_that_is_empty_on_one_side_is_far_from_all_and_disturbs_no_other() -> None:
    train, validation = images(300, 5, seed=1), images(300, 5, seed=2)
    validation[:, 2] = 0.0
    found = match_channels(input_sums(train), input_sums(validation))
    assert found.order.tolist() == [0, 1, 2, 3, 4]
    assert float(channel_statistics(input_sums(validation)).empty[2]) == 1.0


def of_rank(rank: int, world: int) -> dict[str, float]:
    """The figures of two processes, of which the first holds the extremes and the second spoilt images."""
    metric = InputStatistics(4)
    metric.update(hurt(images())[rank * 120 : 120 + rank * 80])
    return {key: float(value) for key, value in metric.compute().items()}


@pytest.mark.slow
def test_two_processes_know_the_figures_of_one() -> None:
    metric = InputStatistics(4)
    metric.update(hurt(images()))
    expected = {key: pytest.approx(float(value), nan_ok=True) for key, value in metric.compute().items()}
    for found in run_on_processes(2, of_rank):
        assert found == expected


def test_a_forward_and_a_merge_join_as_updates_do() -> None:
    batch = hurt(images())
    whole, parts, other = (InputStatistics(["a", "b", "c", "d"]) for _ in range(3))
    whole.update(batch)
    alone = parts(batch[:70])
    assert float(alone["images"]) == 70
    parts(batch[70:90])
    other.update(batch[90:])
    parts.merge_state(other)
    for key, value in whole.compute().items():
        torch.testing.assert_close(parts.compute()[key], value, equal_nan=True, msg=key)


def test_images_that_are_not_finite_are_left_out_and_counted() -> None:
    values = InputStatistics(4)(hurt(images()))
    assert (float(values["left_out/channel 0"]), float(values["left_out/channel 1"])) == (2, 0)
    assert float(values["non_finite/channel 0"]) == pytest.approx(3 / (200 * 25))
    assert all(bool(value.isfinite()) for value in values.values())


def test_images_of_other_channels_say_what_to_pass() -> None:
    with pytest.raises(InputError) as error:
        InputStatistics(3).update(torch.zeros(2, 4, 5, 5))
    assert str(error.value) == (
        "InputStatistics.update: the inputs are not images of these channels; given shape (2, 4, 5, 5), "
        "torch.float32, for 3 channels. Pass images (n b ...) of real numbers, channels on axis 1."
    )
    with pytest.raises(InputError, match="channels are not named once each"):
        InputStatistics(["a", "a"])
