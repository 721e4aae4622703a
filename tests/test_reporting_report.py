import dataclasses
import json
import math
import re
import subprocess
import sys
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path

import pytest

from lightning_failures import Finding
from lightning_failures.callbacks.columns import COLUMNS
from lightning_failures.errors import InputError, MissingPackageError
from lightning_failures.records import Evaluation, RunRecord
from lightning_failures.reporting.report import write_findings, write_report
from tests.records import FACTORS, UNTAPPED, failing, healthy, values

pytest.importorskip("jinja2")
pytest.importorskip("matplotlib")

ROOT = Path(__file__).resolve().parents[1]
VOID = {"meta", "br", "path", "use", "polyline", "rect", "line", "img"}
EVIL = '<script>alert(1)</script> "quoted" & --> $x'


class Page(HTMLParser):
    """Checks that tags are balanced, and keeps what the tests look at."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.feed(html)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID:
            assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if "style" not in self.open:
            self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("report")
    return write_report(folder, [failing(), healthy()], COLUMNS, "Two arms").read_text(encoding="utf-8")


def test_the_page_says_the_verdict_first_in_plain_words(two: str) -> None:
    text = Page(two).text
    assert text.index("2 open failures and 1 open warning") < text.index("The runs side by side")
    for sentence in (
        "The accuracy, 0.52 after 6 epochs, is below the 0.80 "
        "of a linear model of each channel's mean on the same images.",
        UNTAPPED.message,
        UNTAPPED.advice,
        "No failure was found in 6 evaluations.",
        "cleared, from epoch 1 (step 88), cleared at epoch 3",
        "no image carried the factor",
    ):
        assert sentence in text


def test_a_healthy_run_is_said_to_be_so_once(tmp_path: Path) -> None:
    aside = dataclasses.replace(healthy(), not_watched={"spill-over": "no images were kept"})
    for record, rest in ((healthy(), ""), (aside, "Not examined: spill-over (no images were kept).")):
        text = Page(write_report(tmp_path, [record], COLUMNS).read_text(encoding="utf-8")).text
        assert text.count("No failure was found in 6 evaluations.") == 1
        assert text.count("Not examined") == bool(rest)
        assert rest in text


def test_a_run_without_an_evaluation_has_no_verdict_and_says_why(tmp_path: Path) -> None:
    text = Page(write_report(tmp_path, [RunRecord("raw")], COLUMNS).read_text(encoding="utf-8")).text
    assert "No verdict. Nothing was evaluated, so nothing can be said about this run." in text
    assert text.count("No verdict") == 1


def test_the_page_needs_nothing_from_elsewhere_and_no_script(two: str) -> None:
    page = Page(two)
    assert "http" not in two
    assert "@import" not in two
    assert not {tag for tag, _ in page.tags} & {"script", "link", "img", "iframe", "object", "embed"}
    assert not any(name.startswith("on") or name == "src" for _, attributes in page.tags for name in attributes)
    assert set(re.findall(r"url\((.)", two)) <= {"#"}


def test_the_page_can_be_read_aloud(two: str) -> None:
    page = Page(two)
    levels = [int(tag[1]) for tag, _ in page.tags if re.fullmatch("h[1-6]", tag)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(below <= above + 1 for above, below in pairwise(levels))
    pictures = [attributes for tag, attributes in page.tags if tag == "svg"]
    assert all(p.get("aria-label") or p.get("aria-hidden") == "true" for p in pictures)
    assert sum(p.get("role") == "img" for p in pictures) == 8  # two per run, the factors of both, and three proofs
    assert dict(page.tags)["html"]["lang"] == "en"
    assert all("scope" in attributes for tag, attributes in page.tags if tag == "th")


def test_ids_are_unique_and_figures_take_the_colours_of_the_page(two: str) -> None:
    ids = [attributes["id"] for _, attributes in Page(two).tags if "id" in attributes]
    assert len(ids) == len(set(ids)) > 0
    body = two[two.index("<body>") :]
    assert re.findall(r"[:\s\"]#[0-9a-fA-F]{6}\b", body) == []
    assert "prefers-color-scheme: dark" in two
    assert "@media print" in two


def test_every_factor_stands_in_the_table_with_its_interval(two: str) -> None:
    text = Page(two).text
    for name in FACTORS:
        assert name in text
    assert "1.71 to 2.08" in text
    assert "cloud undefined \u2013 \u2013 0 0" in text


def test_a_named_monitor_has_its_own_part_of_the_page(tmp_path: Path) -> None:
    record = failing()
    for key, value in record.last_values().items():
        for noun in ("factors", "simplicity"):
            if key.startswith(f"failures/{noun}/"):
                record.evaluations[-1].values[key.replace(noun, f"{noun} 2", 1)] = value
    record.columns = {name: name[:-2] for name in ("factors 2", "simplicity 2")}
    html = write_report(tmp_path, [record, healthy()], COLUMNS).read_text(encoding="utf-8")
    page = Page(html)
    assert "Errors by kind of image, factors 2" in page.text
    assert "simplicity 2: Whose prediction comes out" in page.text
    assert page.text.count("simplicity 2: Validation accuracy.") == 1  # the other run has no such monitor
    ids = [attributes["id"] for _, attributes in page.tags if "id" in attributes]
    assert len(ids) == len(set(ids)) > 0


def test_the_bold_cell_is_the_error_ratio_of_a_factor_that_differs(two: str) -> None:
    marked = re.findall(r'<tr class="marked"><th scope="row">([^<]*)</th><td>([^<]*)</td>', two)
    assert ("rare class", "1.94") in marked
    assert "mixed crop" not in dict(marked)
    assert "tr.marked th + td { font-weight: 700; }" in two


def test_names_are_harmless(tmp_path: Path) -> None:
    finding = Finding(
        kind="factor_failure", subject=EVIL, epoch=0, step=1, evidence={EVIL: EVIL}, message=EVIL, advice=EVIL
    )
    logged = values(0.5, 0.6, 0.4, factors={**FACTORS, EVIL: (2.0, 1.5, 2.5, 0.01, 40, 20)})
    record = RunRecord(EVIL, [Evaluation(0, 1, logged)], [finding], {f"failures/factors/low/{EVIL}": EVIL})
    page = Page(write_report(tmp_path, [record], COLUMNS, EVIL).read_text(encoding="utf-8"))
    assert "script" not in {tag for tag, _ in page.tags}
    assert EVIL in page.text


@pytest.mark.parametrize(
    "records",
    [
        [RunRecord("empty")],
        [RunRecord("loss only", [Evaluation(0, 1, {"val_loss": 0.5})])],
        [RunRecord("undefined", [Evaluation(0, 1, {"val_acc": math.nan, "failures/simplicity/own/1": math.nan})])],
        [failing(1)],
        [failing(name=f"seed {seed}") for seed in range(4)],
    ],
    ids=lambda records: records[0].name,
)
def test_a_page_is_written_whatever_was_logged(records: list[RunRecord], tmp_path: Path) -> None:
    page = Page(write_report(tmp_path, records, COLUMNS).read_text(encoding="utf-8"))
    assert all(record.name in page.text for record in records)


def test_the_same_runs_give_the_same_page(tmp_path: Path, two: str) -> None:
    assert write_report(tmp_path, [failing(), healthy()], COLUMNS, "Two arms").read_text(encoding="utf-8") == two


def test_findings_json_holds_findings_and_last_values_as_strict_json(tmp_path: Path) -> None:
    def refuse(constant: str) -> None:
        raise AssertionError(constant)

    path = write_findings(tmp_path / "new" / "folder", [failing(), healthy()])
    data = json.loads(path.read_text(encoding="utf-8"), parse_constant=refuse)
    untapped = next(f for f in data["findings"] if f["kind"] == "untapped_information")
    assert untapped["run"] == "raw"
    assert untapped["evidence"]["model_accuracy"] == 0.52
    assert untapped["evidence"]["reference_accuracy"] == 0.8
    raw = data["runs"]["raw"]
    assert raw["epochs"] == 6
    assert raw["monitor_share"] == pytest.approx(3.1 / (74.2 - 3.1))
    assert raw["last"]["failures/simplicity/model_accuracy"] == 0.52
    assert raw["last"]["failures/factors/error_ratio/cloud"] is None
    assert raw["undefined"] == {"failures/factors/error_ratio/cloud": "no image carried the factor"}
    assert [Finding.from_dict(f) for f in data["findings"] if f["run"] == "raw"] == failing().findings


@pytest.mark.parametrize(("records", "given"), [([], "none"), ([failing(), failing()], "'raw', 'raw'")])
def test_runs_that_cannot_be_told_apart_are_refused(records: list[RunRecord], given: str, tmp_path: Path) -> None:
    with pytest.raises(InputError) as caught:
        write_report(tmp_path, records, COLUMNS)
    assert str(caught.value) == (
        f"write_report: the runs cannot be told apart; given {given}. Pass runs with different names."
    )


def test_without_jinja_the_findings_are_written_all_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "jinja2", None)
    with pytest.raises(MissingPackageError) as caught:
        write_report(tmp_path, [failing()], COLUMNS)
    assert str(caught.value) == ("write_report: the page needs jinja2; given no jinja2. Run pip install jinja2.")
    assert (tmp_path / "findings.json").is_file()


def test_reports_are_written_without_importing_lightning_or_torch() -> None:
    heavy = "{'lightning', 'torch', 'wandb', 'matplotlib'}"
    code = f"import sys, lightning_failures.reporting.report; print({heavy} & {{*sys.modules}})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout == "set()\n"
