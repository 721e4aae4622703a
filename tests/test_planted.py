"""The planted scenes: every cue shows what it is said to show, and nothing else."""

import importlib
import importlib.util
import json
from pathlib import Path
from typing import get_args

import pytest
import torch
from torch import Tensor

from lightning_failures import planted_scene
from lightning_failures.data import PlantedCase, PlantedImages
from lightning_failures.errors import InputError, UnknownNameError
from lightning_failures.functional import class_moments, linear_discriminant


@pytest.fixture(scope="module")
def scenes() -> dict[str, PlantedImages]:
    return {case: planted_scene(case, seed=1, images=400, validation=1).train for case in get_args(PlantedCase)}


def reachable(features: Tensor, labels: Tensor) -> float:
    """Accuracy of a linear model on every other image."""
    reference = linear_discriminant(class_moments(features[::2], labels[::2], 4))
    return float(reference.predict(features[1::2]).eq(labels[1::2]).double().mean())


def band(images: Tensor, wavenumber: float) -> Tensor:
    """Height of a band above its neighbours, by pixel."""
    place = int((torch.linspace(900, 1800, 64) - wavenumber).abs().argmin())
    return images[:, place] - (images[:, place - 3] + images[:, place + 3]) / 2


def apart(part: PlantedImages) -> Tensor:
    """The class that the blobs show, read from how the maps of their bands agree."""
    bits = []
    for one, other in ((1080, 1240), (1030, 1740)):
        a, b = (band(part.images, wavenumber).flatten(1) for wavenumber in (one, other))
        a, b = a - a.mean(1, keepdim=True), b - b.mean(1, keepdim=True)
        bits.append(((a * b).sum(1) / (a.norm(dim=1) * b.norm(dim=1)) < 0.3).long())
    return 2 * bits[0] + bits[1]


def test_the_thickness_shows_the_class_where_it_should(scenes: dict[str, PlantedImages]) -> None:
    for case, part in scenes.items():
        agree = part.thickness_labels.eq(part.labels).double().mean()
        expected = {"complex": 0.25, "partial": 0.925}.get(case, 1.0)
        assert float(agree) == pytest.approx(expected, abs=0.07 if expected < 1 else 0)
        residual = part.thickness - 1 - 0.25 * part.thickness_labels
        assert float(residual.std()) == pytest.approx(0.04, abs=0.005)


def test_the_blobs_show_the_class_where_they_should(scenes: dict[str, PlantedImages]) -> None:
    for case, part in scenes.items():
        assert apart(part).eq(part.blob_labels).double().mean() > 0.9
        agree = part.blob_labels.eq(part.labels).double().mean()
        assert float(agree) == pytest.approx(0.25 if case == "simple" else 1, abs=0.07 if case == "simple" else 0)


@pytest.mark.parametrize(
    ("case", "low", "high"),
    [
        ("complex", 0.15, 0.35),
        ("simple", 0.98, 1),
        ("both", 0.98, 1),
        ("partial", 0.85, 0.99),
        ("normalised", 0.15, 0.4),
    ],
)
def test_the_mean_spectrum_reaches_what_the_case_says(
    scenes: dict[str, PlantedImages], case: str, low: float, high: float
) -> None:
    part = scenes[case]
    assert low <= reachable(part.images.mean((2, 3)), part.labels) <= high


def test_the_total_absorbance_is_the_thickness_until_it_is_divided_out(scenes: dict[str, PlantedImages]) -> None:
    for case, part in scenes.items():
        correlation = torch.corrcoef(torch.stack([part.thickness, part.total_absorbance]))[0, 1]
        assert correlation > 0.99
        now = part.images.mean((2, 3)).sum(1)
        if case in ("normalised", "control"):
            torch.testing.assert_close(part.images.mean(1), torch.ones_like(part.images[:, 0]))
        else:
            torch.testing.assert_close(now, part.total_absorbance)


def test_the_control_still_gives_the_thickness_away_after_normalisation(scenes: dict[str, PlantedImages]) -> None:
    control, normalised = (scenes[case].images.mean((2, 3)) for case in ("control", "normalised"))
    assert reachable(control, scenes["control"].labels) > reachable(normalised, scenes["normalised"].labels) + 0.2


def test_blobs_wrap_around_so_that_their_amount_says_nothing(scenes: dict[str, PlantedImages]) -> None:
    part = scenes["complex"]
    for wavenumber in (1080, 1240, 1030, 1740):
        amount = band(part.images, wavenumber).mean((1, 2)) / part.thickness
        by_class = torch.stack([amount[part.labels == label].mean() for label in range(4)])
        assert by_class.std() < 0.02 * amount.mean().abs()
        assert amount.std() < 0.2 * amount.mean().abs()


def test_the_same_seed_gives_the_same_images_and_leaves_the_random_state() -> None:
    before = torch.random.get_rng_state()
    one, other, third = (planted_scene("partial", seed, images=9, validation=5, size=8) for seed in (3, 3, 4))
    assert torch.random.get_rng_state().equal(before)
    assert one.train.images.equal(other.train.images)
    assert one.validation.labels.equal(other.validation.labels)
    assert not one.train.images.equal(third.train.images)
    assert not one.train.images[:5].equal(one.validation.images)


def test_other_sizes_are_drawn() -> None:
    scene = planted_scene("both", images=3, validation=2, channels=16, size=10)
    assert scene.train.images.shape == (3, 16, 10, 10)
    assert scene.wavenumbers.shape == (16,)
    assert (len(scene.train), len(scene.validation), scene.classes) == (3, 2, 4)


def test_each_case_says_what_a_diagnosis_should_find() -> None:
    reliance = {case: planted_scene(case, images=1, validation=1, size=8).reliance for case in get_args(PlantedCase)}
    assert reliance == {
        "complex": False,
        "simple": True,
        "both": True,
        "partial": True,
        "normalised": False,
        "control": None,
    }


def test_its_data_module_gives_both_parts_in_batches() -> None:
    scene = planted_scene("both", images=10, validation=7, size=8)
    module = scene.data_module(batch_size=4)
    images, labels = next(iter(module.val_dataloader()))
    assert images.equal(scene.validation.images[:4])
    assert labels.equal(scene.validation.labels[:4])
    seen = torch.cat([labels for _, labels in module.train_dataloader()])
    assert seen.sort().values.equal(scene.train.labels.sort().values)
    image, label = scene.train[3]
    assert image.equal(scene.train.images[3])
    assert label == scene.train.labels[3]


def test_unknown_cases_and_impossible_sizes_are_refused() -> None:
    with pytest.raises(UnknownNameError) as error:
        planted_scene("neither")  # type: ignore[arg-type]
    assert str(error.value) == (
        "planted_scene: no such case; given 'neither'. Pass one of complex, simple, both, partial, normalised, control."
    )
    with pytest.raises(InputError) as error:
        planted_scene("both", images=0)
    assert str(error.value) == (
        "planted_scene: sizes cannot be used; given images=0, validation=512, channels=64, size=24. "
        "Pass 1 image or more of each, 8 channels and 8 pixels or more."
    )


@pytest.mark.slow
def test_the_benchmark_names_what_a_model_leans_on(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    path = Path(__file__).resolve().parents[1] / "benchmarks" / "planted.py"
    spec = importlib.util.spec_from_file_location("planted_benchmark", path)
    assert spec is not None
    assert spec.loader is not None
    benchmark = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(benchmark)
    written = tmp_path / "planted.json"
    benchmark.main(["--cases", "simple", "--epochs", "3", "--images", "768", "--json", str(written)])
    (run,) = json.loads(written.read_text())
    assert run["accuracy"] > 0.7
    assert run["truth"] > 0.9
    assert run["image_own/1"] > 0.9
    assert run["lowest_rung"] == "total_absorbance"
    assert capsys.readouterr().out.splitlines()[1].startswith("simple     cnn")


def test_the_table_of_findings_counts_detections_and_false_alarms_and_goes_on_where_it_stood(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = Path(__file__).resolve().parents[1] / "benchmarks"
    monkeypatch.syspath_prepend(str(folder))
    benchmark = importlib.import_module("planted_findings")
    finding = {"kind": "simple_cue_reliance", "subject": "total_absorbance", "epoch": 4, "cleared": None}
    course = {name: [1.0, None] for name in benchmark.COURSE}
    last = {"failures/simplicity/reach/total_absorbance": 0.93, "failures/simplicity/chance": 0.26}
    runs = [
        {"case": case, "architecture": "cnn", "seed": seed, "findings": found, "course": course, "last": last}
        for seed in (0, 1)
        for case, found in (("complex", []), ("simple", [finding] * (1 - seed)), ("normalised", [finding] * seed))
    ]
    (tmp_path / "runs.jsonl").write_text("".join(json.dumps(run) + "\n" for run in runs))
    benchmark.main(
        ["--out", str(tmp_path), "--seeds", "0", "1", "--architectures", "cnn", "--cases", "complex", "simple"]
    )
    rows = [line.split("  ") for line in capsys.readouterr().out.splitlines()]
    cells = {row[0].strip(): [cell.strip() for cell in row if cell.strip()] for row in rows}
    assert cells["complex"][3:5] == ["none", "2 of 2"]
    assert cells["simple"][3:5] == ["total absorbance", "1 of 2"]
    assert cells["normalised"][3:5] == ["none", "1 of 2"]
    assert cells["simple"][-1] == "simple_cue_reliance total_absorbance: 4"
