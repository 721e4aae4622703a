"""An audit that was made before the training, given to the run: the same verdicts, without the experiment."""

import json

import pytest
import torch
from torch import nn

import lightning_failures.callbacks.simplicity.without as without_module
from lightning_failures import SimplicityBiasMonitor, audit_data, failure_monitors
from lightning_failures.audit import read_audit
from lightning_failures.callbacks.causes import diagnose
from lightning_failures.callbacks.simplicity import SIMPLICITY
from lightning_failures.callbacks.simplicity.without import WithoutContents
from lightning_failures.errors import InputError
from lightning_failures.records.strict_json import write_json
from tests.test_simplicity_contents import draw, labelled
from tests.test_simplicity_monitor import EAGER, nearest, watch

WHERE = "SimplicityBiasMonitor(audit=...)"
FIX = "Pass what audit_data returned, or the file of `lightning-failures audit DATA --json FILE`."


def audited(images, labels, **options):
    return audit_data(list(zip(images.split(100), labels.split(100), strict=True)), **({"steps": 60} | options))


def marked(images, labels):
    """The images within a border that holds a mark, whose place is the label."""
    images = nn.functional.pad(images, (2, 2, 2, 2))
    for k in range(4):
        images[labels == k, :, 0, 3 * k] = 3.0
    return images, labels


@pytest.fixture(scope="module")
def planted():
    """The place of a mark is the label, and so is a bright quadrant of the first channel."""
    images, labels = labelled(600)
    images[:, 2] = 0.3 * draw(600, 8, 8, seed=3)
    images, labels = marked(images, labels)
    return images, labels, audited(images, labels)


@pytest.fixture(scope="module")
def all_there_is():
    """The place of a mark is the label, and nothing else is."""
    images, labels = marked(0.3 * draw(600, 4, 8, 8, seed=1), torch.arange(600) % 4)
    return images, labels, audited(images, labels)


def by_mark(images):
    return 8 * torch.stack([images[:, :, 0, 3 * k].mean(1) for k in range(4)], 1)


def found_in(model, images, labels, **options):
    values, _, diagnosis = watch(model, images, labels, epochs=4, monitor=SimplicityBiasMonitor(**EAGER | options))
    found = [each for each in diagnosis.findings if each.kind == "simple_cue_reliance"]
    return values, {each.subject: each.severity for each in found}, diagnosis


@pytest.fixture
def no_experiment(monkeypatch):
    """Whatever is asked of the experiment in the run is an error."""

    def refuse(*_):
        raise AssertionError("the experiment was made")

    return lambda: monkeypatch.setattr(without_module, "Reading", refuse)


def test_a_planted_cue_is_the_same_failure_by_the_audit_as_by_the_experiment(planted, no_experiment):
    images, labels, audit = planted
    _, live, _ = found_in(by_mark, images, labels)
    no_experiment()
    values, given, diagnosis = found_in(by_mark, images, labels, audit=audit)
    assert given == live == {"border": "failure"}
    reading = audit.contents["border"]
    assert values["audit_alone/border"] == pytest.approx(reading.alone.value)
    assert values["audit_without/border"] == pytest.approx(read_audit(audit).most_without("border").value)
    (finding,) = (each for each in diagnosis.findings if each.subject == "border")
    alone, rest = (f"{values[f'audit_{of}/border']:.2f}" for of in ("alone", "without"))
    assert finding.why.endswith(f"The audit before training: border alone gives {alone}, without it {rest}.")
    assert finding.evidence["audit_alone"] == values["audit_alone/border"] > 0.9


def test_where_the_cue_is_all_there_is_the_audit_is_as_silent_as_the_experiment(all_there_is, no_experiment):
    images, labels, audit = all_there_is
    before, live, _ = found_in(by_mark, images, labels)
    no_experiment()
    values, given, diagnosis = found_in(by_mark, images, labels, audit=audit)
    assert given == live == {}
    assert values["all_there_is/border"] == before["all_there_is/border"] == 1
    tile = SIMPLICITY.tiles(diagnosis.record)[0]
    assert (tile.name, tile.value) == ("Leans on border", "1.00")
    assert tile.note.startswith("of predictions follow it, which is all that was found; the audit: 1.00 alone, 0.")


def test_without_an_audit_nothing_is_said_of_one(planted):
    images, labels, _ = planted
    values, _, diagnosis = found_in(by_mark, images, labels)
    assert not [key for key in values if key.startswith("audit")]
    assert not [each for each in diagnosis.findings if "audit" in diagnose(each, diagnosis.record).why]


def test_the_file_of_an_audit_gives_the_numbers_of_the_audit(planted, tmp_path):
    _, _, audit = planted
    read = read_audit(audit)
    alone = write_json("test", tmp_path / "alone.json", audit.to_dict())
    command = write_json("test", tmp_path / "command.json", {"seed": 0, "audits": [audit.to_dict()], "comparison": []})
    assert read_audit(str(alone)) == read_audit(command) == read
    assert (read.classes, read.channels, read.pixels, read.chance) == (4, 3, False, audit.chance.value)
    assert read.contents == audit.contents
    assert read.trials["texture"] == audit.trials["without_texture"]


def test_a_channel_is_known_by_its_number_whatever_it_is_called():
    labels = torch.arange(600) % 4
    images = 0.3 * draw(600, 16, 6, 6)
    images[:, 11] += labels[:, None, None]
    axis = {"wavelengths": list(range(400, 560, 10)), "unit": "nm"}
    plain, named = audited(images, labels, steps=0), audited(images, labels, steps=0, **axis)
    assert "channel 510 nm" in named.contents
    assert read_audit(named).contents["channel 11"] == read_audit(plain).contents["channel 11"]
    monitor = SimplicityBiasMonitor(audit=plain, **axis, **EAGER)
    values, _, _ = watch(lambda x: nearest(x[:, 11].mean((1, 2)) - 0.15), images, labels, epochs=4, monitor=monitor)
    assert values["audit_alone/channel 510 nm"] == pytest.approx(plain.contents["channel 11"].alone.value)
    assert values["all_there_is/channel 510 nm"] == 1  # a network was tried in the run


def test_what_the_audit_left_open_is_tried_in_the_run(all_there_is):
    images, labels, _ = all_there_is
    linear = read_audit(audited(images, labels, steps=0))  # a network may read what a linear model does not
    assert linear.most_without("border").low <= linear.chance
    assert linear.without("border") is None
    assert linear.without("region (0, 1)") is None
    found = WithoutContents(linear)
    found._ask("border", "border")
    assert found.found == {}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("not JSON", "this is no audit; given {path}."),
        ('{"seed": 0}', "this is no audit; given {path}: KeyError 'contents'."),
        ("[1, 2]", "this is no audit; given {path}."),
        ('{"audits": []}', "the file does not hold one audit; given {path}: none."),
    ],
)
def test_a_file_that_is_no_audit_is_refused_before_the_run(tmp_path, text, said):
    path = tmp_path / "file.json"
    path.write_text(text)
    fix = "Audit the data of this run alone." if "one audit" in said else FIX
    with pytest.raises(InputError) as refused:
        failure_monitors(audit=path)
    assert str(refused.value) == f"{WHERE}: {said.format(path=path)} {fix}"


def test_a_file_that_is_not_there_or_holds_two_audits_is_refused(planted, tmp_path):
    with pytest.raises(InputError, match=r"the audit cannot be read.*No such file"):
        failure_monitors(audit=tmp_path / "none.json")
    path = tmp_path / "two.json"
    path.write_text(json.dumps({"audits": [planted[2].to_dict()] * 2}))
    with pytest.raises(InputError, match=r"the file does not hold one audit.*'data', 'data'"):
        failure_monitors(audit=path)
    with pytest.raises(InputError, match=r"this is no audit.*a int"):
        failure_monitors(audit=3)


def test_an_audit_of_other_channels_or_classes_is_refused_in_the_run(planted, all_there_is):
    images, labels, audit = planted
    with pytest.raises(InputError, match=r"the audit is of other channels than the run.*3 in the audit 'data', 4 in"):
        found_in(by_mark, *all_there_is[:2], audit=audit)
    two = audited(images[labels < 2], labels[labels < 2], steps=0)
    with pytest.raises(InputError, match=r"the audit is of other classes than the run.*2 in the audit 'data', 4 in"):
        found_in(by_mark, images, labels, audit=two)
    read_audit(two).check("test", outputs=4, trained=2, channels=3, pixels=False)  # two heads have no images
    with pytest.raises(InputError, match=r"labels of images in the audit 'data', labels of pixels in the run"):
        read_audit(audit).check("test", outputs=4, trained=4, channels=3, pixels=True)
