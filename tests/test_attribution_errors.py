"""Attribution of channels: what bad input says."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from lightning_failures import attribute_channels
from lightning_failures.attribution import donors
from lightning_failures.errors import InputError, UnknownNameError

REPLACING = ["ablation", "shapley", "permutation", "conditional_permutation", "window_conditional_permutation"]
GRADIENTS = ["gradient_x_input", "integrated_gradients", "expected_gradients"]


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
