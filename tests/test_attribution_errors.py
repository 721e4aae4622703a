"""Attribution of channels: what bad input says."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from lightning_failures import FailuresWarning, attribute_channels
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
        "Give one value per channel, one image, or as many images as there are inputs."
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


def few(images: int = 40) -> tuple[nn.Module, Tensor, Tensor]:
    torch.manual_seed(0)
    net, inputs = nn.Linear(4, 3), torch.randn(images, 4)
    return net, inputs, net(inputs).argmax(1)


@pytest.mark.parametrize("kind", [torch.int64, torch.float32, torch.bool])
def test_one_hot_classes_give_the_figures_of_class_indices(kind: torch.dtype) -> None:
    net, inputs, target = few()
    one_hot = nn.functional.one_hot(target, 3).to(kind)
    own = attribute_channels(net, inputs, target).values
    assert torch.equal(attribute_channels(net, inputs, one_hot).values, own)
    maps, pixels = inputs[..., None, None].expand(-1, -1, 2, 2), target[:, None, None].expand(-1, 2, 2)
    whole = nn.Conv2d(4, 3, 1)
    by_index = attribute_channels(whole, maps, pixels).values
    assert torch.equal(
        attribute_channels(whole, maps, nn.functional.one_hot(pixels, 3).movedim(-1, 1)).values, by_index
    )


@pytest.mark.parametrize(
    "targets", [torch.full((40, 3), 1 / 3), torch.ones(40, 3, dtype=torch.int64), torch.full((40,), 0.5)]
)
def test_targets_that_are_no_classes_say_what_to_give(targets: Tensor) -> None:
    net, inputs, _ = few()
    with pytest.raises(InputError) as caught:
        attribute_channels(net, inputs, targets)
    assert str(caught.value) == (
        f"attribute_channels: targets are not one class each; given targets {tuple(targets.shape)} {targets.dtype} "
        "for logits (n, 3). Give whole numbers, one class per image (n) or pixel (n h w), or one-hot classes; of "
        "smoothed or mixed labels give targets.argmax(1), of several labels per image one after the other, with its "
        "logit alone."
    )


@pytest.mark.parametrize("method", ["ablation", "permutation", "integrated_gradients"])
def test_images_that_are_not_finite_are_left_out_and_said(method: Any) -> None:
    net, inputs, target = few()
    spoilt = inputs.clone()
    spoilt[3, 1], spoilt[7, 0] = torch.nan, torch.inf
    rest = torch.tensor([image for image in range(40) if image not in (3, 7)])
    with pytest.warns(FailuresWarning) as said:
        found = attribute_channels(net, spoilt, target, method)
    assert str(said[0].message) == "attribute_channels: 2 of 40 images hold NaN or infinity and are left out."
    own = attribute_channels(net, inputs[rest], target[rest], method)
    torch.testing.assert_close(found.values, own.values)
    assert found.changes.isnan().any(1).nonzero().flatten().tolist() == [3, 7]
    assert int(found.sums.images) == 38


def test_images_of_which_none_is_finite_are_refused() -> None:
    net, inputs, target = few(3)
    with pytest.raises(InputError) as caught:
        attribute_channels(net, inputs * torch.nan, target)
    assert str(caught.value) == (
        "attribute_channels: no image is finite; given 3 images, of which 3 hold NaN or infinity. "
        "Mend the images, or pass others; look first where such values come from."
    )


def test_one_channel_is_a_band_and_names_are_no_wavelengths() -> None:
    net, inputs, target = few()
    by_list = attribute_channels(net, inputs, target, bands={"red": [2]})
    assert torch.equal(attribute_channels(net, inputs, target, bands={"red": 2}).values, by_list.values)
    with pytest.raises(InputError) as caught:
        attribute_channels(net, inputs, target, wavelengths=["B02", "B03", "B04", "B08"])
    assert str(caught.value) == (
        "attribute_channels: wavelengths are not numbers; given ['B02', 'B03', 'B04', 'B08']. "
        "Give one number per channel; name channels with bands={'red': [0], ...}."
    )
