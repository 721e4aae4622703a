"""``lightning-failures audit``: where data come from, what it says, what it writes, what it refuses."""

import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from rich.console import Console
from torch.utils.data import Subset

from lightning_failures import audit_data
from lightning_failures.audit import (
    DataAudit,
    audit_figure,
    audit_panels,
    compare,
    facts,
    print_audits,
    rows,
    write_audit,
)
from lightning_failures.cli import main
from lightning_failures.commands.audit_sources import read_source
from lightning_failures.data.indian_pines import IndianPines, load_indian_pines
from lightning_failures.errors import FailuresError
from tests.browser import CHROMIUM, browser


def arrays(n: int = 300, channels: int = 5, offset: float = 0.0) -> dict[str, np.ndarray]:
    generator = np.random.default_rng(0)
    labels = generator.integers(3, size=n)
    images = generator.normal(size=(n, channels, 4, 4)) + np.eye(3, channels)[labels, :, None, None] + offset
    return {"images": images.astype(np.float32), "labels": labels}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    np.savez(tmp_path / "tissue.npz", **arrays(), wavelengths=np.arange(5) + 900)
    return tmp_path / "tissue.npz"


def one(name: str = "data", steps: int = 3, offset: float = 0.0, channels: int = 5) -> DataAudit:
    held = arrays(offset=offset, channels=channels)
    images, labels = torch.from_numpy(held["images"]), torch.from_numpy(held["labels"])
    return audit_data([(images, labels)], steps=steps, name=name)


def text(audits: list[DataAudit], width: int = 80) -> str:
    console = Console(width=width, record=True, file=open("/dev/null", "w"))  # noqa: SIM115
    with console.file:
        print_audits(console, audits)
        return console.export_text()


def error(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert main(["audit", *arguments]) == 2
    return capsys.readouterr().err.removeprefix("lightning-failures: error: ").strip()


def test_arrays_are_audited_raw_and_standardised_side_by_side(
    file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    summary = tmp_path / "deep" / "audit.json"
    arguments = [str(file), "--preprocessing", "raw", "standardised", "--unit", "nm", "--steps", "2"]
    assert main(["audit", *arguments, "--json", str(summary), "--out", str(tmp_path / "out")]) == 0
    shown = capsys.readouterr().out
    assert "tissue" in shown
    assert "standardised" in shown
    found = json.loads(summary.read_text())
    names = [audit["name"] for audit in found["audits"]]
    assert names == ["tissue", "tissue standardised"]
    raw, standard = found["audits"]
    assert raw["rungs"]["mean_spectrum"] == pytest.approx(standard["rungs"]["mean_spectrum"])  # a linear model's own
    assert raw["best_channel"] in ("900 nm", "901 nm", "902 nm")
    assert found["comparison"]
    page = (tmp_path / "out" / "audit.html").read_text()
    assert "tissue standardised" in page
    assert "<svg" in page
    assert "http" not in page.replace("http://www.w3.org", "")  # nothing from elsewhere
    assert (tmp_path / "out" / "audit.png").read_bytes().startswith(b"\x89PNG")


def test_standardised_data_have_mean_0_and_deviation_1(file: Path) -> None:
    source = read_source("audit", str(file), "standardised", 0)
    assert source.inputs is not None
    images = torch.cat([source.inputs(batch) for batch in source.train])
    torch.testing.assert_close(images.mean((0, 2, 3)), torch.zeros(5), atol=1e-5, rtol=0)
    torch.testing.assert_close(images.std((0, 2, 3), correction=0), torch.ones(5), atol=1e-5, rtol=0)


def test_validation_arrays_and_grey_images_are_taken(tmp_path: Path) -> None:
    held = arrays(80)
    train = arrays()
    np.savez(
        tmp_path / "grey.npz",
        images=(train["images"][:, 0] * 20 + 100).astype(np.uint8),
        labels=train["labels"],
        validation_images=(held["images"][:, 0] * 20 + 100).astype(np.uint8),
        validation_labels=held["labels"],
    )
    summary = tmp_path / "audit.json"
    assert main(["audit", str(tmp_path / "grey.npz"), "--steps", "0", "--json", str(summary)]) == 0
    (found,) = json.loads(summary.read_text())["audits"]
    assert (found["train"], found["held"], found["shape"]) == (300, 80, [1, 4, 4])


def test_a_function_that_gives_loaders_is_called(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "my_tissue.py").write_text(
        "import torch\nfrom torch.utils.data import DataLoader, TensorDataset\n"
        "def loader():\n"
        "    y = torch.arange(200) % 2\n"
        "    return DataLoader(TensorDataset(torch.rand(200, 4) + y[:, None], y), 50)\n"
        "def both():\n    return loader(), loader()\n"
        "def nothing():\n    return 3\n"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    assert main(["audit", "my_tissue:loader", "my_tissue:both", "my_tissue:loader", "--steps", "0"]) == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert "loader 1:" in shown
    assert "loader 2:" in shown
    assert "both: 200 training and 200 held-out images of 4 channels, 2 classes" in shown
    assert error(capsys, "my_tissue:nothing") == (
        "audit: my_tissue:nothing gave no loader; given int. "
        "Return a DataLoader, or a pair of them for training and validation."
    )
    assert error(capsys, "my_tissue:absent").startswith("audit: no such function; given my_tissue:absent: module ")


def test_what_cannot_be_read_is_told_in_one_line(
    file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert error(capsys, "imagenet") == (
        "audit: no such data; given imagenet. Name indian-pines, planted-CASE, a file of arrays .npz, "
        "or module:function that gives a DataLoader."
    )
    assert error(capsys, "planted-nothing") == (
        "audit: no such case; given nothing. Choose among complex, simple, both, partial, normalised, control."
    )
    absent = tmp_path / "none.npz"
    assert error(capsys, str(absent)) == (
        f"audit: the file cannot be read; given {absent}: No such file or directory. "
        "Write numpy.savez(file, images=..., labels=...)."
    )
    np.savez(tmp_path / "odd.npz", picture=np.ones(3))
    assert error(capsys, str(tmp_path / "odd.npz")).startswith("audit: arrays are missing: images, labels; given ")
    np.savez(tmp_path / "words.npz", images=np.ones((3, 2, 2, 2)), labels=np.array(["a", "b", "c"]))
    assert error(capsys, str(tmp_path / "words.npz")) == (
        f"audit: images and labels cannot be used; given {tmp_path / 'words.npz'}: images (3, 2, 2, 2) float64, "
        "labels (3,) <U1. Write numbers (n b h w) and whole numbers (n)."
    )
    (tmp_path / "places.txt").write_text("900, 910 many")
    assert error(capsys, str(file), "--wavelengths", str(tmp_path / "places.txt")).startswith(
        f"audit: the wavelengths cannot be read; given {tmp_path / 'places.txt'}: could not convert"
    )
    assert error(capsys, str(file), "--steps", "-1") == (
        "audit: steps or seed is out of range; given --steps -1 --seed 0. Pass 0 or more of each."
    )
    assert error(capsys, str(file), "--steps", "0", "--json", str(tmp_path)).startswith(
        "audit: a file cannot be written"
    )
    (tmp_path / "file").write_text("")
    assert error(capsys, str(file), "--out", str(tmp_path / "file")).startswith("audit: the folder cannot be made")


def test_the_channels_may_stand_on_another_axis(tmp_path: Path) -> None:
    held = arrays()
    np.savez(tmp_path / "first.npz", **held)
    np.savez(tmp_path / "last.npz", images=np.moveaxis(held["images"], 1, -1), labels=held["labels"])
    written = []
    for name, more in (("first", []), ("last", ["--channel-axis", "3"])):
        path = tmp_path / f"{name}.json"
        names = ["--preprocessing", "raw", "standardised", "--steps", "0", "--json", str(path), *more]
        assert main(["audit", str(tmp_path / f"{name}.npz"), *names]) == 0
        written.append(json.loads(path.read_text())["audits"])
    for own, other in zip(*written, strict=True):
        assert own["shape"] == other["shape"] == [5, 4, 4]
        assert own["rungs"] == other["rungs"]


def test_spectra_with_an_axis_of_one_in_a_file_are_no_grey_images(tmp_path: Path) -> None:
    held = arrays()
    np.savez(tmp_path / "spectra.npz", images=held["images"][:, None, :, 0, 0], labels=held["labels"])
    assert main(["audit", str(tmp_path / "spectra.npz"), "--steps", "0", "--json", str(tmp_path / "a.json")]) == 0
    (audit,) = json.loads((tmp_path / "a.json").read_text())["audits"]
    assert audit["shape"] == [5]


def test_a_function_that_gives_a_list_of_two_loaders_gives_training_and_validation(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "pair_of_mine.py").write_text(
        "import torch\nfrom torch.utils.data import DataLoader, TensorDataset\n"
        "def give():\n"
        "    return [DataLoader(TensorDataset(torch.ones(n, 2), torch.ones(n)), 8) for n in (30, 20)]\n"
    )
    monkeypatch.chdir(tmp_path)
    source = read_source("audit", "pair_of_mine:give", "raw", 0)
    assert (len(source.train.dataset), len(source.validation.dataset)) == (30, 20)  # type: ignore[attr-defined, union-attr]


def test_wavelengths_may_stand_in_a_file(file: Path, tmp_path: Path) -> None:
    (tmp_path / "places.txt").write_text("1\n2\n3\n4\n5\n")
    summary = tmp_path / "audit.json"
    arguments = [str(file), "--wavelengths", str(tmp_path / "places.txt"), "--unit", "um", "--steps", "0"]
    assert main(["audit", *arguments, "--json", str(summary)]) == 0
    assert json.loads(summary.read_text())["audits"][0]["best_channel"].endswith(" um")


def test_the_table_fits_a_terminal_and_says_what_each_figure_is() -> None:
    audits = [one("raw"), one("offset", offset=9.0)]
    for width in (60, 80, 140):
        lines = text(audits, width).splitlines()
        assert max(map(len, lines)) <= width
    shown = " ".join(text(audits).split())
    assert "linear in the mean spectrum" in shown
    assert "chance: the largest class" in shown
    assert "No risk was found." in text([one("raw", steps=0)])
    assert "Different between raw and offset: mean over deviation (" in shown
    risky = text([one("offset", steps=0, offset=9.0)])
    assert "moderate Offset inputs" in " ".join(risky.split())
    assert "Try: Standardise each channel" in " ".join(risky.split())


def test_the_same_words_stand_in_the_table_and_in_the_comparison() -> None:
    audits = [one("a"), one("b")]
    found = [name for section in rows(audits).values() for name, _ in section]
    assert found[0] == "mean over deviation"
    assert len(found) == len(set(found))
    (line,) = compare(audits)  # the same data twice
    assert line.startswith("Alike, within their intervals: mean over deviation (")
    assert facts(audits[0])[-1].startswith("Of the 0.")


def test_two_modalities_of_unlike_channels_stand_side_by_side() -> None:
    audits = [one("infrared", steps=0), one("rgb", steps=0, channels=3)]
    table = dict(rows(audits)["Simple models, in closed form"])
    assert table["linear in the mean spectrum"] == [audits[0].rungs["mean_spectrum"], audits[1].rungs["mean_color"]]
    assert table["grey level"] == [None, audits[1].rungs["grey_level"]]
    assert "linear in the mean colour" not in table
    assert "linear in the mean colour" in dict(rows(audits[1:])["Simple models, in closed form"])
    assert "infrared" in text(audits)


@pytest.mark.parametrize("channels", [1, 3, 5])
def test_the_figure_has_three_panels_an_audit(channels: int) -> None:
    pytest.importorskip("matplotlib")
    figure = audit_figure([one("first", channels=channels), one("second", steps=0, channels=channels)])
    assert len(figure.axes) == 6
    reached = figure.axes[2]
    assert len(reached.get_yticklabels()) == len(one(channels=channels).rungs) + len(one(channels=channels).trials)


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium")
def test_letters_of_the_figures_have_eight_pixels_on_a_phone(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    audits = [one("first", channels=40), one("second", channels=3)]
    page = write_audit(tmp_path, audits)
    fonts = [
        text.get_fontsize() for audit in audits for figure in audit_panels(audit).values() for text in texts(figure)
    ]
    (tmp_path / "profile").mkdir()
    with browser(tmp_path / "profile") as opened:
        opened.open(page, width=360)
        scale = "each.getBoundingClientRect().width / each.viewBox.baseVal.width"
        scales = opened.run(f"[...document.querySelectorAll('.panels svg')].map(each => {scale})")
        assert opened.run("document.documentElement.scrollWidth") <= 360
    assert len(scales) == 3 * len(audits)
    assert min(scales) * min(fonts) >= 8  # a unit of the drawing is a point


def texts(figure: Any) -> list[Any]:
    from matplotlib.text import Text

    return [text for text in figure.findobj(Text) if text.get_text().strip()]


def test_standardising_is_refused_where_no_images_are_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "bare_tissue.py").write_text("def loader():\n    return ['word']\ndef none():\n    return []\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    with pytest.raises(FailuresError, match=r"audit: no images were found; given str\."):
        read_source("audit", "bare_tissue:loader", "standardised", 0)
    with pytest.raises(FailuresError, match=r"audit: there is no data; given a loader without batches\."):
        read_source("audit", "bare_tissue:none", "standardised", 0)


def every_fourth_patch(*arguments: Any, **options: Any) -> IndianPines:
    scene = load_indian_pines(*arguments, **options)
    train, validation = (Subset(part, range(0, len(part), 4)) for part in (scene.train, scene.validation))
    return replace(scene, train=train, validation=validation)  # type: ignore[arg-type]


@pytest.mark.slow
def test_indian_pines_shows_before_training_what_the_demo_shows_after(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("tensorly")
    monkeypatch.setattr("lightning_failures.commands.audit_sources.load_indian_pines", every_fourth_patch)
    summary = tmp_path / "audit.json"
    arguments = ["indian-pines", "--preprocessing", "raw", "standardised", "--json", str(summary)]
    assert main(["audit", *arguments]) == 0
    raw, standard = json.loads(summary.read_text())["audits"]
    assert [risk["kind"] for risk in raw["risks"]] == ["offset_inputs"]
    assert standard["risks"] == []
    for audit in (raw, standard):  # the information, and the directions it lies in, are those of both
        assert audit["rungs"]["mean_spectrum"]["value"] == pytest.approx(0.81, abs=0.01)
        assert audit["directions"]["hold_95_percent"] <= 3
        assert audit["differences"]["linear - main directions"]["low"] > 0.2
        assert audit["figures"]["half_slowdown"]["low"] > 1000
        assert audit["trials"]["spectra_only"]["low"] > audit["trials"]["shapes_only"]["high"]
        assert audit["trials"]["spectra_only"]["value"] > audit["trials"]["shapes_only"]["value"] + 0.3
    assert raw["figures"]["offset_ratio"]["low"] > 6
    assert standard["figures"]["offset_ratio"]["high"] < 0.2
    # the network on raw radiance learns, and then fails in evaluation
    assert raw["trials"]["as_given"]["value"] < 0.6 < raw["batch_trials"]["as_given"]["value"]
    assert raw["trials"]["as_given"]["high"] < raw["batch_trials"]["as_given"]["low"]
    assert standard["trials"]["as_given"]["low"] > raw["trials"]["as_given"]["high"]
