import json
import math
from pathlib import Path

import pytest

from lightning_failures.callbacks.columns import COLUMNS
from lightning_failures.callbacks.factors import factor_rows
from lightning_failures.callbacks.findings import ValidationMetric, find_metric
from lightning_failures.errors import InputError
from lightning_failures.records import (
    KINDS,
    Evaluation,
    RunRecord,
    number,
    read_records,
    write_records,
)
from lightning_failures.reporting.glossary import glossary
from lightning_failures.reporting.sentences import accuracy_key, headline, status, tally, title, when
from lightning_failures.reporting.summary import comparison, sparkline, tiles
from tests.records import CLEARED, FACTOR, UNTAPPED, failing, healthy


def test_a_record_survives_strict_json() -> None:
    record = failing()
    again = RunRecord.from_dict(json.loads(json.dumps(record.to_dict(), allow_nan=False)))
    assert again.to_dict() == record.to_dict()
    assert math.isnan(again.last("failures/factors/error_ratio/cloud"))
    assert again.findings == record.findings


def test_a_diverged_loss_survives_strict_json() -> None:
    record = RunRecord("raw", [Evaluation(0, 1, {"val_loss": math.inf})])
    assert RunRecord.from_dict(json.loads(json.dumps(record.to_dict(), allow_nan=False))).last("val_loss") == math.inf


def test_records_are_read_back_from_their_file(tmp_path: Path) -> None:
    write_records(tmp_path / "records.json", [failing(), healthy()])
    assert [r.to_dict() for r in read_records(tmp_path / "records.json")] == [failing().to_dict(), healthy().to_dict()]


def test_a_series_leaves_out_the_evaluations_that_did_not_log_its_key() -> None:
    record = RunRecord("raw", [Evaluation(0, 1, {"a": 1.0}), Evaluation(1, 2, {}), Evaluation(2, 3, {"a": 3.0})])
    assert record.series("a") == ([0, 2], [1.0, 3.0])
    assert record.series("b") == ([], [])
    assert math.isnan(record.last("b"))


def test_the_last_value_is_that_of_the_last_evaluation_that_logged_it() -> None:
    record = RunRecord("raw", [Evaluation(0, 1, {"a": 1.0}), Evaluation(1, 2, {"a": 2.0}), Evaluation(2, 3, {})])
    assert record.last("a") == 2.0
    assert record.last_values() == {"a": 2.0}


def test_a_star_matches_whole_names_that_hold_slashes_and_dots() -> None:
    values = {
        "failures/collapse/rankme/net/0.conv": 3.0,
        "failures/collapse/rankme/": 9.0,
        "failures/collapse/x/a": 1.0,
    }
    record = RunRecord("raw", [Evaluation(0, 1, values)])
    assert record.matching("failures/collapse/rankme/*") == {"net/0.conv": 3.0}
    assert record.matching("*/a") == {"failures/collapse/x": 1.0}


def test_a_pattern_without_a_star_is_an_error() -> None:
    with pytest.raises(InputError) as caught:
        RunRecord("raw").matching("val_acc")
    assert str(caught.value) == "RunRecord.matching: no star; given 'val_acc'. Put one * where the name stands."


def test_epochs_are_counted_up_to_the_last_evaluation() -> None:
    assert RunRecord("raw").epochs == 0
    assert RunRecord("raw", [Evaluation(4, 50, {}), Evaluation(9, 100, {})]).epochs == 10


def test_the_monitors_share_of_the_time_is_none_while_unknown() -> None:
    assert RunRecord("raw").monitor_share is None
    assert RunRecord("raw", seconds=0.0, monitor_seconds=0.0).monitor_share is None
    assert RunRecord("raw", seconds=80.0, monitor_seconds=2.0).monitor_share == 2.0 / 78.0


def test_failures_stand_before_warnings_and_cleared_findings_do_not_stand() -> None:
    record = RunRecord("raw", findings=[FACTOR, CLEARED, UNTAPPED])
    assert record.standing == [UNTAPPED, FACTOR]


def test_factor_rows_are_sorted_and_leave_out_what_is_no_factor() -> None:
    rows = factor_rows(failing().statistics("factors"))
    assert [row.name for row in rows] == [
        "rare class",
        "small field",
        "boundary",
        "dark",
        "mixed crop",
        "bright",
        "cloud",
    ]
    assert rows[0][1:] == (1.94, 1.71, 2.08, 1e-12, 96, 90)
    assert rows[0].differs
    assert not rows[4].differs
    assert math.isnan(rows[-1].ratio)


def test_factor_rows_without_counts_know_worst_from_a_factor() -> None:
    ratios = {"error_ratio/worst": 2.0, "error_ratio/dark": 2.0}
    assert [row.name for row in factor_rows(ratios)] == ["dark"]
    assert math.isnan(factor_rows(ratios)[0].images)


def test_every_kind_of_finding_has_a_title() -> None:
    assert all(kind.title for kind in KINDS.values())
    assert title(UNTAPPED) == "Untapped information: linear reference"


def test_when_says_since_or_until() -> None:
    assert when(UNTAPPED, RunRecord("run")) == "since epoch 3 (step 176)"
    assert when(CLEARED, RunRecord("run")) == "from epoch 1 (step 88), cleared at epoch 3"


def test_the_verdict_of_a_failing_and_of_a_healthy_run() -> None:
    assert (
        headline(failing(), COLUMNS) == "The accuracy, 0.52 after 6 epochs, is below the 0.80 "
        "of a linear model of each channel's mean on the same images."
    )
    assert tally(failing()) == "2 open failures and 1 open warning; 1 finding raised earlier was cleared."
    assert status(failing()) == "failing"
    assert tally(healthy()) == "No failure was found in 6 evaluations."
    assert status(healthy()) == "clear"


def test_nothing_is_said_of_a_run_that_was_never_evaluated() -> None:
    assert headline(RunRecord("raw"), COLUMNS) == "Nothing was evaluated, so nothing can be said about this run."
    assert tally(RunRecord("raw")) == "No verdict."
    assert status(RunRecord("raw")) == "unknown"


def test_a_monitor_that_stepped_aside_qualifies_no_failure() -> None:
    error = type(UNTAPPED)(
        kind="monitor_error", subject="CollapseMonitor", epoch=0, step=1, evidence={"cause": "no head"}, message="…"
    )
    record = RunRecord("raw", [Evaluation(0, 100, {"val_loss": 1.0})], [error])
    assert tally(record) == "No failure was found in 1 evaluation; 1 monitor stepped aside, so not all was watched."
    assert status(record) == "warned"
    assert headline(record, COLUMNS) == "Evaluated after 1 epoch; no accuracy was logged."


def test_a_run_that_ends_before_most_rules_begin_says_so() -> None:
    record = RunRecord("raw", [Evaluation(epoch, 3 + 3 * epoch, {"val_acc": 0.9}) for epoch in range(12)])
    assert tally(record) == (
        "No failure was found in 12 evaluations, but most rules wait for 60 training steps, and this run had 36."
    )
    tested = RunRecord("raw", [Evaluation(0, 0, {"val_acc": 0.9})], evaluated="test")  # where no rule waits
    assert tally(tested) == "No failure was found in 1 evaluation."


def test_one_failure_stands_in_the_singular() -> None:
    assert tally(RunRecord("raw", [Evaluation(0, 1, {})], [UNTAPPED])) == "1 open failure."


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.5217, "0.522"), (3.0, "3"), (1234567.8, "1,234,568"), (1e-7, "1e-07"), (-math.inf, "-infinite"), ("fc", "fc")],
)
def test_numbers_for_people(value: float | str, text: str) -> None:
    assert number(value) == text


def test_the_glossary_explains_what_was_logged_and_no_more() -> None:
    assert {term.name for term in glossary(["failures/factors/error_ratio/dark"], COLUMNS)} == {
        "Error ratio of a factor"
    }
    assert glossary(["val_loss"], COLUMNS) == []
    keys = [
        f"failures/{column.noun}/{term.key.replace('*', 'penultimate')}" for column in COLUMNS for term in column.terms
    ]
    assert [term.key.replace("*", "penultimate") for term in glossary(keys, COLUMNS)] == keys


def named(record: RunRecord, noun: str, name: str) -> RunRecord:
    """The record of a run whose monitor of one noun has a name of its own."""
    for evaluation in record.evaluations:
        for key in [key for key in evaluation.values if key.startswith(f"failures/{noun}/")]:
            evaluation.values[key.replace(f"failures/{noun}/", f"failures/{name}/")] = evaluation.values.pop(key)
    record.columns = {name: noun}
    return RunRecord.from_dict(json.loads(json.dumps(record.to_dict(), allow_nan=False)))


def test_a_record_of_an_earlier_version_names_no_monitor() -> None:
    plain = failing().to_dict()
    del plain["columns"]
    assert RunRecord.from_dict(plain).names_of("factors") == ["factors"]


def test_a_named_monitor_is_explained_and_told_from_its_record() -> None:
    record = named(failing(), "factors", "scanner")
    terms = glossary(record.last_values(), COLUMNS, [record])
    assert {term.key for term in terms} >= {"failures/scanner/error_ratio/*", "failures/scanner/error_ratio/worst"}
    assert not any(term.key.startswith("failures/factors/") for term in terms)
    assert [(tile.name, tile.note) for tile in tiles(record, COLUMNS) if "Worst" in tile.name] == [
        ("Worst error ratio, scanner", "rare class")
    ]
    table = dict(comparison([record, failing()], COLUMNS))
    assert table["Worst error ratio, scanner"] == ["1.94 (rare class)", "not logged"]
    assert table["Worst error ratio"] == ["not logged", "1.94 (rare class)"]


def test_a_monitor_sees_its_own_figures_under_its_noun_and_no_others() -> None:
    record = named(failing(), "factors", "scanner")
    record.evaluations[-1].values["failures/factors/error/all"] = 0.1
    record.undefined = {"failures/scanner/low/dark": "why", "failures/factors/low/dark": "other", "val_acc": "x"}
    seen = record.seen_by("scanner", "factors")
    assert seen.last("failures/factors/error/all") == pytest.approx(0.48)
    assert seen.undefined == {"failures/factors/low/dark": "why", "val_acc": "x"}
    assert record.last("failures/factors/error/all") == 0.1


def test_a_named_reference_is_what_the_accuracy_is_compared_with() -> None:
    said = headline(named(failing(), "simplicity", "mean"), COLUMNS)
    assert (
        said == "The accuracy, 0.52 after 6 epochs, is below the 0.80 "
        "of a linear model of each channel's mean on the same images."
    )


@pytest.mark.parametrize("key", ["valid_acc", "val/accuracy", "validation_accuracy"])
def test_the_report_and_the_lead_call_the_same_key_the_accuracy(key: str) -> None:
    assert accuracy_key(RunRecord("raw", [Evaluation(0, 1, {key: 0.5})])) == key
    assert find_metric([key]) == ValidationMetric(key, lower_is_better=False)


def test_tiles_show_the_main_figures_that_were_logged() -> None:
    shown = {tile.name: (tile.value, tile.note) for tile in tiles(failing(), COLUMNS)}
    assert shown["Accuracy"] == ("0.52", "linear model 0.80")
    assert shown["Worst error ratio"] == ("1.94", "rare class")
    assert shown["Time for monitoring"] == ("4.4%", "of the training's own time")
    assert tiles(RunRecord("raw"), COLUMNS) == []


def test_runs_are_compared_row_by_row_and_gaps_are_named() -> None:
    table = dict(comparison([failing(), RunRecord("bare", [Evaluation(0, 1, {"val_acc": 0.4})])], COLUMNS))
    assert table["Accuracy"] == ["0.520", "0.400"]
    assert table["Linear reference"] == ["0.800", "not logged"]
    assert table["Failures standing"] == ["2", "0"]
    assert "Linear reference" not in dict(comparison([RunRecord("a"), RunRecord("b")], COLUMNS))


def test_a_sparkline_leaves_out_what_is_undefined() -> None:
    assert sparkline([1.0, math.nan, 3.0]) == "1.0,26.0 99.0,2.0"
    assert sparkline([2.0, 2.0]) == "1.0,14.0 99.0,14.0"
    assert sparkline([1.0]) == ""
