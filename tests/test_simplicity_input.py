"""What the simplicity monitor says of input that it cannot use."""

import logging
import math

import pytest
import torch
from torch.utils.data import DataLoader

from lightning_failures import SimplicityBiasMonitor
from lightning_failures.callbacks.simplicity import CueReader
from lightning_failures.errors import FailuresWarning, InputError
from tests.runs import dataset, fit
from tests.test_simplicity_monitor import scene, thick, values_of, watch


def test_standardised_inputs_without_denormalize_leave_the_absorbance_out_and_say_so(caplog):
    images, labels, _ = scene()
    mean, std = images.mean((0, 2, 3), keepdim=True)[0], images.std((0, 2, 3), keepdim=True)[0]
    standardised = (images - mean) / std

    def model(x):
        return thick(x * std + mean)

    with caplog.at_level(logging.INFO):
        values, monitor, _ = watch(model, standardised, labels)
    said = [record.getMessage() for record in caplog.records if "is left out" in record.getMessage()]
    assert said == [
        "SimplicityBiasMonitor: the cue 'total_absorbance' is left out: the inputs are standardised and no denormalize "
        "was given, so that raw units are unknown: pass denormalize=(mean, std)"
    ]
    assert monitor.models.blind
    assert not [key for key in values if "total_absorbance" in key or "unit_total" in key or "mean_shape" in key]
    assert values["own/1"] > 0.9

    with_units, _, _ = watch(model, standardised, labels, denormalize=lambda x: x * std + mean)
    assert with_units["reliance/total_absorbance"] == 1
    assert with_units["transplant/total_absorbance"] > 0.9


def test_normalised_images_have_no_total_absorbance_to_rest_on(caplog):
    images, labels, _ = scene()
    normalised = images / images.sum(1, keepdim=True)
    with caplog.at_level(logging.INFO):
        values, monitor, _ = watch(thick, normalised, labels)
    assert "reliance/total_absorbance" not in values
    assert monitor.models.left_out["total_absorbance"].startswith("cue_edges: the cue is constant; given 1.0")
    assert math.isnan(values["reach/total_absorbance"])
    assert monitor.undefined["reach/total_absorbance"] == (
        "the simple model is undefined on the training images, or no image had labels"
    )


@pytest.mark.parametrize("name", ["a/b", "*", "", "total_absorbance"])
def test_a_name_that_breaks_keys_is_refused(name):
    with pytest.raises(InputError) as error:
        CueReader({name: "2"})
    assert str(error.value) == (
        f"SimplicityBiasMonitor(cues=...): the name of a cue cannot be used; given {name!r}. "
        "Use a name without / and *, other than total_absorbance, grey_level."
    )


BAD = {
    "the cue 'dose' does not have one value per image; given (5,) for 8 images. "
    "Give one number per image.": lambda batch: batch[1][:5].float(),
    "the cue 'dose' holds no numbers; given a list. "
    "Pass a callable that gives numbers, such as the index of each scanner.": lambda batch: ["A"] * len(batch[1]),
    "the cue 'dose' is one of pixels; given (8, 5, 5) for labels (8,). "
    "Give one number per image where an image has one label.": lambda batch: batch[0][:, 0],
}


def test_cues_without_names_are_refused():
    with pytest.raises(InputError) as error:
        SimplicityBiasMonitor(cues=["scanner"])
    assert str(error.value) == (
        "SimplicityBiasMonitor(cues=...): cues have no names; given ['scanner']. "
        "Pass name -> path or callable into the batch, such as {'scanner': 'meta.scanner'}."
    )


@pytest.mark.parametrize("text", BAD)
def test_cues_that_do_not_fit_the_batch_are_refused(text):
    with pytest.raises(InputError) as error:
        fit([SimplicityBiasMonitor({"dose": BAD[text]}, on_error="raise")])
    assert str(error.value) == f"SimplicityBiasMonitor(cues=...): {text}"


def test_a_cue_that_is_not_there_lists_what_is():
    with pytest.raises(LookupError) as error:
        fit([SimplicityBiasMonitor({"dose": "dose"}, on_error="raise")])
    assert str(error.value) == (
        "SimplicityBiasMonitor(cues=...): the field 'dose' is not there; given a list with '0', '1'. Name a path of "
        "fields or positions, such as 'image' or '0', or pass a callable that takes the batch."
    )


LEFT_OUT = {
    "cue_edges: the cue is constant; given 2.0 for 48 images. "
    "Pass the cue of every image of a sample: (n), finite, n at least bins.": lambda batch: torch.full_like(
        batch[1], 2, dtype=torch.float32
    ),
    "cue_edges: the cue holds NaN or infinity; given 48 of 48 values. "
    "Pass the cue of every image of a sample: (n), finite, n at least bins.": lambda batch: batch[1] * math.nan,
}


@pytest.mark.parametrize("text", LEFT_OUT)
def test_a_constant_cue_or_one_of_nan_is_left_out_with_a_warning_and_the_rest_goes_on(text):
    with pytest.warns(FailuresWarning) as caught:
        run, _ = fit([SimplicityBiasMonitor({"dose": LEFT_OUT[text]}, on_error="raise")])
    (said,) = [str(warning.message) for warning in caught if warning.category is FailuresWarning]
    assert said == f"SimplicityBiasMonitor: the cue 'dose' is left out: {text}"
    assert "reach/dose" not in values_of(run)
    assert math.isfinite(values_of(run)["reach/total_absorbance"])


def test_fewer_training_images_than_bins_leave_the_cue_out():
    few = DataLoader(dataset(12), batch_size=6)
    with pytest.warns(
        FailuresWarning, match=r"the cue 'x' is left out: cue_edges: fewer images than bins; given shape"
    ):
        fit([SimplicityBiasMonitor({"x": lambda b: b[0][:, 0, 0, 0]}, on_error="raise")], data=(few, few))


def test_a_denormalize_that_is_no_scale_and_shift_says_what_to_pass():
    with pytest.raises(InputError) as error:
        fit([SimplicityBiasMonitor(denormalize=torch.exp, on_error="raise")])
    assert str(error.value) == (
        "SimplicityBiasMonitor: denormalize is not one scale and shift for each channel; given inputs (8, 6, 5, 5) to "
        "(8, 6, 5, 5). Pass what standardised them, denormalize=(mean, std), each a number or one for each channel."
    )


def test_wavelengths_that_are_not_monotone_are_refused_at_construction():
    with pytest.raises(InputError) as error:
        SimplicityBiasMonitor(wavelengths=[400.0, 410.0, 405.0], unit="nm")
    assert str(error.value) == (
        "SimplicityBiasMonitor: wavelengths are not strictly monotone; given 410 then 405 at channel 1. "
        "Sort the channels along the axis, and leave out repeated ones."
    )
