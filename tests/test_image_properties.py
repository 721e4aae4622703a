"""Properties that every image has: literal restatements, other libraries, and what they do not depend on."""

import math

import pytest
import torch
from scipy import ndimage
from torch import Tensor

from lightning_failures.errors import InputError
from lightning_failures.functional import (
    PROPERTIES,
    carries,
    image_properties,
    property_edges,
    spectral_angle,
)


def pictures(n: int = 6, channels: int = 3, size: int = 12, seed: int = 0) -> Tensor:
    return torch.rand(n, channels, size, size, generator=torch.Generator().manual_seed(seed))


def test_brightness_and_contrast_are_mean_and_deviation_of_the_grey_image() -> None:
    images = pictures()
    found = image_properties(images)
    for image, bright, contrast in zip(images, found["brightness"], found["contrast"], strict=True):
        grey = image.mean(0)
        assert float(bright) == pytest.approx(float(grey.mean()))
        assert float(contrast) == pytest.approx(float(grey.std(correction=0)), rel=1e-5)


def test_sharpness_is_the_variance_of_scipys_laplacian_over_that_of_the_image() -> None:
    images = pictures()
    for image, found in zip(images, image_properties(images)["sharpness"], strict=True):
        grey = image.mean(0).double().numpy()
        assert float(found) == pytest.approx(ndimage.laplace(grey)[1:-1, 1:-1].var() / grey.var(), rel=1e-4)


def test_noise_is_immerkaers_estimate_and_near_the_noise_that_was_added() -> None:
    images = pictures(size=40)
    kernel = torch.tensor([[1.0, -2, 1], [-2, 4, -2], [1, -2, 1]]).double().numpy()
    for image, found in zip(images, image_properties(images)["noise"], strict=True):
        h, w = image.shape[1:]
        total = abs(ndimage.convolve(image.mean(0).double().numpy(), kernel)[1:-1, 1:-1]).sum()
        assert float(found) == pytest.approx(math.sqrt(math.pi / 2) * total / (6 * (w - 2) * (h - 2)), rel=1e-4)
    smooth = torch.linspace(0, 1, 64).expand(1, 1, 64, 64) + 0.1 * torch.randn(
        1, 1, 64, 64, generator=torch.Generator().manual_seed(1)
    )
    assert float(image_properties(smooth)["noise"]) == pytest.approx(0.1, rel=0.06)


def test_colourfulness_is_that_of_hasler_and_suesstrunk_and_grey_images_have_none() -> None:
    images = pictures()
    for image, found in zip(images, image_properties(images)["colourfulness"], strict=True):
        r, g, b = image.double().numpy()
        rg, yb = r - g, 0.5 * (r + g) - b
        spread, middle = math.hypot(rg.std(), yb.std()), math.hypot(rg.mean(), yb.mean())
        assert float(found) == pytest.approx(spread + 0.3 * middle, rel=1e-4)
    grey = pictures(channels=1).expand(-1, 3, -1, -1)
    assert float(image_properties(grey)["colourfulness"].max()) == pytest.approx(0, abs=1e-6)
    assert "colourfulness" not in image_properties(pictures(channels=4))


def otsu(image: Tensor) -> float:
    """Literally: each threshold of 32 bins, the variance between both sides, and the side with less of the border."""
    low, high = float(image.min()), float(image.max())
    bins = [[min(31, int((float(v) - low) / (high - low) * 32)) for v in row] for row in image]
    flat = [b for row in bins for b in row]
    best, threshold = -1.0, 0
    for t in range(31):
        under, over = [b for b in flat if b <= t], [b for b in flat if b > t]
        if under and over:
            between = len(under) * len(over) * (sum(under) / len(under) - sum(over) / len(over)) ** 2
            if between > best + 1e-3:
                best, threshold = between, t
    bright = [[b > threshold for b in row] for row in bins]
    edge = bright[0] + bright[-1] + [row[0] for row in bright[1:-1]] + [row[-1] for row in bright[1:-1]]
    share = sum(map(sum, bright)) / len(flat)
    return share if sum(edge) / len(edge) <= 0.5 else 1 - share


def test_the_object_is_told_from_the_background_by_otsus_threshold() -> None:
    images = pictures(n=12, channels=1, size=9)
    found = image_properties(images)["object_size"]
    assert found.tolist() == pytest.approx([otsu(image[0]) for image in images])


@pytest.mark.parametrize("on_white", [False, True])
def test_an_object_is_as_large_on_white_as_on_black(on_white: bool) -> None:
    image = torch.zeros(1, 3, 20, 20)
    image[:, :, 5:10, 5:15] = 1
    found = image_properties(1 - image if on_white else image)
    assert float(found["object_size"]) == pytest.approx(50 / 400)


def test_images_of_any_number_are_looked_at_one_by_one() -> None:
    images = pictures(n=7)
    whole = image_properties(images)
    for cut in (1, 3):
        parts = [image_properties(images[:cut]), image_properties(images[cut:]), image_properties(images[:0])]
        for name, values in whole.items():
            torch.testing.assert_close(torch.cat([part[name] for part in parts]), values)


def test_what_cannot_be_defined_is_nan_or_left_out() -> None:
    constant = image_properties(torch.ones(1, 1, 8, 8))
    assert math.isnan(constant["sharpness"])
    assert math.isnan(constant["object_size"])
    assert float(constant["contrast"]) == 0
    broken = pictures()
    broken[1, 0, 0, 0] = math.nan
    for values in image_properties(broken).values():
        assert values.isnan().tolist() == [False, True, False, False, False, False]
    assert set(image_properties(pictures(channels=1, size=2))) == {"brightness", "contrast"}
    with pytest.raises(InputError, match="the inputs are no images"):
        image_properties(torch.rand(3, 8))


def test_a_scale_and_a_shift_of_the_inputs_change_no_factor() -> None:
    images = pictures(n=200, size=6)
    plain, scaled = image_properties(images), image_properties(images * 3 - 7)
    one, other = property_edges(plain), property_edges(scaled)
    assert [edge.factor for edge in one] == [edge.factor for edge in other]
    assert carries(plain, one).equal(carries(scaled, other))


def test_a_tenth_of_the_training_images_is_beyond_each_edge() -> None:
    values = image_properties(pictures(n=500, size=6))
    edges = property_edges(values)
    assert {edge.factor for edge in edges} == {
        word for name, both in PROPERTIES.items() if name != "spectral_angle" for word in both if word
    }
    shares = dict(zip((edge.factor for edge in edges), carries(values, edges).double().mean(0).tolist(), strict=True))
    sizes = [shares.pop(name) for name in ("small object", "large object")]  # of whole pixels, so that many are equal
    assert all(abs(share - 0.1) < 0.005 for share in shares.values())
    assert all(0.02 <= share <= 0.2 for share in sizes)


def test_a_property_that_images_share_has_no_edge() -> None:
    values = {"brightness": torch.zeros(100), "contrast": torch.arange(100.0), "noise": torch.full((100,), torch.nan)}
    assert [edge.factor for edge in property_edges(values)] == ["low contrast", "high contrast"]


def test_the_angle_of_a_spectrum_does_not_change_with_its_brightness() -> None:
    spectra = pictures(channels=8).mean((2, 3))
    found = spectral_angle(spectra, spectra[0])
    assert float(found[0]) == pytest.approx(0, abs=1e-6)
    torch.testing.assert_close(spectral_angle(spectra * 5, spectra[0]), found)
    cosine = torch.nn.functional.cosine_similarity(spectra, spectra[:1])
    torch.testing.assert_close(found[1:], cosine.acos()[1:], rtol=1e-3, atol=1e-4)
    assert math.isnan(spectral_angle(torch.zeros(1, 8), spectra[0]))
