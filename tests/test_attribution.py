"""Attribution of channels: the exact tests of each method, its tasks and targets, and what bad input says."""

from typing import Any

import pytest
import torch
from sklearn.linear_model import Ridge
from torch import Tensor, nn
from torch.nn import functional as F

from lightning_failures.errors import FailuresWarning, InputError, UnknownNameError
from lightning_failures.probes.attribution import attribute_channels
from lightning_failures.probes.replacement import Conditional, donors
from lightning_failures.probes.screening import deletion_curves, screen_channels

REPLACING = ["ablation", "shapley", "permutation", "conditional_permutation", "window_conditional_permutation"]
GRADIENTS = ["gradient_x_input", "integrated_gradients", "expected_gradients"]


class Mean(nn.Module):
    """Logits that are linear in the channel means: (0, sum of w_c times the mean of channel c)."""

    def __init__(self, weights: list[float]) -> None:
        super().__init__()
        self.layer = nn.Conv2d(len(weights), 2, 1, bias=False)
        with torch.no_grad():
            self.layer.weight.copy_(torch.tensor([[0.0] * len(weights), weights])[:, :, None, None])

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(x).mean((2, 3))


class Bent(nn.Module):
    """Logits that are not linear in the channels."""

    def __init__(self, channels: int = 6, classes: int = 3, seed: int = 0) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.stem = nn.Conv2d(channels, 8, 3, padding=1)
        self.body = nn.Conv2d(8, 8, 3)
        self.head = nn.Linear(8, classes)

    def forward(self, x: Tensor) -> Tensor:
        return 3 * self.head(F.gelu(self.body(F.gelu(2 * self.stem(x)))).mean((2, 3)))


def batch(images: int = 6, channels: int = 6, size: int = 5, seed: int = 0) -> tuple[Tensor, Tensor]:
    gen = torch.Generator().manual_seed(seed)
    return torch.randn(images, channels, size, size, generator=gen) + 1, torch.randint(0, 2, (images,), generator=gen)


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


@pytest.mark.parametrize(("bands", "kind"), [([[0, 1], [2], [3, 4, 5]], "all sets"), (None, "8 orders")])
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


# -- tasks and targets


def test_without_targets_the_models_own_predictions_are_taken() -> None:
    inputs, _ = batch()
    model = Bent().eval()
    profile = attribute_channels(model, inputs, None)
    with torch.no_grad():
        own = model(inputs).argmax(1)
    assert profile.target == "predicted"
    assert torch.equal(profile.changes, attribute_channels(model, inputs, own).changes)


@pytest.mark.parametrize("method", REPLACING + GRADIENTS)
def test_pixels_are_attributed_too(method: Any) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(4, 6, 3, padding=1), nn.GELU(), nn.Conv2d(6, 3, 1)).eval()
    inputs, _ = batch(images=5, channels=4)
    targets = torch.randint(0, 3, (5, 5, 5))
    targets[:, 0] = -100
    profile = attribute_channels(model, inputs, targets, method, draws=None if method == "integrated_gradients" else 4)
    assert profile.changes.shape == (5, 4)
    assert bool((profile.values.abs() > 0).all())
    if method == "ablation":
        changed = inputs.clone()
        changed[:, 2] = inputs[:, 2].mean()
        with torch.no_grad():
            lost = F.cross_entropy(model(changed), targets) - F.cross_entropy(model(inputs), targets)
        assert float(profile.values[2]) == pytest.approx(float(lost), abs=1e-5)


def test_an_image_without_a_labelled_pixel_does_not_count() -> None:
    model = nn.Conv2d(4, 3, 1)
    inputs, _ = batch(images=3, channels=4)
    targets = torch.zeros(3, 5, 5, dtype=torch.int64)
    targets[1] = -100
    profile = attribute_channels(model, inputs, targets)
    assert int(profile.sums.images) == 2
    kept = attribute_channels(model, inputs[[0, 2]], targets[[0, 2]], baseline=inputs.mean((0, 2, 3)))
    assert torch.allclose(profile.values, kept.values, atol=1e-6)


def test_grey_images_spectra_and_sequences_are_attributed() -> None:
    assert attribute_channels(
        nn.Sequential(nn.Flatten(), nn.Linear(16, 2)), torch.randn(3, 1, 4, 4), None
    ).values.shape == (1,)
    assert attribute_channels(nn.Linear(20, 2), torch.randn(3, 20), None).values.shape == (20,)
    sequence = nn.Sequential(nn.Conv1d(5, 2, 3), nn.AdaptiveAvgPool1d(1), nn.Flatten())
    assert attribute_channels(sequence, torch.randn(3, 5, 9), None).values.shape == (5,)


def test_one_logit_for_two_classes_is_attributed() -> None:
    inputs, targets = batch(channels=3)
    model = nn.Sequential(nn.Conv2d(3, 1, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    profile = attribute_channels(model, inputs, targets, null="head")
    changed = inputs.clone()
    changed[:, 0] = inputs[:, 0].mean()
    with torch.no_grad():
        lost = F.binary_cross_entropy_with_logits(model(changed)[:, 0], targets.float())
        lost = lost - F.binary_cross_entropy_with_logits(model(inputs)[:, 0], targets.float())
    assert float(profile.values[0]) == pytest.approx(float(lost), abs=1e-6)
    assert torch.equal(attribute_channels(model, inputs, None).changes.isnan(), torch.zeros(6, 3, dtype=torch.bool))


@pytest.mark.parametrize("baseline", ["mean", "zero", 0.5, "channel", "image", "images"])
def test_every_kind_of_baseline_is_what_it_says(baseline: Any) -> None:
    inputs, targets = batch()
    tensors = {"channel": torch.randn(6), "image": torch.randn(6, 5, 5), "images": torch.randn(6, 6, 5, 5)}
    values = {"mean": inputs.mean((0, 2, 3)), "zero": torch.zeros(6), 0.5: torch.full((6,), 0.5)} | tensors
    value = values[baseline]
    full = (value[:, None, None] if value.ndim == 1 else value).expand_as(inputs)
    profile = attribute_channels(Bent(), inputs, targets, baseline=tensors.get(baseline, baseline))
    model = Bent().eval()
    changed = inputs.clone()
    changed[:, 1] = full[:, 1]
    with torch.no_grad():
        lost = F.cross_entropy(model(changed), targets) - F.cross_entropy(model(inputs), targets)
    assert float(profile.values[1]) == pytest.approx(float(lost), abs=1e-5)
    assert profile.baseline == ("given" if baseline in tensors else str(baseline))


def test_names_and_positions_come_from_the_axis() -> None:
    inputs, targets = batch()
    axis = [1000.0, 1100, 1200, 1300, 1400, 1500]
    profile = attribute_channels(
        Bent(), inputs, targets, bands={"low": (1000, 1200), "high": (1400, 1500)}, wavelengths=axis, unit="cm-1"
    )
    assert profile.names == ("low", "high")
    assert profile.positions is not None
    assert profile.positions.tolist() == [1100, 1450]
    assert profile.members.int().tolist() == [[1, 1, 1, 0, 0, 0], [0, 0, 0, 0, 1, 1]]


# -- the null floor


@pytest.mark.parametrize("method", REPLACING)
def test_the_floor_is_the_largest_change_of_a_model_whose_last_layer_is_shuffled(method: Any) -> None:
    inputs, targets = batch()
    model = Bent()
    profile = attribute_channels(model, inputs, targets, method, null="head", seed=5)
    assert torch.allclose(profile.values, attribute_channels(model, inputs, targets, method, seed=5).values, atol=1e-6)
    weight = model.head.weight.detach().clone()
    generator = torch.Generator().manual_seed(6)
    largest = 0.0
    for order in [torch.randperm(weight.numel(), generator=generator) for _ in range(8)]:
        shuffled = Bent()
        with torch.no_grad():
            shuffled.head.weight.copy_(weight.flatten()[order].view_as(weight))
        values = attribute_channels(shuffled, inputs, targets, method, seed=5).values
        largest = max(largest, float(values.abs().max()))
    assert float(profile.floor) == pytest.approx(largest, abs=1e-5)


def test_a_model_that_scales_its_logits_has_its_heads_run_one_by_one_with_the_same_floor() -> None:
    class Scaled(Bent):
        def forward(self, x: Tensor) -> Tensor:
            logits = super().forward(x)
            return logits / 2 if logits.shape[1] == 3 else logits[:, :3] * torch.nan

    inputs, targets = batch()
    profile = attribute_channels(Scaled(), inputs, targets, null="head")
    halved = Bent()
    with torch.no_grad():
        halved.head.weight /= 2
        halved.head.bias /= 2
    same = attribute_channels(halved, inputs, targets, null="head")
    assert float(profile.floor) == pytest.approx(float(same.floor), abs=1e-6)
    assert torch.allclose(profile.values, same.values, atol=1e-6)


def test_a_model_that_knows_nothing_has_a_blank_profile() -> None:
    model = Bent()
    with torch.no_grad():
        model.head.weight[:] = model.head.weight[0]  # all logits are one: the cross-entropy never changes
    inputs, targets = batch()
    for null in (None, "head", "channels"):
        profile = attribute_channels(model, inputs, targets, null=null)  # type: ignore[arg-type]
        assert profile.blank
        assert bool(profile.share.isnan().all())
        assert float(profile.values.abs().max()) < 1e-6


def test_an_unknown_null_is_named() -> None:
    inputs, targets = batch()
    with pytest.raises(UnknownNameError) as caught:
        attribute_channels(Bent(), inputs, targets, null="weights")  # type: ignore[arg-type]
    assert str(caught.value) == "attribute_channels: no such null; given 'weights'. Choose from 'head' and 'channels'."


# -- screening and curves


def test_screening_is_exact_on_the_top_and_on_random_others() -> None:
    inputs, targets = batch(channels=12)
    model = Bent(12)
    found = screen_channels(model, inputs, targets, top=3, random=4)
    exact = attribute_channels(model, inputs, targets)
    first = attribute_channels(model, inputs, targets, "gradient_x_input")
    checked = torch.cat([found.top, found.random])
    assert len(checked.unique()) == 7
    assert torch.equal(found.top, first.values.abs().topk(3).indices)
    assert torch.allclose(found.exact.changes, exact.changes[:, checked], atol=1e-6)
    assert found.exact.names == tuple(exact.names[band] for band in checked.tolist())
    pairs = torch.stack([first.changes[:, checked].flatten(), exact.changes[:, checked].flatten()])
    assert float(found.agreement) == pytest.approx(float(torch.corrcoef(pairs)[0, 1]))
    worst = exact.values[found.top].abs().min()
    assert float(found.missed) == pytest.approx(float((exact.values[found.random].abs() > worst).double().mean()))


def test_screening_agrees_wholly_with_a_linear_model() -> None:
    inputs, _ = batch(channels=8)
    model = Mean([1.0, -2.0, 0.3, 0.7, 0.1, 2.0, -0.4, 0.2])
    found = screen_channels(model, inputs, torch.ones(6, dtype=torch.int64), top=2, random=4, output="logit")
    assert float(found.agreement) == pytest.approx(1)
    assert float(found.agreement_random) == pytest.approx(1)


def test_screening_everything_misses_nothing_that_can_be_said() -> None:
    inputs, targets = batch(channels=4)
    found = screen_channels(Bent(4), inputs, targets, top=8, random=8)
    assert len(found.exact.names) == 4
    assert bool(found.missed.isnan())
    assert bool(found.agreement_random.isnan())


def test_curves_start_and_end_where_they_must_and_a_right_order_beats_chance() -> None:
    inputs, _ = batch(images=16, channels=10)
    model = Mean([5.0, 4.0, 3.0, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1])
    targets = torch.ones(16, dtype=torch.int64)
    profile = attribute_channels(model, inputs, targets, baseline="zero", output="logit")
    curves = deletion_curves(model, inputs, targets, profile, "zero", orders=8)
    everything = float(profile.values.sum())
    assert curves.fraction.tolist() == pytest.approx([step / 10 for step in range(11)])
    for curve in (curves.deletion, curves.random):
        assert float(curve[0]) == pytest.approx(0, abs=1e-6)
        assert float(curve[-1]) == pytest.approx(everything, rel=1e-5)
    assert float(curves.insertion[0]) == pytest.approx(everything, rel=1e-5)
    assert float(curves.insertion[-1]) == pytest.approx(0, abs=1e-5)
    largest = profile.values.sort(descending=True).values
    assert torch.allclose(curves.deletion[1:], largest.cumsum(0), atol=1e-4)
    assert torch.allclose(curves.insertion, everything - curves.deletion, atol=1e-4)
    assert float(curves.deletion_area) > float(curves.random_area) > float(curves.insertion_area)


# -- bad input


def test_an_unknown_method_is_named() -> None:
    with pytest.raises(UnknownNameError, match="no such method; given 'saliency'"):
        attribute_channels(nn.Linear(3, 2), torch.randn(2, 3), None, "saliency")  # type: ignore[arg-type]


@pytest.mark.parametrize("method", ["permutation", "conditional_permutation", "expected_gradients"])
def test_one_image_cannot_be_shuffled(method: Any) -> None:
    with pytest.raises(InputError) as caught:
        attribute_channels(nn.Linear(3, 2), torch.randn(1, 3), None, method)
    assert str(caught.value) == (
        f"attribute_channels: {method!r} takes channels from other images; given one image. "
        "Pass two images or more, or use method='ablation'."
    )


def test_one_image_can_be_ablated_and_has_no_error() -> None:
    profile = attribute_channels(nn.Linear(3, 2), torch.randn(1, 3), None, baseline="zero")
    assert bool(profile.values.isfinite().all())
    assert bool(profile.error.isnan().all())


def test_channels_on_another_axis_say_which_axes_were_seen() -> None:
    with pytest.raises(InputError) as caught:
        attribute_channels(nn.Conv2d(64, 2, 3), torch.randn(2, 8, 9, 64), None)
    text = str(caught.value)
    assert text.startswith(
        "attribute_channels: the model does not take these inputs; "
        "given inputs (2, 8, 9, 64) with 8 channels on axis 1; it says: Given groups=1, weight of size [2, 64, 3, 3]"
    )
    assert text.endswith("Put the channels on the axis where the model expects them, and name it: channel_axis=1.")
    assert isinstance(caught.value.__cause__, RuntimeError)


def test_wavelengths_of_another_axis_say_which() -> None:
    with pytest.raises(InputError, match=r"in inputs \(2, 8, 9, 64\). Axis 3 has that many: pass channel_axis=3."):
        attribute_channels(nn.Linear(64, 2), torch.randn(2, 8, 9, 64), None, wavelengths=range(64))


@pytest.mark.parametrize("axis", [0, 4, -4, 9])
def test_an_axis_that_cannot_hold_channels_is_named(axis: int) -> None:
    with pytest.raises(InputError) as caught:
        attribute_channels(nn.Linear(3, 2), torch.randn(2, 3, 4, 4), None, channel_axis=axis)
    assert str(caught.value) == (
        f"attribute_channels: there is no channel axis {axis}; given inputs (2, 3, 4, 4) torch.float32. "
        "Choose from 1 to 3; axis 0 holds the images."
    )


@pytest.mark.parametrize("inputs", [torch.zeros(2, 3, dtype=torch.uint8), torch.zeros(3), torch.zeros(0, 3)])
def test_inputs_that_are_no_float_images_are_named(inputs: Tensor) -> None:
    with pytest.raises(InputError) as caught:
        attribute_channels(nn.Linear(3, 2), inputs, None)
    assert str(caught.value) == (
        f"attribute_channels: inputs are not float images; given inputs {tuple(inputs.shape)} {inputs.dtype}. "
        "Give a float tensor (n C h w) of an image or more."
    )


def test_a_baseline_that_does_not_fit_is_named() -> None:
    with pytest.raises(InputError) as caught:
        attribute_channels(nn.Linear(3, 2), torch.randn(2, 3), None, baseline=torch.zeros(4))
    assert str(caught.value) == (
        "attribute_channels: the baseline does not fit the inputs; given baseline (4,), inputs (2, 3). "
        "Give one value a channel, one image, or as many images as there are inputs."
    )
    with pytest.raises(InputError, match="no such baseline; given 'median'"):
        attribute_channels(nn.Linear(3, 2), torch.randn(2, 3), None, baseline="median")


@pytest.mark.parametrize("wrong", [2, -1])
def test_targets_of_classes_that_are_not_there_are_named(wrong: int) -> None:
    with pytest.raises(InputError) as caught:
        attribute_channels(nn.Linear(3, 2), torch.randn(2, 3), torch.tensor([1, wrong]))
    assert str(caught.value) == (
        "attribute_channels: targets name classes that the model does not have; "
        f"given targets from {min(1, wrong)} to {max(1, wrong)}, 2 classes. "
        "Give targets from 0 to 1, and -100 where none counts."
    )


def test_fewer_spectra_than_channels_cannot_be_conditioned_on() -> None:
    with pytest.raises(InputError) as caught:
        attribute_channels(nn.Linear(20, 2), torch.randn(8, 20), None, "conditional_permutation")
    assert str(caught.value) == (
        "attribute_channels: conditional permutation needs more pixel spectra than channels; "
        "given 8 spectra of 20 channels. Pass more images, or use method='ablation' with bands."
    )


@pytest.mark.parametrize("wrong", [{"draws": 0}, {"chunk_size": 0}])
def test_counts_below_one_are_named(wrong: Any) -> None:
    with pytest.raises(InputError, match="draws and chunk_size count from 1"):
        attribute_channels(nn.Linear(3, 2), torch.randn(2, 3), None, **wrong)


def test_donors_are_others_and_each_gives_once() -> None:
    for images in (2, 3, 10):
        donor = donors(images, torch.Generator().manual_seed(images))
        assert sorted(donor.tolist()) == list(range(images))
        assert not bool((donor == torch.arange(images)).any())
