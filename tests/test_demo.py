"""The demo, as small as it gets: all of it runs, and all that it writes lies under --out."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from lightning_failures.cli import main
from lightning_failures.commands.demo import demo
from lightning_failures.data.polymers import load_polymer_spectra
from lightning_failures.errors import InputError, MissingPackageError

# Every twentieth patch of the scene, so that an epoch takes a second.
SMALL = """
import sys
import lightning_failures.data.indian_pines as scene
from lightning_failures.data import FactorTable

whole = scene.load_indian_pines

def small(*args, **kwargs):
    full = whole(*args, **kwargs)
    train, validation = (
        scene.Patches(part.scene, part.pixels[::20], part.labels[::20]) for part in (full.train, full.validation)
    )
    table = FactorTable(full.factors.names, full.factors.values[::20])
    return scene.IndianPines(train, validation, table, full.wavelengths, full.class_names)

scene.load_indian_pines = small
from lightning_failures.cli import main
"""


def packages() -> None:
    for name in ("timm", "tensorly", "jinja2", "matplotlib"):
        pytest.importorskip(name)


def run(folder: Path, *arguments: str, before: str = "") -> tuple[subprocess.CompletedProcess[str], list[Path]]:
    """Run the small demo in a process of its own; also all files that it wrote anywhere but under --out."""
    home, temporary, here = (folder / name for name in ("home", "temporary", "here"))
    for place in (home, temporary, here):
        place.mkdir()
    variables = {name: value for name, value in os.environ.items() if not name.startswith(("WANDB", "XDG", "MPL"))}
    variables |= {"HOME": str(home), "TMPDIR": str(temporary), "COLUMNS": "100"}
    program = f"{SMALL}\n{before}\nsys.exit(main({['demo', *arguments]}))"
    done = subprocess.run([sys.executable, "-c", program], cwd=here, env=variables, capture_output=True, text=True)
    strays = [path for place in (home, temporary, here) for path in place.rglob("*") if path.is_file()]
    return done, strays


def load(path: Path) -> Any:
    """Strict JSON: no NaN, no Infinity."""

    def refuse(name: str) -> float:
        raise AssertionError(f"{path} holds {name}")

    return json.loads(path.read_text(), parse_constant=refuse)


@pytest.mark.slow
def test_both_arms_end_in_a_report_a_verdict_and_a_w_and_b_run_all_under_out(tmp_path: Path) -> None:
    packages()
    pytest.importorskip("wandb")
    out, summary = tmp_path / "out", tmp_path / "summary" / "demo.json"
    done, strays = run(tmp_path, "--out", str(out), "--epochs", "2", "--json", str(summary))
    assert done.returncode == 0, done.stderr
    assert strays == []

    findings = load(out / "findings.json")
    assert list(findings["runs"]) == ["raw", "standardised"]
    assert [run["evaluations"] for run in findings["runs"].values()] == [2, 2]
    assert "<svg" in (out / "report.html").read_text()
    assert all((out / arm / name).is_file() for arm in findings["runs"] for name in ("findings.json", "report.html"))

    arms = load(summary)["arms"]
    assert [len(arms[arm]["accuracy"]) for arm in ("raw", "standardised")] == [2, 2]
    assert arms["raw"]["linear_accuracy"] == pytest.approx(arms["standardised"]["linear_accuracy"], abs=0.02)

    shown = done.stdout
    verdict = shown.partition("Verdict")[2]
    assert "Verdict" not in verdict
    told = re.findall(r"^(raw|standardised)\n  (?:The a|A)ccuracy,? 0\.\d\d after 2 epochs", verdict, re.MULTILINE)
    assert told == ["raw", "standardised"]
    assert f"Report: {out / 'report.html'}" in shown
    assert f"Curves: wandb leet {out / 'wandb'}" in shown
    for noise in ("Tip", "GPU available", "Warning", "wandb: "):
        assert noise not in shown + done.stderr

    runs = sorted((out / "wandb").glob("offline-run-*"))
    assert len(runs) == 2
    wandb = Path(sys.executable).with_name("wandb")
    for each in runs:
        seen = subprocess.run([wandb, "leet", "inspect", "--summary", each], capture_output=True, text=True, check=True)
        assert "failures/factors/error_ratio/boundary" in seen.stdout
        assert "failures/accuracy" in seen.stdout
        assert "failures/collapse/logit_effective_rank" not in seen.stdout


@pytest.mark.slow
def test_one_arm_with_tensorboard_writes_under_out_too(tmp_path: Path) -> None:
    packages()
    pytest.importorskip("tensorboard")
    out = tmp_path / "out"
    done, strays = run(tmp_path, "--out", str(out), "--epochs", "1", "--arm", "raw", "--logger", "tensorboard")
    assert done.returncode == 0, done.stderr
    assert strays == []
    assert len(list((out / "tensorboard" / "raw").rglob("events.out.tfevents.*"))) == 1
    assert list(load(out / "findings.json")["runs"]) == ["raw"]
    assert not (out / "wandb").exists()


@pytest.mark.slow
def test_ctrl_c_keeps_what_is_known_and_says_so_with_a_csv_log(tmp_path: Path) -> None:
    packages()
    interrupt = """
cut = scene.load_indian_pines

def load(*args, **kwargs):
    import signal
    from lightning_failures.commands.demo_training import SceneClassifier

    def step(self, batch, batch_idx):
        if self.current_epoch == 1:
            signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job ignores it
            signal.raise_signal(signal.SIGINT)
        return trained(self, batch, batch_idx)

    trained, SceneClassifier.training_step = SceneClassifier.training_step, step
    return cut(*args, **kwargs)

scene.load_indian_pines = load
"""
    out = tmp_path / "out"
    done, strays = run(tmp_path, "--out", str(out), "--logger", "csv", before=interrupt)
    assert done.returncode == 130
    assert done.stderr.splitlines()[-1] == "lightning-failures demo: stopped"
    assert "Traceback" not in done.stderr
    assert strays == []
    assert load(out / "raw" / "findings.json")["runs"]["raw"]["evaluations"] == 1
    assert not (out / "standardised").exists()
    (written,) = (out / "csv" / "raw").rglob("metrics.csv")
    assert "failures/factors/error_ratio/boundary" in written.read_text().splitlines()[0]


@pytest.mark.slow
def test_the_infrared_demo_ends_in_a_report_a_verdict_and_a_log_all_under_out(tmp_path: Path) -> None:
    for name in ("pandas", "jinja2", "matplotlib"):
        pytest.importorskip(name)
    try:
        load_polymer_spectra()
    except MissingPackageError:
        pytest.skip("xpectrass is not installed")
    out, summary = tmp_path / "out", tmp_path / "demo.json"
    options = ("--arm", "standardised", "--epochs", "4", "--logger", "csv", "--out", str(out), "--json", str(summary))
    done, strays = run(tmp_path, "infrared", *options)
    assert done.returncode == 0, done.stderr
    assert strays == []
    assert "Polymers: 7494 infrared spectra of 200 bands in 5 tables of published studies, 5 classes." in done.stdout
    assert f"Report: {out / 'report.html'}" in done.stdout
    (arm,) = load(summary)["arms"].values()
    shifts = {finding["subject"]: finding for finding in arm["findings"] if finding["kind"] == "group_shift"}
    assert shifts["kedzierski_2019, not in training"]["cause"] == "input_mismatch"
    assert "Turned upside down" in shifts["kedzierski_2019, not in training"]["why"]


def test_an_arm_that_a_case_does_not_have_is_named(tmp_path: Path) -> None:
    packages()
    with pytest.raises(InputError) as raised:
        demo("scene", out=tmp_path / "out", arm="turned")
    assert str(raised.value) == "demo: scene has no such arm; given --arm turned. Choose from both, raw, standardised."
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"epochs": 0}, "demo: nothing to train; given --epochs 0. Pass 1 or more; 6 show the failure."),
        ({"seed": -1}, "demo: not a seed; given --seed -1. Pass an integer from 0 to 4294967295."),
    ],
)
def test_values_that_cannot_be_used_are_named(given: dict[str, int], message: str, tmp_path: Path) -> None:
    packages()
    with pytest.raises(InputError) as raised:
        demo(out=tmp_path / "out", **given)  # type: ignore[arg-type]
    assert str(raised.value) == message
    assert not (tmp_path / "out").exists()


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    packages()
    (tmp_path / "file").touch()
    assert main(["demo", "--logger", "csv", "--out", str(tmp_path / "file" / "out")]) == 2
    assert capsys.readouterr().err == (
        "lightning-failures: error: demo: the folder cannot be made; "
        f"given --out {tmp_path / 'file' / 'out'}: Not a directory. Name another.\n"
    )


def test_packages_that_are_missing_are_named_before_anything_is_done(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lightning_failures.commands.demo.find_spec", lambda name: None)
    with pytest.raises(MissingPackageError) as raised:
        demo(out=tmp_path / "out", logger="csv")
    assert str(raised.value) == (
        "demo: packages are missing; given no timm, tensorly, jinja2, matplotlib. "
        "Run pip install timm tensorly jinja2 matplotlib."
    )
    assert not (tmp_path / "out").exists()
