"""Names that hold marks of comparisons, several stars and several loaders: in gates, rules and reports alike."""

import json

import pytest
from lightning.pytorch.loggers import CSVLogger

from lightning_failures import FactorErrorMonitor, FactorTable, FailureDiagnosis, GatedCheckpoint, GatedEarlyStopping
from lightning_failures.callbacks.columns import COLUMNS
from lightning_failures.callbacks.freshness import under_both_names
from lightning_failures.callbacks.gate import measure, read_constraints
from lightning_failures.cli import main
from lightning_failures.errors import FailuresWarning, InputError
from lightning_failures.reporting.report import write_report
from tests.gates import fit as fit_scripted
from tests.records import healthy
from tests.runs import Classifier, fit, table

RATIO = "failures/factors/error_ratio/"

#: How a factor may be written in a constraint, and what it is called.
WRITTEN = [
    ("size<16", "size<16"),
    ('"size<16"', "size<16"),
    ("'size<16'", "size<16"),
    (r"size\<16", "size<16"),
    ("16<=size<32", "16<=size<32"),
    ("'16<=size<32'", "16<=size<32"),
    ("size>=32", "size>=32"),
    ("scanner=A", "scanner=A"),
    ('"scanner=A"', "scanner=A"),
    ("'a < b'", "a < b"),
    (r'"the \"best\" < all"', 'the "best" < all'),
    (r"'it\'s <= 3'", "it's <= 3"),
    ("'CD8+/CD4-'", "CD8+/CD4-"),
    ("'a*b'", "a*b"),
    ("'worst'", "worst"),
]
LOGGED = {
    **{key: key for _, key in WRITTEN},
    'the "best" < all': "the %22best%22 < all",
    "CD8+/CD4-": "CD8+%2FCD4-",
    "a*b": "a%2Ab",
    "worst": "%77orst",
}


@pytest.mark.parametrize(("written", "name"), WRITTEN)
@pytest.mark.parametrize("limit", [" < 2", " <= 2.0", "\t<\t2"])
def test_a_gate_asks_it_of_the_factor_of_this_name(written, name, limit):
    values = {f"{RATIO}{segment}": 1.0 for segment in LOGGED.values()} | {f"{RATIO}worst": 1.0}
    values[f"{RATIO}{LOGGED[name]}"] = 3.0
    (found,) = measure(read_constraints("Gate", f"{RATIO}{written}{limit}"), values)
    assert (found.key, found.state, found.value) == (f"{RATIO}{LOGGED[name]}", "violated", 3.0)


@pytest.mark.parametrize(("written", "name"), [each for each in WRITTEN if each[0][0] in "\"'" or "\\" in each[0]])
def test_a_quoted_name_needs_no_white_space_around_the_comparison(written, name):
    (found,) = measure(read_constraints("Gate", f"{RATIO}{written}<2"), {f"{RATIO}{LOGGED[name]}": 3.0})
    assert (found.key, found.state) == (f"{RATIO}{LOGGED[name]}", "violated")


@pytest.mark.parametrize("quote", ['"', "'"])
@pytest.mark.parametrize("name", ["size<16", "scanner=A", "size < 16", "dark", "*"])
def test_a_whole_key_in_quotes_says_the_same(quote, name):
    values = {f"{RATIO}{each}": 3.0 for each in ("size<16", "scanner=A", "size < 16", "dark")}
    (found,) = measure(read_constraints("Gate", f"{quote}{RATIO}{name}{quote} < 2"), values)
    assert found.state == "violated"
    assert found.key == f"{RATIO}{'size<16' if name == '*' else name}"


@pytest.mark.parametrize(
    ("text", "wrong", "fix"),
    [
        (
            f"{RATIO}size<16<2",
            f"a second comparison '<' at position {len(RATIO) + 8}",
            "Put white space on both sides of the one that compares, or quotes around the name: "
            "KEY/'size<16' <= BOUND.",
        ),
        (
            f"{RATIO}scanner=A <2",
            f"a second comparison '<' at position {len(RATIO) + 11}",
            "Put white space on both sides of the one that compares, or quotes around the name: "
            "KEY/'size<16' <= BOUND.",
        ),
        (
            f"{RATIO}size < 16 < 2",
            f"a second comparison '<' at position {len(RATIO) + 11}",
            "Put quotes around the name that holds a comparison: KEY/'size < 16' <= BOUND.",
        ),
    ],
)
def test_a_name_that_may_be_read_two_ways_is_refused(text, wrong, fix):
    with pytest.raises(InputError) as error:
        read_constraints("GatedCheckpoint", text)
    assert str(error.value) == f"GatedCheckpoint: {wrong}; given {text!r}. {fix}"


def test_several_stars_ask_it_of_every_monitor_and_factor():
    values = {
        f"{RATIO}size<16": 1.0,
        "failures/scanners/error_ratio/scanner=A": 4.0,
        "failures/factors/low/dark": 9.0,
        f"{RATIO}worst": 9.0,
    }
    (found,) = measure(read_constraints("Gate", "failures/*/error_ratio/* < 2"), values)
    assert found.why == "failures/scanners/error_ratio/scanner=A = 4 violates < 2 by 2"
    (found,) = measure(read_constraints("Gate", "failures/*/*/* < 10"), values)
    assert (found.state, found.value) == ("holds", 9.0)
    (found,) = measure(read_constraints("Gate", "failures/*/error_ratio/*=* < 2"), values)
    assert found.key == "failures/scanners/error_ratio/scanner=A"


def test_a_run_is_gated_and_stopped_by_a_factor_whose_name_holds_a_comparison(tmp_path):
    lines = [{f"{RATIO}size<16": ratio, "val_acc": 0.5} for ratio in (1.0, 3.0, 3.0, 3.0)]
    gate = GatedCheckpoint([f"{RATIO}size<16 < 2", "failures/*/error_ratio/* < 2"], dirpath=tmp_path / "kept")
    stop = GatedEarlyStopping(f"{RATIO}'size<16'<2", 2)
    run, _ = fit_scripted(gate, tmp_path, lines, callbacks=[stop], max_epochs=4)
    assert run.current_epoch == 3
    assert stop.reason == f"{RATIO}size<16 = 3 violates < 2 by 1, after 2 evaluations in a row"
    evaluations = json.loads((tmp_path / "kept" / "gate.json").read_text())["evaluations"]
    assert [each["feasible"] for each in evaluations] == [True, False, False]


def test_a_monitor_logs_such_a_factor_under_the_name_that_a_gate_and_a_rule_read(tmp_path):
    named = FactorTable(("size<16", "scanner=A"), table().values)
    monitor = FactorErrorMonitor(named, on_error="raise")
    rules = tmp_path / "rules.yaml"
    rules.write_text(
        f"""
- name: small
  kind: own_rule
  when: {RATIO}size<16 > 0
  message: "small: {{size_16:.2f}}"
  warmup: 0
  persistence: 1
- name: quoted
  kind: own_rule
  when: {RATIO}'scanner=A'>0
  clear: '"{RATIO}scanner=A" < 0'
  message: "A: {{A:.2f}}"
  evidence: {{A: '{RATIO}"scanner=A"'}}
  warmup: 0
  persistence: 1
- name: each
  kind: own_rule
  when: ["failures/*/error_ratio/* > 0"]
  message: "{{subject}}"
  warmup: 0
  persistence: 1
"""
    )
    diagnosis = FailureDiagnosis(rules, announce="nothing", on_error="raise")
    gate = GatedCheckpoint([f"{RATIO}size<16 > 0", f'{RATIO}"scanner=A"<0'], dirpath=tmp_path / "kept")
    run, _ = fit([monitor, diagnosis, gate], logger=CSVLogger(tmp_path), enable_checkpointing=True, epochs=1)
    small, other = (float(run.callback_metrics[f"{RATIO}{name}"]) for name in named.names)
    said = {(finding.rule, finding.message) for finding in diagnosis.findings}
    assert said == {
        ("small", f"small: {small:.2f}"),
        ("quoted", f"A: {other:.2f}"),
        ("each", "factors, size<16"),
        ("each", "factors, scanner=A"),
    }
    assert gate.verdict.why == f"{RATIO}scanner=A = {other:.4g} violates < 0 by {other:.3g}"


def test_a_report_requires_the_same_of_the_same_names(tmp_path, capsys):
    pytest.importorskip("jinja2")
    pytest.importorskip("matplotlib")
    record = healthy()
    values = record.evaluations[-1].values
    values |= {f"{RATIO}{segment}": 3.0 for segment in LOGGED.values()} | {"val_loss/dataloader_idx_1": 0.5}
    write_report(tmp_path, [record], COLUMNS)
    capsys.readouterr()
    constraints = [f"{RATIO}{written} < 2" for written, _ in WRITTEN]
    assert main(["report", str(tmp_path), "--require", *constraints, "--json", str(tmp_path / "o.json")]) == 1
    outcomes = json.loads((tmp_path / "o.json").read_text())["standardised"]
    assert [(each["key"], each["state"]) for each in outcomes] == [
        (f"{RATIO}{LOGGED[name]}", "violated") for _, name in WRITTEN
    ]
    held = ["failures/*/error_ratio/*=* < 4", f'"{RATIO}size<16" < 4', "val_loss/dataloader_idx_1 < 1"]
    held += ["val_acc/dataloader_idx_0 > 0", "val_a*/dataloader_idx_0 > 0"]
    assert main(["report", str(tmp_path), "--require", *held]) == 0


@pytest.mark.parametrize(
    ("constraint", "key"),
    [
        ("val_loss/dataloader_idx_1 < 1", "val_loss/dataloader_idx_1"),
        ("val_loss < 1", "val_loss"),
        ("val_loss/dataloader_idx_0 < 1", "val_loss/dataloader_idx_0"),
        ("val_*/dataloader_idx_1 < 1", "val_loss/dataloader_idx_1"),
        ("*/dataloader_idx_* < 2.5", "val_loss/dataloader_idx_1"),
        ("\"val_loss\"/'dataloader_idx_1' < 1", "val_loss/dataloader_idx_1"),
    ],
)
def test_keys_of_several_loaders_are_asked_for_with_their_suffix(constraint, key):
    values = under_both_names({"val_loss/dataloader_idx_0": 2.0, "val_loss/dataloader_idx_1": 3.0})
    (found,) = measure(read_constraints("Gate", constraint), values)
    assert (found.key, found.state) == (key, "violated")


def test_a_star_before_the_first_loader_s_suffix_finds_what_one_loader_logs(tmp_path):
    gate = GatedCheckpoint("val_*/dataloader_idx_0 < -1", dirpath=tmp_path / "kept")
    fit([gate], Classifier(), epochs=1, enable_checkpointing=True)
    assert gate.verdict.why.startswith("val_")
    assert "/dataloader_idx_0 = " in gate.verdict.why


def test_a_misspelt_name_is_told_as_it_is_written(tmp_path):
    gate = GatedCheckpoint(f"{RATIO}'size<61' < 2", dirpath=tmp_path / "kept")
    with pytest.warns(FailuresWarning) as caught:
        fit_scripted(gate, tmp_path, [{f"{RATIO}size<16": 1.0, f"{RATIO}CD8+%2FCD4-": 1.0}], max_epochs=1)
    (said,) = (str(warning.message) for warning in caught if warning.category is FailuresWarning)
    assert said.startswith(f"GatedCheckpoint: '{RATIO}size<61' was not logged; the nearest that were: '{RATIO}size<16'")
