"""The ladder: its features, its rungs against scikit-learn, and what each can reach."""

import numpy as np
import pytest
import torch
from sklearn.decomposition import PCA
from sklearn.feature_selection import f_classif
from torch import Tensor

from lightning_failures.errors import InputError
from lightning_failures.functional import (
    best_channel,
    class_moments,
    fit_ladder,
    label_share,
    ladder_features,
    linear_discriminant,
    pixel_ladder_features,
    project,
)
from lightning_failures.metrics import Ladder


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def fitted(features: dict[str, Tensor], target: Tensor) -> Ladder:
    ladder = Ladder(int(target.max()) + 1, {name: rows.shape[1] for name, rows in features.items()})
    ladder.update(features, target)
    return ladder


def accuracies(images: Tensor, target: Tensor, **options: Tensor) -> dict[str, float]:
    features = ladder_features(images, **options)
    rungs = fitted(features, target).rungs()
    return {name: float(rung.predict(features).eq(target).double().mean()) for name, rung in rungs.items()}


def test_features_are_what_they_are_called() -> None:
    images, raw = draw(4, 5, 6, 8), draw(4, 5, 6, 8, seed=1)
    features = ladder_features(images, raw, cues={"scanner": torch.arange(4.0), "date": draw(4, 2)})
    assert {name: rows.shape[1] for name, rows in features.items()} == {
        "total_absorbance": 1,
        "scanner": 1,
        "date": 2,
        "pixel_intensity": 9,
        "mean_spectrum": 5,
        "low_frequencies": 20,
    }
    torch.testing.assert_close(features["total_absorbance"][:, 0], raw.sum(1).mean((1, 2)))
    torch.testing.assert_close(features["mean_spectrum"], images.mean((2, 3)))
    deciles = np.quantile(raw.sum(1).flatten(1).float().numpy(), np.arange(1, 10) / 10, axis=1).T
    np.testing.assert_allclose(features["pixel_intensity"].numpy(), deciles, rtol=1e-5, atol=1e-6)
    cells = features["low_frequencies"].reshape(4, 4, 5)
    torch.testing.assert_close(cells[:, 0], images[:, :, :3, :4].mean((2, 3)))
    torch.testing.assert_close(cells.mean(1), images.mean((2, 3)))


def test_many_channels_are_averaged_and_spectra_have_no_space() -> None:
    assert ladder_features(torch.rand(2, 600, 4, 4))["low_frequencies"].shape == (2, 512)
    assert list(ladder_features(torch.rand(2, 7))) == ["mean_spectrum"]
    assert list(ladder_features((255 * torch.rand(2, 3, 4, 4)).byte())) == [
        "grey_level",
        "pixel_intensity",
        "mean_spectrum",
        "low_frequencies",
    ]


def test_pixels_have_their_own_features() -> None:
    images = draw(2, 3, 5, 6)
    features = pixel_ladder_features(images, cues={"image": torch.tensor([1.0, 2.0]), "pixel": draw(2, 5, 6)}, window=3)
    assert list(features) == ["pixel_intensity", "image", "pixel", "grey_level", "mean_spectrum", "low_frequencies"]
    assert all(len(rows) == 60 for rows in features.values())
    assert features["image"].flatten().tolist() == [1.0] * 30 + [2.0] * 30
    row = 1 * 30 + 2 * 6 + 3  # image 1, pixel (2, 3)
    torch.testing.assert_close(features["mean_spectrum"][row], images[1, :, 2, 3])
    torch.testing.assert_close(features["low_frequencies"][row], images[1, :, 1:4, 2:5].mean((1, 2)))
    corner = features["low_frequencies"][0]
    torch.testing.assert_close(corner, images[0, :, :2, :2].mean((1, 2)))
    assert next(iter(pixel_ladder_features(images, raw=images))) == "total_absorbance"


def test_single_rungs_are_discriminants_of_their_coordinate() -> None:
    target = torch.arange(90) % 3
    spectra = draw(90, 6) @ draw(6, 6, seed=1) + draw(3, 6, seed=2)[target]
    rungs = fit_ladder(class_moments(spectra, target, 3), {"mean_spectrum": 6})
    assert list(rungs) == ["first_component", "best_channel", "mean_spectrum"]

    coordinate = torch.tensor(PCA(1).fit_transform(spectra.numpy()))
    direct = linear_discriminant(class_moments(coordinate, target, 3))
    assert rungs["first_component"].predict({"mean_spectrum": spectra}).equal(direct.predict(coordinate))

    channel = int(np.argmax(f_classif(spectra.numpy(), target.numpy())[0]))
    assert best_channel(class_moments(spectra, target, 3)) == channel
    direct = linear_discriminant(class_moments(spectra[:, channel : channel + 1], target, 3))
    best = rungs["best_channel"].predict({"mean_spectrum": spectra})
    assert best.equal(direct.predict(spectra[:, channel : channel + 1]))


def test_the_share_of_the_labels_is_that_of_an_analysis_of_variance() -> None:
    target = torch.arange(60) % 4
    rows = draw(60, 5) + draw(4, 5, seed=1)[target]
    directions = torch.linalg.qr(draw(5, 3, seed=2)).Q
    F = f_classif((rows @ directions).numpy(), target.numpy())[0]
    share = label_share(class_moments(rows, target, 4), directions)
    np.testing.assert_allclose(share.numpy(), 3 * F / (3 * F + 56), rtol=1e-9)
    assert label_share(class_moments(torch.ones(6, 2), target[:6], 4), torch.eye(2)).isnan().all()


def test_projected_moments_are_those_of_projected_rows() -> None:
    rows, target = draw(20, 4), torch.arange(20) % 2
    onto = draw(4, 2, seed=1)
    projected, direct = project(class_moments(rows, target, 2), onto), class_moments(rows @ onto, target, 2)
    for name in ("counts", "totals", "outer"):
        torch.testing.assert_close(getattr(projected, name), getattr(direct, name))


def test_each_rung_reaches_what_is_planted_for_it() -> None:
    n = 400
    target = torch.arange(n) % 2
    sign = 2 * target.double() - 1
    noise = draw(n, 8, 8, 8) * 0.1 + 2

    thick = noise * (1 + 0.2 * sign)[:, None, None, None]
    assert accuracies(thick, target, raw=thick)["total_absorbance"] == 1

    tilt = torch.tensor([1.0, -1, 1, -1, 1, -1, 1, -1]).double() / 3
    linear = noise + tilt[:, None, None] * sign[:, None, None, None]
    linear = linear * (1 + 0.5 * torch.rand(n, 1, 1, 1, generator=torch.Generator().manual_seed(3)))
    reached = accuracies(linear, target, raw=linear)
    assert reached["total_absorbance"] < 0.65
    assert reached["mean_spectrum"] == 1

    halves = noise.clone()
    halves[:, :, :4] += 0.3 * sign[:, None, None, None]
    halves[:, :, 4:] -= 0.3 * sign[:, None, None, None]
    reached = accuracies(halves, target, raw=halves)
    assert reached["mean_spectrum"] < 0.7
    assert reached["low_frequencies"] == 1

    contrast = noise + 0.5 * target.double()[:, None, None, None] * draw(n, 1, 8, 8, seed=4)
    reached = accuracies(contrast, target, raw=contrast)
    assert reached["mean_spectrum"] < 0.7
    assert reached["pixel_intensity"] > 0.95


def test_a_cue_of_the_users_own_is_a_rung() -> None:
    target = torch.arange(50) % 2
    reached = accuracies(draw(50, 4, 4, 4), target, cues={"scanner": target.double()})
    assert next(iter(reached)) == "scanner"
    assert reached["scanner"] == 1


def test_colour_images_have_a_mean_colour() -> None:
    target = torch.arange(60) % 2
    reached = accuracies(draw(60, 3, 4, 4) + 2 * target[:, None, None, None], target)
    assert list(reached) == [
        "grey_level",
        "pixel_intensity",
        "first_component",
        "best_channel",
        "mean_color",
        "low_frequencies",
    ]
    assert min(reached.values()) > 0.9


def test_too_few_rows_leave_every_rung_undefined() -> None:
    features = ladder_features(torch.rand(1, 4, 4, 4))
    rungs = fitted(features, torch.tensor([1])).rungs()
    assert all(rung.predict(features).tolist() == [-1] for rung in rungs.values())


def test_the_moments_of_the_spectra_are_those_of_the_spectra() -> None:
    images, target = draw(30, 4, 4, 4), torch.arange(30) % 3
    ladder = fitted(ladder_features(images, raw=images), target)
    direct = class_moments(images.mean((2, 3)), target, 3)
    for name in ("counts", "totals", "outer"):
        torch.testing.assert_close(getattr(ladder.spectra(), name), getattr(direct, name))


def test_other_features_than_the_ladders_are_refused() -> None:
    with pytest.raises(InputError) as error:
        Ladder(2, {"total_absorbance": 1})
    assert str(error.value) == (
        "Ladder: the mean spectrum is missing; given total_absorbance. Take the features from ladder_features."
    )
    with pytest.raises(InputError) as error:
        Ladder(2, {"mean_spectrum": 4}).update({"mean_spectrum": torch.zeros(2, 3)}, torch.tensor([0, 1]))
    assert str(error.value) == (
        "Ladder.update: the features are others; given {'mean_spectrum': 3} for {'mean_spectrum': 4}. "
        "Pass every rung's features, in the order in which the ladder was made."
    )


def test_deciles_of_a_large_image_are_those_of_pixels_all_over_it() -> None:
    image = (torch.arange(512) / 512).expand(1, 1, 512, 512).transpose(2, 3)
    for turned in (image, image.transpose(2, 3)):
        found = ladder_features(turned)["pixel_intensity"]
        torch.testing.assert_close(found[0], torch.arange(1, 10) / 10, rtol=0, atol=0.01)
