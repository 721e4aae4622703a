"""Channels that are empty, constant, saturated or not finite on one side only."""

import pytest
import torch

from lightning_failures.functional import channel_faults, input_sums, only_constant

SOUND = torch.randn(40, 3, 6, 6, generator=torch.Generator().manual_seed(0))
OTHER = torch.randn(40, 3, 6, 6, generator=torch.Generator().manual_seed(1))


def changed(change):
    images = OTHER.clone()
    images[:, 1] = change(images[:, 1])
    return images


def found(images, others=SOUND):
    faults = channel_faults(input_sums(images), input_sums(others))
    return {kind: which.tolist() for kind, which in faults._asdict().items() if bool(which.any())}


def one_image_nan(channel):
    channel[3, 0, 0] = torch.nan
    return channel


def half_empty(channel):
    channel[::2] = 0
    return channel


@pytest.mark.parametrize(
    ("change", "kind"),
    [
        (one_image_nan, "not_finite"),
        (lambda channel: channel * torch.inf, "not_finite"),
        (lambda channel: channel * 0, "empty"),
        (half_empty, "empty"),
        (lambda channel: channel * 0 + 3, "constant"),
        (lambda channel: channel.clamp(max=0.5), "saturated"),
        (lambda channel: channel.clamp(min=-0.5), "saturated"),
    ],
)
def test_a_fault_of_one_side_is_named_with_its_channel_and_only_there(change, kind):
    assert found(changed(change)) == {kind: [False, True, False]}
    assert found(OTHER, changed(change)) == {}


@pytest.mark.parametrize(
    "change",
    [
        lambda channel: channel,
        lambda channel: 0.1 * channel + 4,
        lambda channel: channel.clamp(max=2.0),  # a fiftieth
        lambda channel: half_empty(channel) * 0 + torch.arange(40.0)[:, None, None],  # one value per image
    ],
)
def test_sound_channels_have_none(change):
    assert found(changed(change)) == {}


def test_what_both_sides_have_is_no_difference():
    black = SOUND.clamp(min=0)
    assert found(OTHER.clamp(min=0), black) == {}
    assert found(changed(lambda channel: channel * 0), SOUND * 0) == {}


def test_few_images_tell_nothing():
    assert found(changed(lambda channel: channel * 0)[:7]) == {}
    assert found(changed(lambda channel: channel * 0), SOUND[:7]) == {}


def test_the_value_of_a_channel_that_does_not_vary_is_known():
    for value in (0.0, 3.0):
        told = only_constant(input_sums(changed(lambda channel, at=value: channel * 0 + at)), input_sums(SOUND))
        assert told[1] == value
        assert told[[0, 2]].isnan().all()
    both = changed(lambda channel: channel * 0)
    assert only_constant(input_sums(both), input_sums(both)).isnan().all()


def test_rows_without_pixels_are_told_too():
    rows = torch.randn(200, 2, generator=torch.Generator().manual_seed(2))
    assert found(rows.clamp(max=0.3), rows + 0.01) == {"saturated": [True, True]}
    assert found(rows * 0, rows) == {"empty": [True, True]}
