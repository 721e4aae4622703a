import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from lightning_failures import FactorErrorRatio, load_imagenet_x
from lightning_failures.data import (
    FACTORS,
    METACLASSES,
    Which,
    imagenet_x,
    load_metaclasses,
    load_real_labels,
    read_imagenet_x,
)
from lightning_failures.errors import InputError, MissingPackageError
from lightning_failures.functional import log_ratio_error
from tests.published import installed, joined, published

SEEN = {
    "top": [15064, 14751, 5972, 6150, 1450, 679, 638, 585, 282, 150, 122, 78, 60, 43, 44, 40],
    "multi": [39974, 35537, 15478, 13034, 2873, 1891, 1500, 3604, 879, 390, 512, 217, 105, 586, 94, 1828],
}
RESNET_ERRORS = [2651, 4266, 1167, 1852, 550, 300, 183, 312, 171, 50, 53, 38, 33, 21, 13, 20]
RATIOS = {
    "ResNet50": "0.694739 1.1417 0.771442 1.18883 1.49743 1.74423 1.13236 2.10548 2.39386 1.31592 1.71502 1.92327 "
    "2.17128 1.92798 1.16639 1.97389",
    "DINO": "0.726197 1.06799 0.927478 1.1779 1.54369 1.64228 1.12906 1.95486 2.15032 1.24805 1.46777 1.93051 "
    "2.03486 1.70361 0.924938 1.4244",
}


def measure(model: str, which: Which, prototypes: bool = False) -> FactorErrorRatio:
    """The metric over the published predictions of one model."""
    data = joined(model, which, prototypes)
    metric = FactorErrorRatio(FACTORS)
    for rows in torch.arange(len(data.classes)).split(1000):
        metric.update(data.preds[rows], data.classes[rows], data.factors[rows])
    return metric


@published
@pytest.mark.parametrize(("model", "all_wrong"), [("ResNet50", 11680), ("DINO", 11330)])
def test_the_published_ratios_come_out_to_six_digits(model: str, all_wrong: int) -> None:
    metric = measure(model, "top")
    values = metric.compute()
    assert " ".join(f"{float(values[f'error_ratio/{name}']):.6g}" for name in FACTORS) == RATIOS[model]
    assert [int(values[f"images/{name}"]) for name in FACTORS] == SEEN["top"]
    assert (int(values["images/all"]), int(metric.all_wrong)) == (46110, all_wrong)  # type: ignore[arg-type]
    assert metric.worst == metric.worst_shrunk == "texture"


@published
def test_the_published_errors_intervals_and_standard_errors_come_out() -> None:
    metric = measure("ResNet50", "top")
    values = {key: float(value) for key, value in metric.compute().items()}
    assert [values[f"errors/{name}"] for name in FACTORS] == RESNET_ERRORS
    ends = {name: f"{values[f'low/{name}']:.4f}-{values[f'high/{name}']:.4f}" for name in FACTORS}
    errors = {name: f"{float(error):.4f}" for name, error in zip(FACTORS, log_ratio_error(metric.sums), strict=True)}
    for name, interval, error in (
        ("pose", "0.6742-0.7157", "0.0153"),
        ("texture", "2.1651-2.6122", "0.0479"),
        ("style", "1.3669-2.4969", "0.1560"),
        ("brighter", "0.7169-1.7454", "0.2327"),
    ):
        assert (ends[name], errors[name]) == (interval, error)


@published
def test_the_published_ratios_of_overlapping_factors_come_out() -> None:
    values = measure("ResNet50", "multi").compute()
    assert [int(values[f"images/{name}"]) for name in FACTORS] == SEEN["multi"]
    known = {"pose": "0.936231", "subcategory": "2.542393", "texture": "2.241114", "style": "0.990312"}
    assert {name: f"{float(values[f'error_ratio/{name}']):.6f}" for name in known} == known


@published
def test_the_published_ratios_with_prototypes_come_out() -> None:
    values = measure("ResNet50", "top", prototypes=True).compute()
    assert int(values["images/all"]) == 48868
    assert f"{1 - float(values['error/all']):.6f}" == "0.760989"
    assert f"{float(values['error_ratio/pose']):.6f}" == "0.689772"
    assert f"{float(values['error_ratio/texture']):.6f}" == "2.501565"


@installed
def test_every_top_image_but_two_names_one_factor_and_others_name_many() -> None:
    top, multi = load_imagenet_x("top"), load_imagenet_x("multi")
    assert top.values.sum(1).bincount().tolist() == [2, 46108]
    assert int(multi.values.sum(1).max()) == 11
    assert top.ids == multi.ids
    assert top.rows(["ILSVRC2012_val_00004487.JPEG"])[0].nonzero().tolist() == [[FACTORS.index("larger")]]


@installed
def test_the_training_partition_is_read_too() -> None:
    table = load_imagenet_x("multi", "train", prototypes=True)
    assert len(table) == 11233
    assert table.ids is not None
    assert table.ids[0] == "n03633091_15528.JPEG"


@installed
def test_nothing_of_the_package_is_imported() -> None:
    code = (
        "import sys; from lightning_failures.data import load_imagenet_x; load_imagenet_x(); "
        "print([name for name in sys.modules if name.split('.')[0] in ('imagenet_x', 'pandas', 'lightning')])"
    )
    root = Path(__file__).resolve().parents[1]
    assert (
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=root).stdout
        == "[]\n"
    )


@installed
def test_metaclasses_group_the_thousand_classes() -> None:
    groups = load_metaclasses()
    assert len(groups) == 1000
    assert len(METACLASSES) == 17
    assert groups.unique().numel() == 17
    assert METACLASSES[int(groups[8])] == "bird"  # hen
    assert METACLASSES[int(groups[207])] == "dog"  # golden retriever
    assert METACLASSES[int(groups[0])] == "other"  # tench


@installed
def test_real_labels_are_found_by_the_number_of_the_file() -> None:
    labels = load_real_labels(["ILSVRC2012_val_00000002.JPEG", "ILSVRC2012_val_00000001.JPEG"])
    assert labels.tolist() == [[970, 795], [-1, -1]]
    everything = load_real_labels([f"ILSVRC2012_val_{number:08d}.JPEG" for number in range(1, 50001)])
    assert int((everything < 0).all(1).sum()) == 3163


@installed
def test_images_of_the_training_set_have_no_real_labels() -> None:
    with pytest.raises(InputError) as error:
        load_real_labels(["ILSVRC2012_val_00000002.JPEG", "n03633091_15528.JPEG", "ILSVRC2012_val_00050001.JPEG"])
    assert str(error.value) == (
        "load_real_labels: images have no real labels; given 2, such as n03633091_15528.JPEG. "
        "Real labels are known for the validation set only."
    )


def own_annotations(folder: Path) -> None:
    """Two images of every factor, the first of them a prototype, as the package keeps them."""
    images = [
        {"file_name": f"{factor}_{copy}", "class": column, **dict.fromkeys(FACTORS, 0), factor: 1}
        for column, factor in enumerate(FACTORS)
        for copy in range(2)
    ]
    lines = "".join(f"{json.dumps(image)}\n" for image in images)
    (folder / "imagenet_x_val_top_factor.jsonl").write_text(lines)
    (folder / "prototypical_paths.csv").write_text("file_name\n" + "".join(f"{factor}_0\n" for factor in FACTORS))


def test_annotations_are_read_from_a_path_with_and_without_prototypes(tmp_path: Path) -> None:
    own_annotations(tmp_path)
    table, classes = read_imagenet_x(path=tmp_path)
    assert table.ids == tuple(f"{factor}_1" for factor in FACTORS)
    assert torch.equal(table.values, torch.eye(16, dtype=torch.bool))
    assert classes.tolist() == list(range(16))
    assert len(load_imagenet_x(prototypes=True, path=tmp_path)) == 32


def test_annotations_that_are_not_there_or_not_readable_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError) as error:
        load_imagenet_x("multi", path=tmp_path)
    name = "imagenet_x_val_multi_factor.jsonl"
    assert str(error.value) == (
        f"load_imagenet_x: an annotation file cannot be read; given {tmp_path / name}. Pass a folder that holds {name}."
    )
    own_annotations(tmp_path)
    (tmp_path / "imagenet_x_val_top_factor.jsonl").write_text('{"file_name": "a", "class": 1}\n')
    with pytest.raises(InputError) as error:
        load_imagenet_x(path=tmp_path)
    assert str(error.value) == (
        "load_imagenet_x: the annotations cannot be read; given KeyError: 'pose'. "
        "Reinstall imagenet-x 0.0.7 or newer, or correct path."
    )


def test_unknown_choices_are_refused() -> None:
    with pytest.raises(InputError) as error:
        load_imagenet_x("all")  # type: ignore[arg-type]
    assert str(error.value) == "load_imagenet_x: which is not known; given 'all'. Pass 'top' or 'multi'."
    with pytest.raises(InputError, match="partition is not known; given 'test'"):
        load_imagenet_x(partition="test")  # type: ignore[arg-type]


def test_a_missing_package_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(imagenet_x, "find_spec", lambda name: None)
    with pytest.raises(MissingPackageError) as error:
        load_imagenet_x()
    assert str(error.value) == (
        "load_imagenet_x: imagenet-x is not installed; given no path. Run pip install imagenet-x, or pass path."
    )
