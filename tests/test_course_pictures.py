import importlib
import io
from pathlib import Path

import pytest
import torch

from docs.site_pages import filled
from lightning_failures.callbacks.columns import standard_rules

ROOT = Path(__file__).resolve().parents[1]
PICTURES = sorted((ROOT / "docs" / "pictures").glob("*.png"))


@pytest.fixture
def pictures(benchmark):
    """The script that draws them, as one of its folder."""
    pytest.importorskip("matplotlib")
    return benchmark("course_pictures")


def test_each_picture_is_one_that_the_script_draws_and_stands_on_the_page_of_its_finding(pictures):
    assert {path.stem for path in PICTURES} == set(pictures.KINDS)
    for path in PICTURES:
        by_hand = (ROOT / "docs" / "finding" / f"{path.stem}.md").read_text(encoding="utf-8")
        page = filled(f"finding/{path.stem}.md", by_hand)
        assert page.index(f"(../pictures/{path.name})") < page.index("## What to try")


def test_the_figure_that_is_drawn_is_one_that_the_rule_of_that_finding_reads(pictures):
    rules = {rule.name: rule for rule in standard_rules()}
    for kind, planted in pictures.PLANTED.items():
        assert rules[planted.rule].kind == kind
        assert pictures.condition_of(planted).key == planted.key
        assert pictures.term_of(planted.key).name


def test_a_picture_shows_both_runs_and_marks_the_epoch_at_which_it_was_raised(pictures):
    image, chops = pytest.importorskip("PIL.Image"), pytest.importorskip("PIL.ImageChops")
    planted = pictures.PLANTED["class_collapse"]
    key = planted.key
    sick, healthy = ([{key: value} for value in course] for course in ((0.1, 0.1, 0.0), (0.1, 0.9, 1.0)))
    marked = pictures.picture(planted, pictures.Run(sick, raised=1), pictures.Run(healthy))
    without = pictures.picture(planted, pictures.Run(sick), pictures.Run(healthy))
    one, other = (image.open(io.BytesIO(data)).convert("RGB") for data in (marked, without))
    assert one.size == other.size
    differs = torch.frombuffer(bytearray(chops.difference(one, other).convert("L").tobytes()), dtype=torch.uint8)
    differs = differs.view(one.height, one.width)
    assert differs[:, :500].max() > 50
    assert differs[:, 520:].max() < 20  # the colours of a small file are a choice of its own


def test_where_one_channel_tells_the_class_the_others_are_those_of_another_image(pictures):
    setup = pictures.healthy_setup("cnn", 1, pictures.spectra)
    planted = pictures.one_channel(setup)
    same = (planted.train.images == setup.train.images).flatten(2).all(2).all(0)
    assert same.nonzero().flatten().tolist() == [5]
    assert (planted.train.labels == setup.train.labels).all()


@pytest.fixture
def of_images(benchmark):
    """The script that draws images."""
    pytest.importorskip("matplotlib")
    return benchmark("image_pictures")


def test_the_nearest_image_is_the_copy_where_there_is_one(of_images):
    some = torch.randn(6, 2, 3, 3, generator=torch.Generator().manual_seed(0))
    assert of_images.nearest(some[[4, 1]], some).tolist() == [4, 1]
    assert of_images.nearest(some[:1] + 0.01, some).tolist() == [0]


def test_all_images_of_a_picture_of_images_are_on_one_scale(of_images):
    image = pytest.importorskip("PIL.Image")
    dark, bright = (of_images.Panel("half", [[of_images.Shown(torch.full((8, 8), v), "", False)]]) for v in (0.0, 1.0))
    drawn = image.open(io.BytesIO(of_images.drawn((dark, bright)))).convert("L")
    left, right = (drawn.getpixel((round(place * drawn.width), round(0.6 * drawn.height))) for place in (0.25, 0.75))
    assert left < 20
    assert right > 235


def test_a_scene_whose_thickness_tells_the_class_too_has_the_labels_of_none_other(pictures):
    both, without = (pictures.scene(case)(torch.Generator().manual_seed(1)) for case in ("both", "complex"))
    assert both.images.shape == without.images.shape == (1797, 16, 12, 12)
    assert both.images.dtype == torch.float32
    assert both.labels.equal(without.labels)
    assert not both.images.equal(without.images)


def test_scanner_b_is_known_by_its_dark_detector(pictures):
    digit_runs = importlib.import_module("digit_runs")
    setup = pictures.healthy_setup("cnn", 1, pictures.two_scanners)
    images = digit_runs.prepared(setup.train.images, setup.train_by)
    assert pictures.of_scanner_b((images, setup.train.labels)).nonzero().flatten().tolist() == list(range(0, 1280, 4))
