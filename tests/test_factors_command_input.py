import csv
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lightning_failures.commands.factors import factors
from lightning_failures.errors import FailuresError, InputError
from tests.published import published
from tests.studies import HEADER, make_study, write

pytest.importorskip("pandas")


@pytest.fixture
def study(tmp_path: Path) -> dict[str, Path]:
    return make_study(tmp_path)


def message(call: Callable[..., Any], *args: Any, **kwargs: Any) -> str:
    with pytest.raises(FailuresError) as error:
        call(*args, **kwargs)
    return str(error.value)


def run(study: dict[str, Path], **changes: Any) -> str:
    options = {"predictions": [study["weak"]], "annotations": str(study["annotations"])} | changes
    return message(factors, **options)


def test_predictions_that_cannot_be_read_are_refused(study: dict[str, Path], tmp_path: Path) -> None:
    assert run(study, predictions=[tmp_path / "none.csv"]) == (
        f"factors: there is no such file; given {tmp_path / 'none.csv'}. Correct the path."
    )
    (tmp_path / "cut.csv.gz").write_bytes(study["strong"].read_bytes()[:200])
    assert run(study, predictions=[tmp_path / "cut.csv.gz"]).startswith("factors: the file is not a CSV table (")
    odd = write(tmp_path / "odd.csv", ["picture", "score"], [["a", 1]])
    assert run(study, predictions=[odd]) == (
        f"factors: the predictions have no column file_name, predicted_class; given {odd} with picture, score. "
        "Write the columns file_name, predicted_class, predicted_probability and their names above them; "
        "the last may be left out."
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
        r"Keep one row for each image\.",
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


def test_annotations_that_cannot_be_used_are_refused(study: dict[str, Path], tmp_path: Path) -> None:
    bare = write(tmp_path / "bare.csv", ["file_name", "dark"], [["000.png", 1]])
    assert run(study, annotations=str(bare)) == (
        f"factors: the annotations lack columns; given {bare} without class, but with file_name, dark. "
        "Write file_name, class, and a column for each factor, with their names above them."
    )
    never = write(tmp_path / "never.csv", ["file_name", "class", "dark"], [["000.png", 1, 0]])
    assert run(study, annotations=str(never)) == (
        f"factors: no image carries these factors; given dark in 1 rows of {never}. "
        "Leave these factors out, or correct the annotations."
    )
    same = write(tmp_path / "same.csv", ["file_name", "class", "dark"], [["000.png", 1, 1]] * 2)
    assert run(study, annotations=str(same)) == (
        f"factors: ids stand twice; given 1 ids more than once: 000.png of {same}. Keep one row per image."
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


@pytest.mark.parametrize("text", ["size", "size=", "size=16,big", "=16"])
def test_edges_that_cannot_be_read_are_refused(study: dict[str, Path], text: str) -> None:
    assert run(study, edges=[text]) == (
        f"factors: edges that cannot be read; given {text!r}. Write COLUMN=VALUE,VALUE: size=16,32."
    )


def test_edges_of_a_column_that_is_not_there_are_refused(study: dict[str, Path]) -> None:
    assert "size" in run(study, edges=["size=16"])
    assert run(study, annotations="imagenet-x", edges=["size=16"]) == (
        "factors: ImageNet-X has no continuous factors to cut; given size. "
        "Leave --edges out, or pass annotations of your own."
    )
