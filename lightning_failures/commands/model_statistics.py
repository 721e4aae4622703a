"""Statistics of models by factor for the ``factors`` command: annotated images, errors, and what these say."""

from collections.abc import Mapping, Sequence
from itertools import combinations
from pathlib import Path
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from lightning_failures.commands.image_groups import ImageGroups, encode_groups, read_groups
from lightning_failures.data.class_names import Classes, read_classes
from lightning_failures.data.column_names import CLASS, find_column, find_file_names, row_numbers
from lightning_failures.data.csv_file import read_csv
from lightning_failures.data.factor_columns import Remedies, read_factors
from lightning_failures.data.factor_table import FactorTable, shorten
from lightning_failures.data.imagenet_x import Which, load_metaclasses, load_real_labels, read_imagenet_x
from lightning_failures.data.predictions import Predictions
from lightning_failures.data.published_profiles import read_profiles
from lightning_failures.errors import FailuresError, InputError, UnknownNameError
from lightning_failures.functional.clusters import ClusteredRate, add_by_group, clustered_rate
from lightning_failures.functional.factors import FactorCounts, count_factor_errors, misclassified_real
from lightning_failures.functional.profile import matched_residual
from lightning_failures.functional.proportions import wilson
from lightning_failures.metrics.adjustment import ClassAdjustedErrorRatio
from lightning_failures.metrics.calibration import FactorCalibration
from lightning_failures.metrics.classes import ClassRow, WorstClasses
from lightning_failures.metrics.factors import FactorErrorRatio
from lightning_failures.metrics.interaction import FactorInteraction
from lightning_failures.metrics.paired import PairedErrorRatio
from lightning_failures.metrics.trend import FactorTrend

__all__ = [
    "ErrorType",
    "Images",
    "ModelErrors",
    "ModelStatistics",
    "add_residuals",
    "compare",
    "find_errors",
    "measure",
    "read_edges",
    "read_images",
]

ErrorType = Literal["class", "metaclass", "real", "real_class"]
IMAGENET_CLASSES = 1000
#: Classes of the highest error rates that are told of.
MOST_CLASSES = 5
#: What is advised of columns that cannot be used, in the words of the command line.
REMEDIES = Remedies(
    cut="Cut it with --edges {name}=VALUE,VALUE, or leave the column out of the file.",
    names="Leave the column out of the file; that of the file names is file_name.",
    fill_in="Fill them in, or leave the column out of the file.",
    none="Add a column of 0 and 1 for each factor.",
)
AT_ONCE = 4096  # images whose products of factors are in memory at a time

Edges = Mapping[str, Sequence[float]]


class Images(NamedTuple):
    """Annotated images."""

    table: FactorTable
    true: Classes  # the true classes
    num_classes: int | None  # of ImageNet; None: whatever the files hold
    imagenet: bool
    edges: Edges  # where continuous columns are cut, by their names
    values: Tensor  # (n k) float64, of these columns
    groups: ImageGroups | None  # None: images are independent

    @property
    def classes(self) -> Tensor:
        """The true classes; (n), int64."""
        return self.true.numbers


class ModelErrors(NamedTuple):
    """Which images one model gets wrong."""

    model: str
    wrong: Tensor  # (n) bool
    confidence: Tensor  # (n) float64
    classes: Tensor  # (n) int64, the true classes
    factors: Tensor  # (n f) bool
    values: Tensor  # (n k) float64, of the continuous columns
    class_names: tuple[str, ...] | None
    groups: Tensor | None  # (n) int64

    @property
    def counts(self) -> FactorCounts:
        """Errors by factor."""
        return count_factor_errors(self.wrong, self.factors)


class ModelStatistics(NamedTuple):
    """Every statistic of one model, by the keys of the metrics."""

    model: str
    values: dict[str, float]
    worst: str | None  # the factor behind error_ratio/worst
    worst_shrunk: str | None  # the factor behind error_ratio/worst_shrunk
    together: dict[str, float]  # of each two factors, by the keys of FactorInteraction, and low/<pair>
    trends: dict[str, float]  # of continuous columns, by the keys of FactorTrend
    classes: list[ClassRow]  # those of the highest error rates, worst first
    class_names: tuple[str, ...] | None  # of the classes' numbers; None: the files hold numbers

    def class_name(self, row: ClassRow) -> str | int:
        """The name of a class, or its number where it has none."""
        return row.label if self.class_names is None else self.class_names[row.label]


def read_edges(where: str, edges: Sequence[str]) -> dict[str, list[float]]:
    """Where continuous columns are cut, from texts such as ``size=16,32``.

    Example:
        >>> read_edges("factors", ["size=16,32"])
        {'size': [16.0, 32.0]}
    """
    found = {}
    for text in edges:
        name, _, cuts = text.rpartition("=")
        try:
            found[name] = [float(cut) for cut in cuts.split(",")]
        except ValueError:
            name = ""
        if not name:
            raise InputError(where, "edges that cannot be read", repr(text), "Write COLUMN=VALUE,VALUE: size=16,32.")
    return found


def read_images(
    where: str, annotations: str, which: Which, prototypes: bool, edges: Edges, groups: str | None = None
) -> Images:
    """The annotations of ImageNet-X, or of a CSV file with the columns ``file_name``, ``class`` and the factors.

    Args:
        where: the public name to put into an error.
        annotations: ``"imagenet-x"``, or the path of the file.
        which: of ImageNet-X, see :func:`.read_imagenet_x`.
        prototypes: likewise.
        edges: where continuous columns are cut.
        groups: a column of the annotations, which is no factor then, or a file of its own.
    """
    if annotations == "imagenet-x":
        if edges:
            fix = "Leave --edges out, or pass annotations of your own."
            raise InputError(where, "ImageNet-X has no continuous factors to cut", ", ".join(edges), fix)
        table, classes = read_imagenet_x(which, "val", prototypes)
        true, values = Classes(classes, None), torch.zeros(len(classes), 0, dtype=torch.float64)
        together = None if groups is None else read_groups(where, groups, table, [])
        return Images(table, true, IMAGENET_CLASSES, True, {}, values, together)
    frame = read_csv(where, annotations)
    file_name, label = find_file_names(frame), find_column(frame.columns, CLASS)
    if file_name is None or label is None:
        lacking = [name for name, found in (("file_name", file_name), ("class", label)) if found is None]
        given = f"{annotations} without {', '.join(lacking)}, but with {shorten([*map(str, frame.columns)], 8)}"
        fix = "Write file_name, class, and a column for each factor, with their names above them."
        raise UnknownNameError(where, "the annotations lack columns", given, fix)
    own = groups if groups in frame.columns else None
    text = (file_name, label) if own is None or own in edges else (file_name, label, own)
    frame = read_csv(where, annotations, text=text, keep=(own,))
    left_out = {file_name, label, own, *row_numbers(frame)} - {*edges}
    columns = [str(name) for name in frame.columns if name not in left_out]
    true = read_classes(where, annotations, frame[label])
    try:
        table = FactorTable(*read_factors(frame, file_name, columns, edges, where, REMEDIES))
    except FailuresError as error:
        _, wrong, given, fix = error.args
        raise type(error)(where, wrong, f"{given} of {annotations}", fix) from error
    values = torch.tensor(frame[list(edges)].to_numpy("float64"))
    together = None
    if own is not None:
        together = encode_groups(where, annotations, frame[own])
    elif groups is not None:
        together = read_groups(where, groups, table, list(map(str, frame.columns)))
    return Images(table, true, None, False, edges, values, together)


def find_errors(where: str, images: Images, models: Sequence[Predictions], error: ErrorType) -> list[ModelErrors]:
    """Which images each model gets wrong, over the images that this kind of error is defined for."""
    table, classes = images.table, images.classes
    if error != "class" and not images.imagenet:
        fix = "Use --error class, or the annotations of ImageNet-X."
        raise InputError(where, f"--error {error} is known for ImageNet alone", "annotations of your own", fix)
    kept = torch.ones_like(classes, dtype=torch.bool)
    if error == "metaclass":
        metaclasses = load_metaclasses()
        wrong = [metaclasses[model.preds] != metaclasses[classes] for model in models]
    elif error in ("real", "real_class"):
        accepted = load_real_labels(table.ids or ())
        if error == "real":
            kept = (accepted >= 0).any(1)
        wrong = [misclassified_real(model.preds, accepted) for model in models]
    else:
        wrong = [model.preds != classes for model in models]
    groups = None if images.groups is None else images.groups.ids[kept]
    rows = (classes[kept], table.values[kept], images.values[kept], images.true.names, groups)
    return [
        ModelErrors(model.model, misses[kept], model.confidence[kept], *rows)
        for model, misses in zip(models, wrong, strict=True)
    ]


def measure(errors: ModelErrors, names: Sequence[str], edges: Edges) -> ModelStatistics:
    """Error ratios of one model, those within classes, its calibration, and what is hard beside single factors."""
    right = torch.zeros_like(errors.classes)
    wrong = errors.wrong.long()
    ratio, calibration = FactorErrorRatio(names), FactorCalibration(names)
    ratio.update(wrong, right, errors.factors, groups=errors.groups)
    calibration.update(wrong, right, errors.factors, errors.confidence, errors.groups)
    labels, strata = errors.classes.unique(return_inverse=True)
    adjusted = ClassAdjustedErrorRatio(names, len(labels) + 1)  # all that is wrong is predicted as one more class
    within = torch.where(errors.wrong, len(labels), strata)
    adjusted.update(within, strata, errors.factors, groups=errors.groups)
    values = calibration.compute() | adjusted.compute() | ratio.compute()
    classes = WorstClasses(len(labels) + 1, MOST_CLASSES)
    classes.update(within, strata)
    classes.compute()
    return ModelStatistics(
        errors.model,
        _plain(values),
        ratio.worst,
        ratio.worst_shrunk,
        _together(errors, names),
        _trends(errors, edges),
        [_class_row(row._replace(label=int(labels[row.label])), errors) for row in classes.rows],
        errors.class_names,
    )


def _class_row(row: ClassRow, errors: ModelErrors) -> ClassRow:
    """A class with an interval that counts groups, where there are any."""
    if errors.groups is None:
        return row
    own = errors.classes == row.label
    rate = _clustered(errors.wrong[own], errors.groups[own])
    return row._replace(low=float(rate.low), high=float(rate.high))


def _clustered(wrong: Tensor, groups: Tensor) -> ClusteredRate:
    """An error rate with an interval that counts groups."""
    sums = add_by_group(torch.stack([wrong.long(), torch.ones_like(groups)], 1), groups).sums
    return clustered_rate(sums[:, 0], sums[:, 1])


def _together(errors: ModelErrors, names: Sequence[str]) -> dict[str, float]:
    """What :class:`.FactorInteraction` says, and ``low/<pair>``: where the 95% interval of a pair's ratio begins."""
    interaction = FactorInteraction(names)
    wrong, right = errors.wrong.long(), torch.zeros_like(errors.classes)
    for rows in torch.arange(len(wrong)).split(AT_ONCE):
        interaction.update(wrong[rows], right[rows], errors.factors[rows])
    values = interaction.compute()
    for one, other in combinations(names, 2):
        pair = f"{one}&{other}"
        low = wilson(values[f"errors/{pair}"], values[f"images/{pair}"]).low
        if errors.groups is not None:
            both = errors.factors[:, names.index(one)] & errors.factors[:, names.index(other)]
            low = _clustered(errors.wrong[both], errors.groups[both]).low
        values[f"low/{pair}"] = low / errors.wrong.double().mean()
    return _plain(values)


def _trends(errors: ModelErrors, edges: Edges) -> dict[str, float]:
    if not edges:
        return {}
    trend = FactorTrend(edges)
    trend.update(errors.wrong.long(), torch.zeros_like(errors.classes), errors.values, errors.groups)
    return _plain(trend.compute())


def _plain(values: Mapping[str, Tensor]) -> dict[str, float]:
    return {key: float(value) for key, value in values.items()}


def add_residuals(
    statistics: ModelStatistics, errors: ModelErrors, names: Sequence[str], profiles: Path, where: str
) -> None:
    """Add how far each factor is from published models of the same accuracy: ``matched_residual/<factor>``."""
    counts = errors.counts
    residual = matched_residual(read_profiles(profiles, names, counts.seen, where=where), counts)
    statistics.values.update({f"matched_residual/{name}": float(z) for name, z in zip(names, residual, strict=True)})


def compare(errors: ModelErrors, reference: ModelErrors, names: Sequence[str]) -> dict[str, float]:
    """Every statistic of one model against a reference, by the keys of the metric."""
    paired = PairedErrorRatio(names)
    right = torch.zeros_like(errors.classes)
    paired.update(errors.wrong.long(), reference.wrong.long(), right, errors.factors, groups=errors.groups)
    return _plain(paired.compute())
