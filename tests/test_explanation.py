"""Why a finding stands: what people read of its cause."""

import dataclasses
import json
import re
from io import StringIO
from pathlib import Path

import pytest
from lightning.pytorch import Trainer
from rich.console import Console

from lightning_failures import FailureDiagnosis, Finding, Rule
from lightning_failures.callbacks.columns import COLUMNS
from lightning_failures.callbacks.findings import Announcer
from lightning_failures.records import CAUSES, Evaluation, RunRecord
from lightning_failures.reporting.console import print_finding, print_verdict
from lightning_failures.reporting.explanation import because, message, passages, why
from lightning_failures.reporting.report import write_report
from lightning_failures.reporting.sentences import alert
from tests.records import CLEARED, EXPLAINED, UNEXPLAINED, UNTAPPED

WHY = f"Validation inputs are not prepared as those of training. {EXPLAINED.why}"
EXCLUDED = "numbers that are not finite, other labels in validation."


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


def test_a_cause_found_beside_other_images_is_told_of_these_images() -> None:
    beside = of(experiment={"before": 0.2, "after": 0.9, "others": 0.95})
    assert because(beside) == ", because these images are not prepared as the others"
    assert why(beside) == f"These images are not prepared as the others. {EXPLAINED.why}"


def test_the_parts_come_in_the_order_in_which_people_ask() -> None:
    assert [label for label, _ in passages(EXPLAINED)] == ["Why", "Tested and excluded", "Try"]
    assert dict(passages(EXPLAINED))["Tested and excluded"] == EXCLUDED


def test_tested_causes_none_of_which_holds_are_an_answer() -> None:
    assert why(UNEXPLAINED) == "None of the 2 causes that were tested explains it."
    assert dict(passages(UNEXPLAINED))["Tested and excluded"] == EXCLUDED
    assert because(UNEXPLAINED) == ""


def test_one_tested_cause_that_does_not_hold_is_said_of_one() -> None:
    alone = dataclasses.replace(UNEXPLAINED, excluded=["not_finite"])
    assert why(alone) == "The one cause that was tested does not explain it."


def test_a_cause_that_was_told_of_a_finding_above_is_not_told_again():
    again = dataclasses.replace(EXPLAINED, kind="no_learning", message="Nothing is learnt.")
    assert passages(again, [EXPLAINED]) == [
        ("Why", "As above, validation inputs are not prepared as those of training.")
    ]
    assert passages(again, [dataclasses.replace(EXPLAINED, why="Otherwise.")]) == passages(again)
    assert passages(again, [dataclasses.replace(EXPLAINED, cleared=9)]) == passages(again)


def test_tests_that_found_no_cause_and_advice_that_were_told_of_a_finding_above_are_not_told_again():
    dark = dataclasses.replace(UNEXPLAINED, subject="dark", advice="Look at these images.")
    small = dataclasses.replace(dark, subject="small")
    assert passages(small, [UNEXPLAINED, dark]) == [("Why, and what to try", "As for dark.")]
    (above,) = passages(small, [dataclasses.replace(dark, subject="")])
    assert above.text == "As above."
    assert passages(small, [dataclasses.replace(dark, advice="Otherwise.")]) == [
        ("Why", "As for dark, none of the 2 causes that were tested explains it."), ("Try", "Look at these images.")
    ]  # fmt: skip
    for other in ({"cleared": 9}, {"excluded": ["not_finite"]}, {"untested": ["shortcut"]}):
        assert passages(small, [dataclasses.replace(dark, **other)]) == passages(small)
    untested = dataclasses.replace(small, excluded=[])
    assert passages(untested, [dataclasses.replace(dark, excluded=[])]) == passages(untested)


def test_what_could_not_be_tested_is_said():
    untested = dataclasses.replace(UNEXPLAINED, untested=["label_noise", "shortcut"])
    assert dict(passages(untested))["Still open"] == "wrong labels, a shortcut."
    assert passages(dataclasses.replace(UNTAPPED, untested=["shortcut"])) == passages(UNTAPPED)


def test_nothing_is_said_of_causes_where_none_was_tested() -> None:
    assert passages(UNTAPPED) == [("Try", UNTAPPED.advice)]
    assert passages(dataclasses.replace(UNTAPPED, advice="")) == []


def test_a_cause_without_words_of_its_own_is_said_by_its_title() -> None:
    assert why(of(cause="label_mismatch", why="")) == (
        "Validation labels stand for other classes than those of training."
    )


def test_a_message_tells_of_now_and_of_then_where_its_figures_have_moved() -> None:
    then, now = "Its accuracy is 0.482 (p 1e-09).", "Its accuracy is 0.330 (p 1e-12)."
    moved = dataclasses.replace(UNTAPPED, message=then, latest=now)
    assert message(moved) == now
    assert passages(moved)[0] == ("When raised", then)
    said = verdict(moved)
    assert f"{now} When raised: {then} Try:" in said
    still = dataclasses.replace(moved, latest="Its accuracy is 0.479 (p 1e-12).")
    assert message(still) == still.latest
    assert [label for label, _ in passages(still)] == ["Try"]


@pytest.mark.parametrize(
    ("then", "now", "moved"),
    [
        ("41% of 2,104 images", "49% of 2,104 images", False),
        ("41% of 2,104 images", "59% of 2,104 images", True),
        ("3 errors on 40 images", "9 errors on 40 images", True),
        ("rank 1.2", "rank not known", True),
        ("band 3, loss 0.002", "band 3, loss 0.004", False),
    ],
)
def test_a_figure_has_moved_when_it_differs_by_a_quarter(then: str, now: str, moved: bool) -> None:
    said = passages(dataclasses.replace(UNTAPPED, message=then, latest=now, advice=""))
    assert said == ([("When raised", then)] if moved else [])


def test_a_standing_finding_keeps_up_with_its_figures_and_a_cleared_one_does_not() -> None:
    rule = Rule(kind="own_rule", when="a > 1", message="It is {a:.1f}.", warmup=0, persistence=1)
    diagnosis = FailureDiagnosis([rule])
    latest = []
    for epoch, value in enumerate([2.0, 3.0, 2.0, 4.0, 0.5, 0.1]):
        diagnosis.evaluate(Evaluation(epoch, epoch, {"a": value}))
        (finding,) = diagnosis.history
        latest.append(finding.latest)
    assert finding.message == "It is 2.0."
    assert latest == ["", "It is 3.0.", "", "It is 4.0.", "It is 4.0.", "It is 4.0."]
    assert finding.cleared == 4


def test_figures_that_a_rule_needs_and_nobody_logged_leave_the_latest_message() -> None:
    rule = Rule(kind="own_rule", when="a > 1", message="It is {b:.1f}.", evidence={"b": "b"}, warmup=0, persistence=1)
    diagnosis = FailureDiagnosis([rule])
    for epoch, values in enumerate([{"b": 1.0}, {"b": 2.0}, {}]):
        diagnosis.evaluate(Evaluation(epoch, epoch, {"a": 2.0} | values))
    assert diagnosis.history[0].latest == "It is 2.0."


def test_the_page_tells_of_a_cleared_finding_in_the_past(tmp_path: Path) -> None:
    pytest.importorskip("jinja2")
    pytest.importorskip("matplotlib")
    ended = dataclasses.replace(CLEARED, latest="Predictions fall on 3.1 effective classes.")
    page = write_report(tmp_path, [RunRecord("run", [Evaluation(4, 1, {})], [ended])], COLUMNS).read_text("utf-8")
    assert f"<em>Before it cleared:</em> {ended.latest}<br><em>When raised:</em> {ended.message}</p>" in page
    page = write_report(tmp_path, [RunRecord("run", [Evaluation(4, 1, {})], [CLEARED])], COLUMNS).read_text("utf-8")
    assert f"<p><em>When raised:</em> {CLEARED.message}</p>" in page


@pytest.mark.parametrize("name", CAUSES)
def test_every_cause_has_words_for_where_it_holds_and_where_not(name: str) -> None:
    cause = CAUSES[name]
    assert cause.title[0].isupper()
    assert cause.excluded[0].islower()
    assert not f"{cause.title}{cause.excluded}".count(".")


def test_the_verdict_says_the_symptom_then_why_then_what_was_excluded_then_what_to_try() -> None:
    said = verdict(EXPLAINED)
    parts = [EXPLAINED.message, f"Why: {WHY}", f"Tested and excluded: {EXCLUDED}", f"Try: {EXPLAINED.advice}"]
    assert " ".join(parts) in said
    assert "Why: None of the 2 causes that were tested explains it. Tested and excluded: " in verdict(UNEXPLAINED)
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
    assert f"<p><em>Why:</em> {WHY}</p>" in text
    assert f'<p class="soft"><em>Tested and excluded:</em> {EXCLUDED}</p>' in text
    assert '<h3>Class collapse</h3>\n<p><span class="tag failure">failure</span>, since epoch 3' in text
    assert '<th scope="row">undone</th>' in text
    assert '<td>0.97 <span class="soft">0.94 to 0.98</span></td>' in text
    assert "Undoing the cause closes 99% of the gap." in text
    findings = json.loads((tmp_path / "findings.json").read_text())["findings"]
    assert [each["why"] for each in findings] == [EXPLAINED.why, ""]
    assert [each["excluded"] for each in findings] == [["not_finite", "label_mismatch"]] * 2
    assert findings[0]["cause"] == "input_mismatch"
    assert findings[0]["experiment"]["after"] == 0.97


def test_the_page_folds_up_what_is_not_the_verdict_and_of_what_is_worth_watching_all_but_the_message(
    tmp_path: Path,
) -> None:
    pytest.importorskip("jinja2")
    pytest.importorskip("matplotlib")
    mild = dataclasses.replace(UNEXPLAINED, subject="dark", severity="watch", advice="Look at these.")
    found = [EXPLAINED, dataclasses.replace(UNEXPLAINED, severity="warning", advice="Look at all."), mild]
    page = write_report(tmp_path, [RunRecord("run", [Evaluation(0, 1, {})], found)], COLUMNS).read_text("utf-8")
    told = re.search(r"<h3>Also found</h3>(.*?)</section>", page, re.DOTALL)
    assert told is not None
    seen = re.sub(r"<details.*?</details>", "", told[1], flags=re.DOTALL)
    assert seen.count(UNEXPLAINED.message) == 2
    assert "Look at all." in seen
    assert "Look at these." not in seen
    assert "Tested and excluded" not in seen
    assert told[1].count("Tested and excluded") == 1
    assert "<summary>What was excluded<" in told[1]
    assert "<summary>What to try<" in told[1]


def test_a_cause_that_is_found_later_is_told_once(capsys: pytest.CaptureFixture[str]) -> None:
    announcer, trainer = Announcer("findings"), Trainer(logger=False, enable_checkpointing=False, barebones=False)
    record = RunRecord("run", [Evaluation(3, 132, {})], [of(cause=None, why="", excluded=[], experiment={})])
    announcer.tell(trainer, record)
    assert "Class collapse. Predictions" in capsys.readouterr().out
    record.findings[0] = EXPLAINED
    for _ in range(2):
        announcer.tell(trainer, record)
    said = " ".join(capsys.readouterr().out.split())
    assert said == f"epoch 0 explained Class collapse. {WHY}"
