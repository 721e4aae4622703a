"""Bands and axes: what users may call bands, in which units, and what is said of those that do not fit."""

import warnings
from itertools import pairwise

import pytest
import torch

from lightning_failures.errors import FailuresWarning, InputError, UnknownNameError
from lightning_failures.spectrum import (
    BAND_SETS,
    Axis,
    channel_names,
    convert,
    resolve_bands,
    spectral_axis,
    tiles,
    windows,
)

CM = spectral_axis(torch.linspace(900, 1800, 64), "cm-1")


def test_without_bands_each_channel_is_one() -> None:
    bands = resolve_bands(None, 3)
    assert bands.names == ("channel 0", "channel 1", "channel 2")
    assert torch.equal(bands.members, torch.eye(3, dtype=torch.bool))
    assert bands.positions is None


def test_channels_are_named_by_their_place() -> None:
    assert resolve_bands(None, 2, spectral_axis([400, 410.5], "nm")).names == ("400 nm", "410.5 nm")


def test_names_of_a_fine_axis_differ() -> None:
    values = torch.linspace(1600, 1600.001, 5, dtype=torch.float64)
    assert len(set(channel_names(5, spectral_axis(values)))) == 5


def test_limits_on_the_axis_include_both_ends() -> None:
    bands = resolve_bands({"a": (5, 15), "b": (20.0, 16)}, 4, spectral_axis([5, 10, 15, 20], "nm"))
    assert bands.members.int().tolist() == [[1, 1, 1, 0], [0, 0, 0, 1]]
    assert bands.positions is not None
    assert bands.positions.tolist() == [10, 20]


def test_lists_are_indices_and_so_are_ranges_and_slices() -> None:
    bands = resolve_bands({"a": [0, 2], "b": range(1, 2), "c": slice(3, None)}, 5)
    assert bands.members.int().tolist() == [[1, 0, 1, 0, 0], [0, 1, 0, 0, 0], [0, 0, 0, 1, 1]]


def test_a_list_of_two_that_cannot_be_indices_is_limits_since_yaml_has_no_tuples() -> None:
    axis = spectral_axis([1600, 1650, 1700, 1750], "cm-1")
    assert resolve_bands({"Amide I": [1600, 1700]}, 4, axis).members.int().tolist() == [[1, 1, 1, 0]]
    assert resolve_bands({"first two": [0, 1]}, 4, axis).members.int().tolist() == [[1, 1, 0, 0]]


def test_lists_of_indices_need_no_names() -> None:
    assert resolve_bands([[0, 1], [3]], 4).names == ("channels 0-1", "channels 3")


def test_a_width_cuts_the_spectrum_into_tiles() -> None:
    bands = resolve_bands(3, 7)
    assert bands.names == ("channels 0-2", "channels 3-5", "channels 6")
    assert bands.members.sum(0).tolist() == [1] * 7
    assert tiles(4, 2, spectral_axis([1800, 1700, 1600, 1500], "cm-1")).names == ("1700-1800 cm-1", "1500-1600 cm-1")
    fine = tiles(4, 2, spectral_axis([0.4002, 0.41, 0.5003, 0.5101], "um"))
    assert fine.names == ("0.400-0.410 um", "0.500-0.510 um")
    assert tiles(3, 2, spectral_axis([400.02, 409.82, 419.62], "nm")).names == ("400-410 nm", "420 nm")


def test_a_window_stands_around_each_channel() -> None:
    bands = windows(5, 3)
    assert bands.members.int().tolist() == [
        [1, 1, 0, 0, 0],
        [1, 1, 1, 0, 0],
        [0, 1, 1, 1, 0],
        [0, 0, 1, 1, 1],
        [0, 0, 0, 1, 1],
    ]
    assert bands.names[0] == "channel 0"


def test_red_green_blue_and_grey_are_three_channels_and_one() -> None:
    assert len(resolve_bands(None, 3).names) == 3
    assert len(resolve_bands(None, 1).names) == 1


def test_bands_that_were_resolved_are_taken_as_they_are() -> None:
    bands = resolve_bands(2, 6)
    assert resolve_bands(bands, 6) is bands


# -- named sets


def test_every_named_set_has_a_source_and_bands_in_ascending_order_without_overlap() -> None:
    for name, entry in BAND_SETS.items():
        assert entry.source
        limits = list(entry.ranges.values())
        assert all(low < high for low, high in limits), name
        assert all(before[1] <= after[0] for before, after in pairwise(limits)), name


def test_the_named_bands_of_tissue_hold_their_textbook_peaks() -> None:
    peaks = {"Amide I": 1655, "Amide II": 1545, "Amide III": 1310, "CH stretch": 2925, "Phosphate (symmetric)": 1080}
    peaks |= {"Phosphate (antisymmetric)": 1236, "Glycogen": 1030, "Ester C=O": 1740}
    ranges = BAND_SETS["infrared pathology"].ranges
    assert set(peaks) == set(ranges)
    assert all(ranges[name][0] <= peak <= ranges[name][1] for name, peak in peaks.items())


def test_a_named_set_leaves_out_what_the_axis_does_not_cover_and_says_so() -> None:
    with pytest.warns(FailuresWarning) as said:
        bands = resolve_bands("infrared pathology", 64, CM)
    assert str(said[0].message) == (
        "resolve_bands: bands without a channel are left out: CH stretch; the axis covers 900 to 1800 cm-1."
    )
    assert "CH stretch" not in bands.names
    assert "Amide I" in bands.names


def test_named_bands_are_converted_to_the_unit_of_the_axis() -> None:
    in_um = spectral_axis(convert(CM.values, "cm-1", "um"), "um")
    here, there = (resolve_bands(["Amide I", "Amide II"], 64, axis) for axis in (CM, in_um))
    assert torch.equal(here.members, there.members)


def test_named_bands_need_a_unit() -> None:
    with pytest.raises(InputError) as caught:
        resolve_bands("infrared pathology", 64, spectral_axis(CM.values))
    assert str(caught.value) == (
        "resolve_bands: named bands need an axis with a unit; given wavelengths without a unit. "
        "Pass wavelengths=... and unit='nm', 'um' or 'cm-1'."
    )


def test_an_unknown_set_and_an_unknown_band_list_those_that_are_there() -> None:
    with pytest.raises(UnknownNameError) as caught:
        resolve_bands("infrared", 64, CM)
    assert str(caught.value) == (
        "resolve_bands: no such set of bands; given 'infrared'. "
        "Choose from infrared pathology, visible and short-wave infrared."
    )
    with pytest.raises(UnknownNameError, match="no such bands; given Amide IV"):
        resolve_bands(["Amide I", "Amide IV"], 64, CM)


# -- bands that do not fit


def test_overlapping_bands_are_said() -> None:
    with pytest.warns(FailuresWarning) as said:
        resolve_bands({"a": [0, 1], "b": [1, 2], "c": [3]}, 4)
    assert str(said[0].message) == "resolve_bands: bands overlap and share what they explain: a and b."


def test_bands_that_do_not_overlap_are_not_said() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        resolve_bands({"a": [0, 1], "b": [2]}, 4)


def test_no_band_with_a_channel_is_an_error() -> None:
    with pytest.raises(InputError) as caught:
        resolve_bands({"CH stretch": (2800, 3000)}, 64, CM)
    assert str(caught.value) == (
        "resolve_bands: no band has a channel; given CH stretch; the axis covers 900 to 1800 cm-1. "
        "Give bands on this axis."
    )


def test_limits_without_an_axis_are_an_error() -> None:
    with pytest.raises(InputError) as caught:
        resolve_bands({"Amide I": (1600, 1700)}, 64)
    assert str(caught.value) == (
        "resolve_bands: the band 'Amide I' is not a pair of limits on an axis; "
        "given (1600, 1700), no wavelengths. Give two limits and wavelengths=..., or channel indices as a list."
    )


def test_an_index_that_is_no_channel_is_an_error() -> None:
    with pytest.raises(InputError) as caught:
        resolve_bands({"a": [1, 4]}, 4)
    assert str(caught.value) == (
        "resolve_bands: the band 'a' names channels that are not there; given 1, 4; 4 channels. "
        "Give indices from 0, or two limits on the axis and wavelengths=...."
    )


@pytest.mark.parametrize("width", [0, 5])
def test_a_width_that_does_not_fit_is_an_error(width: int) -> None:
    with pytest.raises(InputError, match=f"a band is wider than the spectrum; given {width} of 4 channels"):
        resolve_bands(width, 4)


def test_bands_of_no_known_kind_are_an_error() -> None:
    with pytest.raises(InputError, match="bands are of no known kind"):
        resolve_bands([], 4)


# -- axes


def test_units_convert_there_and_back() -> None:
    values = torch.tensor([400.0, 1000.0, 2500.0], dtype=torch.float64)
    assert convert(values, "nm", "um").tolist() == [0.4, 1.0, 2.5]
    assert convert(values, "nm", "cm-1").tolist() == [25000.0, 10000.0, 4000.0]
    for unit in ("um", "cm-1"):
        assert torch.allclose(convert(convert(values, "nm", unit), unit, "nm"), values)


def test_only_wavenumbers_are_drawn_descending() -> None:
    assert CM.descending
    assert not spectral_axis([400, 500], "nm").descending
    assert spectral_axis([1, 2], "cm⁻¹").unit == "cm-1"


def test_descending_axes_are_monotone_too() -> None:
    assert isinstance(spectral_axis([3.0, 2.0, 1.0], "um"), Axis)


def test_an_unknown_unit_is_an_error() -> None:
    with pytest.raises(UnknownNameError) as caught:
        spectral_axis([1, 2], "eV")
    assert str(caught.value) == "spectral_axis: no such unit; given 'eV'. Choose from 'nm', 'um' and 'cm-1'."


@pytest.mark.parametrize(
    ("values", "said"),
    [([1.0, 2.0, 2.0], "2 then 2 at channel 1"), ([3.0, 2.0, 5.0, 1.0], "2 then 5 at channel 1")],
)
def test_an_axis_that_is_not_monotone_says_where(values: list[float], said: str) -> None:
    with pytest.raises(InputError) as caught:
        spectral_axis(values, "nm")
    assert str(caught.value) == (
        f"spectral_axis: wavelengths are not strictly monotone; given {said}. "
        "Sort the channels along the axis, and leave out repeated ones."
    )


def test_an_axis_with_nan_is_an_error() -> None:
    with pytest.raises(InputError, match="not strictly monotone"):
        spectral_axis([1.0, torch.nan, 3.0])


def test_the_wrong_number_of_wavelengths_says_on_which_axis_it_would_fit() -> None:
    with pytest.raises(InputError) as caught:
        spectral_axis(range(64), "nm", 24, (8, 24, 24, 64))
    assert str(caught.value) == (
        "spectral_axis: wavelengths and channels differ in number; given 64 wavelengths, 24 channels in inputs "
        "(8, 24, 24, 64). Axis 3 has that many: pass channel_axis=3."
    )
