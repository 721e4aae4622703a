"""Images with something removed: what is removed, what stays, and what models keep of their accuracy."""

import math

import pytest
import torch
from torch import Tensor, nn

from lightning_failures.errors import InputError
from lightning_failures.functional import (
    UntappedCounts,
    count_retention,
    keep_intensity,
    keep_mean_spectrum,
    retained,
    shuffle_pixels,
    unit_total,
    untapped_information,
)
from lightning_failures.interventions import (
    as_labels,
    predict_changed,
    predict_transplants,
    raw_images,
    raw_units,
    retention_changes,
    total_absorbance_swap,
)
from lightning_failures.metrics import CueSwap, Retention


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.fixture
def images() -> Tensor:
    return draw(10, 5, 6, 8).abs() + 0.1


def test_shuffled_pixels_keep_their_spectra_and_lose_their_places(images: Tensor) -> None:
    shuffled = shuffle_pixels(images, torch.Generator().manual_seed(0))
    before, after = images.movedim(1, -1).flatten(1, 2), shuffled.movedim(1, -1).flatten(1, 2)
    for one, other in zip(before, after, strict=True):
        assert sorted(one.tolist()) == sorted(other.tolist())
    assert not shuffled.equal(images)
    torch.testing.assert_close(shuffled.mean((2, 3)), images.mean((2, 3)))


def test_each_change_keeps_what_it_says(images: Tensor) -> None:
    mean = images.mean((2, 3))
    flat = keep_mean_spectrum(images)
    torch.testing.assert_close(flat.mean((2, 3)), mean)
    assert flat.std((2, 3)).max() < 1e-12

    grey = keep_intensity(images)
    torch.testing.assert_close(grey.sum(1), images.sum(1))
    torch.testing.assert_close(grey / grey.sum(1, keepdim=True), flat / flat.sum(1, keepdim=True))

    even = unit_total(images, 7.0)
    torch.testing.assert_close(even.sum(1), torch.full_like(even[:, 0], 7))
    torch.testing.assert_close(even / 7, images / images.sum(1, keepdim=True))


def literal_retention(before: list[int], after: list[int], target: list[int]) -> dict[str, float]:
    n = len(target)
    chance = max(target.count(label) for label in target) / n
    accuracy = sum(a == b for a, b in zip(before, target, strict=True)) / n
    changed = sum(a == b for a, b in zip(after, target, strict=True)) / n
    return {
        "accuracy": accuracy,
        "changed_accuracy/x": changed,
        "retained/x": (changed - chance) / (accuracy - chance) if accuracy > chance else math.nan,
        "lost/x": accuracy - changed,
        "chance": chance,
    }


@pytest.mark.parametrize("seed", range(8))
def test_retention_is_its_definition(seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    target, noise, after = (torch.randint(3, (30,), generator=generator) for _ in range(3))
    before = torch.where(torch.rand(30, generator=generator) < 0.6, target, noise)
    metric = Retention(["x"], 3)
    metric.update(before, after[:, None], target)
    values = metric.compute()
    for key, expected in literal_retention(before.tolist(), after.tolist(), target.tolist()).items():
        assert float(values[key]) == pytest.approx(expected, nan_ok=True)
    before_right, after_right = before == target, after == target
    table = [
        int((before_right & after_right).sum()),
        int((after_right & ~before_right).sum()),
        int((before_right & ~after_right).sum()),
        int((~before_right & ~after_right).sum()),
    ]
    paired = untapped_information(UntappedCounts(*torch.tensor(table)))
    assert (values["lost_low/x"], values["lost_high/x"]) == (paired.low, paired.high)


def test_images_without_a_label_are_left_out_and_changes_without_a_prediction_for_themselves() -> None:
    target = torch.tensor([0, 1, 1, -1])
    preds = torch.tensor([0, 1, 0, 0])
    changed = torch.tensor([[0, 0], [-1, 1], [1, 1], [0, 0]])
    result = retained(count_retention(preds, changed, target, 2))
    assert float(result.accuracy) == pytest.approx(2 / 3)
    assert result.changed.tolist() == pytest.approx([1.0, 1.0])
    assert result.lost.tolist() == pytest.approx([1 / 2 - 1, 2 / 3 - 1])


def test_accuracy_at_chance_retains_nothing_defined_and_says_why() -> None:
    metric = Retention(["x"], 2)
    metric.update(torch.tensor([0, 0]), torch.tensor([[0], [0]]), torch.tensor([0, 1]))
    assert metric.compute()["lost/x"] == 0
    assert metric.undefined == {
        "retained/x": "no image with a label and a changed version, or an accuracy that is not above chance"
    }
    metric.reset()
    assert all(value.isnan() for value in metric.compute().values())
    assert metric.undefined["accuracy"] == "no image with a label"


def test_a_model_of_the_mean_spectrum_keeps_all_without_places_and_one_of_shapes_nothing() -> None:
    target = torch.arange(60) % 2
    images = draw(60, 3, 6, 6).abs() * 0.1 + 1
    images[:, 0] += target[:, None, None]
    images[:, 1, :, :3] += target[:, None, None]
    images[:, 1, :, 3:] += 1 - target[:, None, None]

    def by_spectrum(x: Tensor) -> Tensor:
        return torch.stack([1.5 - x[:, 0].mean((1, 2)), x[:, 0].mean((1, 2)) - 1.5], 1)

    def by_place(x: Tensor) -> Tensor:
        side = x[:, 1, :, :3].mean((1, 2)) - x[:, 1, :, 3:].mean((1, 2))
        return torch.stack([-side, side], 1)

    changes = retention_changes(raw_units(None, images))
    assert list(changes) == ["shuffled_pixels", "mean_spectrum", "mean_shape", "unit_total"]
    for model, kept in ((by_spectrum, 1.0), (by_place, 0.0)):
        metric = Retention(list(changes), 2)
        preds = as_labels(model(images))
        assert preds.equal(target)
        metric.update(preds, predict_changed(model, images, changes, batch_size=17), target)
        values = metric.compute()
        assert float(values["retained/mean_spectrum"]) == kept
        assert float(values["retained/shuffled_pixels"]) == pytest.approx(kept, abs=0.4)


def test_dividing_by_the_total_removes_thickness_and_nothing_else() -> None:
    target = torch.arange(40) % 2
    thickness = 1 + target.double()
    images = (draw(40, 4, 5, 5).abs() * 0.01 + 1) * thickness[:, None, None, None]

    def model(x: Tensor) -> Tensor:
        return (x.sum(1).mean((1, 2)) - 6)[:, None]

    mean, std = images.mean((0, 2, 3), keepdim=True), images.std((0, 2, 3), keepdim=True)
    standardised = (images - mean) / std

    def of_standardised(x: Tensor) -> Tensor:
        return model(x * std + mean)

    units = raw_units(lambda x: x * std + mean, standardised)
    torch.testing.assert_close(units.to_raw(standardised), images)
    torch.testing.assert_close(units.to_inputs(images), standardised)
    metric = Retention(list(retention_changes(units)), 2)
    preds = as_labels(of_standardised(standardised))
    assert preds.equal(target)
    metric.update(preds, predict_changed(of_standardised, standardised, retention_changes(units)), target)
    values = metric.compute()
    assert float(values["retained/mean_shape"]) == 1
    assert abs(float(values["retained/unit_total"])) <= 0.5

    swapped = predict_transplants(
        of_standardised, standardised, standardised.roll(1, 0), {"total_absorbance": total_absorbance_swap(units)}
    )
    swap = CueSwap(["total_absorbance"])
    swap.update(preds, preds.roll(1), swapped)
    assert swap.compute()["swap_own/total_absorbance"] == 1


def test_units_that_are_no_scale_and_shift_are_refused() -> None:
    x = draw(3, 2, 2, 2)
    for denormalize in (torch.exp, lambda x: x * 0, lambda x: x[:, :1]):
        with pytest.raises(InputError) as error:
            raw_units(denormalize, x)
        assert str(error.value) == (
            "raw_units: denormalize is not one scale and shift for each channel; given inputs (3, 2, 2, 2) to "
            f"{tuple(denormalize(x).shape)}. Pass what standardised them, denormalize=(mean, std), each a number or "
            "one for each channel."
        )


def test_mean_and_deviation_are_taken_as_torchvision_normalises_with_them() -> None:
    mean, std, x = torch.tensor([0.5, 0.4, 0.3]), torch.tensor([0.2, 0.3, 0.1]), draw(4, 3, 5, 3)
    raw = x * std[:, None, None].double() + mean[:, None, None].double()
    pairs = [(mean, std), (mean.tolist(), std.tolist()), (mean[:, None, None], std[None, :, None, None])]
    for denormalize in (*pairs, lambda x: x * std + mean, lambda x: x * std[:, None, None] + mean[:, None, None]):
        torch.testing.assert_close(raw_units(denormalize, x).to_raw(x), raw, rtol=0, atol=1e-6)
        torch.testing.assert_close(raw_images(denormalize, x[..., :2]), raw[..., :2], rtol=0, atol=1e-6)
    assert raw_units((0.5, 0.25), x).to_raw(x).equal(x * 0.25 + 0.5)
    rows = x[:, :, 0, 0]  # spectra
    torch.testing.assert_close(raw_units((mean, std), rows).to_raw(rows), raw[:, :, 0, 0], rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    ("denormalize", "given"),
    [
        ((torch.zeros(2), torch.ones(3)), "mean and std of 2 and 3 values for 3 channels"),
        ((0.5, [1.0, 0.0, 1.0]), "a std of 0"),
        ((0.5,), "1 values"),
    ],
)
def test_statistics_that_do_not_fit_the_channels_are_refused(denormalize, given) -> None:
    for call in (raw_units, raw_images):
        with pytest.raises(InputError) as error:
            call(denormalize, draw(2, 3, 4, 4), "transplant")
        assert str(error.value) == (
            f"transplant: denormalize is not one scale and shift for each channel; given {given}. Pass what "
            "standardised them, denormalize=(mean, std), each a number or one for each channel."
        )


def test_a_function_that_fails_is_quoted() -> None:
    with pytest.raises(InputError, match=r"given inputs \(2, 3, 4, 4\) to The size of tensor a \(4\) must match"):
        raw_units(lambda x: x * torch.ones(7), draw(2, 3, 4, 4))


def test_a_changed_image_that_is_nan_has_no_prediction() -> None:
    x = torch.zeros(2, 3, 2, 2)
    changes = retention_changes(raw_units(None, x))
    preds = predict_changed(lambda x: x.mean((2, 3)), x, changes)
    assert preds.tolist() == [[0, 0, -1, -1], [0, 0, -1, -1]]


def test_predictions_of_other_images_are_refused() -> None:
    with pytest.raises(InputError) as error:
        Retention(["a", "b"], 2).update(torch.zeros(3), torch.zeros(3, 1), torch.zeros(3))
    assert str(error.value) == (
        "Retention.update: predictions and target are not of the same images and changes; given preds (3,), "
        "changed_preds (3, 1), target (3,) for a, b. Pass one label per image, and one column a change: "
        "(n), (n k) and (n)."
    )


def test_one_logit_is_a_binary_decision() -> None:
    assert as_labels(torch.tensor([-1.0, 2.0])).tolist() == [0, 1]
    assert as_labels(torch.tensor([[-1.0], [2.0]])).tolist() == [0, 1]
    assert as_labels(draw(2, 1, 3, 3)).shape == (2, 3, 3)
    assert as_labels(draw(2, 5, 3, 3)).shape == (2, 3, 3)


def test_a_model_that_fails_is_still_put_back(images: Tensor) -> None:
    model = nn.Linear(3, 3).train()
    with pytest.raises(RuntimeError):
        predict_changed(model, images, retention_changes())
    assert model.training


def test_an_accuracy_of_exactly_chance_leaves_nothing_to_retain() -> None:
    target = torch.tensor([0, 0, 1, 1])
    preds = torch.zeros(4, dtype=torch.int64)
    found = retained(count_retention(preds, torch.stack([target, preds], 1), target, num_classes=2))
    assert found.accuracy == found.chance == 0.5
    assert bool(found.retained.isnan().all())  # not infinite for images that became easy
    assert found.lost.tolist() == [-0.5, 0]


def answers_in_groups(seed: int, groups: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Right and changed predictions of groups that lose more or less by two changes."""
    generator = torch.Generator().manual_seed(seed)
    group = torch.randint(groups, (20 * groups,), generator=generator)
    rate = torch.rand(2, groups, generator=generator)
    target = torch.randint(3, (len(group),), generator=generator)
    wrong = torch.rand(len(group), generator=generator) < 0.1
    lost = torch.rand(2, len(group), generator=generator) < rate[:, group]
    return (target + wrong.long()) % 3, (target + lost.long()).T % 3, target, group


def test_the_interval_of_what_is_lost_by_groups_is_that_of_the_cluster_covariance_of_statsmodels() -> None:
    api = pytest.importorskip("statsmodels.api")
    preds, changed, target, group = answers_in_groups(0, 300)
    metric = Retention(["one", "other"], num_classes=3)
    metric.update(preds, changed, target, group)
    found = metric.compute()
    lost = ((preds == target).double() - (changed[:, 0] == target).double()).numpy()
    model = api.OLS(lost, torch.ones(len(lost), 1).double().numpy())
    known = model.fit(cov_type="cluster", cov_kwds={"groups": group.numpy()}, use_t=True).conf_int()[0]
    ends = [float(found[f"lost_{end}/one"]) for end in ("low", "high")]
    assert ends == pytest.approx(list(known), abs=0.03 * (known[1] - known[0]))
    assert found["groups/all"] == 300


def test_groups_change_the_interval_of_what_is_lost_and_nothing_else_and_pixels_count_with_their_image() -> None:
    preds, changed, target, group = answers_in_groups(1, 10)
    plain, grouped, pixels = (Retention(["one", "other"], num_classes=3) for _ in range(3))
    plain.update(preds, changed, target)
    grouped.update(preds, changed, target, group)
    one, other = plain.compute(), grouped.compute()
    assert other.keys() - one.keys() == {"groups/all"}
    for key, value in one.items():
        if not key.startswith(("lost_low", "lost_high")):
            assert other[key] == value
    assert other["lost_low/one"] < one["lost_low/one"]
    shape = (20, 5, 2)
    pixels.update(preds.reshape(shape), changed.reshape(*shape, 2), target.reshape(shape), torch.arange(20))
    rows = Retention(["one", "other"], num_classes=3)
    rows.update(preds, changed, target, torch.arange(20).repeat_interleave(10))
    assert pixels.compute() == rows.compute()
