import math

import pytest
import torch
from torch.nn import functional as F

from lightning_failures.callbacks.simplicity import contact_sheet, region_map
from lightning_failures.functional import transplant_channels, transplant_colour, transplant_level
from lightning_failures.reporting.figure_style import to_png

pytest.importorskip("matplotlib")


def texts(figure):
    return [text.get_text().replace("\n", " ") for text in figure.findobj(lambda part: hasattr(part, "get_text"))]


def pictures(figure):
    return [axes.images[0] for axes in figure.axes]


def pairs(n=40, channels=3, height=9, width=7, classes=4):
    """Receivers of class row % classes, each with a donor of the next class."""
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(n, channels, height, width, generator=generator)
    own = torch.arange(n) % classes
    return images, images.roll(1, 0), own, (own - 1) % classes


def test_the_title_counts_all_pairs_that_are_predicted_otherwise():
    images, donors, own, donor = pairs(n=12)
    donor[:2] = own[:2]  # no pairs
    own[2] = -1  # no prediction
    preds = torch.where(torch.arange(12) < 5, donor, own)
    figure = contact_sheet(images, donors, transplant_colour(images, donors), own, donor, preds, "colour")
    said = texts(figure)
    assert "Given only the colour of another image, 2 of 9 are predicted as that image" in said
    assert {"image", "gives its colour", "with that colour"} <= set(said)
    assert len(pictures(figure)) == 2 * 3


def test_at_most_twelve_triples_are_shown_evenly_over_the_classes_of_the_donors():
    images, donors, own, donor = pairs(n=40)
    donor[:30], own[:30] = 0, 1  # most go to class 0
    figure = contact_sheet(images, donors, images, own, donor, donor, "level", ["cat", "dog", "cow", "pig"])
    assert len(pictures(figure)) == 36
    labels = [axes.get_xlabel() for axes in figure.axes]
    assert labels[1::3] == labels[2::3] == sorted(labels[1::3], key=["cat", "dog", "cow", "pig"].index)
    counts = {name: labels[1::3].count(name) for name in ("cat", "dog", "cow", "pig")}
    assert max(counts.values()) - min(counts.values()) <= 2
    assert min(counts.values()) >= 2


def test_of_many_classes_those_shown_are_spread_over_all():
    images, donors, own, donor = pairs(n=100, classes=100)
    figure = contact_sheet(images, donors, images, own, donor, donor, "colour")
    shown = [int(axes.get_xlabel()) for axes in figure.axes[1::3]]
    assert len(shown) == 12
    assert min(shown) < 9
    assert max(shown) > 90


def test_a_change_of_level_is_seen_on_the_scale_that_the_three_pictures_share():
    images, _, own, donor = pairs(n=1, channels=1)
    donors = images + 2
    figure = contact_sheet(images, donors, transplant_level(images, donors), own, donor, donor, "level")
    dark, bright, moved = (float(picture.get_array().mean()) for picture in pictures(figure))
    assert dark < 0.4
    assert bright > 0.6
    assert moved == pytest.approx(bright, abs=0.02)
    assert "Given only the mean level of another image, 1 of 1 is predicted as that image" in texts(figure)
    assert all(picture.get_array().ndim == 2 for picture in pictures(figure))


def test_a_stray_pixel_does_not_darken_the_pictures():
    images, donors, own, donor = pairs(n=1, channels=1, height=40, width=40)
    images[0, 0, 3, 3] = 1000.0
    figure = contact_sheet(images, donors, images, own, donor, donor, "level")
    assert float(pictures(figure)[0].get_array().mean()) == pytest.approx(0.5, abs=0.1)


def test_of_64_channels_three_are_shown_in_false_colour_and_the_exchanged_one_among_them():
    images, donors, own, donor = pairs(channels=64)
    moved = transplant_channels(images, donors, torch.arange(64) == 7)
    figure = contact_sheet(images, donors, moved, own, donor, donor, "channel 7")
    said = texts(figure)
    assert any("False colour: red, green and blue are channels 53, 32 and 7." in text for text in said)
    assert "Given only channel 7 of another image, 40 of 40 are predicted as that image" in said
    assert {"gives its channel 7", "with that channel"} <= set(said)
    before, _, after = (picture.get_array() for picture in pictures(figure)[:3])
    assert (before[..., :2] == after[..., :2]).all()
    assert (before[..., 2] != after[..., 2]).any()


@pytest.mark.parametrize(("channels", "shown"), [(2, "1, 1 and 0"), (4, "3, 2 and 0"), (64, "53, 32 and 10")])
def test_false_colour_shows_channels_that_lie_apart(channels, shown):
    images, donors, own, donor = pairs(channels=channels)
    figure = contact_sheet(images, donors, donors, own, donor, donor, "texture")
    assert any(f"red, green and blue are channels {shown}." in text for text in texts(figure))


def test_three_channels_keep_their_colour():
    red = torch.zeros(1, 3, 5, 5)
    red[:, 0] = 1
    blue = red.flip(1)
    figure = contact_sheet(red, blue, blue, torch.tensor([0]), torch.tensor([1]), torch.tensor([1]), "colour")
    first, second, _ = (picture.get_array()[0, 0].tolist() for picture in pictures(figure))
    assert first == [1, 0, 0]
    assert second == [0, 0, 1]
    assert not any("False colour" in text for text in texts(figure))


@pytest.mark.parametrize(("height", "width"), [(1, 1), (1, 30), (31, 2), (300, 401)])
def test_images_of_any_size_are_drawn_as_a_file(height, width):
    images, donors, own, donor = pairs(n=3, height=height, width=width)
    figure = contact_sheet(images, donors, donors, own, donor, donor, "region (rows 0-2, columns 1-3)", "a" * 4)
    assert {"gives its region", "with that region"} <= set(texts(figure))
    assert all(max(picture.get_array().shape[:2]) <= 160 for picture in pictures(figure))
    assert to_png(figure, 50).startswith(b"\x89PNG")


def test_long_names_of_classes_and_of_contents_are_shortened():
    images, donors, own, donor = pairs(n=3)
    names = ["photographed at night in heavy rain"] * 4
    figure = contact_sheet(images, donors, donors, own, donor, donor, "my_own_content", names)
    assert all(len(axes.get_xlabel()) <= 15 for axes in figure.axes)
    assert "Given only the my own content of another image, 3 of 3 are predicted as that image" in texts(figure)


def test_there_is_no_sheet_where_inputs_are_no_images_or_nothing_moved():
    images, donors, own, donor = pairs()
    assert contact_sheet(images, donors, images, own, donor, own, "colour") is None
    for smaller in (images[..., 0], images[..., 0, 0]):
        assert contact_sheet(smaller, smaller, smaller, own, donor, donor, "level") is None
    maps = F.one_hot(own, 4)
    assert contact_sheet(images, donors, images, maps, 1 - maps, 1 - maps, "level") is None


def test_pairs_that_hold_nan_are_counted_but_not_shown():
    images, donors, own, donor = pairs(n=3)
    images[1, 0, 0, 0] = math.nan
    figure = contact_sheet(images, donors, donors, own, donor, donor, "colour")
    assert len(pictures(figure)) == 6
    assert any("3 of 3 are predicted" in text for text in texts(figure))


def test_whole_numbers_and_constant_images_are_drawn():
    images = torch.zeros(1, 3, 5, 5, dtype=torch.uint8)
    one = torch.tensor([1])
    figure = contact_sheet(images, images, images, one - 1, one, one, "colour")
    assert [float(picture.get_array().max()) for picture in pictures(figure)] == [0, 0, 0]


QUARTERS = [((0, 4, 0, 3), 0.1), ((0, 4, 3, 7), 0.8), ((4, 9, 0, 3), 0.0), ((4, 9, 3, 7), 0.2)]


def test_the_map_shows_the_finest_known_share_of_each_pixel():
    figure = region_map([*QUARTERS, ((0, 2, 3, 5), 0.78), ((0, 2, 5, 7), 0.05)], 9, 7)
    shown = figure.axes[0].images[-1].get_array()
    assert shown.shape == (9, 7)
    assert [float(shown[place]) for place in ((0, 3), (0, 6), (3, 3), (8, 0))] == pytest.approx([0.78, 0.05, 0.8, 0.0])
    said = texts(figure)
    assert "Given only rows 0-1, columns 3-4 of another image, 78% of pairs are predicted as that image" in said
    assert "share of pairs predicted as the other image" in said


def test_where_no_part_carries_what_the_whole_does_the_title_and_the_map_name_the_whole():
    figure = region_map([*QUARTERS, ((0, 4, 3, 4), 0.3), ((0, 4, 4, 7), math.nan)], 9, 7, torch.rand(3, 9, 7))
    said = texts(figure)
    assert "Given only rows 0-3, columns 3-6 of another image, 80% of pairs are predicted as that image" in said
    assert "0.80 as a whole" in said
    assert len(figure.axes[0].images) == 2
    assert to_png(figure, 50).startswith(b"\x89PNG")


def test_there_is_no_map_without_a_share():
    assert region_map([], 9, 7) is None
    assert region_map([((0, 4, 0, 3), math.nan)], 9, 7) is None


def test_a_map_of_one_row_names_it():
    figure = region_map([((0, 1, 2, 3), 1.0)], 1, 30, torch.rand(1, 30))
    assert "Given only row 0, column 2 of another image, 100% of pairs are predicted as that image" in texts(figure)
