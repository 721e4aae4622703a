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


#: Of each example that fails on purpose: what its verdict says, and the packages that it needs besides our own.
SAID = {
    "hyperspectral_scene": ("Reliance on a single band: 1369-1423 nm", ()),
    "image_folder": ("Failure on one kind of image: pattern", ("timm", "imagenet_x", "torchvision", "PIL")),
    "infrared_groups": ("What is large in images of D is small in the others", ()),
    "multilabel": ("as many labels are wrong as on all images", ()),
    "segmentation": ("as many pixels are wrong as on all images", ()),
    "self_supervised": ("Representation collapse: backbone", ()),
    "validation_classes": ("Validation labels stand for other classes than those of training", ()),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", SAID)
def test_an_example_says_what_is_wrong_in_it(name: str, tmp_path: Path) -> None:
    sentence, packages = SAID[name]
    for package in packages:
        pytest.importorskip(package)
    said = run((EXAMPLES / f"{name}.py").read_text(), tmp_path / "watched")
    assert sentence in " ".join(said.split())
    assert "stepped aside" not in said
    worse = [float(times) for times in re.findall(r"(\S+) times as many \w+ are wrong", said)]
    assert not worse or max(worse) > 2


@pytest.mark.slow
def test_the_gate_of_the_example_turns_some_epochs_away_and_keeps_one(tmp_path: Path) -> None:
    said = run((EXAMPLES / "gate.py").read_text(), tmp_path / "watched")
    assert re.search(r"rejected Checkpoint of step \d+: failures/factors/difference_high/dark = \S+ violates", said)
    (kept,) = re.findall(r"^kept: (.*)$", said, flags=re.MULTILINE)
    assert Path(kept).is_file()


@pytest.mark.slow
def test_two_processes_find_what_one_would_and_say_it_once(tmp_path: Path) -> None:
    said = run((EXAMPLES / "two_processes.py").read_text(), tmp_path / "watched")
    assert said.count("Verdict") == 1
    (record,) = json.loads((tmp_path / "watched" / "failures" / "records.json").read_text())
    assert record["evaluations"][-1]["values"]["failures/collapse/accuracy"] > 0.9


def test_every_example_is_run_by_a_test() -> None:
    elsewhere = {"existing_trainer", "command_line", "gate", "two_processes"}
    assert {path.stem for path in EXAMPLES.glob("*.py")} == {*LOOPS, *SAID, *elsewhere}


def test_an_example_is_short() -> None:
    for path in EXAMPLES.glob("*.py"):
        assert len(path.read_text().splitlines()) <= (75 if path.stem == "command_line" else 60), path.name
