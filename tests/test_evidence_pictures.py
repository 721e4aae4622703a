"""Pictures of images beside the findings of the report: kept in the record, and embedded in the page."""

import re
from base64 import b64decode

import pytest
import torch

from lightning_failures import FailureDiagnosis, Finding, SimplicityBiasMonitor
from lightning_failures.callbacks.findings import draw_evidence
from lightning_failures.commands.report import report
from lightning_failures.records import Picture, RunRecord, pictures_of, read_records
from lightning_failures.reporting.figure_style import canvas
from tests.test_simplicity_monitor import EAGER, nearest, watch

pytest.importorskip("matplotlib")
pytest.importorskip("jinja2")

RULE = "simple_cue_reliance"
FINDING = Finding(kind=RULE, rule=RULE, subject="colour", epoch=0, step=1, evidence={"share": 1.0}, message="It leans.")


def cell(images):
    """The class by the brightness of one of sixteen cells."""
    return nearest(images[:, :, 2:4, 4:6].mean((1, 2, 3)))


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("report")
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(240) % 4
    images = torch.rand(240, 1, 8, 8, generator=generator)
    images[:, :, 2:4, 4:6] = labels[:, None, None, None] + 0.2 * torch.rand(240, 1, 2, 2, generator=generator)
    images[:, :, 6:, :2] += labels[:, None, None, None]  # more is to be had
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            "tests.test_simplicity_monitor.FailureDiagnosis", lambda **given: FailureDiagnosis(None, folder, **given)
        )
        _, monitor, diagnosis = watch(cell, images, labels, epochs=6)
    return folder, monitor, diagnosis


def embedded(folder):
    return re.findall(r'<img src="data:image/png;base64,([^"]+)" alt="([^"]+)">', (folder / "report.html").read_text())


def test_a_finding_of_a_region_stands_beside_its_contact_sheet_and_the_map_of_regions(run):
    folder, _, diagnosis = run
    finding = next(each for each in diagnosis.findings if each.subject == "region (1, 2)")
    sheet, where = pictures_of(finding, diagnosis.record.pictures)
    assert sheet.caption.startswith("Images that are predicted as another one as soon as they have its content")
    assert where.caption.startswith("Where on the image the content lies")
    assert embedded(folder)[0][0] == sheet.png
    assert [png for png, _ in embedded(folder)].count(where.png) == 1
    assert embedded(folder)[0][1].startswith("The predictions depend on one simple thing, region (1, 2)")
    assert b64decode(sheet.png).startswith(b"\x89PNG")
    assert (folder / "report.html").stat().st_size < 1_000_000


def test_the_report_that_is_written_again_has_the_pictures_of_the_run(run, tmp_path):
    folder, _, diagnosis = run
    assert report(folder, out=tmp_path) == 0
    assert embedded(tmp_path) == embedded(folder)
    (record,) = read_records(tmp_path / "records.json")
    assert record.pictures == diagnosis.record.pictures


def test_the_next_fit_begins_without_pictures_so_that_no_checkpoint_holds_them():
    diagnosis = FailureDiagnosis()
    diagnosis.record.pictures = [Picture(RULE, "colour", "Seen.", "aGk=")]
    diagnosis.on_fit_start(None, None)
    assert diagnosis.state_dict()["record"]["pictures"] == []


def test_a_record_without_pictures_is_read_and_a_cleared_finding_shows_none():
    plain = RunRecord("run", findings=[FINDING]).to_dict()
    del plain["pictures"]
    assert RunRecord.from_dict(plain).pictures == []
    picture = Picture(RULE, "colour", "Seen.", "aGk=")
    assert pictures_of(FINDING, [picture, Picture(RULE, "texture", "Seen.", "aGk=")]) == [picture]
    assert pictures_of(FINDING.with_cleared(3), [picture]) == []


class Shows(SimplicityBiasMonitor):
    """A monitor that shows so many pictures of every finding."""

    def __init__(self, *makers, **options):
        super().__init__(**options)
        self.makers = makers

    def evidence(self, finding):
        return {f"{self.name} {place}": make for place, make in enumerate(self.makers)}


def drawn():
    with canvas(1.0, 1.0) as figure:
        figure.text(0.5, 0.5, "seen")
    return figure


def test_a_run_shows_four_pictures_at_most_and_none_where_nothing_is_to_be_seen():
    cues = [Finding(**{**vars(FINDING), "subject": each}) for each in ("colour", "level", "texture")]
    assert len(draw_evidence(cues, [Shows(drawn, drawn)])) == 4
    assert draw_evidence([FINDING], [Shows(lambda: None)]) == []


def test_a_finding_shows_one_picture_once_however_many_monitors_are_asked_for_it():
    sheet = {"The worst images.": drawn}
    monitors = [Shows(drawn), Shows(drawn), Shows(drawn)]
    for each in monitors:
        each.evidence = lambda finding: sheet
    assert [each.caption for each in draw_evidence([FINDING], monitors)] == ["The worst images."]


def test_a_finding_of_a_named_monitor_shows_the_pictures_of_that_one():
    named = Finding(**{**vars(FINDING), "rule": f"{RULE} (left)"})
    monitors = [Shows(drawn, name="left"), Shows(drawn)]
    assert [each.caption for each in draw_evidence([named, FINDING], monitors)] == ["left 0", "simplicity 0"]


def test_a_picture_that_cannot_be_drawn_costs_neither_the_others_nor_the_report():
    def broken():
        raise ValueError("no such image")

    first, second = Shows(broken, name="left"), Shows(drawn)
    named = Finding(**{**vars(FINDING), "rule": f"{RULE} (left)"})
    assert len(draw_evidence([named, FINDING], [first, second])) == 1
    assert first.failure == "ValueError: no such image"
    with pytest.raises(ValueError, match="no such image"):
        draw_evidence([named], [Shows(broken, name="left", **EAGER)])
