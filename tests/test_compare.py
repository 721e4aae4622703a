"""Runs before and after a change: what moved, what is gone and new, from records, CSV logs and runs of W&B."""

import dataclasses
import json
import math
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from lightning_failures.callbacks.columns import COLUMNS
from lightning_failures.cli import main
from lightning_failures.errors import InputError, UnknownNameError
from lightning_failures.records import Evaluation, RunRecord
from lightning_failures.records.run_record import write_records
from lightning_failures.reporting.comparison import Comparison, Figure, compare
from lightning_failures.reporting.comparison_page import write_comparison
from lightning_failures.reporting.comparison_text import answer, sentences
from lightning_failures.reporting.intervals import Interval, mover, paired, welch, wilson
from lightning_failures.reporting.logged_runs import LoggedRun, read_runs
from tests.records import failing, healthy

DARK = "failures/factors/error_ratio/dark"


def run(name: str, **values: float) -> LoggedRun:
    return LoggedRun(RunRecord(name, [Evaluation(0, 10, dict(values))]), "records")


def figure(comparison: Comparison, key: str) -> Figure:
    return next(each for each in comparison.figures if each.key == key)


def said(comparison: Comparison) -> dict[str, str]:
    return dict(sentences(comparison))


def folder(path: Path, *records: RunRecord) -> str:
    write_records(path / "records.json", records)
    return str(path)


# -- intervals


def test_intervals_agree_with_scipy() -> None:
    draws = np.random.default_rng(0)
    for count in (2, 3, 7):
        first, second = draws.normal(0.8, 0.02, count), draws.normal(0.85, 0.05, count)
        known = stats.ttest_ind(second, first, equal_var=False).confidence_interval()
        assert welch(list(first), list(second)) == pytest.approx((known.low, known.high))
        known = stats.ttest_rel(second, first).confidence_interval()
        assert paired(list(first), list(second)) == pytest.approx((known.low, known.high))
    known = stats.binomtest(48, 80).proportion_ci(method="wilson")
    assert wilson(0.6, 80) == pytest.approx((known.low, known.high))


def test_the_interval_of_two_shares_is_newcombes() -> None:
    # Newcombe, Statistics in Medicine 17 (1998), 873-890, table II, example (a), method 10
    assert mover(48 / 80, wilson(48 / 80, 80), 56 / 70, wilson(56 / 70, 70)) == pytest.approx(
        (0.0524, 0.3339), abs=1e-4
    )


def test_there_is_no_interval_of_one_value_or_of_none_that_varies() -> None:
    assert not welch([0.8], [0.8, 0.9]).known
    assert not welch([0.8, 0.8], [0.9, 0.9]).known
    assert not paired([0.8, 0.7], [0.9, 0.8]).known or paired([0.8, 0.7], [0.9, 0.8]).low > 0
    assert not mover(0.8, Interval(math.nan, 1.0), 0.9, Interval(0.8, 1.0)).known


# -- one run against one


def test_one_run_against_one_takes_the_intervals_that_were_logged() -> None:
    comparison = compare([LoggedRun(failing(), "records")], [LoggedRun(healthy(), "records")], COLUMNS)
    dark = figure(comparison, DARK)
    before, after = (record.last_values() for record in (failing(), healthy()))
    low, high = (key.replace("error_ratio", end) for end in ("low", "high") for key in [DARK])
    difference = after[DARK] - before[DARK]
    assert dark.difference == pytest.approx(difference)
    assert dark.low == pytest.approx(difference - math.hypot(after[DARK] - after[low], before[high] - before[DARK]))
    assert dark.high == pytest.approx(difference + math.hypot(after[high] - after[DARK], before[DARK] - before[low]))
    assert dark.method == "the interval that each run logged"
    assert (dark.name, dark.group) == ("Error ratio of a factor: dark", "factors")


def test_an_accuracy_takes_the_number_of_its_images() -> None:
    comparison = compare([LoggedRun(failing(), "records")], [LoggedRun(healthy(), "records")], COLUMNS)
    assert comparison.accuracy is not None
    assert comparison.accuracy.method == "the number of images of each run"
    assert comparison.accuracy.outcome == "better"
    first, text = sentences(comparison)[0]
    assert first == ""
    assert text.startswith("Validation accuracy rose from 0.52 to 0.819 (+0.299, 95% interval 0.2")


def test_a_figure_without_an_interval_says_why() -> None:
    comparison = compare([run("a", val_loss=1.0)], [run("b", val_loss=0.5)], COLUMNS)
    assert figure(comparison, "val_loss").outcome == "no interval"
    assert sentences(comparison)[0][1] == (
        "Validation loss fell from 1 to 0.5 (-0.5, no interval: one run on each side, and no interval was logged of "
        "this figure)."
    )
    assert answer(comparison) == "It cannot be told: no figure has an interval."


def test_an_error_rate_takes_no_interval_of_a_ratio() -> None:
    keys = {
        f"failures/factors/{key}/dark": x
        for key, x in {"error": 0.9, "error_ratio": 1.0, "low": 0.8, "high": 1.2}.items()
    }
    comparison = compare([run("a", **keys)], [run("b", **keys)], COLUMNS)
    assert figure(comparison, DARK).outcome == "not told apart"
    assert figure(comparison, "failures/factors/error/dark").outcome == "no interval"


# -- findings


def test_findings_gone_new_and_still_there_are_named() -> None:
    comparison = compare([LoggedRun(failing(), "records")], [LoggedRun(healthy(), "records")], COLUMNS)
    back = compare([LoggedRun(healthy(), "records")], [LoggedRun(failing(), "records")], COLUMNS)
    gone = {(each.finding.kind, each.finding.subject) for each in comparison.found("gone")}
    assert ("untapped_information", "linear reference") in gone
    assert gone == {(each.finding.kind, each.finding.subject) for each in back.found("new")}
    assert "Untapped information" in said(comparison)["Gone"]
    assert answer(back) in ("It harmed.", "It harmed, but not in every way.")


def test_findings_of_one_kind_are_named_together() -> None:
    before = failing()
    rare = next(f for f in before.findings if f.subject == "rare class")
    before.findings += [dataclasses.replace(rare, subject=name) for name in ("dark", "small")]
    comparison = compare([LoggedRun(before, "records")], [LoggedRun(healthy(), "records")], COLUMNS)
    assert "Failure on one kind of image: small, dark, rare class" in said(comparison)["Gone"]


def test_what_became_of_the_accuracy_is_the_answer_where_other_figures_say_otherwise() -> None:
    def of(right: float, dark: float) -> LoggedRun:
        factor = {"error_ratio": dark, "low": dark - 0.1, "high": dark + 0.1, "images": 500.0}
        return run(
            "a" if right < 0.7 else "b",
            **{"failures/collapse/accuracy": right, "failures/collapse/images": 2000.0},
            **{f"failures/factors/{key}/dark": value for key, value in factor.items()},
        )

    better, worse = of(0.9, 2.0), of(0.5, 1.0)
    assert answer(compare([worse], [better], COLUMNS)) == "It helped, but not in every way."
    assert answer(compare([better], [worse], COLUMNS)) == "It harmed, but not in every way."


def test_a_finding_on_a_factor_that_the_other_run_has_not_is_not_gone() -> None:
    before, after = failing(), healthy()
    rare = next(f for f in before.findings if f.subject == "rare class")
    before.findings = [rare]
    for evaluation in after.evaluations:
        for key in [key for key in evaluation.values if key.endswith("/rare class")]:
            del evaluation.values[key]
    comparison = compare([LoggedRun(before, "records")], [LoggedRun(after, "records")], COLUMNS)
    assert comparison.found("gone") == []
    assert "rare class was not examined on the other side" in said(comparison)["Not compared"]
    assert comparison.only_before["Error ratio of a factor"] == ("rare class",)


# -- seeds


def test_seeds_are_replicates() -> None:
    before = [run(f"a{n}", val_acc=x) for n, x in enumerate((0.80, 0.82, 0.81))]
    after = [run(f"b{n}", val_acc=x) for n, x in enumerate((0.85, 0.88, 0.85))]
    apart, pairs = compare(before, after, COLUMNS).accuracy, compare(before, after, COLUMNS, by_pairs=True).accuracy
    assert apart is not None
    assert pairs is not None
    assert (apart.low, apart.high) == pytest.approx(welch([0.80, 0.82, 0.81], [0.85, 0.88, 0.85]))
    assert (pairs.low, pairs.high) == pytest.approx(paired([0.80, 0.82, 0.81], [0.85, 0.88, 0.85]))
    assert apart.outcome == pairs.outcome == "better"


def test_three_runs_against_one_have_no_interval_and_say_so() -> None:
    comparison = compare([run(f"a{n}", val_acc=0.8 + n / 100) for n in range(3)], [run("b", val_acc=0.9)], COLUMNS)
    assert comparison.accuracy is not None
    assert comparison.accuracy.why == "one side has a single run"


def test_what_differs_between_the_sides_is_said() -> None:
    longer = run("b", val_acc=0.9)
    longer.record.evaluations.append(Evaluation(4, 50, {"val_acc": 0.9}))
    assert (
        "The runs are of unequal length: 1 epochs before, 5 after."
        in compare([run("a", val_acc=0.8)], [longer], COLUMNS).notes
    )


# -- what lies on disk


def test_a_csv_log_is_read_and_its_torn_last_line_left_out(tmp_path: Path) -> None:
    (tmp_path / "metrics.csv").write_text("epoch,step,val_acc,train_loss\n0,9,0.5,\n0,9,,1.2\n1,19,0.75,\n2,29,0.")
    (read,) = read_runs("compare", tmp_path)
    assert read.record.series("val_acc") == ([0, 1], [0.5, 0.75])
    assert not read.tells_findings
    assert "torn" in read.notes[0]
    comparison = compare([read], [read], COLUMNS)
    assert any(note.startswith("Findings are not compared: the logs of") for note in comparison.notes)
    assert "Gone" not in said(comparison)


def test_an_offline_run_of_wandb_is_read_as_far_as_it_goes(tmp_path: Path) -> None:
    internal = pytest.importorskip("wandb.proto.wandb_internal_pb2")

    def piece(data: bytes, kind: int) -> bytes:
        return bytes(4) + len(data).to_bytes(2, "little") + bytes([kind]) + data

    log = b":W&B\xe1\xbe\x00"
    for epoch in range(3):
        record = internal.Record()
        for key, value in {"epoch": epoch, "trainer/global_step": 10 * epoch, "val_acc": 0.5 + epoch / 10}.items():
            item = record.history.item.add()
            item.nested_key.append(key)
            item.value_json = json.dumps(value)
        item = record.history.item.add()
        item.nested_key.extend(["table", "path"])
        item.value_json = '"a"'
        data = record.SerializeToString()
        log += piece(data, 1) if epoch else piece(data[:20], 2) + piece(data[20:30], 3) + piece(data[30:], 4)
    path = tmp_path / "wandb" / "offline-run-1" / "run-1.wandb"
    path.parent.mkdir(parents=True)
    path.write_bytes(log)
    (whole,) = read_runs("compare", tmp_path)
    assert whole.record.series("val_acc") == ([0, 1, 2], pytest.approx([0.5, 0.6, 0.7]))
    assert [each.step for each in whole.record.evaluations] == [0, 10, 20]
    assert whole.record.last_values().keys() == {"val_acc"}
    assert whole.notes == ()
    path.write_bytes(log[:-5])
    (torn,) = read_runs("compare", tmp_path)
    assert torn.record.series("val_acc")[0] == [0, 1]
    assert "ends in the middle" in torn.notes[0]


def test_one_run_of_a_folder_is_named_behind_a_colon(tmp_path: Path) -> None:
    folder(tmp_path, failing(), healthy())
    assert len(read_runs("compare", tmp_path)) == 2
    (one,) = read_runs("compare", f"{tmp_path}:standardised")
    assert one.record.name == f"{tmp_path.name}:standardised"
    with pytest.raises(UnknownNameError, match="no run has this name; given 'other'"):
        read_runs("compare", f"{tmp_path}:other")


@pytest.mark.parametrize(
    ("name", "content", "error"),
    [
        (None, "", "a folder without a run"),
        ("records.json", '[{"name": "torn', "these are no records of a run"),
        ("records.json", "{}x", "these are no records of a run"),
        ("metrics.csv", "", "an empty log"),
    ],
)
def test_what_holds_no_run_is_refused(tmp_path: Path, name: str | None, content: str, error: str) -> None:
    if name:
        (tmp_path / name).write_text(content)
    with pytest.raises(InputError, match=error):
        read_runs("compare", tmp_path)
    with pytest.raises(InputError, match="no such folder or file"):
        read_runs("compare", tmp_path / "nowhere")


# -- the command


def test_the_command_prints_json_alone_where_that_is_asked_for(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    a, b = folder(tmp_path / "a", failing()), folder(tmp_path / "b", healthy())
    assert main(["compare", a, b, "--json", "-"]) == 0
    data = json.loads(capsys.readouterr().out)
    assert (data["before"][0]["name"], data["after"][0]["name"]) == ("a", "b")
    assert data["sentences"][0].startswith("Validation accuracy rose")
    assert next(each for each in data["figures"] if each["key"] == DARK)["outcome"] in ("better", "not told apart")
    assert data["findings"]["gone"]


def test_the_console_says_first_whether_it_helped(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    a, b = folder(tmp_path / "a", failing()), folder(tmp_path / "b", healthy())
    assert main(["compare", a, b, "--top", "3"]) == 0
    lines = [line for line in capsys.readouterr().out.splitlines() if line.strip()]
    assert lines[0].startswith("It helped")
    assert lines[1].split() == ["before", "a"]


def test_runs_that_are_not_two_sides_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    a = folder(tmp_path / "a", failing())
    assert main(["compare", a]) == 2
    assert "not one run before and one after the change; given 1: a." in capsys.readouterr().err
    assert main(["compare", a, "--changed", a, "--paired"]) == 2
    assert "runs that make no pairs; given 1 before and 1 after." in capsys.readouterr().err


def test_a_name_that_holds_markup_is_text_in_the_page(tmp_path: Path) -> None:
    pytest.importorskip("jinja2")
    name = "<script>alert(1)</script>"
    values = {f"failures/factors/{key}/<b>dark": x for key, x in {"error_ratio": 1.0, "low": 0.8, "high": 1.2}.items()}
    page = write_comparison(
        tmp_path, compare([run(name, **values)], [run("b", **values)], COLUMNS), "compare"
    ).read_text()
    assert "<script" not in page
    assert "<b>dark" not in page
    assert "&lt;b&gt;dark" in page
