import json

import pytest

from lightning_failures.callbacks.columns import COLUMNS
from lightning_failures.cli import main
from lightning_failures.reporting.report import write_report
from tests.records import failing, healthy

pytest.importorskip("jinja2")
pytest.importorskip("matplotlib")

WORST = "failures/factors/error_ratio/worst"


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    write_report(folder, [failing(), healthy()], COLUMNS)
    return folder


def said(capsys):
    """The lines about constraints."""
    lines = (" ".join(line.split()) for line in capsys.readouterr().out.splitlines())
    return [line for line in lines if line.startswith(("passed", "failed"))]


def test_the_report_is_written_anew_from_the_records(run, tmp_path, capsys):
    before = (run / "report.html").read_text()
    assert main(["report", str(run), "--out", str(tmp_path)]) == 0
    assert (tmp_path / "report.html").read_text() == before
    assert json.loads((tmp_path / "findings.json").read_text()) == json.loads((run / "findings.json").read_text())
    assert "Untapped information" in capsys.readouterr().out


def test_a_constraint_that_does_not_hold_makes_the_command_fail(run, capsys):
    assert main(["report", str(run), "--require", f"{WORST} <= 1.5", "val_acc >= 0.5"]) == 1
    assert said(capsys) == [
        f"failed raw {WORST} = 1.94 violates <= 1.5 by 0.44",
        "passed raw val_acc = 0.52, >= 0.5",
        f"passed standardised {WORST} = 1.235, <= 1.5",
        "passed standardised val_acc = 0.8194, >= 0.5",
    ]


def test_a_run_that_satisfies_all_passes(run, capsys):
    options = ["--name", "standardised", "--require", f"{WORST} <= 1.5", "--require", "failures/factors/high/dark <= 2"]
    assert main(["report", str(run / "records.json"), *options]) == 0
    assert len(said(capsys)) == 2
    assert {each["name"] for each in json.loads((run / "records.json").read_text())} == {"raw", "standardised"}


def test_what_was_not_logged_at_the_evaluation_does_not_pass(run, tmp_path, capsys):
    record = healthy()
    del record.evaluations[-1].values[WORST]
    write_report(tmp_path, [record], COLUMNS)
    constraints = [f"{WORST} <= 1.5", "nothing < 1", "failures/factors/error_ratio/cloud < 2"]
    assert main(["report", str(tmp_path), "--require", *constraints]) == 1
    assert said(capsys) == [
        f"failed standardised {WORST} was not logged at this evaluation",
        "failed standardised nothing has not been logged",
        "failed standardised failures/factors/error_ratio/cloud is nan",
    ]
    assert main(["report", str(tmp_path), "--require", f"{WORST} <= 1.5", "--epoch", "4"]) == 0


def test_a_key_that_is_misspelt_is_told_the_nearest_that_were_logged(run, capsys):
    assert main(["report", str(run), "--require", "val_ac >= 0.5", "--require", f"{WORST} <= 9"]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert [line for line in lines if "nearest" in line] == [lines[-1]]
    assert lines[-1].startswith("'val_ac' was not logged; the nearest that were: 'val_acc', ")


def test_outcomes_go_to_standard_output_and_nothing_else_does(run, capsys):
    assert main(["report", str(run), "--name", "raw", "--require", f"{WORST} <= 1.5", "--json", "-"]) == 1
    out, err = capsys.readouterr()
    (outcome,) = json.loads(out)["raw"]
    assert outcome["state"] == "violated"
    assert "Untapped information" in err


def test_a_factor_whose_name_holds_a_slash_does_not_pass(tmp_path, capsys):
    record = healthy()
    values = record.evaluations[-1].values
    values |= {"failures/factors/high/CD8+%2FCD4-": 9.0, "failures/factors/high/size<16": 1.0}
    write_report(tmp_path, [record], COLUMNS)
    constraints = ["failures/factors/high/CD8* <= 8", 'failures/factors/high/"CD8+/CD4-" <= 8']
    constraints += ["failures/factors/high/size<16 <= 2"]
    assert main(["report", str(tmp_path), "--require", *constraints]) == 1
    violated = 'failed standardised failures/factors/high/"CD8+/CD4-" = 9 violates <= 8 by 1'
    assert said(capsys) == [violated, violated, "passed standardised failures/factors/high/size<16 = 1, <= 2"]


def test_the_outcomes_can_be_read_by_programs(run, tmp_path):
    path = tmp_path / "outcomes.json"
    assert main(["report", str(run), "--name", "raw", "--require", f"{WORST} <= 1.5", "--json", str(path)]) == 1
    (outcome,) = json.loads(path.read_text())["raw"]
    assert (outcome["state"], outcome["excess"]) == ("violated", pytest.approx(0.44))


@pytest.mark.parametrize("option", ["--out", "--json"])
def test_a_report_that_cannot_be_written_is_told_in_one_line(run, option, tmp_path, capsys):
    (tmp_path / "taken").write_text("")
    assert main(["report", str(run), option, str(tmp_path / "taken" / "file")]) == 2
    line = capsys.readouterr().err
    assert line.startswith(f"lightning-failures: error: report: a file cannot be written; given {tmp_path}/taken/file")


@pytest.mark.parametrize(
    ("options", "line"),
    [
        (
            ["RUN", "--require", "val_acc => 0.5"],
            "report: '=>' is no comparison at position 9; given 'val_acc => 0.5'. Write KEY <= BOUND with one of "
            "<, <=, >, >=; a bound is a number, a key, or a key + or - a number.",
        ),
        (
            ["RUN", "--require", "val_acc > 0.5", "val_acc < 0.4"],
            "report: no value can keep both constraints; given 'val_acc > 0.5' and 'val_acc < 0.4'. "
            "Mend or leave out one of them.",
        ),
        (["RUN", "--name", "cooked"], "report: no run has this name; given 'cooked'. Use one of raw, standardised."),
        (
            ["RUN", "--epoch", "9", "--require", "val_acc > 0"],
            "report: run 'raw' has no evaluation at this epoch; given 9. Use 0, 1, 2, 3, 4, 5.",
        ),
        (
            ["RUN/none"],
            "report: no records of a run; given RUN/none/records.json: No such file or directory. "
            "Name a folder that FailureDiagnosis(report_dir=...) wrote.",
        ),
        (
            ["RUN/findings.json"],
            "report: these are no records of a run; given RUN/findings.json: TypeError string indices must be "
            "integers, not 'str'. Name a folder with records.json.",
        ),
    ],
)
def test_what_cannot_be_used_is_one_line(run, capsys, options, line):
    options = [option.replace("RUN", str(run)) for option in options]
    assert main(["report", *options]) == 2
    assert capsys.readouterr().err == f"lightning-failures: error: {line.replace('RUN', str(run))}\n"
