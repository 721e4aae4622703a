"""Where a run comes from: date, seed, commit and versions, in its record and on its page."""

import json
import shutil
import subprocess
import sys
from datetime import datetime, timedelta
from importlib.metadata import version

import pytest

from lightning_failures import FailureDiagnosis
from lightning_failures.callbacks.findings import provenance
from lightning_failures.callbacks.findings.provenance import note_provenance
from lightning_failures.records import RunRecord, read_records
from lightning_failures.reporting.summary import provenance as in_one_line
from tests.records import failing
from tests.runs import fit

GIT = shutil.which("git")


def noted(monkeypatch, folder, seed=None):
    monkeypatch.setattr(provenance, "_folder", lambda: folder)
    if seed is None:
        monkeypatch.delenv("PL_GLOBAL_SEED", raising=False)
    else:
        monkeypatch.setenv("PL_GLOBAL_SEED", seed)
    record = RunRecord("run")
    note_provenance(record)
    return record


def git(folder, *arguments):
    who = ["-c", "user.name=nobody", "-c", "user.email=nobody@example.org", "-c", "commit.gpgsign=false"]
    return subprocess.run(
        [str(GIT), *who, *arguments], cwd=folder, capture_output=True, text=True, check=True
    ).stdout.strip()


def test_date_seed_and_versions_are_noted(monkeypatch, tmp_path):
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    record = noted(monkeypatch, tmp_path, "17")
    began = datetime.fromisoformat(record.started)
    assert began.tzinfo is not None
    assert abs(datetime.now().astimezone() - began) < timedelta(minutes=5)
    assert record.seed == 17
    assert record.commit == ""
    assert record.versions["torch"] == version("torch")
    assert "lightning-failures" in record.versions


@pytest.mark.parametrize("seed", [None, "", "none"])
def test_without_a_seed_there_is_none(monkeypatch, tmp_path, seed):
    assert noted(monkeypatch, tmp_path, seed).seed is None


@pytest.mark.skipif(GIT is None, reason="there is no git")
def test_the_commit_of_the_users_code_is_noted_and_whether_it_was_changed(monkeypatch, tmp_path):
    git(tmp_path, "init", "-q")
    (tmp_path / "train.py").write_text("print(1)\n")
    git(tmp_path, "add", "train.py")
    git(tmp_path, "commit", "-q", "-m", "Begin")
    commit = git(tmp_path, "rev-parse", "--short=12", "HEAD")
    (tmp_path / "deeper").mkdir()
    assert noted(monkeypatch, tmp_path / "deeper").commit == commit
    (tmp_path / "train.py").write_text("print(2)\n")
    assert noted(monkeypatch, tmp_path).commit == f"{commit}-dirty"


@pytest.mark.skipif(GIT is None, reason="there is no git")
def test_a_repository_without_a_commit_or_a_slow_git_leave_it_empty(monkeypatch, tmp_path):
    git(tmp_path, "init", "-q")
    assert noted(monkeypatch, tmp_path).commit == ""
    monkeypatch.setattr(provenance, "PATIENCE", 0.0)
    assert noted(monkeypatch, tmp_path).commit == ""


def test_without_git_it_is_empty(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert noted(monkeypatch, tmp_path).commit == ""


def test_the_code_lies_beside_the_script_and_in_a_notebook_where_it_works(monkeypatch, tmp_path):
    script = tmp_path / "scripts" / "train.py"
    monkeypatch.setattr(sys.modules["__main__"], "__file__", str(script), raising=False)
    assert provenance._folder() == script.parent
    monkeypatch.delattr(sys.modules["__main__"], "__file__")
    monkeypatch.chdir(tmp_path)
    assert provenance._folder() == tmp_path


def test_a_run_keeps_it_and_its_report_shows_it(tmp_path):
    pytest.importorskip("jinja2")
    pytest.importorskip("matplotlib")
    diagnosis = FailureDiagnosis(report_dir=tmp_path)
    fit([diagnosis], epochs=1)
    assert diagnosis.record.started
    (record,) = read_records(tmp_path / "records.json")
    assert (record.started, record.versions) == (diagnosis.record.started, diagnosis.record.versions)
    assert RunRecord.from_dict(diagnosis.state_dict()["record"]).versions == record.versions
    assert f"torch {version('torch')}" in (tmp_path / "report.html").read_text(encoding="utf-8")


def test_a_record_of_an_earlier_version_is_read(tmp_path):
    plain = failing().to_dict()
    for name in ("started", "seed", "commit", "versions"):
        del plain[name]
    (tmp_path / "records.json").write_text(json.dumps([plain]))
    (record,) = read_records(tmp_path / "records.json")
    assert record.to_dict() == failing().to_dict()
    assert (record.started, record.seed, record.commit, record.versions) == ("", None, "", {})
    assert in_one_line(record) == "74 s, 3.1 s of it for monitoring."
