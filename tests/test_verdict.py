"""The verdict between silence and failure: what is worth watching, and an accuracy that falls short."""

import dataclasses
import math
from io import StringIO
from pathlib import Path

import pytest
import torch
from lightning.pytorch import Trainer
from rich.console import Console

from lightning_failures import FailureDiagnosis, Finding, Rule
from lightning_failures.callbacks.columns import COLUMNS
from lightning_failures.callbacks.findings import ProgressNotes
from lightning_failures.functional import wilson
from lightning_failures.records import Evaluation, RunRecord
from lightning_failures.reporting.console import STATUSES, STYLES, print_finding, print_verdict
from lightning_failures.reporting.figures import Line, by_epoch
from lightning_failures.reporting.report import write_report
from lightning_failures.reporting.sentences import headline, status, tally
from lightning_failures.reporting.shortfall import shortfall
from lightning_failures.reporting.summary import comparison
from tests.records import CLEARED, FACTOR, UNTAPPED, failing, healthy

WATCH = dataclasses.replace(FACTOR, severity="watch", subject="dark", message="Dark images have 1.46 times the errors.")


def run(*findings: Finding, evaluations: int = 12, **values: float) -> RunRecord:
    logged = {f"failures/{name.replace('__', '/')}": value for name, value in values.items()}
    return RunRecord("run", [Evaluation(epoch, 10 * epoch, logged) for epoch in range(evaluations)], list(findings))


def collapse(accuracy: float, chance: float, images: float = math.nan) -> RunRecord:
    return run(collapse__accuracy=accuracy, collapse__chance=chance, collapse__images=images)


# -- worth watching


def test_what_is_worth_watching_is_neither_a_failure_nor_nothing() -> None:
    assert tally(run(WATCH)) == "No failure was found in 12 evaluations; 1 thing is worth watching."
    assert status(run(WATCH)) == "watch"
    two = run(WATCH, dataclasses.replace(WATCH, subject="small"), UNTAPPED, CLEARED)
    assert tally(two) == "1 open failure; 2 things are worth watching; 1 finding raised earlier was cleared."
    assert status(two) == "failing"
    assert tally(run(WATCH, FACTOR)) == "1 open warning; 1 thing is worth watching."
    assert status(run(WATCH, FACTOR)) == "warned"


def test_failures_stand_before_warnings_before_what_is_worth_watching() -> None:
    assert run(WATCH, FACTOR, UNTAPPED).standing == [UNTAPPED, FACTOR, WATCH]


def test_the_terminal_and_the_page_have_a_style_for_every_severity_and_status(tmp_path: Path) -> None:
    assert {"watch", "warning", "failure"} <= set(STYLES)
    assert {"failing", "warned", "watch", "clear", "unknown"} == set(STATUSES)
    out = Console(file=StringIO(), width=100, color_system=None)
    print_finding(WATCH, out)
    print_verdict([run(WATCH)], COLUMNS, out)
    assert isinstance(out.file, StringIO)
    assert out.file.getvalue().startswith("epoch 4 watch Failure on one kind of image: dark. ")
    pytest.importorskip("jinja2")
    pytest.importorskip("matplotlib")
    page = write_report(tmp_path, [run(WATCH)], COLUMNS).read_text("utf-8")
    assert 'class="verdict watch">' in page
    assert '<article class="finding watch">' in page
    assert ".watch { --tone: var(--watch); }" in page


def test_runs_are_compared_by_what_is_worth_watching_too() -> None:
    table = dict(comparison([run(WATCH), healthy()], COLUMNS))
    assert (table["Failures standing"], table["Warnings standing"]) == (["0", "0"], ["0", "0"])
    assert table["Worth watching"] == ["1", "0"]


def test_the_progress_bar_says_what_is_worth_watching_beside_what_was_found() -> None:
    notes = ProgressNotes()
    for findings, items in [
        ([WATCH], {"finding": "none", "watch": "dark"}),
        ([UNTAPPED, WATCH], {"finding": "untapped", "watch": "dark"}),
        ([UNTAPPED, WATCH.with_cleared(5)], {"finding": "untapped"}),
    ]:
        notes.update(run(*findings))
        assert notes.items == items


def test_a_mark_in_a_picture_says_that_it_is_worth_watching() -> None:
    pytest.importorskip("matplotlib")
    record = run(WATCH, evaluations=6, x=0.5)
    figure = by_epoch(record, [Line("x", "failures/x", "first", "o", "-")], (0.0, 1.0), "x")
    (below,) = [text.get_text() for text in figure.texts]
    assert below == "1  Failure on one kind of image (dark), epoch 4, worth watching"


def test_what_is_worth_watching_does_not_stop_a_run() -> None:
    rules = [
        Rule(kind="own_rule", name=severity, when="a > 1", message="{a}", severity=severity, warmup=0, persistence=1)
        for severity in ("watch", "failure")
    ]
    trainer = Trainer(logger=False, enable_checkpointing=False, barebones=False)
    for rule in rules:
        diagnosis = FailureDiagnosis([rule], action="stop", announce="nothing")
        raised = diagnosis.evaluate(Evaluation(0, 1, {"a": 2.0}))
        assert [finding.severity for finding in raised] == [rule.severity]
        assert diagnosis._diagnose(trainer) is False  # nothing new was logged
    watch, failure = (FailureDiagnosis([rule], action="stop", announce="nothing") for rule in rules)
    trainer.callback_metrics["a"] = torch.tensor(2.0)
    assert watch._diagnose(trainer) is False
    assert failure._diagnose(trainer) is True


# -- an accuracy that falls short


def test_a_run_at_chance_never_ends_with_no_failure_was_found() -> None:
    record = collapse(0.098, 0.102, 500)
    assert headline(record, COLUMNS) == "The accuracy, 0.10 after 12 epochs, is no better than chance, 0.10."
    assert tally(record) == "No rule found a failure in 12 evaluations, but the accuracy is no better than chance."
    assert status(record) == "watch"


def test_an_accuracy_whose_interval_holds_chance_is_not_told_from_it() -> None:
    record = collapse(0.12, 0.1, 300)
    assert headline(record, COLUMNS) == (
        "The accuracy, 0.12 after 12 epochs, is not told from chance, 0.10, on 300 images (95% interval 0.09 to 0.16)."
    )
    assert tally(record).endswith("but the accuracy is not told from chance.")
    assert shortfall(collapse(0.12, 0.1, 5000)) is None
    assert shortfall(collapse(0.12, 0.1)) is None  # without their number there is no interval
    assert shortfall(collapse(0.9, 0.1, 300)) is None


def test_the_interval_is_that_of_the_metrics() -> None:
    low, high = wilson(torch.tensor([61]), torch.tensor([500]))
    said = shortfall(collapse(61 / 500, 0.11, 500))
    assert said is not None
    assert said.figures.endswith(f"on 500 images (95% interval {float(low):.2f} to {float(high):.2f})")


def test_chance_is_that_of_the_validation_images_where_it_is_known() -> None:
    of_training = {"simplicity__model_accuracy": 0.45, "simplicity__chance": 0.5, "simplicity__images": 500.0}
    assert shortfall(run(**of_training)) is not None
    of_both = {"collapse__accuracy": 0.45, "collapse__chance": 0.1, "collapse__images": 500.0}
    assert shortfall(run(**of_training, **of_both)) is None


def test_an_accuracy_below_the_linear_reference_is_said_in_the_first_sentence() -> None:
    record = run(simplicity__model_accuracy=0.52, simplicity__reference_accuracy=0.8, simplicity__low=0.25)
    assert headline(record, COLUMNS) == (
        "The accuracy, 0.52 after 12 epochs, is below the 0.80 "
        "of a linear model of each channel's mean on the same images."
    )
    assert tally(record) == (
        "No rule found a failure in 12 evaluations, but the accuracy is below that of a linear model."
    )
    near = run(simplicity__model_accuracy=0.79, simplicity__reference_accuracy=0.8, simplicity__low=-0.01)
    assert (
        headline(near, COLUMNS)
        == "Accuracy 0.79 after 12 epochs, against 0.80 of a linear model of each channel's mean on the same images."
    )
    assert status(near) == "clear"


def test_an_accuracy_below_the_best_simple_model_is_said_where_the_images_tell() -> None:
    def of(images: float) -> RunRecord:
        return run(simplicity__model_accuracy=0.7, simplicity__best_reach=0.75, simplicity__images=images)

    assert headline(of(2000), COLUMNS) == (
        "The accuracy, 0.70 after 12 epochs, is below the 0.75 of a simple model on the same images."
    )
    assert shortfall(of(100)) is None
    assert shortfall(of(math.nan)) is None


def test_findings_are_counted_where_the_accuracy_falls_short_too() -> None:
    record = failing()
    assert shortfall(record) is not None
    assert tally(record) == "2 open failures and 1 open warning; 1 finding raised earlier was cleared."
    assert shortfall(healthy()) is None


# -- a model that is evaluated and not trained


def test_a_verdict_without_a_training_says_on_which_images(tmp_path: Path) -> None:
    record = dataclasses.replace(failing(1), evaluated="test")
    record.findings = [UNTAPPED]
    assert headline(record, COLUMNS) == (
        "The accuracy, 0.52 on the test images, is below the 0.80 "
        "of a linear model of each channel's mean on the same images."
    )
    out = Console(file=StringIO(), width=110, color_system=None)
    print_verdict([record], COLUMNS, out)
    assert isinstance(out.file, StringIO)
    said = out.file.getvalue()
    assert said.lstrip().startswith("Verdict on the test images \u2500")
    assert "Untapped information: linear reference, on the test images" in said
    assert "epoch" not in said
    assert RunRecord.from_dict(record.to_dict()).evaluated == "test"
    pytest.importorskip("jinja2")
    pytest.importorskip("matplotlib")
    page = write_report(tmp_path, [record], COLUMNS).read_text("utf-8")
    assert '<h2 id="run-1">raw, on the test images</h2>' in page
    assert "Accuracy on the test images. Dashed" in page
    assert "Validation accuracy" not in page


def test_verdicts_on_several_kinds_of_images_say_so_run_by_run() -> None:
    out = Console(file=StringIO(), width=110, color_system=None)
    records = [healthy(), dataclasses.replace(healthy(1, "tested"), evaluated="test")]
    print_verdict(records, COLUMNS, out)
    assert isinstance(out.file, StringIO)
    assert out.file.getvalue().lstrip().startswith("Verdict \u2500")
    assert "Accuracy 0.82 after 6 epochs" in out.file.getvalue()
    assert "0.48 on the test images" in out.file.getvalue()


def test_a_record_of_an_earlier_version_is_of_a_training() -> None:
    plain = healthy().to_dict()
    del plain["evaluated"]
    assert RunRecord.from_dict(plain).evaluated == ""
