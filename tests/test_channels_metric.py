"""How concentrated profiles are, and the metric over them."""

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from lightning_failures import attribute_channels
from lightning_failures.errors import InputError
from lightning_failures.functional import (
    centroid,
    chance_floor,
    concentration,
    effective_channels,
    entropy_channels,
    gini,
    haufe_pattern,
    signal_moments,
)
from lightning_failures.metrics import ChannelDependence, ChannelSignal
from tests.networks import Bent, batch

# -- concentration


@pytest.mark.parametrize("number", [effective_channels, entropy_channels])
def test_effective_channels_run_from_one_to_all(number: Callable[[Tensor], Tensor]) -> None:
    assert float(number(torch.tensor([1.0, 0.0, 0.0, 0.0]))) == pytest.approx(1)
    assert float(number(torch.full((4,), 0.25))) == pytest.approx(4)
    assert float(number(torch.tensor([0.5, 0.5, 0.0]))) == pytest.approx(2)


def test_gini_is_its_mean_absolute_difference() -> None:
    p = torch.rand(7, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    literal = (p[:, None] - p).abs().mean() / (2 * p.mean())
    assert float(gini(p / p.sum())) == pytest.approx(float(literal))
    assert float(gini(torch.full((5,), 0.2))) == pytest.approx(0, abs=1e-12)
    assert float(gini(torch.tensor([0.0, 0.0, 0.0, 1.0]))) == pytest.approx(0.75)


def test_the_centroid_is_the_mean_position() -> None:
    assert float(centroid(torch.tensor([0.5, 0.5]), torch.tensor([1000.0, 1700.0]))) == 1350


def test_a_blank_profile_has_no_concentration() -> None:
    nothing = torch.full((4,), torch.nan, dtype=torch.float64)
    assert all(bool(value.isnan()) for value in concentration(nothing, torch.arange(4.0)))


# -- metric


def test_the_metric_computes_a_flat_dict_of_scalars() -> None:
    changes = torch.tensor([[3.0, 1.0], [5.0, 1.0]])
    metric = ChannelDependence(["Amide I", "Phosphate"], positions=[1650.0, 1080.0])
    metric.update(changes)
    values = {key: float(value) for key, value in metric.compute().items()}
    assert math.isnan(values.pop("total"))
    assert values == pytest.approx(
        {
            "change/Amide I": 4.0,
            "change/Phosphate": 1.0,
            "error/Amide I": 1.0,
            "error/Phosphate": 0.0,
            "share/Amide I": 0.8,
            "share/Phosphate": 0.2,
            "effective_channels": 1 / 0.68,
            "entropy_channels": math.exp(-0.8 * math.log(0.8) - 0.2 * math.log(0.2)),
            "gini": 0.3,
            "largest_share": 0.8,
            "centroid": 0.8 * 1650 + 0.2 * 1080,
            "largest_change": 4.0,
            "floor": 0.0,
            **{f"band_floor/{name}": 0.0 for name in metric.names},
            "bands": 2.0,
        }
    )
    assert all(value.shape == () for value in metric.compute().values())


@pytest.mark.parametrize("cut", [0, 1, 4, 7])
def test_any_cut_of_the_images_gives_the_same(cut: int) -> None:
    changes = torch.randn(7, 3, generator=torch.Generator().manual_seed(0))
    whole, parts = ChannelDependence("abc"), ChannelDependence("abc")
    whole.update(changes)
    parts.update(changes[:cut])
    parts.update(changes[cut:])
    for key, value in whole.compute().items():
        assert torch.allclose(parts.compute()[key], value, equal_nan=True), key


def test_nothing_seen_is_nan_and_says_why() -> None:
    metric = ChannelDependence(["a", "b"])
    assert all(bool(value.isnan()) for key, value in metric.compute().items() if key != "bands")
    assert metric.undefined["change/a"] == "no image was seen"
    assert metric.undefined["centroid"].startswith("the bands have no axis")


def test_changes_under_the_floor_keep_their_size_and_lose_their_shape() -> None:
    metric = ChannelDependence(["a", "b"], positions=[1.0, 2.0], floor=0.5)
    metric.update(torch.tensor([[0.4, 0.1], [0.2, 0.1]]))
    values = metric.compute()
    assert float(values["largest_change"]) == pytest.approx(0.3)
    assert bool(values["share/a"].isnan() & values["effective_channels"].isnan() & values["centroid"].isnan())
    assert (
        metric.undefined["share/a"]
        == "no band's change passes the null floor, so that the profile's shape means nothing"
    )


def test_bands_that_share_a_name_are_refused() -> None:
    with pytest.raises(InputError) as caught:
        ChannelDependence(["a", "a"], positions=[1.0])
    assert str(caught.value) == (
        "ChannelDependence: bands are not named once each, with one position each; "
        "given 2 names, 1 different, positions: 1. Give each band a name of its own, and one position per band or none."
    )


def test_changes_of_other_bands_are_refused() -> None:
    with pytest.raises(InputError) as caught:
        ChannelDependence(["a", "b"]).update(torch.zeros(4, 3))
    assert str(caught.value) == (
        "ChannelDependence.update: changes and bands differ in number; given changes (4, 3), 2 bands. "
        "Give one row per image and one column per band."
    )


# -- profiles of several batches, or processes


def test_profiles_of_two_batches_give_their_floor_their_total_and_the_error_of_shared_draws() -> None:
    inputs, targets = batch(10)
    parts = [slice(0, 4), slice(4, 10)]
    profiles = [attribute_channels(Bent(), inputs[p], targets[p], "shapley", null="head", draws=4) for p in parts]
    metric = ChannelDependence(profiles[0].names)
    for profile in profiles:
        metric.update(profile)
    values = metric.compute()
    one, other = profiles
    assert float(values["floor"]) == pytest.approx(float(0.4 * one.floor + 0.6 * other.floor))
    assert float(values["total"]) == pytest.approx(float(0.4 * one.total + 0.6 * other.total))
    assert float(values["total"]) == pytest.approx(sum(float(values[f"change/{name}"]) for name in one.names))
    changes = torch.cat([one.changes, other.changes])
    drawn = 0.4 * one.sampling.sqrt() + 0.6 * other.sampling.sqrt()
    expected = (changes.var(0) / 10 + drawn.square()).sqrt()
    assert torch.stack([values[f"error/{name}"] for name in one.names]) == pytest.approx(expected)
    assert bool((drawn > 0).any())


def test_the_null_floor_of_parts_is_not_below_that_of_the_whole() -> None:
    inputs, targets = batch(12)
    model, base = Bent(), inputs.mean((0, 2, 3))
    whole = attribute_channels(model, inputs, targets, null="head", baseline=base)
    metric = ChannelDependence(whole.names)
    for part in (slice(0, 3), slice(3, 12)):
        metric.update(attribute_channels(model, inputs[part], targets[part], null="head", baseline=base))
    assert float(metric.compute()["floor"]) >= float(whole.floor)


def test_the_chance_of_images_in_parts_is_that_of_the_whole() -> None:
    inputs, targets = batch(12)
    model, base = Bent(), inputs.mean((0, 2, 3))
    whole = attribute_channels(model, inputs, targets, null="images", baseline=base)
    metric = ChannelDependence(whole.names)
    for part in (slice(0, 1), slice(1, 3), slice(3, 12)):
        metric.update(attribute_channels(model, inputs[part], targets[part], null="images", baseline=base))
    values = metric.compute()
    assert float(values["floor"]) == pytest.approx(float(whole.floor), rel=1e-4)
    assert float(whole.floor) >= 0.05
    assert whole.blank == bool(values["largest_share"].isnan())


def test_a_floor_of_logits_is_chance_alone() -> None:
    inputs, targets = batch(12)
    profile = attribute_channels(Bent(), inputs, targets, null="images", output="logit")
    assert profile.floors.tolist() == pytest.approx(chance_floor(profile.sums).tolist())
    assert 0 < float(profile.least) < 1e-4


def test_spectra_are_means_and_deviations_of_images_and_their_largest_pattern() -> None:
    inputs, _ = batch(9)
    inputs[:, 2] = 0.7
    logits = torch.randn(9, 3, generator=torch.Generator().manual_seed(1))
    metric = ChannelSignal(channels=6, classes=3)
    metric.update(inputs[:4], logits[:4])
    metric.update(inputs[4:], logits[4:])
    mean, deviation, pattern = metric.spectra()
    assert torch.allclose(mean, inputs.double().mean((0, 2, 3)))
    assert torch.allclose(deviation, inputs.double().mean((2, 3)).std(0), atol=1e-7)
    expected = haufe_pattern(signal_moments(inputs, logits), 6).abs().max(0).values
    assert torch.allclose(pattern, expected, equal_nan=True)
    assert float(mean[2]) == float(inputs[0, 2, 0, 0])
    assert bool(pattern[2].isnan())
    assert float(metric.compute()["pattern"]) == pytest.approx(float(expected.nan_to_num(0.0).max()))


def test_a_signal_of_nothing_is_nan_and_says_why() -> None:
    metric = ChannelSignal(channels=2, classes=2)
    assert bool(metric.compute()["pattern"].isnan())
    assert metric.undefined["pattern"] == "fewer than two images, or channels or logits that do not vary"


def test_a_change_as_large_as_the_floor_does_not_pass_it() -> None:
    for floor, blank in ((2.0, False), (3.0, True)):
        metric = ChannelDependence(["a", "b"], floor=floor)
        metric.update(torch.tensor([[3.0, 1.0], [3.0, 1.0]]))
        assert bool(metric.compute()["share/a"].isnan()) == blank
