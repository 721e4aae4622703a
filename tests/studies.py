"""A small study: annotated images and the predictions of two models, as files."""

import csv
import gzip
import random
from pathlib import Path
from typing import Any

HEADER = ["file_name", "predicted_class", "predicted_probability"]


def write(path: Path, header: list[str], rows: list[list[Any]]) -> Path:
    with gzip.open(path, "wt", newline="") if path.suffix == ".gz" else path.open("w", newline="") as file:
        csv.writer(file).writerows([header, *rows])
    return path


def make_study(tmp_path: Path) -> dict[str, Path]:
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
