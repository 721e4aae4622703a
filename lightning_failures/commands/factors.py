"""Which kinds of image models fail on, from files of their predictions."""

from collections.abc import Mapping, Sequence
from itertools import combinations
from math import isnan
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from lightning_failures.errors import InputError, UnknownNameError
from lightning_failures.records.strict_json import write_json
from lightning_failures.records.written_file import write_file

if TYPE_CHECKING:
    from lightning_failures.commands.model_statistics import ModelStatistics
    from lightning_failures.metrics.classes import ClassRow

__all__ = ["factors"]

WHERE = "factors"
#: What the summary says of each factor.
STATISTICS = ("error_ratio", "low", "high", "p_value", "images", "errors", "standardised", "mantel_haenszel")
TOGETHER = ("error_ratio", "low", "images", "errors", "phi")
TRENDS = ("trend", "p_value", "error_auc")
PAIRED = ("ratio", "low", "high", "mcnemar_p")


def factors(
    predictions: list[Path],
    annotations: str = "imagenet-x",
    which: Literal["top", "multi"] = "top",
    error: Literal["class", "metaclass", "real", "real_class"] = "class",
    edges: list[str] | None = None,
    prototypes: bool = False,
    keep_classes: bool = False,
    groups: str | None = None,
    reference: str | None = None,
    profiles: Path | None = None,
    json: Path | None = None,
    plot: Path | None = None,
) -> int:
    """Say which kinds of image a model fails on, from its predictions, and compare models.

    A factor's error ratio is the error rate on the images that carry it over that on all images: 1 is typical, 2 is
    twice the errors. Beside it stand its 95% interval, a p-value adjusted for the number of factors, and the ratio
    within classes, since a factor can look hard only because it occurs in hard classes.

    Files are CSV, plain or packed, with commas, semicolons or tabs. Classes are numbers or names. File names that are
    spelt otherwise, in another folder or with another ending, are matched where only one image can be meant.

    Args:
        predictions: files with the columns file_name, predicted_class and, if known, predicted_probability, one file
            for each model; the model is called as its file.
        annotations: imagenet-x, or a CSV file with the columns file_name, class, and one for each factor.
        which: of ImageNet-X, the one most prominent factor of an image, or all of them.
        error: what is wrong: another class; a class of another metaclass; none of the real labels, where images without
            any are left out; real_class counts these as wrong, as ImageNet-X does.
        edges: where continuous columns of the annotations are cut into factors, such as size=16,32.
        prototypes: keep the prototypes of each class, which ImageNet-X leaves out.
        keep_classes: take predicted classes as they are numbered, though under other numbers most would be right.
        groups: which images belong together, such as those of one patient or slide: a column of the annotations, or a
            CSV file with the columns file_name and that of the groups (of several FILE:COLUMN). Intervals and p-values
            then count groups, not images.
        reference: name of the model that all others are compared with, image by image.
        profiles: a CSV file of published accuracies, one row per model, to see how unusual a factor is at equal
            accuracy.
        json: file for a summary that programs can read.
        plot: file for a figure that compares the models, such as factors.png.

    Returns:
        The exit code, 0.

    Raises:
        InputError: a file cannot be read, or does not hold what it must; predicted classes are numbered otherwise than
            the true ones.
        UnknownNameError: a model or a column that is not there.
        MissingPackageError: a package that is needed is not installed.

    Example:
        lightning-failures factors resnet.csv vit.csv --annotations own.csv --plot factors.png
        lightning-failures factors resnet.csv --annotations own.csv --groups patient
    """
    models = _names(predictions, reference)
    if groups is not None and profiles is not None:
        given, fix = f"--profiles {profiles} --groups {groups}", "Leave one of them out."
        raise InputError(WHERE, "models are placed among published ones by the number of images", given, fix)
    from rich.console import Console

    console = Console(highlight=False)
    with console.status("Reading"):
        from lightning_failures.commands.class_numbering import refuse_other_numbers
        from lightning_failures.commands.model_figures import check_figure, compare_models
        from lightning_failures.commands.model_statistics import (
            add_residuals,
            compare,
            find_errors,
            measure,
            read_edges,
            read_images,
        )
        from lightning_failures.commands.model_tables import print_hardest, print_models, print_pairs
        from lightning_failures.data.predictions import read_models

        if plot is not None:
            check_figure(WHERE, plot.suffix, models)
        images = read_images(WHERE, annotations, which, prototypes, read_edges(WHERE, edges or ()), groups)
        names = images.table.names
        read = read_models(predictions, images.table, images.num_classes, WHERE, images.true)
        if not keep_classes:
            for path, model in zip(predictions, read, strict=True):
                refuse_other_numbers(WHERE, path, model.preds, images.classes, model.class_names)
        errors = find_errors(WHERE, images, read, error)
        measured = [measure(each, names, images.edges) for each in errors]
        if profiles is not None:
            for each, wrong in zip(measured, errors, strict=True):
                add_residuals(each, wrong, names, profiles, WHERE)
        pairs = {}
        if reference is not None:
            baseline = errors[models.index(reference)]
            pairs = {each.model: compare(each, baseline, names) for each in errors if each is not baseline}
    values = {each.model: each.values for each in measured}
    if json is not None:
        write_json(WHERE, json, _summary(measured, pairs, names, list(images.edges)))
    if plot is not None:
        write_file(WHERE, plot, compare_models(values, names, plot.suffix))
    together = None if images.groups is None else images.groups.column
    print_models(console, values, names, together)
    for each in measured:
        print_hardest(console, each, names, list(images.edges))
    if unused := {each.model: each.unused for each in read if each.unused}:
        counts = ", ".join(f"{model} {count:,}" for model, count in unused.items())
        console.print(f"Predictions of images without annotations, left out: {counts}.\n", style="dim")
    for model in filter(lambda model: model.assumed, read):
        console.print(f"{model.model}: {model.assumed}.\n", style="dim")
    if reference is not None and pairs:
        print_pairs(console, pairs, names, reference, together)
    return 0


def _names(predictions: Sequence[Path], reference: str | None) -> list[str]:
    """Names of the models, each once, the reference among them."""
    from lightning_failures.data.predictions import model_name

    names = [model_name(path) for path in predictions]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise InputError(WHERE, "models have the same name", ", ".join(twice), "Rename the files.")
    if reference is not None and reference not in names:
        given, fix = f"--reference {reference}", f"Choose among {', '.join(names)}."
        raise UnknownNameError(WHERE, "the reference is none of the models", given, fix)
    return names


def _summary(
    measured: "Sequence[ModelStatistics]",
    pairs: Mapping[str, Mapping[str, float]],
    names: Sequence[str],
    continuous: Sequence[str],
) -> dict[str, Any]:
    """All statistics, by model and factor."""
    models = {}
    for each in measured:
        model, values, worst, worst_shrunk, together, trends, classes, _ = each
        placed = [key for key in ("matched_residual",) if f"{key}/{names[0]}" in values]
        grouped = ("groups",) if "groups/all" in values else ()
        models[model] = {
            "images": int(values["images/all"]),
            **{key: int(values[f"{key}/all"]) for key in grouped},
            "error": _value(values, "error", "all"),
            "factors": {
                name: {key: _value(values, key, name) for key in (*STATISTICS, *placed, *grouped)} for name in names
            },
            "worst": {
                "factor": worst,
                "error_ratio": _value(values, "error_ratio", "worst"),
                "shrunk_factor": worst_shrunk,
                "shrunk_error_ratio": _value(values, "error_ratio", "worst_shrunk"),
            },
            "calibration": {
                key: {name: _value(values, key, name) for name in ("all", *names)}
                for key in ("calibration_error", "overconfidence", "overconfidence_low", "overconfidence_high")
            },
            "together": {
                f"{one}&{other}": {key: _value(together, key, f"{one}&{other}") for key in TOGETHER}
                for one, other in combinations(names, 2)
            },
            "added_error": {name: _value(together, "risk_difference", name) for name in names},
            "trends": {name: {key: _value(trends, key, name) for key in TRENDS} for name in continuous},
            "classes": [{"class": each.class_name(row)} | _figures(row) for row in classes],
        }
    paired = {
        model: {name: {key: _value(values, key, name) for key in PAIRED} for name in names}
        for model, values in pairs.items()
    }
    return {"models": models, "paired": paired}


def _figures(row: "ClassRow") -> dict[str, float]:
    return {key: value for key, value in row._asdict().items() if key != "label"}


def _value(values: Mapping[str, float], statistic: str, name: str) -> float | int:
    """A value, counts whole."""
    value = values[f"{statistic}/{name}"]
    return int(value) if statistic in ("images", "errors", "groups") and not isnan(value) else value
