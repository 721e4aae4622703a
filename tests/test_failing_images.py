"""Images that fail, to look at: those that a finding speaks of, by row, file and names of classes."""

import json
from types import SimpleNamespace

import pytest
import torch
from lightning.pytorch.loggers import CSVLogger
from torch.utils.data import ConcatDataset, DataLoader, Subset, TensorDataset

from lightning_failures import FailingImagesMonitor, FailureDiagnosis, PropertyErrorMonitor
from lightning_failures.callbacks.images import confusion_figure
from lightning_failures.data.class_names import class_names_of
from lightning_failures.errors import InputError
from lightning_failures.reporting.contact_sheet import Tile, sheet_of, shown_channels
from tests.runs import Classifier, fit, loaders
from tests.test_property_monitor import Fixed, darkened, is_dark, scenes

pytest.importorskip("matplotlib")


class Named(TensorDataset):
    """A dataset that knows its files and its classes."""

    classes = ("left", "middle", "right")

    def __init__(self, *tensors):
        super().__init__(*tensors)
        self.paths = [f"scans/{row}.png" for row in range(len(self))]


def texts(figure):
    labels = [axes.get_xlabel() for axes in figure.axes]
    return [text.get_text() for text in figure.texts] + labels


@pytest.fixture(scope="module")
def dark():
    (images, labels), train = scenes(seed=1), scenes()
    monitors = [PropertyErrorMonitor(on_error="raise"), FailingImagesMonitor(on_error="raise")]
    diagnosis = FailureDiagnosis()
    diagnosis.announce = "nothing"
    data = DataLoader(TensorDataset(*train), 10), DataLoader(Named(darkened(images), labels), 50)
    fit([*monitors, diagnosis], Fixed(is_dark), data=data, epochs=4)
    (finding,) = [one for one in diagnosis.history if one.subject == "dark" and one.cleared is None]
    return monitors, finding, darkened(images)


def test_the_sheet_of_a_finding_shows_wrong_images_that_it_speaks_of(dark):
    (properties, shown), finding, images = dark
    carried = properties.carriers(finding)
    places = shown.worst(carried)
    assert len(places) == 12
    assert bool((shown.seen.pred != shown.seen.target)[places].all())
    assert bool(carried[places].all())
    assert bool(is_dark(images)[places].all())
    losses = shown.seen.loss[places].tolist()
    assert losses == sorted(losses, reverse=True)


def test_beneath_each_image_stand_its_row_its_file_and_the_names_of_its_classes(dark):
    (properties, shown), finding, _ = dark
    caption, make = shown.sheet(properties.carriers(finding), "dark")
    place = shown.worst(properties.carriers(finding))[0]
    said = texts(make())
    names = Named.classes
    given, pred = names[shown.seen.target[place]], names[shown.seen.pred[place]]
    assert any(f"row {place}\n{place}.png\ngiven {given}\nas {pred} " in text for text in said)
    assert "Images of 'dark' that are wrong" in caption


def test_beneath_an_image_whose_logits_are_no_numbers_stands_no_probability(dark, monkeypatch):
    (_, shown), _, _ = dark
    monkeypatch.setattr(shown, "seen", shown.seen._replace(likely=torch.full_like(shown.seen.likely, torch.nan)))
    lines = [line for place in range(5) for line in shown._lines(place, place, ["a", "b", "c"])]
    assert not any("nan" in line or "%" in line for line in lines)


def test_images_that_are_right_and_not_spoken_of_stand_beside_them(dark):
    (properties, shown), finding, _ = dark
    carried = properties.carriers(finding)
    right = shown._alike(shown.worst(carried), carried)
    assert right
    assert bool((shown.seen.pred == shown.seen.target)[right].all())
    assert not bool(carried[right].any())


def test_the_confusion_matrix_counts_every_image(dark):
    (_, shown), _, images = dark
    known = torch.zeros(3, 3, dtype=torch.int64)
    for given, pred in zip(shown.seen.target.tolist(), shown.seen.pred.tolist(), strict=True):
        known[given, pred] += 1
    assert torch.equal(shown.confusion, known)
    assert int(known.sum()) == len(images)
    said = " ".join(confusion_figure(known, Named.classes)._suptitle.get_text().split())
    assert "of 400 images are predicted as another class" in said


def test_of_many_classes_those_are_shown_that_others_are_taken_for_though_their_own_images_are_right():
    counts = 20 * torch.eye(16, dtype=torch.int64)
    counts[:, 15] = counts[:, 0] = counts[:, 3] = 0
    counts[:, 15] = 20  # all are predicted as the last class, whose own images are right
    ticks = confusion_figure(counts, [f"class {number}" for number in range(16)]).axes[0].get_xticklabels()
    assert [tick.get_text() for tick in ticks][-2:] == ["class 15", "others"]


def test_weights_and_random_states_are_the_same_with_and_without():
    def after(callbacks):
        _, module = fit(callbacks)
        return [*(value.clone() for value in module.state_dict().values()), torch.rand(3)]

    plain, watched = after([]), after([FailingImagesMonitor(on_error="raise")])
    assert all(torch.equal(one, other) for one, other in zip(plain, watched, strict=True))


def test_a_loader_of_an_order_of_its_own_shows_nothing_and_says_why():
    monitor = FailingImagesMonitor(on_error="raise")
    train, valid = loaders()
    shuffled = DataLoader(valid.dataset, 8, shuffle=True)
    with pytest.warns(UserWarning, match="shuffling"):
        fit([monitor], Classifier(), data=(train, shuffled))
    assert monitor.sheet() is None
    assert "an order of its own" in monitor.not_watched["the images that fail, to look at"]


def test_many_channels_are_shown_in_false_colour_with_their_names_and_spectra():
    tiles = [Tile(torch.rand(12, 4, 5), ("row 1",)), Tile(torch.rand(12, 4, 5), ("row 2",), True)]
    figure = sheet_of(tiles, "Images", channel_names=[f"{400 + 10 * band} nm" for band in range(12)])
    assert shown_channels(12) == [10, 6, 2]
    assert "False colour: red, green and blue are 500 nm, 460 nm and 420 nm." in " ".join(
        " ".join(texts(figure)).split()
    )
    assert len(figure.axes) == 3
    assert sheet_of([], "Images") is None


@pytest.mark.parametrize("knows", [
    SimpleNamespace(classes=["cat", "dog"]),
    SimpleNamespace(class_to_idx={"dog": 1, "cat": 0}),
    SimpleNamespace(categories=["cat", "dog"]),
    SimpleNamespace(features={"label": SimpleNamespace(names=["cat", "dog"])}),
])  # fmt: skip
def test_names_of_classes_are_found_in_the_dataset(knows):
    assert class_names_of(knows) == ("cat", "dog")
    assert class_names_of(SimpleNamespace(dataset=knows)) == ("cat", "dog")


def test_names_of_classes_are_found_behind_subsets_and_several_on_end():
    named = Named(torch.zeros(4, 1), torch.zeros(4))
    assert class_names_of(Subset(ConcatDataset([named, named]), [0])) == Named.classes
    assert class_names_of(TensorDataset(torch.zeros(1))) is None


def test_class_names_that_are_no_names_are_refused():
    with pytest.raises(InputError) as error:
        FailingImagesMonitor("cat")
    assert str(error.value) == (
        "FailingImagesMonitor(class_names=...): no names; given 'cat'. "
        'Pass one name for each class, in their order: class_names=["cat", "dog"].'
    )


def test_the_report_shows_the_sheet_beside_its_finding_and_a_logger_gets_the_table(tmp_path):
    pytest.importorskip("jinja2")
    (images, labels), train = scenes(seed=1), scenes()
    diagnosis = FailureDiagnosis(report_dir=tmp_path)
    diagnosis.announce = "nothing"
    data = DataLoader(TensorDataset(*train), 10), DataLoader(Named(darkened(images), labels), 50)
    monitors = [PropertyErrorMonitor(on_error="raise"), FailingImagesMonitor(on_error="raise")]
    fit([*monitors, diagnosis], Fixed(is_dark), data=data, epochs=4, logger=CSVLogger(tmp_path))
    assert any("Images of 'dark' that are wrong" in picture.caption for picture in diagnosis.record.pictures)
    assert '<img src="data:image/png;base64,' in (tmp_path / "report.html").read_text()
    (table,) = tmp_path.rglob("images/table.jsonl")
    rows = [json.loads(line) for line in table.read_text().splitlines()]
    assert len(rows) == 12
    assert all(row["file"] == f"{row['row']}.png" and row["given"] in Named.classes for row in rows)
