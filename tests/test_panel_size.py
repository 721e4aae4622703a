"""Each picture that a logger gets can be read in a narrow panel: letters of six pixels, none over another."""

from itertools import combinations, pairwise

import pytest
import torch

from lightning_failures.callbacks.channels import course_figure, profile_figure
from lightning_failures.callbacks.collapse import layer_figure
from lightning_failures.callbacks.factors import factor_figure
from lightning_failures.callbacks.images.confusion import confusion_figure
from lightning_failures.callbacks.simplicity import (
    accuracy_figure,
    contact_sheet,
    cue_figure,
    dimension_figure,
    ladder_figure,
    region_map,
)
from lightning_failures.reporting.contact_sheet import Places, Tile, sheet_of
from tests.records import failing
from tests.test_channel_figures import course as channels
from tests.test_collapse_figures import course as layers
from tests.test_simplicity_figures import RUNGS
from tests.test_simplicity_figures import course as simplicity

pytest.importorskip("matplotlib")

PANEL = 345  # pixels: what W&B gives a picture where four stand side by side
LONG = "photographed through a dirty window at night"


def near_chance():
    found = simplicity([400.0, 500.0, 900.0], "nm")
    found.add(4, {"model_accuracy": 0.14, "chance": 0.22, "transplant/total_absorbance": 0.4}, RUNGS, [])
    return found


def sheet(places=None, names=None):
    tiles = [Tile(torch.rand(12, 9, 9), (f"row {row}", f"given {LONG}", "as Corn, 99%"), row == 5) for row in range(6)]
    title = "Images that the model gets wrong (orange), and some that it gets right (green)"
    return sheet_of(tiles, title, channel_names=names, places=places)


def transplants():
    images, own = torch.rand(40, 3, 9, 7), torch.arange(40) % 4
    names = [f"{LONG} {number}" for number in range(4)]
    return contact_sheet(images, images.roll(1, 0), images, own, (own - 1) % 4, (own - 1) % 4, "level", names)


def bands():
    return Places([400.0 + 10 * band for band in range(12)], "wavelength (nm)")


FIGURES = {
    "accuracy": lambda: accuracy_figure(failing()),
    "factors": lambda: factor_figure(failing()),
    "bands": lambda: profile_figure(channels()),
    "bands by evaluation": lambda: course_figure(channels()),
    "bands without names, by evaluation": lambda: course_figure(channels("nm", named=False)),
    "ladder": lambda: ladder_figure(simplicity()),
    "ladder of a network near chance": lambda: ladder_figure(near_chance()),
    "main directions": lambda: dimension_figure(simplicity([400.0, 500.0, 900.0], "nm")),
    "worst cue": lambda: cue_figure(near_chance()),
    "regions": lambda: region_map([((0, 4, 0, 9), 0.3), ((4, 9, 0, 9), 0.1)], 9, 9, torch.rand(9, 9)),
    "layers": lambda: layer_figure(layers([f"backbone.stage{i}.block" for i in range(8)], accuracy=0.4)),
    "two layers": lambda: layer_figure(layers(("stem", "penultimate"))),
    "confusion of two": lambda: confusion_figure(torch.tensor([[30, 4], [9, 20]]), ["cat", LONG]),
    "confusion of sixteen": lambda: confusion_figure(
        torch.ones(16, 16).long() + 99 * torch.eye(16).long(), [f"{LONG} {number}" for number in range(16)]
    ),
    "sheet": sheet,
    "transplants": transplants,
}


def shown_texts(figure):
    from matplotlib.text import Text

    figure.canvas.draw()
    beyond = set()
    for axis in [axis for axes in figure.axes for axis in (axes.xaxis, axes.yaxis)]:
        low, high = sorted(axis.get_view_interval())
        beyond |= {tick.label1 for tick in axis.get_major_ticks() if not low <= tick.get_loc() <= high}
    texts = [part for part in figure.findobj(Text) if part.get_visible() and part.get_text().strip()]
    return [part for part in texts if part not in beyond]


@pytest.mark.parametrize("name", FIGURES)
def test_letters_have_six_pixels_in_a_panel_and_none_stands_over_another(name):
    figure = FIGURES[name]()
    texts, (width, height) = shown_texts(figure), figure.get_size_inches()
    small = {text.get_text() for text in texts if text.get_fontsize() / 72 * PANEL / width < 6}
    assert small == set()
    box = figure.get_tightbbox()
    assert min(box.x0, box.y0) >= -0.01
    assert box.x1 <= width + 0.01
    assert box.y1 <= height + 0.01
    upright = [text for text in texts if text.get_rotation() in (0, 90)]
    boxes = [(text.get_text(), text.get_window_extent()) for text in upright]
    over = [(a, b) for (a, one), (b, two) in combinations(boxes, 2) if one.padded(-1).overlaps(two.padded(-1))]
    assert over == []


def test_what_stands_beneath_an_image_ends_before_its_neighbour_begins_however_wide_its_letters():
    tiles = [Tile(torch.rand(1, 9, 9), (f"given {name}", f"as {name} 100%")) for name in ("iiiil" * 9, "WMW" * 9) * 2]
    texts = [axes.xaxis.label for axes in sheet_of(tiles, "Images").axes]
    shown_texts(texts[0].figure)
    places = sorted((text.get_window_extent() for text in texts), key=lambda place: place.x0)
    assert all(right.x0 - left.x1 >= 3 for left, right in pairwise(places))
    assert all(text.get_text().endswith("100%") for text in texts)


def test_the_spectra_of_a_sheet_stand_over_their_wavelengths():
    axes = sheet(bands()).axes[-1]
    assert axes.get_xlabel() == "wavelength (nm) (dotted: shown as red, green and blue)"
    assert list(axes.lines[0].get_xdata()) == bands().values
    assert {line.get_xdata()[0] for line in axes.lines[-3:]} == {500.0, 460.0, 420.0}
    assert axes.get_xlim()[0] < axes.get_xlim()[1]
    turned = sheet(Places([900.0 + 10 * band for band in range(12)], "wavenumber (cm⁻¹)", descending=True)).axes[-1]
    assert turned.get_xlim()[0] > turned.get_xlim()[1]


@pytest.mark.parametrize("places", [None, Places([1.0, 2.0], "wavelength (nm)")])
def test_without_the_wavelength_of_each_channel_the_spectra_stand_over_their_numbers(places):
    figure = sheet(places, ["1 nm", "2 nm"] if places else None)
    assert figure.axes[-1].get_xlabel().startswith("channel (")
    assert list(figure.axes[-1].lines[0].get_xdata()) == list(range(12))
    assert any("channel 10, channel 6" in text.get_text() for text in shown_texts(figure))


def test_the_map_of_bands_is_white_where_nothing_is_lost_and_has_two_colours_about_it():
    figure = course_figure(channels(named=False))
    low, high = figure.axes[0].collections[0].get_clim()
    assert low == -high
    shades = figure.axes[0].collections[0].cmap
    assert shades(0.5)[:3] == pytest.approx((1, 1, 1), abs=0.01)
    assert shades(0.0)[2] > shades(0.0)[0]
    assert shades(1.0)[0] > shades(1.0)[2]
