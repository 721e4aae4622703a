"""The audit of any loader: what it reads, keeps, leaves out and refuses."""

import json
from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor
from torch.utils.data import DataLoader, TensorDataset

from lightning_failures import audit_data
from lightning_failures.audit import (
    BatchLayout,
    DataAudit,
    DataSums,
    Sample,
    data_sums,
    image_views,
    run_small_network,
)
from lightning_failures.errors import FailuresError


def draw(n: int = 300, channels: int = 5, size: int = 4, classes: int = 3, seed: int = 0) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    target = torch.randint(classes, (n,), generator=generator)
    images = torch.rand(n, channels, size, size, generator=generator)
    return images + 0.5 * torch.eye(classes, channels)[target, :, None, None], target


def batches(images: Tensor, target: Tensor, size: int = 64) -> list[tuple[Tensor, Tensor]]:
    return list(zip(images.split(size), target.split(size), strict=True))


def message(*args: Any, **kwargs: Any) -> str:
    with pytest.raises(FailuresError) as error:
        audit_data(*args, steps=0, **kwargs)
    return str(error.value)


def close(one: Any, other: Any) -> bool:
    """Whether two summaries agree but for rounding."""
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(close(one[key], other[key]) for key in one)
    if isinstance(one, list):
        return len(one) == len(other) and all(close(a, b) for a, b in zip(one, other, strict=True))
    return bool(one == pytest.approx(other, rel=1e-5, abs=1e-9)) if isinstance(one, float) else bool(one == other)


def test_the_same_data_in_other_batches_give_the_same_figures() -> None:
    images, target = draw()
    audits = [audit_data(batches(images, target, size), steps=4) for size in (7, 64, 300)]
    first, *others = (audit.to_dict() for audit in audits)
    for other in others:
        assert close(first, other)
    assert (
        len(audits[0].trials) == 9
    )  # with those without colour, and without the statistics of channels: the label is both
    json.dumps(first, allow_nan=False)


def test_what_is_kept_is_bounded_and_the_same_under_any_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    images, target = draw()
    monkeypatch.setattr(data_sums, "TRAIN_IMAGES", 50)
    monkeypatch.setattr(data_sums, "HELD_IMAGES", 20)
    monkeypatch.setattr(data_sums, "HELD_ROWS", 40)
    cuts = []
    for size in (11, 128):
        data = DataSums(BatchLayout())
        data.read(batches(images, target, size), 0.3)
        cuts.append(data)
        assert (len(data.train), len(data.held_images), len(data.held)) == (50, 20, 40)
    one, other = cuts
    assert one.train.rows["images"].equal(other.train.rows["images"])
    # both samples of held-out images are in one order, which paired differences rest on
    assert one.held.rows[""][:20].equal(one.held_images.rows["target"])
    assert one.held.rows["mean_spectrum"][:20].allclose(one.held_images.rows["images"].mean((2, 3)))


def test_a_sample_keeps_the_smallest_priorities() -> None:
    generator = torch.Generator().manual_seed(0)
    priority = torch.rand(200, generator=generator, dtype=torch.float64)
    expected = priority.argsort()[:30]
    for size in (1, 13, 200):
        sample = Sample(30)
        for part in torch.arange(200).split(size):
            sample.add(priority[part], {"number": part, "square": (part**2)[:, None].float()})
        assert sample.rows["number"].equal(expected)
        assert sample.rows["square"][:, 0].equal((expected**2).float())


def test_torchs_random_state_stays_as_it_is() -> None:
    loader = DataLoader(TensorDataset(*draw()), batch_size=50, shuffle=True)
    before = torch.get_rng_state()
    audit_data(loader, steps=2)
    assert torch.get_rng_state().equal(before)


def test_the_small_network_gives_the_same_twice() -> None:
    images, target = draw()
    runs = [run_small_network(images, target, images[:50], target[:50], 3, 5, seed) for seed in (1, 1, 2)]
    assert runs[0].right.equal(runs[1].right)
    assert not runs[0].right.equal(runs[2].right)


def test_views_take_away_what_they_say() -> None:
    images, _ = draw(100)
    first = torch.nn.functional.normalize(torch.tensor([1.0, 2, 3, 4, 5]), dim=0)
    views = image_views(images, images[:10], (images, images[:10]), first)
    names = ["as_given", "standardised", "spectra_only", "shapes_only", "without_mean_spectrum"]
    assert list(views) == [*names, "without_first_component", "without_total"]
    train = {name: pair[0] for name, pair in views.items()}
    assert train["as_given"].equal(images)
    standard = (images - images.mean((0, 2, 3))[:, None, None]) / images.std((0, 2, 3), correction=0)[:, None, None]
    torch.testing.assert_close(train["standardised"], standard)
    torch.testing.assert_close(train["spectra_only"][:, :, 0, 0], standard.mean((2, 3)))
    grey = standard.mean(1, keepdim=True)
    torch.testing.assert_close(train["shapes_only"], grey - grey.mean((2, 3), keepdim=True))
    assert train["without_mean_spectrum"].mean((2, 3)).abs().max() < 1e-5
    shares = images / images.sum(1, keepdim=True)
    deviation = shares.std((0, 2, 3), correction=0)[:, None, None]
    torch.testing.assert_close(train["without_total"], (shares - shares.mean((0, 2, 3))[:, None, None]) / deviation)
    # of images that differ along the direction alone, rounding is all that is left, and it is not blown up
    along = torch.rand(50, 1, 4, 4) * first[:, None, None] + 3
    assert image_views(along, along[:5], None, first)["without_first_component"][0].eq(0).all()
    assert list(image_views(images[:, :, :1, :1], images[:5, :, :1, :1], None, None)) == names[:2]


def names_of(audit: DataAudit) -> tuple[list[str], list[str]]:
    return list(audit.rungs), list(audit.trials)


def test_each_kind_of_image_has_the_rungs_that_mean_something() -> None:
    images, target = draw()
    ladder = ["pixel_intensity", "first_component", "best_channel", "mean_spectrum", "low_frequencies"]
    assert names_of(audit_data(batches(images, target), steps=0))[0] == ["total_absorbance", *ladder]
    centred = audit_data(batches(images - images.mean(), target), steps=0)
    assert names_of(centred)[0] == ladder
    assert centred.notes["total_absorbance"] == (
        "some images have a total of 0 or below, so these are no raw units; pass denormalize"
    )
    back = audit_data(batches(images - images.mean(), target), denormalize=lambda x: x + images.mean(), steps=0)
    assert names_of(back)[0] == ["total_absorbance", *ladder]
    colour = ["grey_level", "pixel_intensity", "first_component", "best_channel", "mean_color", "low_frequencies"]
    assert names_of(audit_data(batches(images[:, :3], target), steps=0))[0] == colour
    grey = audit_data(batches(images[:, :1], target), steps=2)
    assert names_of(grey)[0] == ["pixel_intensity", "mean_intensity", "low_frequencies"]
    assert names_of(grey)[1] == ["as_given", "standardised", "spectra_only", "shapes_only"]
    rows = audit_data(batches(images.mean((2, 3)), target), steps=2)
    assert names_of(rows)[0] == ["total_absorbance", "first_component", "best_channel", "mean_spectrum"]
    views = ["as_given", "standardised", "without_first_component", "without_total"]
    assert names_of(rows)[1] == [*views, "without_colour"]  # which is the label


class Pair(NamedTuple):
    data: Tensor
    label: Tensor


def test_batches_may_have_any_form() -> None:
    images, target = draw()
    expected = audit_data(batches(images, target), steps=0).to_dict()
    mapping = [{"meta": {"scanner": y}, "picture": x, "grade": y} for x, y in batches(images, target)]
    named = audit_data(mapping, inputs="picture", targets="grade", steps=0)
    called = audit_data(mapping, inputs=lambda batch: batch["picture"], targets=lambda batch: batch["grade"], steps=0)
    found = audit_data([Pair(x, y) for x, y in batches(images, target)], steps=0)
    for audit in (named, called, found):
        assert close(audit.to_dict(), expected)


def test_a_cue_of_the_users_own_is_a_rung() -> None:
    images, target = draw()
    loader = [{"image": x, "label": y, "day": y.double() / 10} for x, y in batches(images, target)]
    audit = audit_data(loader, cues={"acquisition day": "day"}, steps=0)
    assert list(audit.rungs)[1] == "acquisition day"
    assert audit.rungs["acquisition day"].value == 1
    (risk,) = audit.risks
    assert risk.message.startswith("One number per image, the acquisition day, gives 1.00")


def test_pixels_with_a_label_each_are_rows() -> None:
    images, _ = draw(40, size=6)
    masks = (images[:, 0] > images[:, 1]).long()
    masks[:, 0] = -1
    audit = audit_data(batches(images, masks, 9), steps=5)
    assert audit.unit == "pixels"
    assert audit.train + audit.held == 40 * 30
    assert audit.notes["unlabelled"] == "240 pixels have no label"
    assert audit.rungs["mean_spectrum"].low > 0.9
    masks[:, 0] = 2
    ignored = audit_data(batches(images, masks, 9), ignore_index=2, steps=5)
    assert close(ignored.to_dict(), audit.to_dict())


def test_large_images_are_averaged_down_for_the_network_alone() -> None:
    data = DataSums(BatchLayout())
    images = torch.rand(8, 70, 40, 33)
    data.read([(images, torch.arange(8) % 2)], 0.5)
    assert data.train.rows["images"].shape[1:] == (70, 15, 15)
    assert data.widths["mean_spectrum"] == 70
    small = DataSums(BatchLayout())
    small.read([(images[:, :3], torch.arange(8) % 2)], 0.5)
    assert small.train.rows["images"].shape[1:] == (3, 16, 16)


def test_images_of_one_mean_spectrum_have_no_direction_and_no_risk_of_small_ones() -> None:
    images, target = draw()
    images = (images * 1024).round()
    images[:, :, 0, 0] -= images.sum((2, 3))  # whole numbers, so that each mean is 0 to the last bit
    audit = audit_data(batches(images, target), steps=0)
    assert audit.main == 0
    assert "linear - main directions" not in audit.differences
    assert "label_in_small_directions" not in [risk.kind for risk in audit.risks]


def test_images_that_cannot_be_used_are_left_out_and_counted() -> None:
    images, target = draw()
    images[3, 0, 0, 0], images[7, 1] = torch.nan, torch.inf
    target[10:15] = -1
    audit = audit_data(batches(images, target), steps=0)
    assert audit.notes["not finite"] == "2 images hold NaN or infinity"
    assert audit.notes["unlabelled"] == "5 images have no label"
    kept = torch.ones(300, dtype=torch.bool)
    kept[[3, 7, *range(10, 15)]] = False
    assert audit.train + audit.held == int(kept.sum())
    assert all(value == value for value in (audit.mean.sum().item(), audit.best.value))


def test_constant_channels_are_named_and_carry_nothing() -> None:
    images, target = draw()
    images[:, 3] = 0.7
    audit = audit_data(batches(images, target), wavelengths=[500, 510, 520, 530, 540], unit="nm", steps=3)
    assert audit.notes["constant channels"] == "530 nm"
    assert audit.best_channel != "530 nm"
    assert audit.directions.variance[-1] == 0
    json.dumps(audit.to_dict(), allow_nan=False)


def test_held_out_batches_are_held_out() -> None:
    images, target = draw()
    others, labels = draw(120, seed=9)
    audit = audit_data(batches(images, target), batches(others, labels), steps=3)
    assert (audit.train, audit.held, audit.images) == (300, 120, 420)
    wrong = audit_data(batches(images, target), batches(others, (labels + 1) % 3), steps=0)
    assert wrong.rungs["mean_spectrum"].high < 0.3  # fitted on the training labels alone


def test_a_class_that_training_lacks_is_always_wrong() -> None:
    images, target = draw()
    others, labels = draw(100, seed=9)
    audit = audit_data(batches(images, target), batches(others, labels * 0 + 5), steps=60)
    assert audit.best.value == 0
    assert audit.classes == 3


def test_few_training_images_train_no_network() -> None:
    images, target = draw(100)
    audit = audit_data(batches(images, target), steps=3)
    assert audit.trials == {}
    assert audit.notes["trials"] == f"{audit.train} training images are fewer than two batches of 64"


def test_what_cannot_be_audited_is_refused_with_a_way_out() -> None:
    images, target = draw(60)
    few = batches(images[:20], target[:20])
    assert message(few).startswith("audit_data: there are too few images; given ")
    assert message(few).endswith("Pass 20 labelled images of each or more.")
    assert message([]) == (
        "audit_data: there is no data; given a loader without batches. Pass one that gives images and labels."
    )
    assert message([(images,)]) == (
        "audit_data: no class labels were found; given images (60, 5, 4, 4) alone. "
        "Name the field that holds them: targets='label'."
    )
    assert message([target]) == (
        "audit_data: no images were found; given a batch that is a Tensor. "
        "Name the field that holds them: inputs='image'."
    )
    assert message([(images, target.double())], targets="1") == (
        "audit_data: targets are not integer class labels; given (60,) torch.float64. "
        "Name a field that holds them: targets='label'."
    )
    assert message([(images, target[:30])], targets="1") == (
        "audit_data: labels and images differ in number; given targets (30,) for images (60, 5, 4, 4). "
        "Give one label per image."
    )
    assert message([(images.movedim(1, -1)[..., :3], target)]) == (
        "audit_data: the channels seem to stand last; given (60, 4, 4, 3). "
        "Put the channels first: images.movedim(-1, 1), or pass channel_axis=3."
    )
    assert message([(images[:, 0], target)]) == (
        "audit_data: the inputs are neither images nor spectra; given (60, 4, 4) torch.float32. "
        "Pass images (n b h w), grey ones as (n 1 h w), or spectra (n b)."
    )
    assert message([(images, target), (images[:, :3], target)]) == (
        "audit_data: batches differ in their number of channels; given 3 after 5. Audit one kind at a time."
    )
    assert message([(images, target + 123456)]) == (
        "audit_data: labels are no class indices; given a label of 123458. Number the classes from 0, up to 9999."
    )
    loader = DataLoader(TensorDataset(images, target), 30)
    assert message([loader, loader]) == (
        "audit_data: loaders stand in a list; given a list of 2 for loader. "
        "Write audit_data(train, validation); of several loaders audit one after the other."
    )
    assert "a tuple of 1 for validation" in message([(images, target)], validation=(loader,))
    assert message([(images, target)], validation=1.5) == (
        "audit_data: the share to hold out is no share; given validation=1.5. "
        "Pass 0.3, say, or batches of images to hold out."
    )
    whole = batches(*draw())
    assert message(whole, wavelengths=[1, 2]) == (
        "audit_data: wavelengths and channels differ in number; given 2 wavelengths for 5 channels. "
        "Give one finite number per channel."
    )
    one = [(x, y * 0) for x, y in whole]
    assert message(one).startswith("audit_data: all training images are of one class; given 2")
    flat = [(x * 0 + 0.3, y) for x, y in whole]
    assert message(flat) == "audit_data: the images are constant; given 5 channels. Check how the images are read."
    lost = [(x * torch.nan, y) for x, y in whole]
    assert message(lost) == (
        "audit_data: there are too few images; given 0 training and 0 held-out images; 300 not finite. "
        "Pass 20 labelled images of each or more."
    )
