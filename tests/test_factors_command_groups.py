"""Groups of images in the ``factors`` command: a column of the annotations, or a file of their own."""

import csv
import json
from pathlib import Path
from typing import Any

import pytest
import torch

from lightning_failures import FactorErrorRatio
from lightning_failures.commands.factors import factors
from lightning_failures.errors import FailuresError
from lightning_failures.functional.clusters import clustered_rate
from lightning_failures.metrics.adjustment import ClassAdjustedErrorRatio
from tests.studies import make_study, write

pytest.importorskip("pandas")

PATIENTS = 24
NAMES = ["dark", "scanner=A", "scanner=B"]


class Study:
    """The small study, with a patient of each image."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.files = folder, make_study(folder)
        with self.files["annotations"].open(newline="") as file:
            self.rows = list(csv.DictReader(file))
        self.patients = [f"P{(7 * row) % PATIENTS:02d}" for row in range(len(self.rows))]
        cells = [[*row.values(), patient] for row, patient in zip(self.rows, self.patients, strict=True)]
        self.annotations = write(folder / "with.csv", ["file_name", "class", "dark", "scanner", "patient"], cells)

    @property
    def groups(self) -> torch.Tensor:
        return torch.tensor([int(patient[1:]) for patient in self.patients])

    @property
    def carried(self) -> torch.Tensor:
        return torch.tensor([[row["dark"] == "1", row["scanner"] == "A", row["scanner"] == "B"] for row in self.rows])

    @property
    def target(self) -> torch.Tensor:
        return torch.tensor([int(row["class"]) for row in self.rows])

    @property
    def preds(self) -> torch.Tensor:
        with self.files["weak"].open(newline="") as file:
            found = {row["file_name"]: int(row["predicted_class"]) for row in csv.DictReader(file)}
        return torch.tensor([found[row["file_name"]] for row in self.rows])

    def run(self, **options: Any) -> Any:
        given = {"predictions": [self.files["weak"]], "annotations": str(self.annotations)} | options
        factors(**given, json=self.folder / "out.json")
        return json.loads((self.folder / "out.json").read_text())

    def message(self, **options: Any) -> str:
        with pytest.raises(FailuresError) as error:
            self.run(**options)
        return str(error.value)


@pytest.fixture
def study(tmp_path: Path) -> Study:
    return Study(tmp_path)


def test_intervals_and_p_values_are_those_of_the_metrics_with_groups(study: Study) -> None:
    weak = study.run(groups="patient")["models"]["weak"]
    metric = FactorErrorRatio(NAMES)
    metric.update(study.preds, study.target, study.carried, groups=study.groups)
    values = metric.compute()
    assert weak["groups"] == int(values["groups/all"]) == PATIENTS
    assert list(weak["factors"]) == NAMES  # the patient is no factor
    for name in NAMES:
        for key in ("error_ratio", "low", "high", "p_value", "groups"):
            assert weak["factors"][name][key] == pytest.approx(float(values[f"{key}/{name}"]), rel=1e-12)
    adjusted = ClassAdjustedErrorRatio(NAMES, 5)
    adjusted.update(study.preds, study.target, study.carried, groups=study.groups)
    within = float(adjusted.compute()["mantel_haenszel/dark"])
    assert weak["factors"]["dark"]["mantel_haenszel"] == pytest.approx(within)
    alone = study.run(groups=None, annotations=str(study.files["annotations"]))["models"]["weak"]
    assert "groups" not in alone
    assert "groups" not in alone["factors"]["dark"]
    for key in ("error_ratio", "standardised", "mantel_haenszel", "images", "errors"):  # what no interval is of
        assert alone["factors"]["dark"][key] == weak["factors"]["dark"][key]
    assert alone["factors"]["dark"]["low"] != weak["factors"]["dark"]["low"]


def test_what_is_hard_beside_single_factors_counts_groups_too(study: Study) -> None:
    weak = study.run(groups="patient")["models"]["weak"]
    wrong, groups = study.preds != study.target, study.groups
    for row in weak["classes"]:
        own = study.target == row["class"]
        some = torch.stack([(wrong & own & (groups == group)).sum() for group in range(PATIENTS)])
        seen = torch.stack([(own & (groups == group)).sum() for group in range(PATIENTS)])
        rate = clustered_rate(some, seen)
        assert (row["low"], row["high"]) == pytest.approx((float(rate.low), float(rate.high)))
        assert row["error"] == pytest.approx(float(rate.value))


def test_models_are_compared_by_groups(study: Study, capsys: pytest.CaptureFixture[str]) -> None:
    models = [study.files["weak"], study.files["strong"]]
    paired = study.run(groups="patient", predictions=models, reference="strong")["paired"]["weak"]
    alone = study.run(predictions=models, reference="strong", annotations=str(study.files["annotations"]))["paired"]
    assert paired["dark"]["ratio"] == alone["weak"]["dark"]["ratio"]
    assert paired["dark"]["low"] != alone["weak"]["dark"]["low"]
    out = " ".join(capsys.readouterr().out.split())
    assert "p: of the errors, counted by patient." in out
    assert "p: McNemar's exact test of the errors." in out


def test_how_many_groups_there_are_is_printed(study: Study, capsys: pytest.CaptureFixture[str]) -> None:
    study.run(groups="patient")
    lines = capsys.readouterr().out
    said = " ".join(lines.split())
    assert "of 300 images misclassified, of 24 groups (patient)" in said
    assert "Intervals and p count groups (patient), not images; below 4 groups there is no interval." in said
    (dark,) = (line.split() for line in lines.splitlines() if line.startswith("dark "))
    assert dark[2] == "24"
    assert max(map(len, lines.splitlines())) <= 80


@pytest.mark.parametrize("separator", [",", ";"])
def test_a_file_of_groups_says_the_same_as_a_column(study: Study, separator: str) -> None:
    names = [row["file_name"].replace(".png", ".PNG") for row in study.rows]
    lines = [
        separator.join((f"/data/{name}", patient, "x")) for name, patient in zip(names, study.patients, strict=True)
    ]
    path = study.folder / "groups.csv"
    path.write_text("\n".join([separator.join(("Image Path", "patient", "hospital")), *reversed(lines), ""]))
    options = {"annotations": str(study.files["annotations"])}
    assert study.run(groups=f"{path}:patient", **options) == study.run(groups="patient")
    assert study.message(groups=str(path), **options) == (
        f"factors: it is not known which column holds the groups; given {path} with patient, hospital. "
        f"Name one of them: --groups {path}:patient."
    )
    lines = [line.rpartition(separator)[0] for line in lines]
    path.write_text("\n".join([separator.join(("Image Path", "patient")), *lines, ""]))
    assert study.run(groups=str(path), **options) == study.run(groups="patient")
    path.write_text("\n".join([separator.join(("Image Path", "patient")), *lines[5:], ""]))
    assert study.message(groups=str(path), **options) == (
        f"factors: 5 of 300 annotated images have no group; given {path} without 000.png, 001.png, 002.png, ..., but "
        "with /data/005.PNG, /data/006.PNG, /data/007.PNG, .... Add a row for each, or spell file names alike in both."
    )
    path.write_text("\n".join([separator.join(("Image Path", "patient")), *lines, lines[3], ""]))
    assert study.message(groups=str(path), **options) == (
        f"factors: images have two groups; given {path}: 1 more than once: /data/003.PNG. Keep one row for each image."
    )


def test_a_column_whose_name_looks_like_a_number_of_a_row_may_be_the_groups(study: Study) -> None:
    cells = [[*row.values(), int(patient[1:])] for row, patient in zip(study.rows, study.patients, strict=True)]
    path = write(study.folder / "index.csv", ["file_name", "class", "dark", "scanner", "index"], cells)
    found, known = (
        study.run(**options)["models"]["weak"]
        for options in ({"annotations": str(path), "groups": "index"}, {"groups": "patient"})
    )
    assert found["groups"] == known["groups"] == PATIENTS
    for name in NAMES:  # the groups stand in another order, so that the last digits may differ
        assert found["factors"][name] == pytest.approx(known["factors"][name], rel=1e-9)


def test_groups_that_cannot_be_read_are_refused(study: Study) -> None:
    assert study.message(groups="pateint") == (
        "factors: --groups is neither a column nor a file; given pateint; columns file_name, class, dark, scanner, "
        "patient. Choose among them, or name a file with a column file_name and one of the groups."
    )
    rows = [[*row.values(), "" if number < 2 else "P"] for number, row in enumerate(study.rows)]
    gaps = write(study.folder / "gaps.csv", ["file_name", "class", "dark", "scanner", "patient"], rows)
    assert study.message(annotations=str(gaps), groups="patient") == (
        f"factors: images have no group; given 2 empty cells in patient of {gaps}. "
        "Fill them in: an image by itself is a group of its own."
    )
    bare = write(study.folder / "bare.csv", ["who"], [["a"]])
    assert study.message(groups=str(bare)) == (
        f"factors: groups have no file names; given {bare} with who. Add a column file_name."
    )
    assert study.message(groups="patient", profiles=bare) == (
        "factors: models are placed among published ones by the number of images; "
        f"given --profiles {bare} --groups patient. Leave one of them out."
    )


def test_the_test_of_a_trend_counts_groups(study: Study, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [[*row.values(), number, f"P{number % 9}"] for number, row in enumerate(study.rows)]
    path = write(study.folder / "size.csv", ["file_name", "class", "dark", "scanner", "size", "patient"], rows)
    trend = study.run(annotations=str(path), groups="patient", edges=["size=100"])["models"]["weak"]["trends"]["size"]
    assert 0 <= trend["p_value"] <= 1
    assert 0 <= trend["error_auc"] <= 1
    assert f"AUC {trend['error_auc']:.2f})" in " ".join(capsys.readouterr().out.split())
    by_image = study.run(annotations=str(path), edges=["size=100"])["models"]["weak"]["trends"]["size"]
    assert (by_image["error_auc"], by_image["trend"] > 0) == (trend["error_auc"], trend["trend"] > 0)
    assert by_image["p_value"] != trend["p_value"]
