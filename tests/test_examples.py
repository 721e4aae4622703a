"""The examples run as they are, and the monitors change nothing in them."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"
WEIGHTS = """
import hashlib
print("weights", hashlib.sha256(b"".join(p.detach().numpy().tobytes() for p in model.parameters())).hexdigest())
print("val_acc", float(trainer.callback_metrics["val_acc"]))
"""


def run(source: str, folder: Path) -> str:
    """What a script prints, run in a folder of its own."""
    folder.mkdir()
    (folder / "script.py").write_text(source)
    done = subprocess.run([sys.executable, "script.py"], cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.slow
def test_one_added_line_watches_an_existing_script_and_leaves_its_weights_as_they_were(tmp_path: Path) -> None:
    script = (EXAMPLES / "existing_trainer.py").read_text()
    added = [line for line in script.splitlines() if line.endswith("# added")]
    assert [line.strip() for line in added if not line.startswith("import ")] == [
        "callbacks=lf.failure_monitors(),  # added"
    ]
    before = "\n".join(line for line in script.splitlines() if line not in added)
    assert "failure_monitors" not in before
    watched, alone = run(script + WEIGHTS, tmp_path / "watched"), run(before + WEIGHTS, tmp_path / "alone")
    assert "Verdict" in watched
    assert "Verdict" not in alone
    (hashed,) = re.findall(r"^weights \w{64}$", watched, flags=re.MULTILINE)
    assert hashed in alone
    assert float(re.findall(r"^val_acc (\S+)$", watched, flags=re.MULTILINE)[0]) > 0.9


LOOPS = ("plain_loop", "fabric_loop", "hugging_face")


@pytest.mark.slow
@pytest.mark.parametrize("name", LOOPS)
def test_a_loop_of_ones_own_is_watched_in_under_forty_lines(name: str, tmp_path: Path) -> None:
    script = (EXAMPLES / f"{name}.py").read_text()
    assert len(script.splitlines()) < 40
    assert len(re.findall(r"# (added|was)", script)) < 8
    if name == "hugging_face":
        pytest.importorskip("transformers")
        pytest.importorskip("accelerate")
    said = run(script, tmp_path / "watched")
    assert said.count("Verdict") == 1
    assert "No failure was found" in said
    assert {path.name for path in (tmp_path / "watched" / "failures").iterdir()} == {
        "findings.json",
        "records.json",
        "report.html",
    }
    (record,) = json.loads((tmp_path / "watched" / "failures" / "records.json").read_text())
    values = record["evaluations"][-1]["values"]
    assert values["eval_accuracy" if name == "hugging_face" else "val_acc"] > 0.9  # so that each gate lets it pass
    assert values["failures/collapse/accuracy"] > 0.9
    passed = {"plain_loop": "best.pt", "fabric_loop": "best.ckpt"}.get(name)
    assert "The model passes." in said if passed is None else (tmp_path / "watched" / passed).exists()
