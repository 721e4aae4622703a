"""The examples run as they are, and the monitors change nothing in them."""

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
