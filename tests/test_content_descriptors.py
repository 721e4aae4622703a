import math

import pytest
import torch
from sklearn.datasets import load_digits
from torch.nn import functional as F

from lightning_failures.errors import InputError, UnknownNameError
from lightning_failures.functional import (
    CONTENTS,
    border_mask,
    class_moments,
    content_descriptor,
    linear_discriminant,
    low_frequency_radius,
    neutralise,
    why_no_content,
)

CLASSES = 4


def reached(rows, target):
    """Accuracy of a linear model of two thirds of the rows on the rest."""
    learnt = torch.arange(len(rows)) % 3 != 2
    model = linear_discriminant(class_moments(rows[learnt], target[learnt], int(target.max()) + 1))
    return float((model.predict(rows[~learnt]) == target[~learnt]).double().mean())


def alone(images, target):
    kinds = [*CONTENTS, *(f"channel {channel}" for channel in range(images.shape[1]))]
    return {
        kind: reached(content_descriptor(images, kind), target)
        for kind in kinds
        if why_no_content(images, kind) is None
    }


def scenes(n=600, channels=3, height=12, width=11, seed=0):
    """Blobs at random places on noise, whose classes say nothing of them."""
    generator = torch.Generator().manual_seed(seed)
    target = torch.randint(CLASSES, (n,), generator=generator)
    noise = torch.rand(n, channels, height, width, generator=generator)
    blob = F.interpolate(torch.rand(n, 1, 3, 3, generator=generator), (height, width), mode="bilinear")
    return 0.5 + 0.3 * noise + blob, target


def test_where_nothing_is_planted_no_content_carries_the_label():
    images, target = scenes()
    assert all(accuracy < 0.37 for accuracy in alone(images, target).values())


def test_where_the_colour_is_the_label_the_colour_alone_reads_it_and_the_level_does_not():
    images, target = scenes()
    tint = torch.tensor([[1.0, 0.5, 0.5], [0.5, 1.0, 0.5], [0.5, 0.5, 1.0], [0.7, 0.7, 0.6]])
    planted = images.mean(1, keepdim=True) * tint[target][:, :, None, None]
    found = alone(planted, target)
    assert found["colour"] > 0.97
    assert found["channel_statistics"] > 0.9
    assert found["level"] < 0.45
    without = neutralise(planted, "colour", planted[0])
    assert reached(content_descriptor(without, "colour"), target) < 0.4
    assert max(alone(without, target).values()) < 0.37


def test_where_the_mean_is_the_label_the_level_alone_reads_it():
    images, target = scenes(channels=1)
    planted = images - images.mean((1, 2, 3), keepdim=True) + 0.1 * target[:, None, None, None]
    found = alone(planted, target)
    assert found["level"] == 1
    without = neutralise(planted.double(), "level", planted[0])
    assert max(alone(without, target).values()) < 0.37


def test_where_one_channel_of_64_is_the_label_that_channel_alone_reads_it():
    images, target = scenes(n=300, channels=64, height=6, width=5)
    images[:, 41] = images[:, 41] - images[:, 41].mean((1, 2), keepdim=True) + 0.2 * target[:, None, None]
    found = alone(images, target)
    channels = {kind: accuracy for kind, accuracy in found.items() if kind.startswith("channel ")}
    assert len(channels) == 64
    assert channels.pop("channel 41") == 1
    assert max(channels.values()) < 0.5
    assert found["channel_statistics"] > 0.9
    without = neutralise(images, "channel 41", images[0])
    assert (without[:, 41] == images[0, 41]).all()
    assert (without[:, :41] == images[:, :41]).all()
    assert reached(content_descriptor(without, "channel_statistics"), target) < 0.4


def test_where_a_mark_at_the_border_is_the_label_the_border_alone_reads_it_and_the_centre_does_not():
    images, target = scenes(height=15, width=13)
    images[torch.arange(len(images)), :, 0, 3 * target] = 2
    found = alone(images, target)
    assert found["border"] > 0.97
    assert found["centre"] < 0.37
    without = neutralise(images, "border", images[0])
    assert reached(content_descriptor(without, "border"), target) < 0.4
    assert (without[:, :, 2:-2, 2:-2] == images[:, :, 2:-2, 2:-2]).all()


def test_where_a_grating_at_a_random_phase_is_the_label_the_texture_alone_reads_it():
    images, target = scenes(channels=2, height=16, width=17)
    generator = torch.Generator().manual_seed(1)
    angle, phase = target * math.pi / CLASSES, 7 * torch.rand(len(images), generator=generator)
    rows, columns = torch.meshgrid(torch.arange(16.0), torch.arange(17.0), indexing="ij")
    along = angle.sin()[:, None, None] * rows + angle.cos()[:, None, None] * columns
    grating = (2 * math.pi * 0.3 * along + phase[:, None, None]).sin()
    found = alone(images + 0.5 * grating[:, None], target)
    assert found.pop("texture") == 1
    assert max(found.values()) < 0.4


def test_where_a_slow_wave_is_the_label_the_low_frequencies_read_it():
    images, target = scenes(height=20, width=20)
    wave = (2 * math.pi * torch.arange(20) / 20 + target[:, None] * math.pi / 2).cos()
    found = alone(images + 0.5 * wave[:, None, None], target)
    assert found["low_frequencies"] > 0.95
    assert max(found["level"], found["colour"], found["channel_statistics"]) < 0.37


def test_the_level_of_healthy_digits_is_near_chance_and_their_centre_is_not():
    digits = load_digits()
    images, target = torch.tensor(digits.images, dtype=torch.float32)[:, None], torch.tensor(digits.target)
    found = alone(images, target)
    assert found["level"] < 0.25
    assert found["centre"] > 0.8


@pytest.mark.parametrize("kind", [*CONTENTS, "channel 1"])
@pytest.mark.parametrize("shape", [(2, 5, 7), (3, 40, 33), (64, 9, 4), (200, 3, 3)])
def test_an_image_has_the_content_of_the_donor_after_it_was_taken_away(kind, shape):
    generator = torch.Generator().manual_seed(0)
    images, donor = torch.rand(5, *shape, generator=generator) + 0.1, torch.rand(shape, generator=generator) + 0.1
    same, changed = neutralise(images, kind, donor), content_descriptor(neutralise(images, kind, donor), kind)
    assert same.shape == images.shape
    assert changed.shape[1] <= 512
    if kind != "colour":  # an image of several colours gets the donor's mean colour up to its own spread
        assert torch.allclose(changed, content_descriptor(donor[None], kind).expand_as(changed), atol=1e-4)


@pytest.mark.parametrize("kind", [*CONTENTS, "channel 1"])
def test_a_descriptor_is_that_of_each_image_alone_and_keeps_float64(kind):
    images = torch.rand(4, 3, 9, 10, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    together = content_descriptor(images, kind)
    assert together.dtype == torch.float64
    assert torch.allclose(together[2], content_descriptor(images[2:3], kind)[0])
    assert content_descriptor(images[:0], kind).shape == (0, together.shape[1])
    assert content_descriptor((255 * images).byte(), kind).dtype == torch.float32


def test_a_region_is_described_by_its_own_pixels_alone():
    images = torch.rand(6, 3, 9, 10, generator=torch.Generator().manual_seed(0))
    mask = torch.zeros(9, 10, dtype=torch.bool)
    mask[2:4, 3:8] = True
    found = content_descriptor(images, mask)
    assert torch.allclose(found, images[:, :, 2:4, 3:8].flatten(1))
    images[:, :, ~mask] = math.nan
    assert torch.equal(content_descriptor(images, mask), found)
    assert (neutralise(images, mask, torch.zeros(3, 9, 10))[:, :, mask] == 0).all()


def test_the_border_of_a_large_image_is_averaged_to_few_numbers_of_its_own_pixels():
    images = torch.zeros(1, 3, 101, 140)
    images[..., border_mask(101, 140)] = 1
    border, centre = content_descriptor(images, "border"), content_descriptor(images, "centre")
    assert 50 < border.shape[1] <= 512
    assert torch.allclose(border, torch.ones_like(border))
    assert (centre == 0).all()


def test_a_black_image_has_no_colour_and_a_faint_texture():
    black = torch.zeros(1, 3, 6, 6)
    assert (content_descriptor(black, "colour") == 0).all()
    assert (content_descriptor(black, "texture") == 0).all()
    even = content_descriptor(black + 1, "texture")
    assert even.isfinite().all()
    assert even[0, 0] == 1


def test_inputs_that_are_no_images_have_the_contents_that_need_none():
    spectra = torch.rand(8, 5)
    kinds = [*CONTENTS, "channel 2"]
    assert [kind for kind in kinds if why_no_content(spectra, kind) is None] == ["level", "colour", "channel 2"]
    assert why_no_content(spectra, "channel_statistics") == "the inputs have no pixels over which a channel deviates"
    assert torch.equal(content_descriptor(spectra, "channel 2"), spectra[:, 2:3])
    assert torch.equal(neutralise(spectra, "channel 2", spectra[0])[:, 2], spectra[:1, 2].expand(8))


@pytest.mark.parametrize(
    ("shape", "kind", "why"),
    [
        ((4, 1, 8, 8), "colour", "the images have one channel"),
        ((4, 1, 8, 8), "channel 0", "the images have one channel"),
        ((4, 3, 8, 2), "centre", "a side of the images has fewer than three pixels, so that they are all border"),
        ((4, 3, 1, 1), "texture", "the images have one pixel"),
        ((4, 3, 9), "low_frequencies", "the inputs are no images (n b h w)"),
    ],
)
def test_images_that_cannot_have_a_content_are_said_to(shape, kind, why):
    images = torch.rand(shape)
    assert why_no_content(images, kind) == why
    with pytest.raises(InputError) as error:
        content_descriptor(images, kind)
    assert str(error.value) == (
        f"content_descriptor: the images cannot have {kind!r}; given {shape}: {why}. "
        "Leave it out; why_no_content(images, kind) says beforehand."
    )


def test_standardised_images_have_no_colour():
    why = "the images hold values below 0, which are no light; pass denormalize"
    assert why_no_content(torch.randn(4, 3, 8, 8), "colour") == why


def test_what_cannot_be_described_is_refused():
    images = torch.rand(4, 3, 8, 8)
    with pytest.raises(UnknownNameError, match="there is no such kind of content; given 'shape'"):
        content_descriptor(images, "shape")
    with pytest.raises(InputError, match=r"\(4, 3, 8, 8\): the images have 3 channels, counted from 0"):
        content_descriptor(images, "channel 3")
    with pytest.raises(InputError, match="the region does not fit the images"):
        content_descriptor(images, torch.ones(7, 8, dtype=torch.bool))
    with pytest.raises(InputError, match="the donor is no such image; given donor"):
        neutralise(images, "level", images)


def test_a_low_frequency_is_one_wave_of_a_small_image_at_least():
    assert low_frequency_radius(224, 224) == 1.5 / 224
    assert low_frequency_radius(5, 224) == 0.3
    assert low_frequency_radius(1, 1) == 1.5


def test_of_a_mean_that_was_taken_away_nothing_is_left_but_0():
    images = torch.randn(20, 3, 9, 8, generator=torch.Generator().manual_seed(0)) + torch.arange(20.0).reshape(
        -1, 1, 1, 1
    )
    centred = images - images.mean((2, 3), keepdim=True)
    assert (content_descriptor(centred, "level") == 0).all()
    assert (content_descriptor(centred, "channel_statistics")[:, :3] == 0).all()
    assert (content_descriptor(images, "channel 1") != 0).all()
