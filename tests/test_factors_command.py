import csv
import json
import re
from importlib.util import find_spec
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
import torch

from lightning_failures.commands.factors import factors
from lightning_failures.data import FACTORS
from lightning_failures.errors import UnknownNameError
from lightning_failures.functional import count_factor_errors, factor_p_value, holm
from tests.published import DATA, joined, published
from tests.studies import HEADER, make_study, write

pytest.importorskip("pandas")


@pytest.fixture
def study(tmp_path: Path) -> dict[str, Path]:
    return make_study(tmp_path)


def test_two_models_are_measured_compared_printed_and_drawn(
    study: dict[str, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("matplotlib")
    from PIL import Image

    code = factors(
        [study["weak"], study["strong"]],
        annotations=str(study["annotations"]),
        reference="strong",
        json=study["json"],
        plot=study["plot"],
    )
    assert code == 0
    summary = json.loads(study["json"].read_text())
    assert summary.keys() == {"models", "paired"}
    assert list(summary["models"]) == ["weak", "strong"]
    weak = summary["models"]["weak"]
    assert weak.keys() == {
        *("images", "error", "factors", "worst", "calibration", "together", "added_error", "trends", "classes")
    }
    assert list(weak["factors"]) == ["dark", "scanner=A", "scanner=B"]
    assert list(weak["factors"]["dark"]) == [
        *("error_ratio", "low", "high", "p_value", "images", "errors", "standardised", "mantel_haenszel")
    ]
    assert weak["images"] == 300
    assert weak["worst"]["factor"] == weak["worst"]["shrunk_factor"] == "dark"
    assert weak["worst"]["error_ratio"] == weak["factors"]["dark"]["error_ratio"] > 1.5
    assert weak["factors"]["dark"]["p_value"] < 0.001
    assert set(weak["calibration"]["calibration_error"]) == {"all", "dark", "scanner=A", "scanner=B"}
    assert list(summary["paired"]) == ["weak"]
    assert list(summary["paired"]["weak"]["dark"]) == ["ratio", "low", "high", "mcnemar_p"]
    ratios = [summary["models"][model]["factors"]["dark"]["error_ratio"] for model in ("weak", "strong")]
    assert summary["paired"]["weak"]["dark"]["ratio"] == pytest.approx(ratios[0] / ratios[1])
    with Image.open(BytesIO(study["plot"].read_bytes())) as picture:
        assert picture.format == "PNG"
        assert min(picture.size) > 600
    printed = capsys.readouterr().out
    assert re.search(r"dark +\d+ +\d\.\d\d\* +\d\.\d\d-\d\.\d\d +\d\.\d\d", printed)
    assert "weak: hardest is dark, " in printed
    assert "Predictions of images without annotations, left out: strong 1." in printed
    assert "weak against strong: " in printed


def test_what_is_hard_beside_single_factors_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Errors only where it is dark and blurred at once, and in small images; all of them in class 3."""
    images, predictions = [], []
    for row in range(240):
        dark, blurred, size = row % 2, row // 2 % 2, row % 60
        wrong = (dark and blurred and row % 3 > 0) or size < 10
        label = 3 if wrong else row % 3
        images.append([f"{row}.png", label, dark, blurred, size])
        predictions.append([f"{row}.png", (label + wrong) % 4, 0.9])
    annotations = write(tmp_path / "own.csv", ["file_name", "class", "dark", "blurred", "size"], images)
    model = write(tmp_path / "net.csv", HEADER, predictions)
    factors([model], annotations=str(annotations), edges=["size=10,30"], json=tmp_path / "net.json")
    net = json.loads((tmp_path / "net.json").read_text())["models"]["net"]
    assert list(net["factors"]) == ["dark", "blurred", "size<10", "10<=size<30", "size>=30"]
    both = [row for row in range(240) if row % 2 and row // 2 % 2]
    wrong = [row for row in both if row % 3 > 0 or row % 60 < 10]
    assert net["together"]["dark&blurred"]["images"] == len(both) == 60
    assert net["together"]["dark&blurred"]["errors"] == len(wrong)
    assert net["together"]["size<10&size>=30"]["error_ratio"] is None
    assert net["trends"]["size"]["trend"] < 0
    assert net["trends"]["size"]["p_value"] < 0.001
    (hardest, *_) = net["classes"]
    assert (hardest["class"], hardest["errors"], hardest["error"]) == (3, hardest["images"], 1.0)
    assert net["added_error"]["dark"] > 0
    printed = " ".join(capsys.readouterr().out.split())
    assert "net: errors fall with size (p < 0.001, AUC 0." in printed
    assert f"net: hardest classes: 3 ({hardest['errors']} of {hardest['images']} wrong)" in printed
    assert "net: hardest together are dark and blurred, " in printed
    assert "on 60 images (" in printed


def test_two_factors_are_not_told_of_where_chance_explains_them(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    images = [[f"{row}.png", 0, row % 2, row // 2 % 2] for row in range(60)]
    predictions = [[f"{row}.png", int(row % 7 == 0), 0.9] for row in range(60)]
    annotations = write(tmp_path / "own.csv", ["file_name", "class", "dark", "blurred"], images)
    factors([write(tmp_path / "net.csv", HEADER, predictions)], annotations=str(annotations))
    printed = capsys.readouterr().out
    assert "hardest together" not in printed
    assert "net: hardest classes: 0 (9 of 60 wrong)" in printed


def test_one_model_is_printed_with_all_its_figures(study: dict[str, Path], capsys: pytest.CaptureFixture[str]) -> None:
    factors([study["weak"]], annotations=str(study["annotations"]), json=study["json"])
    printed = capsys.readouterr().out
    weak = json.loads(study["json"].read_text())["models"]["weak"]
    dark = weak["factors"]["dark"]
    assert f"weak: {100 * weak['error']:.1f}% of 300 images misclassified" in printed
    cells = [
        str(dark["images"]),
        str(dark["errors"]),
        f"{dark['error_ratio']:.2f}*",
        f"{dark['low']:.2f}-{dark['high']:.2f}",
        "<0.001",
        f"{dark['standardised']:.2f}",
        f"{weak['calibration']['calibration_error']['dark']:.2f}",
    ]
    assert ["dark", *cells] in [line.split() for line in printed.splitlines()]
    assert max(map(len, printed.splitlines())) <= 80
    assert json.loads(study["json"].read_text())["paired"] == {}


@published
def test_every_published_figure_stands_in_the_summary(tmp_path: Path) -> None:
    folder, out = DATA / "model_predictions", tmp_path / "summary.json"
    factors([folder / "ResNet50.csv.gz", folder / "DINO.csv.gz"], reference="ResNet50", json=out)
    summary = json.loads(out.read_text())
    resnet, dino = (summary["models"][model] for model in ("ResNet50", "DINO"))
    ratios = {
        "ResNet50": "0.694739 1.1417 0.771442 1.18883 1.49743 1.74423 1.13236 2.10548 2.39386 1.31592 1.71502 1.92327 "
        "2.17128 1.92798 1.16639 1.97389",
        "DINO": "0.726197 1.06799 0.927478 1.1779 1.54369 1.64228 1.12906 1.95486 2.15032 1.24805 1.46777 1.93051 "
        "2.03486 1.70361 0.924938 1.4244",
    }
    for model, known in ratios.items():
        by_factor = summary["models"][model]["factors"]
        assert " ".join(f"{by_factor[name]['error_ratio']:.6g}" for name in FACTORS) == known
    assert (resnet["images"], dino["images"]) == (46110, 46110)
    assert (resnet["error"], dino["error"]) == (11680 / 46110, 11330 / 46110)
    texture = resnet["factors"]["texture"]
    assert f"{texture['low']:.4f}-{texture['high']:.4f}" == "2.1651-2.6122"
    assert f"{texture['standardised']:.4f} {texture['mantel_haenszel']:.4f}" == "1.6883 1.7976"
    data = joined("ResNet50")
    counts = count_factor_errors(data.preds != data.classes, data.factors)
    assert texture["p_value"] == float(holm(factor_p_value(counts))[FACTORS.index("texture")])
    assert resnet["worst"] == {
        "factor": "texture",
        "error_ratio": texture["error_ratio"],
        "shrunk_factor": "texture",
        "shrunk_error_ratio": pytest.approx(2.372, abs=1e-3),
    }
    assert summary["paired"]["DINO"]["texture"]["ratio"] == pytest.approx(2.15032 / 2.39386, abs=1e-5)


@published
@pytest.mark.parametrize(
    ("options", "images", "known"),
    [
        ({"which": "multi"}, 46110, {"pose": 0.936231, "subcategory": 2.542393, "texture": 2.241114}),
        ({"prototypes": True}, 48868, {"pose": 0.689772, "texture": 2.501565}),
    ],
    ids=["multi", "prototypes"],
)
def test_published_figures_of_other_choices_come_out(
    tmp_path: Path, options: dict[str, Any], images: int, known: dict[str, float]
) -> None:
    factors([DATA / "model_predictions" / "ResNet50.csv.gz"], json=tmp_path / "summary.json", **options)
    summary = json.loads((tmp_path / "summary.json").read_text())["models"]["ResNet50"]
    assert summary["images"] == images
    for name, ratio in known.items():
        assert summary["factors"][name]["error_ratio"] == pytest.approx(ratio, abs=5e-7)


@published
def test_metaclass_and_real_errors_are_those_of_imagenet_x_written_out(tmp_path: Path) -> None:
    import pandas as pd

    spec = find_spec("imagenet_x")
    assert spec is not None
    assert spec.submodule_search_locations is not None
    folder = Path(next(iter(spec.submodule_search_locations))) / "annotations"
    data = joined("ResNet50")
    groups = pd.read_csv(folder / "imagenet_1k_classes_to_100_metaclasses.csv")["name"]
    named = (
        "device dog commodity bird structure covering wheeled_vehicle food equipment insect vehicle furniture primate"
    )
    groups = groups.where(groups.isin([*named.split(), "vessel", "snake", "natural_object"]), "other")
    accepted = json.loads((folder / "imagenet_real_labels.jsonl").read_text())
    labels = [accepted[int(name[15:23]) - 1] for name in data.ids]
    rows = list(zip(data.preds.tolist(), data.classes.tolist(), labels, strict=True))
    wrong = {
        "metaclass": torch.tensor([groups[pred] != groups[label] for pred, label, _ in rows]),
        "real_class": torch.tensor([pred not in real for pred, _, real in rows]),
    }
    has_label = torch.tensor([bool(real) for _, _, real in rows])
    for error in ("metaclass", "real_class", "real"):
        out = tmp_path / f"{error}.json"
        factors([DATA / "model_predictions" / "ResNet50.csv.gz"], error=error, json=out)  # type: ignore[arg-type]
        summary = json.loads(out.read_text())["models"]["ResNet50"]
        kept = has_label if error == "real" else torch.ones_like(has_label)
        expected = count_factor_errors(wrong["real_class" if error == "real" else error][kept], data.factors[kept])
        assert summary["images"] == expected.all_seen
        assert summary["error"] == float(expected.all_wrong) / float(expected.all_seen)
        assert [summary["factors"][name]["errors"] for name in FACTORS] == expected.wrong.tolist()


@published
def test_published_profiles_place_a_model_at_equal_accuracy(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "summary.json"
    factors(
        [DATA / "model_predictions" / "ResNet50.csv.gz"],
        profiles=DATA / "testbed_accuracies_per_factor.csv",
        json=out,
    )
    by_factor = json.loads(out.read_text())["models"]["ResNet50"]["factors"]
    assert all(abs(by_factor[name]["matched_residual"]) < 3 for name in FACTORS)  # a usual network is no outlier
    assert re.search(rf"style .* {by_factor['style']['matched_residual']:+.1f}\n", capsys.readouterr().out)
    lacking = write(tmp_path / "profiles.csv", ["model", "average", "pose"], [["a", 0.5, 0.5]])
    with pytest.raises(UnknownNameError, match=r"lacks columns; given .* without background, pattern"):
        factors([DATA / "model_predictions" / "ResNet50.csv.gz"], profiles=lacking)


def test_a_probability_that_is_left_out_is_left_out_of_the_calibration(study: dict[str, Path], tmp_path: Path) -> None:
    with study["weak"].open(newline="") as file:
        rows = [[name, label, ""] for name, label, _ in list(csv.reader(file))[1:]]
    path = write(tmp_path / "gaps.csv", HEADER, rows)
    factors([path], annotations=str(study["annotations"]), json=study["json"])
    summary = json.loads(study["json"].read_text())["models"]["gaps"]
    assert summary["images"] == 300
    assert summary["calibration"]["calibration_error"]["all"] is None


@pytest.mark.parametrize("suffix", [".svg", ".pdf"])
def test_figures_are_written_as_vectors_too(study: dict[str, Path], tmp_path: Path, suffix: str) -> None:
    pytest.importorskip("matplotlib")
    plot = tmp_path / f"plot{suffix}"
    factors([study["weak"]], annotations=str(study["annotations"]), plot=plot)
    assert plot.read_bytes()[:5] == {".svg": b"<?xml", ".pdf": b"%PDF-"}[suffix]


def test_bars_start_at_one_and_are_pale_where_chance_may_explain_them() -> None:
    pytest.importorskip("matplotlib")
    from lightning_failures.commands.model_figures import compare_figure

    values = {
        f"{key}/{name}": value
        for name, figures in {
            "dark": (2.0, 1.5, 2.6, 1e-4, 120),
            "wet": (0.5, 0.2, 1.2, 0.3, 20),
            "never": (torch.nan, torch.nan, torch.nan, torch.nan, 0),
        }.items()
        for key, value in zip(("error_ratio", "low", "high", "p_value", "images"), figures, strict=True)
    }
    axes = compare_figure({"net": values}, ["dark", "wet", "never"]).axes[0]
    bars = [bar for container in axes.containers for bar in container.patches]  # type: ignore[attr-defined]
    assert [(round(bar.get_y() + bar.get_height(), 3), bar.get_y()) for bar in bars] == [(0.5, 1), (2.0, 1)]
    assert [bar.get_alpha() < 1 for bar in bars] == [True, False]
    assert [label.get_text() for label in axes.get_xticklabels()] == ["never", "wet", "dark"]
