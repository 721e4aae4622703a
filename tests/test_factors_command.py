import csv
import gzip
import json
import random
import re
from collections.abc import Callable
from importlib.util import find_spec
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
import torch

from lightning_failures.commands.factors import factors
from lightning_failures.data.imagenet_x import FACTORS
from lightning_failures.errors import FailuresError, InputError, UnknownNameError
from lightning_failures.functional.factors import count_factor_errors
from lightning_failures.functional.intervals import factor_p_value, holm
from tests.published import DATA, joined, published

pytest.importorskip("pandas")
HEADER = ["file_name", "predicted_class", "predicted_probability"]


def write(path: Path, header: list[str], rows: list[list[Any]]) -> Path:
    with gzip.open(path, "wt", newline="") if path.suffix == ".gz" else path.open("w", newline="") as file:
        csv.writer(file).writerows([header, *rows])
    return path


@pytest.fixture
def study(tmp_path: Path) -> dict[str, Path]:
    """Annotations of 300 images of 4 classes and two models: "weak" is bad in the dark, "strong" is not."""
    draw = random.Random(0)
    images = [(f"{row:03d}.png", draw.randrange(4), int(draw.random() < 0.3), draw.choice("AB")) for row in range(300)]

    def predictions(extra: float) -> list[list[Any]]:
        rows = []
        for name, label, dark, _ in images:
            wrong = draw.random() < 0.15 + extra * dark
            rows.append([name, (label + wrong) % 4, round(draw.uniform(0.5, 1), 4)])
        draw.shuffle(rows)
        return rows

    return {
        "annotations": write(
            tmp_path / "own.csv", ["file_name", "class", "dark", "scanner"], [list(image) for image in images]
        ),
        "weak": write(tmp_path / "weak.csv", HEADER, predictions(0.5)),
        "strong": write(tmp_path / "strong.csv.gz", HEADER, [*predictions(0.0), ["other.png", 1, 0.5]]),
        "json": tmp_path / "out" / "summary.json",
        "plot": tmp_path / "out" / "compare.png",
    }


def message(call: Callable[..., Any], *args: Any, **kwargs: Any) -> str:
    with pytest.raises(FailuresError) as error:
        call(*args, **kwargs)
    return str(error.value)


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
    assert weak.keys() == {"images", "error", "factors", "worst", "calibration"}
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


# bad input


def run(study: dict[str, Path], **changes: Any) -> str:
    options = {"predictions": [study["weak"]], "annotations": str(study["annotations"])} | changes
    return message(factors, **options)


def test_predictions_that_cannot_be_read_are_refused(study: dict[str, Path], tmp_path: Path) -> None:
    assert run(study, predictions=[tmp_path / "none.csv"]) == (
        f"factors: there is no such file; given {tmp_path / 'none.csv'}. Correct the path."
    )
    (tmp_path / "cut.csv.gz").write_bytes(study["strong"].read_bytes()[:200])
    assert run(study, predictions=[tmp_path / "cut.csv.gz"]).startswith("factors: the file is not a CSV table (")
    odd = write(tmp_path / "odd.csv", ["image", "predicted_class"], [["a.png", 1]])
    assert run(study, predictions=[odd]) == (
        "factors: the predictions have no column file_name, predicted_probability; "
        f"given {odd} with image, predicted_class. "
        "Write the columns file_name, predicted_class, predicted_probability."
    )


def edited(study: dict[str, Path], path: Path, edit: Callable[[list[list[str]]], object]) -> Path:
    """The weak model's file with rows that an edit changed in place."""
    with study["weak"].open(newline="") as file:
        header, *rows = csv.reader(file)
    edit(rows)
    return write(path, header, rows)


def test_duplicate_and_missing_images_are_counted(study: dict[str, Path], tmp_path: Path) -> None:
    twice = edited(study, tmp_path / "twice.csv", lambda rows: rows.extend([rows[0], rows[1], rows[0]]))
    assert re.fullmatch(
        rf"factors: images are predicted twice; given {re.escape(str(twice))}: 2 more than once: \d+\.png, \d+\.png\. "
        r"Keep one row an image\.",
        run(study, predictions=[twice]),
    )
    few = edited(study, tmp_path / "few.csv", lambda rows: rows.sort() or rows.__delitem__(slice(0, 5)))
    assert run(study, predictions=[few]) == (
        f"factors: 5 of 300 annotated images have no prediction; given {few} without 000.png, 001.png, 002.png, .... "
        "Predict them too, or leave them out of the annotations."
    )


@pytest.mark.parametrize(
    ("column", "value", "wrong"),
    [
        (1, "cat", "classes are no whole numbers; given {path}: 1 values of predicted_class, such as 'cat'"),
        (1, "1.5", "classes are no whole numbers; given {path}: 1 values of predicted_class, such as 1.5"),
        (1, "-1", "classes are out of range; given {path}: 1 values of predicted_class, such as -1"),
        (2, "7.5", "probabilities are not in 0 to 1; given {path}: 1 values, such as 7.5"),
        (2, "high", "probabilities are not in 0 to 1; given {path}: 1 values, such as 'high'"),
    ],
)
def test_values_that_are_no_predictions_are_refused(
    study: dict[str, Path], tmp_path: Path, column: int, value: str, wrong: str
) -> None:
    path = edited(study, tmp_path / "odd.csv", lambda rows: rows[3].__setitem__(column, value))
    assert run(study, predictions=[path]).startswith(f"factors: {wrong.format(path=path)}. ")


@published
def test_a_class_that_imagenet_does_not_have_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "odd.csv", HEADER, [["ILSVRC2012_val_00004487.JPEG", 1000, 0.5]])
    assert message(factors, [path]) == (
        f"factors: classes are out of range; given {path}: 1 values of predicted_class, such as 1000. "
        "Write the index of the class, 0 to 999."
    )


def test_a_probability_that_is_left_out_is_left_out_of_the_calibration(study: dict[str, Path], tmp_path: Path) -> None:
    path = edited(study, tmp_path / "gaps.csv", lambda rows: [row.__setitem__(2, "") for row in rows])
    factors([path], annotations=str(study["annotations"]), json=study["json"])
    summary = json.loads(study["json"].read_text())["models"]["gaps"]
    assert summary["images"] == 300
    assert summary["calibration"]["calibration_error"]["all"] is None


def test_annotations_that_cannot_be_used_are_refused(study: dict[str, Path], tmp_path: Path) -> None:
    bare = write(tmp_path / "bare.csv", ["file_name", "dark"], [["000.png", 1]])
    assert run(study, annotations=str(bare)) == (
        f"factors: the annotations lack columns; given {bare} without class. "
        "Write file_name, class, and a column a factor."
    )
    never = write(tmp_path / "never.csv", ["file_name", "class", "dark"], [["000.png", 1, 0]])
    fix = "Keep columns of 0 and 1, or of a few words, beside file_name and class."
    assert run(study, annotations=str(never)) == (
        f"factors: no image carries these factors; given dark in 1 rows of {never}. {fix}"
    )
    same = write(tmp_path / "same.csv", ["file_name", "class", "dark"], [["000.png", 1, 1]] * 2)
    assert run(study, annotations=str(same)) == (
        f"factors: ids stand twice; given 1 ids more than once: 000.png of {same}. {fix}"
    )
    assert run(study, annotations=str(tmp_path / "none.csv")).startswith("factors: there is no such file")


def test_error_types_of_imagenet_are_refused_for_other_data(study: dict[str, Path]) -> None:
    assert run(study, error="real") == (
        "factors: --error real is known for ImageNet alone; given annotations of your own. "
        "Use --error class, or the annotations of ImageNet-X."
    )


def test_model_names_that_clash_or_do_not_exist_are_refused(study: dict[str, Path], tmp_path: Path) -> None:
    (tmp_path / "copy").mkdir()
    copy = tmp_path / "copy" / "weak.csv"
    copy.write_bytes(study["weak"].read_bytes())
    assert run(study, predictions=[study["weak"], copy]) == (
        "factors: models have the same name; given weak. Rename the files."
    )
    assert run(study, reference="best") == (
        "factors: the reference is none of the models; given --reference best. Choose among weak."
    )


def test_a_figure_that_cannot_be_drawn_is_refused_before_anything_is_read(
    study: dict[str, Path], tmp_path: Path
) -> None:
    assert run(study, plot=tmp_path / "plot.docx") == (
        "factors: figures are not written in this format; given .docx. Name it .png, .svg, .pdf."
    )
    assert run(study, predictions=[tmp_path / f"{name}.csv" for name in "abcdefg"], plot=tmp_path / "plot.png") == (
        "factors: too many models for one figure; given 7 models. Compare 6 at a time."
    )


def test_a_file_that_cannot_be_written_is_refused(study: dict[str, Path], tmp_path: Path) -> None:
    (tmp_path / "taken").touch()
    with pytest.raises(InputError, match=r"factors: a file cannot be written; given .*taken/summary\.json: "):
        factors([study["weak"]], annotations=str(study["annotations"]), json=tmp_path / "taken" / "summary.json")


@pytest.mark.parametrize("suffix", [".svg", ".pdf"])
def test_figures_are_written_as_vectors_too(study: dict[str, Path], tmp_path: Path, suffix: str) -> None:
    pytest.importorskip("matplotlib")
    plot = tmp_path / f"plot{suffix}"
    factors([study["weak"]], annotations=str(study["annotations"]), plot=plot)
    assert plot.read_bytes()[:5] == {".svg": b"<?xml", ".pdf": b"%PDF-"}[suffix]


def test_bars_start_at_one_and_are_pale_where_chance_may_explain_them() -> None:
    pytest.importorskip("matplotlib")
    from lightning_failures.reporting.factor_figures import compare_figure

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
