"""Classes in the files of the ``factors`` command: names, numbers, and numbers that are others."""

import json
import random
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from lightning_failures.cli import main
from lightning_failures.commands.factors import factors
from lightning_failures.errors import InputError
from tests.studies import HEADER, write

pytest.importorskip("pandas")

NAMES = ["cat", "dog", "horse", "truck"]
ROWS = range(400)
LABELS = [random.Random(row).randrange(4) for row in ROWS]
PREDS = [(label + (row % 5 == 0)) % 4 for row, label in zip(ROWS, LABELS, strict=True)]


def files(
    folder: Path, label: Callable[[int], Any], pred: Callable[[int], Any], header: Sequence[str] = HEADER
) -> dict[str, Any]:
    """Annotations and predictions of 400 images, a fifth of them wrong, with classes as these functions write them."""
    images = [[f"{row}.png", label(known), row % 2] for row, known in zip(ROWS, LABELS, strict=True)]
    guesses = [[f"{row}.png", pred(known), 0.9] for row, known in zip(ROWS, PREDS, strict=True)]
    return {
        "predictions": [write(folder / "net.csv", list(header), guesses)],
        "annotations": str(write(folder / "own.csv", ["file_name", "class", "dark"], images)),
    }


def summary(folder: Path, given: dict[str, Any]) -> Any:
    factors(**given, json=folder / "out.json")
    return json.loads((folder / "out.json").read_text())["models"]["net"]


def message(given: dict[str, Any]) -> str:
    with pytest.raises(InputError) as error:
        factors(**given)
    return str(error.value)


def number(label: int) -> int:
    return label


def name(label: int) -> str:
    return NAMES[label]


@pytest.mark.parametrize(
    ("label", "pred"),
    [
        (number, number),
        (name, name),
        (name, number),
        (number, name),
        (name, lambda label: name(label).upper()),
        (lambda label: f"grand {name(label)}", lambda label: f"Grand_{name(label)}"),
        (lambda label: ["0", "A", "B", "None"][label], lambda label: ["0", "A", "B", "None"][label]),
        (lambda label: f"{label}.0", number),
    ],
    ids=["numbers", "names", "numbers of names", "names of numbers", "capitals", "spaces", "mixed", "0.0"],
)
def test_classes_may_be_names_or_numbers_in_either_file(
    tmp_path: Path, label: Callable[[int], Any], pred: Callable[[int], Any]
) -> None:
    found = summary(tmp_path, files(tmp_path, label, pred))
    assert (found["images"], found["error"]) == (400, 0.2)
    assert {row["class"] for row in found["classes"]} == {
        int(float(label(each))) if label(0) in (0, "0.0") else label(each) for each in range(4)
    }


def test_what_is_taken_for_what_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    factors(**files(tmp_path, name, number))
    said = "net: predicted numbers taken for places of the class names in the alphabet: 0 is cat, 1 is dog."
    assert said in " ".join(capsys.readouterr().out.split())
    factors(**files(tmp_path, number, name))
    said = "net: predicted names in the order of the alphabet taken for the true numbers: cat is 0."
    assert said in " ".join(capsys.readouterr().out.split())
    factors(**files(tmp_path, name, name))
    out = capsys.readouterr().out
    assert "taken for" not in out
    assert re.search(r"hardest classes: (cat|dog|horse|truck) \(\d+ of \d+ wrong\)", out)


def test_a_predicted_name_that_no_image_bears_is_wrong_there(tmp_path: Path) -> None:
    given = files(tmp_path, name, lambda label: ["fox", *NAMES[1:]][label])
    wrong = sum(pred != label or pred == 0 for pred, label in zip(PREDS, LABELS, strict=True))
    assert summary(tmp_path, given)["error"] == wrong / 400
    assert "fox stands for cat, wolf stands for dog" in message(
        files(tmp_path, name, lambda label: ["fox", "wolf", "truck", "horse"][label])
    )


@pytest.mark.parametrize(
    ("label", "pred", "apart", "counted"),
    [
        (number, lambda label: label + 1, "subtract 1 from", ("predicted", "true")),
        (lambda label: label + 1, number, "add 1 to", ("true", "predicted")),
    ],
)
def test_a_count_from_1_is_refused_with_both_accuracies(
    tmp_path: Path,
    label: Callable[[int], Any],
    pred: Callable[[int], Any],
    apart: str,
    counted: tuple[str, str],
) -> None:
    given = files(tmp_path, label, pred)
    right = sum(pred(one) == label(other) for one, other in zip(PREDS, LABELS, strict=True)) / 4
    assert message(given) == (
        f"factors: the {counted[0]} classes look counted from 1 where the {counted[1]} ones are counted from 0; given "
        f"{given['predictions'][0]}: {right:.1f}% of the images are right as the classes stand, 80.0% under other "
        f"numbers. Count both from 0: {apart} each predicted class. "
        "If they are right as they stand, pass --keep-classes."
    )
    assert summary(tmp_path, given | {"keep_classes": True})["error"] == 1 - right / 100


def test_classes_in_another_order_are_refused_with_both_accuracies(tmp_path: Path) -> None:
    moved = [2, 0, 3, 1]
    given = files(tmp_path, number, lambda label: moved[label])
    assert re.fullmatch(
        r"factors: the predicted classes look renamed: 0 stands for 1, 1 stands for 3, 2 stands for 0, 3 stands for 2; "
        r"given .*net\.csv: \d\.\d% of the images are right as the classes stand, 80\.0% under other numbers\. Give "
        r"both files one list of classes in one order: compare class_to_idx\. If they are right as they stand, pass "
        r"--keep-classes\.",
        message(given),
    )
    named = message(files(tmp_path, name, lambda label: NAMES[moved[label]]))
    assert "cat stands for dog, dog stands for truck" in named
    assert "80.0% under other names." in named
    numbers = message(files(tmp_path, name, lambda label: moved[label]))
    assert "cat stands for dog" in numbers


@pytest.mark.parametrize(
    "pred",
    [
        lambda row: (LABELS[row] + random.Random(-row - 1).randrange(4)) % 4,  # at chance
        lambda row: 0,  # one class for all
        lambda row: LABELS[row] // 2,  # two of four classes are right, and the others are these
        lambda row: LABELS[row] if row % 2 else random.Random(-row - 1).randrange(4),  # bad
        lambda row: (LABELS[row] + 1) % 4 if row % 5 < 2 else random.Random(-row - 1).randrange(4),  # a little like it
    ],
)
def test_a_model_that_is_only_bad_is_measured(tmp_path: Path, pred: Callable[[int], int]) -> None:
    given = files(tmp_path, number, number)
    rows = [[f"{row}.png", pred(row), 0.9] for row in ROWS]
    given["predictions"] = [write(tmp_path / "net.csv", HEADER, rows)]
    assert summary(tmp_path, given)["error"] == sum(pred(row) != LABELS[row] for row in ROWS) / 400


def test_a_few_images_are_no_reason_to_refuse(tmp_path: Path) -> None:
    annotations = write(tmp_path / "own.csv", ["file_name", "class", "dark"], [["a", 0, 1], ["b", 1, 0]])
    model = write(tmp_path / "net.csv", HEADER, [["a", 1, 0.9], ["b", 0, 0.9]])
    assert factors([model], annotations=str(annotations)) == 0


@pytest.mark.parametrize(
    ("label", "pred", "text"),
    [
        (
            name,
            lambda label: label + 1,
            "predicted classes are counted from 1; given {path}: {four} values of predicted_class such as 4; 4 names: "
            "cat, dog, horse and 1 more. Count them from 0 in the order of the alphabet, cat being 0, or write names.",
        ),
        (
            name,
            lambda label: label * 7,
            "predicted classes are numbers, true ones names; given {path}: {many} values of predicted_class such as "
            "{first}; 4 names: cat, dog, horse and 1 more. Write the same names into both files, or the same numbers.",
        ),
        (
            number,
            lambda label: ["cat", "cat", "horse", "truck"][label],
            "predicted classes are names, true ones numbers; given {path}: 3 names such as 'cat'; 4 numbers such as 0. "
            "Write the same numbers into both files, or the same names.",
        ),
        (
            name,
            lambda label: f"n{label}",
            "no predicted class is one of the annotations; given {path} with 'n{0}', 'n{1}', 'n{2}' and 1 more; the "
            "annotations have 'cat', 'dog', 'horse' and 1 more. Write the same names into both files, or the same "
            "numbers.",
        ),
        (
            name,
            lambda label: "" if label == 3 else NAMES[label],
            "images have no class; given {path}: {four} empty cells in predicted_class. "
            "Fill the class in, or leave these rows out.",
        ),
    ],
)
def test_classes_that_do_not_go_together_say_both_spellings(
    tmp_path: Path, label: Callable[[int], Any], pred: Callable[[int], Any], text: str
) -> None:
    given = files(tmp_path, label, pred)
    seen = list(dict.fromkeys(PREDS))
    text = text.format(
        *seen,
        path=given["predictions"][0],
        four=PREDS.count(3),
        many=sum(each > 0 for each in PREDS),
        first=7 * next(each for each in PREDS if each > 0),
    )
    assert message(given) == f"factors: {text}"


def test_other_usual_names_of_columns_are_known_and_probabilities_may_be_left_out(tmp_path: Path) -> None:
    found = summary(tmp_path, files(tmp_path, name, name, ["Image Path", "Prediction", "Confidence"]))
    assert found["calibration"]["calibration_error"]["all"] == pytest.approx(0.1)
    found = summary(tmp_path, files(tmp_path, name, name, ["image", "pred", "score"]))
    assert (found["error"], found["calibration"]["calibration_error"]["all"]) == (0.2, None)


def test_predictions_of_the_same_images_under_other_names_are_one_line_of_both_spellings(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = files(tmp_path, name, name)
    rows = [[f"img_{row:04d}.png", NAMES[pred], 0.9] for row, pred in zip(ROWS, PREDS, strict=True)]
    path = write(tmp_path / "net.csv", HEADER, rows)
    assert main(["factors", str(path), "--annotations", given["annotations"]]) == 2
    assert capsys.readouterr().err == (
        f"lightning-failures: error: factors: 400 of 400 annotated images have no prediction; given {path} without "
        "0.png, 1.png, 2.png, ..., but with img_0000.png, img_0001.png, img_0002.png, .... Predict them too, or leave "
        "them out of the annotations; or spell file names alike in both.\n"
    )
