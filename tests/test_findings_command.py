"""The findings of a run for scripts, and the published schema of findings.json."""

import dataclasses
import json
from pathlib import Path

import pytest

from lightning_failures import Finding
from lightning_failures.callbacks.columns import COLUMNS
from lightning_failures.cli import main
from lightning_failures.commands.finding_schema import finding_schema
from lightning_failures.records.run_record import write_records
from lightning_failures.reporting.report import findings_data, write_findings
from tests.records import failing, healthy

PUBLISHED = Path(__file__).resolve().parents[1] / "docs" / "findings.schema.json"


@pytest.fixture
def run(tmp_path: Path) -> str:
    write_records(tmp_path / "records.json", [failing(), healthy()])
    return str(tmp_path)


def test_json_is_that_of_findings_json(run: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["findings", run, "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    written = json.loads(write_findings(tmp_path, [failing(), healthy()]).read_text())
    assert [each | {"run": ""} for each in printed["findings"]] == [each | {"run": ""} for each in written["findings"]]
    assert len(printed["findings"]) > 1
    assert main(["findings", run, "--json", "-"]) == 0
    assert json.loads(capsys.readouterr().out) == printed
    assert main(["findings", run, "--json", str(tmp_path / "own.json")]) == 0
    assert json.loads((tmp_path / "own.json").read_text()) == printed
    assert len(capsys.readouterr().out.splitlines()) == len(printed["findings"])  # and the list as ever


def test_one_line_for_each_finding_of_a_severity(run: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["findings", f"{run}:raw", "--severity", "failure", "--standing"]) == 0
    lines = capsys.readouterr().out.splitlines()
    expected = [each for each in failing().standing if each.severity == "failure"]
    assert len(lines) == len(expected) > 0
    assert all(" failure " in line for line in lines)


def test_without_a_run_it_says_what_to_do(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["findings"]) == 2
    assert (
        "no run was named; given nothing. Name a folder with records.json, before any --json; or pass --schema."
        in capsys.readouterr().err
    )


def test_a_log_tells_no_findings(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "metrics.csv").write_text("epoch,step,val_acc\n0,9,0.5\n")
    assert main(["findings", str(tmp_path)]) == 2
    assert "logs hold figures and no findings" in capsys.readouterr().err


def test_the_published_schema_is_fresh(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["findings", "--schema"]) == 0
    assert capsys.readouterr().out == PUBLISHED.read_text()


def test_the_schema_names_every_field_of_a_finding_with_its_meaning() -> None:
    fields = finding_schema()["$defs"]["finding"]["properties"]
    assert set(fields) == {each.name for each in dataclasses.fields(Finding)} | {"run"}
    assert all(each["description"] for each in fields.values())


def test_the_schema_names_every_field_of_a_run_with_its_meaning() -> None:
    fields = finding_schema()["$defs"]["run"]["properties"]
    (written,) = findings_data([healthy()])["runs"].values()
    assert list(fields) == list(written)
    assert all(each["description"] for each in fields.values())


def test_a_script_reads_where_a_run_comes_from(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    jsonschema = pytest.importorskip("jsonschema")
    origin = {
        "started": "2026-11-27T09:41:07+01:00",
        "seed": 3,
        "commit": "1a2b3c4d5e6f-dirty",
        "versions": {"lightning-failures": "0.2.0", "torch": "2.9.1"},
    }
    write_records(tmp_path / "records.json", [dataclasses.replace(failing(), **origin), healthy()])
    assert main(["findings", str(tmp_path), "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    validator = jsonschema.Draft202012Validator(finding_schema())
    assert list(validator.iter_errors(printed)) == []
    known, unknown = printed["runs"].values()
    assert {name: known[name] for name in origin} == origin
    assert {name: unknown[name] for name in origin} == {"started": "", "seed": None, "commit": "", "versions": {}}
    for name, wrong in (("started", None), ("seed", "3"), ("commit", 1), ("versions", {"torch": 2})):
        broken = printed | {"runs": {"run": known | {name: wrong}}}
        assert [list(error.absolute_path)[:3] for error in validator.iter_errors(broken)] == [["runs", "run", name]]


def test_findings_satisfy_the_schema_and_what_is_none_does_not() -> None:
    jsonschema = pytest.importorskip("jsonschema")
    validator = jsonschema.Draft202012Validator(finding_schema())
    data = json.loads(json.dumps(findings_data([failing()]), allow_nan=True).replace("NaN", "null"))
    assert list(validator.iter_errors(data)) == []
    for name, wrong in (("kind", "unheard of"), ("epoch", -1), ("cause", "the moon"), ("evidence", {})):
        broken = data | {"findings": [data["findings"][0] | {name: wrong}]}
        assert [error.json_path for error in validator.iter_errors(broken)] == [f"$.findings[0].{name}"]


def test_the_rules_of_all_columns_raise_kinds_that_the_schema_knows() -> None:
    known = finding_schema()["$defs"]["finding"]["properties"]["kind"]["enum"]
    assert {rule.kind for column in COLUMNS for rule in column.rules} <= set(known)
