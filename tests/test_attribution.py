"""Attribution of channels: the exact tests of each method, and each against its definition."""

from typing import Any

import pytest
import torch
from sklearn.linear_model import Ridge
from torch import Tensor, nn
from torch.nn import functional as F

from lightning_failures import attribute_channels
from lightning_failures.attribution import Conditional, donors
from lightning_failures.errors import FailuresWarning
from tests.networks import Bent, Mean, batch

REPLACING = ["ablation", "shapley", "permutation", "conditional_permutation", "window_conditional_permutation"]
GRADIENTS = ["gradient_x_input", "integrated_gradients", "expected_gradients"]


# -- the exact tests of the reference


@pytest.mark.parametrize("method", ["gradient_x_input", "integrated_gradients", "ablation", "shapley"])
def test_a_linear_model_gives_weight_times_channel(method: Any) -> None:
    weights = [2.0, -1.0, 0.5, 0.0]
    inputs, _ = batch(channels=4)
    targets = torch.ones(6, dtype=torch.int64)
    profile = attribute_channels(Mean(weights), inputs, targets, method, baseline="zero", output="logit")
    expected = inputs.mean((2, 3)).double() * torch.tensor(weights)
    assert torch.allclose(profile.changes, expected, atol=1e-5)


def test_integrated_gradients_are_complete_to_a_thousandth() -> None:
    inputs, targets = batch()
    model = Bent()
    for output in ("cross_entropy", "logit"):
        profile = attribute_channels(model, inputs, targets, "integrated_gradients", output=output)
        assert abs(float(profile.gap)) < 1e-3 * abs(float(profile.total))


def test_the_total_of_a_path_is_the_score_minus_that_of_the_baseline() -> None:
    inputs, targets = batch()
    model = Bent().eval()
    profile = attribute_channels(model, inputs, targets, "integrated_gradients", baseline="zero")
    with torch.no_grad():
        lost = F.cross_entropy(model(torch.zeros_like(inputs)), targets) - F.cross_entropy(model(inputs), targets)
    assert float(profile.total) == pytest.approx(float(lost), abs=1e-5)


def test_too_few_points_of_a_path_are_said() -> None:
    inputs, targets = batch()
    with pytest.warns(FailuresWarning) as said:
        attribute_channels(Bent(), inputs, targets, "integrated_gradients", draws=1)
    assert str(said[0].message).startswith("attribute_channels: integrated gradients miss ")
    assert str(said[0].message).endswith("; 1 points of the path are too few: pass more draws.")


def test_expected_gradients_are_complete_in_the_mean_over_paths() -> None:
    inputs, targets = batch(images=16)
    profile = attribute_channels(Bent(), inputs, targets, "expected_gradients", draws=200)
    assert abs(float(profile.gap)) < 0.03 * float(profile.values.abs().sum())


def test_expected_gradients_of_a_linear_model_are_its_weights_times_the_distance_to_the_others() -> None:
    inputs, _ = batch(images=5, channels=3)
    targets = torch.ones(5, dtype=torch.int64)
    profile = attribute_channels(
        Mean([1.0, -2.0, 0.0]), inputs, targets, "expected_gradients", output="logit", draws=400
    )
    means = inputs.mean((2, 3)).double()
    others = (means.sum(0) - means) / 4
    assert torch.allclose(profile.changes, (means - others) * torch.tensor([1.0, -2.0, 0.0]), atol=0.06)
    assert float(profile.gap) == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize(("bands", "kind"), [([[0, 1], [2], [3, 4, 5]], "all sets"), (None, "58 sets")])
def test_shapley_values_sum_to_what_is_lost_with_all_bands_replaced(bands: Any, kind: str) -> None:
    inputs, targets = batch(channels=6 if bands else 8)
    model = Bent(6 if bands else 8).eval()
    profile = attribute_channels(model, inputs, targets, "shapley", bands)
    with torch.no_grad():
        mean = inputs.mean((0, 2, 3), keepdim=True).expand_as(inputs)
        lost = F.cross_entropy(model(mean), targets) - F.cross_entropy(model(inputs), targets)
    assert kind in profile.way
    assert float(profile.values.sum()) == pytest.approx(float(lost), abs=1e-5)
    assert float(profile.gap) == pytest.approx(0, abs=1e-9)


def test_a_duplicated_channel_shares_its_shapley_value_evenly_and_ablation_misses_it() -> None:
    inputs, _ = batch(images=32, channels=3)
    inputs[:, 1] = inputs[:, 0]

    class Either(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            score = torch.maximum(x[:, 0], x[:, 1]).mean((1, 2))
            return torch.stack([0 * score, score], 1)

    targets = torch.ones(32, dtype=torch.int64)
    low = inputs.amin((0, 2, 3))
    profile = attribute_channels(Either(), inputs, targets, "shapley", baseline=low, output="logit")
    assert float(profile.values[0]) == pytest.approx(float(profile.values[1]), rel=1e-5)
    assert float(profile.values[0]) > 0.5
    assert float(profile.values[2]) == pytest.approx(0, abs=1e-12)
    single = attribute_channels(Either(), inputs, targets, "ablation", baseline=low, output="logit")
    assert single.values.tolist() == [0, 0, 0]
    assert single.blank


@pytest.mark.parametrize("method", ["conditional_permutation", "permutation"])
def test_a_duplicated_channel_has_no_conditional_importance(method: Any) -> None:
    inputs, targets = batch(images=16, channels=4)
    inputs[:, 1] = 2 * inputs[:, 0] - 1
    values = attribute_channels(Bent(4), inputs, targets, method).values.abs()
    if method == "permutation":
        assert float(values[:2].min()) > 1e-2
    else:
        assert float(values[:2].max()) < 1e-4
        assert float(values[2:].min()) > 1e-2


def test_a_window_takes_a_duplicated_pair_together() -> None:
    inputs, targets = batch(images=16, channels=6)
    inputs[:, 1] = inputs[:, 0]
    single = attribute_channels(Bent(), inputs, targets, "conditional_permutation").values.abs()
    window = attribute_channels(Bent(), inputs, targets, "window_conditional_permutation", 3).values.abs()
    assert float(single[0]) < 1e-4 < 1e-3 < float(window[0])


@pytest.mark.parametrize("method", REPLACING + GRADIENTS)
def test_a_constant_channel_has_exactly_nothing(method: Any) -> None:
    inputs, targets = batch(images=8)
    inputs[:, 2] = 0.7
    profile = attribute_channels(Bent(), inputs, targets, method, [[0, 1], [2], [3, 4], [5]])
    assert abs(float(profile.values[1])) == pytest.approx(0, abs=1e-7 if method == "shapley" else 0)


@pytest.mark.parametrize("method", REPLACING + GRADIENTS)
def test_a_channel_that_the_model_ignores_has_nothing(method: Any) -> None:
    inputs, targets = batch(images=8)
    model = Bent()
    with torch.no_grad():
        model.stem.weight[:, 3] = 0
    values = attribute_channels(model, inputs, targets, method, bands=[[0], [1], [2], [3], [4], [5]]).values
    assert abs(float(values[3])) < 1e-6
    assert float(values[:3].abs().min()) > 1e-4


# -- against the definitions


def test_permutation_is_the_change_on_taking_a_channel_from_another_image() -> None:
    inputs, targets = batch()
    model = Bent().eval()
    profile = attribute_channels(model, inputs, targets, "permutation", seed=3)
    donor = donors(6, torch.Generator().manual_seed(3))
    with torch.no_grad():
        for channel in range(6):
            changed = inputs.clone()
            changed[:, channel] = inputs[donor, channel]
            lost = F.cross_entropy(model(changed), targets) - F.cross_entropy(model(inputs), targets)
            assert float(profile.values[channel]) == pytest.approx(float(lost), abs=1e-5)


def test_the_residual_is_that_of_a_ridge_regression_on_the_other_channels() -> None:
    gen = torch.Generator().manual_seed(0)
    mix = torch.randn(5, 5, generator=gen)
    inputs = torch.einsum("kc,nchw->nkhw", mix, torch.randn(6, 5, 4, 4, generator=gen)).double()
    rows = inputs.movedim(1, -1).reshape(-1, 5)
    found = Conditional(inputs, 1, ridge=0.1)
    alpha = 0.1 * float(rows.var(0, correction=0).mean()) * len(rows)
    for group in ([0], [1, 3], [2, 3, 4]):
        rest = [channel for channel in range(5) if channel not in group]
        fit = Ridge(alpha=alpha).fit(rows[:, rest].numpy(), rows[:, group].numpy())
        predicted = torch.from_numpy(fit.predict(rows[:, rest].numpy())).view(len(rows), -1)
        expected = (rows[:, group] - predicted).view(6, 4, 4, -1).movedim(-1, 1)
        assert torch.allclose(found.residual(torch.tensor(group)), expected)


def test_standard_errors_are_those_of_the_changes_over_images() -> None:
    inputs, targets = batch(images=10)
    profile = attribute_channels(Bent(), inputs, targets)
    assert torch.allclose(profile.error, profile.changes.std(0) / 10**0.5)


def test_random_draws_add_to_the_error() -> None:
    inputs, targets = batch(images=10, channels=9)
    for method in ("permutation", "expected_gradients", "shapley"):
        profile = attribute_channels(Bent(9), inputs, targets, method, draws=8)
        assert bool((profile.sampling > 0).all())
        over_images = profile.changes.std(0) / 10**0.5
        assert bool((profile.error > over_images).all())


def test_bands_of_all_channels_are_the_channels_and_bands_of_some_leave_the_rest_alone() -> None:
    inputs, targets = batch()
    model = Bent()
    single = attribute_channels(model, inputs, targets)
    pair = attribute_channels(model, inputs, targets, bands={"one": [4], "other": [1]})
    assert pair.names == ("one", "other")
    assert torch.allclose(pair.values, single.values[[4, 1]], atol=1e-6)
    for method in ("integrated_gradients", "expected_gradients", "shapley"):
        some = attribute_channels(model, inputs, targets, method, bands={"one": [4], "other": [1]})
        assert abs(float(some.gap)) < 0.03 * float(some.changes.abs().mean()) + 1e-9, method


def test_the_same_seed_gives_the_same_and_another_seed_another() -> None:
    inputs, targets = batch(images=12)
    one, same, other = (
        attribute_channels(Bent(), inputs, targets, "permutation", seed=seed).values for seed in (0, 0, 1)
    )
    assert torch.equal(one, same)
    assert not torch.equal(one, other)


@pytest.mark.parametrize("method", ["ablation", "gradient_x_input"])
def test_the_null_floor_is_the_largest_rise_of_eight_shuffles_of_the_last_layer(method: Any) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 9), nn.Tanh(), nn.Linear(9, 3))
    inputs = torch.randn(40, 6)
    targets = model(inputs).argmax(1)
    profile = attribute_channels(model, inputs, targets, method, null="head", seed=5)
    last = model[2]
    weight, generator = last.weight.detach().clone(), torch.Generator().manual_seed(6)
    rises = []
    for _ in range(8):
        with torch.no_grad():
            last.weight.copy_(weight.flatten()[torch.randperm(27, generator=generator)].view_as(weight))
        rises.append(float(attribute_channels(model, inputs, targets, method, seed=5).values.max()))
    assert rises[0] < max(rises)
    assert float(profile.floor) == pytest.approx(max(rises), rel=1e-5)
