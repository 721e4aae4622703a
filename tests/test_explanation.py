"""Why a finding stands: what people read of its cause."""

import dataclasses
import json
from io import StringIO
from pathlib import Path

import pytest
from lightning.pytorch import Trainer
from rich.console import Console

from lightning_failures import Finding
from lightning_failures.callbacks.columns import COLUMNS
from lightning_failures.callbacks.findings import Announcer
from lightning_failures.records import CAUSES, Evaluation, RunRecord
from lightning_failures.reporting.console import print_finding, print_verdict
from lightning_failures.reporting.explanation import because, excluded, passages, why
from lightning_failures.reporting.report import write_report
from lightning_failures.reporting.sentences import alert
from tests.records import EXPLAINED, UNEXPLAINED, UNTAPPED

WHY = (
    "Validation inputs are not prepared as those of training. With the validation inputs prepared as those of "
    "training, the accuracy goes from 0.17 to 0.97 (95% interval 0.94 to 0.98), 99% of the gap."
)
EXCLUDED = "numbers that are not finite; labels that stand for other classes than in training."


def of(**changes: object) -> Finding:
    return dataclasses.replace(EXPLAINED, **changes)  # type: ignore[arg-type]


def verdict(*findings: Finding) -> str:
    out = Console(file=StringIO(), width=100, color_system=None)
    print_verdict([RunRecord("run", [Evaluation(0, 1, {})], list(findings))], COLUMNS, out)
    assert isinstance(out.file, StringIO)
    return " ".join(out.file.getvalue().split())


def test_a_cause_is_said_with_what_undoing_it_gave() -> None:
    assert why(EXPLAINED) == WHY
    assert because(EXPLAINED) == ", because validation inputs are not prepared as those of training"


def test_the_parts_come_in_the_order_in_which_people_ask() -> None:
    assert [label for label, _ in passages(EXPLAINED)] == ["Why", "Tested and excluded", "Try"]
    assert excluded(EXPLAINED) == EXCLUDED


def test_tested_causes_none_of_which_holds_are_an_answer() -> None:
    assert why(UNEXPLAINED) == "None of the tested causes explains it."
    assert excluded(UNEXPLAINED) == EXCLUDED
    assert because(UNEXPLAINED) == ""


def test_nothing_is_said_of_causes_where_none_was_tested() -> None:
    assert passages(UNTAPPED) == [("Try", UNTAPPED.advice)]
    assert passages(dataclasses.replace(UNTAPPED, advice="")) == []


@pytest.mark.parametrize(
    ("experiment", "sentence"),
    [
        ({}, ""),
        ({"before": 0.17}, ""),
        ({"update_ratio": 1.2e-6, "steps": 900, "layer": "fc"}, "Measured: update ratio 1.2e-06, steps 900, layer fc."),
        ({"said": "In training's order it is 1.00.", "after": 1.0}, "In training's order it is 1.00."),
        ({"before": 0.1, "after": float("nan")}, ""),
        (
            {"before": 0.3, "after": 1.0, "share": 1.04},
            "With the validation labels renamed to fit, the accuracy goes from 0.30 to 1.00, all of the gap.",
        ),
    ],
)  # fmt: skip
def test_an_experiment_is_said_as_far_as_its_figures_are_known(experiment: dict[str, object], sentence: str) -> None:
    title = "Validation labels stand for other classes than those of training."
    assert why(of(cause="label_mismatch", experiment=experiment)) == f"{title} {sentence}".strip()


def test_a_gap_is_told_as_two_accuracies_and_not_as_something_undone() -> None:
    said = why(of(cause="overfitting"))
    assert said == (
        "The training images were learnt by heart. The accuracy is 0.97 on training images and 0.17 (95% interval 0.14 "
        "to 0.21) on validation images, both in evaluation mode."
    )


@pytest.mark.parametrize("name", CAUSES)
def test_every_cause_has_words_that_take_its_figures(name: str) -> None:
    cause = CAUSES[name]
    said = why(of(cause=name, excluded=[]))
    assert said.startswith(f"{cause.title}. ")
    assert "0.17" in said
    assert "0.97" in said
    assert "{" not in said
    assert cause.title[0].isupper()
    assert not cause.excluded[0].isupper()
    assert not cause.title.endswith(".")


def test_the_verdict_says_the_symptom_then_why_then_what_was_excluded_then_what_to_try() -> None:
    said = verdict(EXPLAINED)
    parts = [EXPLAINED.message, f"Why: {WHY}", f"Tested and excluded: {EXCLUDED}", f"Try: {EXPLAINED.advice}"]
    assert " ".join(parts) in said
    assert "Why: None of the tested causes explains it. Tested and excluded: " in verdict(UNEXPLAINED)
    assert "Why:" not in verdict(UNTAPPED)


def test_the_line_of_a_finding_has_room_for_its_cause() -> None:
    out = Console(file=StringIO(), width=100, force_terminal=True, color_system=None)
    print_finding(EXPLAINED, out)
    assert isinstance(out.file, StringIO)
    assert out.file.getvalue().startswith(
        "epoch 3 failure Class collapse, because validation inputs are not prepared as those of training."
    )


def test_an_alert_says_why() -> None:
    assert alert(EXPLAINED) == (
        f"Epoch 3, step 132. {EXPLAINED.message} Why: {WHY} Tested and excluded: {EXCLUDED} Try: {EXPLAINED.advice}"
    )


def test_the_page_and_the_json_say_why(tmp_path: Path) -> None:
    pytest.importorskip("jinja2")
    pytest.importorskip("matplotlib")
    record = RunRecord("run", [Evaluation(0, 1, {})], [EXPLAINED, UNEXPLAINED])
    page = write_report(tmp_path, [record], COLUMNS).read_text(encoding="utf-8")
    text = page.replace("&#39;", "'")
    assert f"<em>Why:</em> {WHY}" in text
    assert f"<em>Tested and excluded:</em> {EXCLUDED}" in text
    assert "<dt>after low</dt><dd>0.94</dd>" in text
    findings = json.loads((tmp_path / "findings.json").read_text())["findings"]
    assert [each["why"] for each in findings] == [WHY, "None of the tested causes explains it."]
    assert findings[0]["cause"] == "input_mismatch"
    assert findings[0]["experiment"]["after"] == 0.97


def test_a_cause_that_is_found_later_is_told_once(capsys: pytest.CaptureFixture[str]) -> None:
    announcer, trainer = Announcer("findings"), Trainer(logger=False, enable_checkpointing=False, barebones=False)
    record = RunRecord("run", [Evaluation(3, 132, {})], [of(cause=None, excluded=[], experiment={})])
    announcer.tell(trainer, record)
    assert "Class collapse. Predictions" in capsys.readouterr().out
    record.findings[0] = EXPLAINED
    for _ in range(2):
        announcer.tell(trainer, record)
    said = " ".join(capsys.readouterr().out.split())
    assert said == f"epoch 0 explained Class collapse. {WHY}"
