"""Time and memory of each metric against images, classes, features, channels, factors, groups and pixels.

    python benchmarks/at_scale.py [--only images classes] [--json FILE] [--page docs/at-scale.md]

Each row is a metric along one axis, which is doubled three times up to a large task: 50,000 validation images, 1,000
classes, 2,048 features, 200 channels, 16 factors, 500 groups, segmentation at 512 pixels, the 197 tokens of a ViT-B.
It is fed as an evaluation feeds it, in batches of 256 images, and then asked for all that it gives. Every size runs in
a process of its own, on one thread, in seconds of the processor; short ones are repeated, and the least counts. Memory
is the largest resident set above that before the first update; the batches themselves are not counted. The growth
exponent is the slope of log time over log size between the third-largest size and the largest, memory likewise: 1 is
linear, 2 quadratic.
"""

import argparse
import importlib.metadata
import json
import math
import multiprocessing
import os
import platform
import re
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from shares import table
from torch import Tensor

import lightning_failures as lf
from lightning_failures.functional import image_properties
from lightning_failures.functional.near_copies import find_near_copies, image_sketches
from lightning_failures.metrics.channels import ChannelDependence, ChannelSignal
from lightning_failures.metrics.cues import CueSwapByClass
from lightning_failures.metrics.group_errors import GroupErrors
from lightning_failures.metrics.input_statistics import InputStatistics

PAGE = Path(__file__).resolve().parents[1] / "docs" / "at-scale.md"
BATCH, BATCHES = 256, 8  # images of a batch, and batches that differ: together they hold nearly all of 500 groups
LINEAR, LEAST, LEAST_MB = 1.25, 0.02, 8.0  # a larger exponent is named from so many seconds, or MB, on
SHORT, REPEATS = 0.15, 4  # repeated until so many seconds are spent, and at most so often

Work = Callable[[], None]  # the whole of an evaluation: a new metric, all updates, all results


class Row(NamedTuple):
    """One metric along one axis."""

    metric: str
    axis: str
    sizes: tuple[int, ...]
    make: Callable[[int], Work]  # draws the batches, and gives what is measured
    reason: str = ""  # why it grows faster than linear; empty: it must not


class Measured(NamedTuple):
    """What one size cost."""

    seconds: float
    megabytes: float  # nan where the system does not tell


def doubled(most: int) -> tuple[int, ...]:
    """Four sizes.

    Example:
        >>> doubled(1000)
        (125, 250, 500, 1000)
    """
    return tuple(most // 2**step for step in (3, 2, 1, 0))


def exponent(sizes: Sequence[int], costs: Sequence[float]) -> float:
    """Slope of log cost over log size between the third-largest size and the largest; nan where a cost is 0 or unknown.

    Example:
        >>> round(exponent([1, 2, 4, 8], [5.0, 1.0, 4.0, 16.0]), 6)
        2.0
    """
    first, last = costs[-3], costs[-1]
    if not (first > 0 and last > 0):
        return math.nan
    return math.log(last / first) / math.log(sizes[-1] / sizes[-3])


def fed(metric: Callable[[], Any], batch: Callable[[], tuple[Any, ...]], images: int = BATCH) -> Work:
    """A metric that gets a few batches over and over until it has seen so many images."""
    parts = max(1, images // BATCH)
    rows = [batch() for _ in range(min(parts, BATCHES))]

    def work() -> None:
        one = metric()
        for part in range(parts):
            one.update(*rows[part % len(rows)])
        one.compute()

    return work


def names(count: int) -> list[str]:
    """Names of factors, or of channels."""
    return [f"f{place}" for place in range(count)]


def labels(classes: int, count: int = BATCH) -> Tensor:
    """Any classes."""
    return torch.randint(classes, (count,))


def carried(factors: int, count: int = BATCH) -> Tensor:
    """A third of all images carries each factor."""
    return torch.rand(count, factors) < 1 / 3


def near(target: Tensor, classes: int) -> Tensor:
    """Predictions of which four of five are right."""
    return torch.where(torch.rand(len(target)) < 0.8, target, labels(classes, len(target)))


def predicted(classes: int, *more: Tensor) -> tuple[Tensor, ...]:
    """Predictions and targets, and what stands behind them."""
    target = labels(classes)
    return (near(target, classes), target, *more)


# what is fed along several axes: images, classes, features, factors, groups

IMAGES, CLASSES, FACTORS, GROUPS, FEATURES = 50_000, 1000, 16, 500, 2048
ROWS = 2048  # of features at a time


def factor_errors(images: int = 12_800, factors: int = FACTORS, groups: int = 0) -> Work:
    """Error ratios by factor."""

    def batch() -> tuple[Any, ...]:
        of_groups = (labels(groups),) if groups else ()
        return (*predicted(CLASSES, carried(factors)), None, *of_groups)

    return fed(lambda: lf.FactorErrorRatio(names(factors)), batch, images)


def adjusted(classes: int = CLASSES, factors: int = FACTORS, groups: int = 0) -> Work:
    """Error ratios within classes."""

    def batch() -> tuple[Any, ...]:
        of_groups = (labels(groups),) if groups else ()
        return (*predicted(classes, carried(factors)), None, *of_groups)

    return fed(lambda: lf.ClassAdjustedErrorRatio(names(factors), classes), batch, 12_800)


def calibration(images: int = 12_800, factors: int = FACTORS, groups: int = 0) -> Work:
    """Calibration by factor, of logits of 1,000 classes."""

    def batch() -> tuple[Any, ...]:
        target, of_groups = labels(CLASSES), (None, labels(groups)) if groups else ()
        return (torch.randn(BATCH, CLASSES), target, carried(factors), *of_groups)

    return fed(lambda: lf.FactorCalibration(names(factors)), batch, images)


def paired(factors: int = FACTORS, groups: int = 0) -> Work:
    """Each image against its unchanged self."""

    def batch() -> tuple[Any, ...]:
        of_groups = (labels(groups),) if groups else ()
        preds, target = predicted(CLASSES)
        return (preds, near(target, CLASSES), target, carried(factors), None, *of_groups)

    return fed(lambda: lf.PairedErrorRatio(names(factors)), batch, 12_800)


def trend(factors: int = FACTORS, groups: int = 0) -> Work:
    """Trend of errors along a value."""

    def batch() -> tuple[Any, ...]:
        of_groups = (labels(groups),) if groups else ()
        return predicted(CLASSES, torch.rand(BATCH, factors), *of_groups)

    return fed(lambda: lf.FactorTrend({name: [0.25, 0.5, 0.75] for name in names(factors)}), batch, 12_800)


def mean_errors(factors: int = FACTORS, groups: int = 0) -> Work:
    """Mean error by factor."""

    def batch() -> tuple[Any, ...]:
        of_groups = (labels(groups),) if groups else ()
        return (torch.rand(BATCH), carried(factors), *of_groups)

    return fed(lambda: lf.FactorMeanError(names(factors)), batch, 12_800)


def interaction(factors: int) -> Work:
    """Pairs of factors."""
    return fed(lambda: lf.FactorInteraction(names(factors)), lambda: predicted(CLASSES, carried(factors)), 12_800)


def transplant_shares(contents: int = FACTORS, groups: int = 0) -> Work:
    """Contents that are exchanged."""

    def batch() -> tuple[Any, ...]:
        own, of_groups = labels(CLASSES), (None, None, labels(groups)) if groups else ()
        return (own, labels(CLASSES), own[:, None].expand(-1, contents), *of_groups)

    return fed(lambda: lf.TransplantShares(names(contents)), batch, 12_800)


def prediction_collapse(images: int = 12_800, classes: int = CLASSES) -> Work:
    """Logits and targets."""

    def batch() -> tuple[Any, ...]:
        return torch.randn(BATCH, classes), labels(classes)

    return fed(lambda: lf.PredictionCollapse(classes), batch, images)


def label_matching(images: int = 2560, classes: int = CLASSES) -> Work:
    """Predicted classes against labels, matched one to one; four of five are right but under other numbers."""

    def batch() -> tuple[Any, ...]:
        target = labels(classes)
        return torch.nn.functional.one_hot((near(target, classes) + 1) % classes, classes).float(), target

    return fed(lambda: lf.LabelMatching(classes), batch, images)


def worst_classes(images: int = 12_800, classes: int = CLASSES) -> Work:
    """Errors by class."""
    return fed(lambda: lf.WorstClasses(classes), lambda: predicted(classes), images)


def group_errors(images: int = 12_800, groups: int = GROUPS) -> Work:
    """Errors by group."""
    return fed(GroupErrors, lambda: predicted(CLASSES, labels(groups)), images)


def gap(images: int = 12_800, groups: int = 0) -> Work:
    """Training images against those of validation."""
    batches = [(*predicted(CLASSES), (labels(groups),) if groups else ()) for _ in range(BATCHES)]

    def work() -> None:
        one = lf.GeneralisationGap()
        for part in range(max(2, images // BATCH)):
            preds, target, of_groups = batches[part % BATCHES]
            one.update(preds, target, part % 2 == 0, *of_groups)
        one.compute()

    return work


def explained_by_cue(images: int = 12_800, classes: int = CLASSES) -> Work:
    """Variance of the logits that a cue of ten bins explains."""

    def batch() -> tuple[Any, ...]:
        return torch.randn(BATCH, classes), torch.rand(BATCH), labels(classes)

    return fed(lambda: lf.CueExplainedVariance(torch.linspace(0.1, 0.9, 9), classes), batch, images)


def cue_swap(classes: int) -> Work:
    """Which predictions follow a swapped cue, by class."""

    def batch() -> tuple[Any, ...]:
        own = labels(classes)
        return own, labels(classes), own[:, None]

    return fed(lambda: CueSwapByClass(["cue"], classes), batch, 2560)


def of_features(metric: Callable[[int], Any], rows: int = ROWS) -> Callable[[int], Work]:
    """A metric of rows of features."""
    return lambda width: fed(lambda: metric(width), lambda: (torch.randn(BATCH, width),), rows)


def spectrum_of_images(images: int) -> Work:
    """Rows of 512 features."""
    return of_features(lf.FeatureSpectrum, images)(512)


def neural_collapse(classes: int = 100, features: int = 256) -> Work:
    """Features by class."""

    def batch() -> tuple[Any, ...]:
        return torch.randn(BATCH, features), labels(classes)

    return fed(lambda: lf.NeuralCollapse(classes, features), batch, ROWS)


def linear_reference(classes: int = 10, features: int = 256) -> Work:
    """A linear model from sums, fitted at the end."""
    rows = [(torch.randn(BATCH, features), labels(classes)) for _ in range(ROWS // BATCH)]

    def work() -> None:
        one = lf.LinearReference(classes, features)
        for each in rows:
            one.update(*each)
        one.fit()

    return work


def layer_probes(features: int) -> Work:
    """One layer, ten classes."""
    rows = {"layer": torch.randn(BATCH, features)}
    return fed(lambda: lf.LayerProbes({"layer": features}, 10), lambda: (rows, labels(10)), ROWS)


def layer_cka(layers: int = 2, features: int = 128) -> Work:
    """Every pair of layers."""
    widths = dict.fromkeys(names(layers), features)

    def batch() -> tuple[Any, ...]:
        return ({name: torch.randn(BATCH, width) for name, width in widths.items()},)

    return fed(lambda: lf.CrossLayerCKA(widths), batch, ROWS)


def lidar(features: int) -> Work:
    """Two views of each image."""

    def batch() -> tuple[Any, ...]:
        return torch.randn(BATCH, features), torch.randn(BATCH, features)

    return fed(lambda: lf.LiDAR(features), batch, ROWS)


def grouped_dimension(features: int = 512, groups: int = 16) -> Work:
    """Features of each group, projected to 64."""

    def batch() -> tuple[Any, ...]:
        return torch.randn(BATCH, features), torch.nn.functional.one_hot(labels(groups), groups).bool()

    return fed(lambda: lf.GroupedDimension(names(groups), features), batch, ROWS)


def input_statistics(channels: int = 3, side: int = 32, images: int = 64) -> Work:
    """Images of some channels."""
    return fed(lambda: InputStatistics(channels), lambda: (torch.rand(images, channels, side, side),))


def channel_signal(channels: int) -> Work:
    """Images of 32 x 32 pixels with logits of ten classes."""
    return fed(
        lambda: ChannelSignal(channels, 10), lambda: (torch.rand(64, channels, 32, 32), torch.randn(64, 10)), 1024
    )


def channel_dependence(channels: int) -> Work:
    """Changes of scores by channel."""
    return fed(lambda: ChannelDependence(names(channels)), lambda: (torch.randn(BATCH, channels),), 12_800)


def segmentation(side: int) -> Work:
    """Pixel logits of 21 classes with a cue and a label for each pixel, four images."""

    def batch() -> tuple[Any, ...]:
        return torch.randn(4, 21, side, side), torch.rand(4, side, side), torch.randint(21, (4, side, side))

    return fed(lambda: lf.CueExplainedVariance(torch.linspace(0.1, 0.9, 9), 21), batch)


def pixel_answers(side: int) -> Work:
    """Predicted pixels of 21 classes against those of a simple model, four images."""

    def batch() -> tuple[Any, ...]:
        pixels = torch.randint(21, (4, side, side))
        return pixels.roll(1, -1), pixels.roll(1, -2), pixels

    return fed(lambda: lf.ExplainedBySimple(21), batch)


def properties(side: int) -> Work:
    """Properties of four images in three channels."""
    images = torch.rand(4, 3, side, side)
    return lambda: image_properties(images) and None


def tokens(count: int) -> Work:
    """All tokens of ViT-B's 768 features as rows, as a layer that is not pooled gives them: 16 images."""
    rows = torch.randn(16 * count, 768)
    return fed(lambda: lf.FeaturesKept(768), lambda: (rows,))


def multilabel(count: int) -> Work:
    """Many labels for each image."""

    def batch() -> tuple[Any, ...]:
        return torch.randn(BATCH, count), torch.rand(BATCH, count) < 0.1

    return fed(lambda: lf.LabelErrors(count), batch, 12_800)


def slices(images: int) -> Work:
    """Groups of images that nobody annotated, in 512 features."""
    features, target = torch.randn(images, 512), labels(100, images)
    preds = near(target, 100)
    return lambda: lf.find_slices(features, preds, target) and None


def near_copies(images: int) -> Work:
    """As many held-out images as training images, of 32 x 32 pixels."""
    train, held = (image_sketches(torch.rand(images, 3, 32, 32)) for _ in range(2))
    of_train, of_held = labels(10, images), labels(10, images)
    return lambda: find_near_copies(held, of_held, train, of_train) and None


CACHES = "each number is read once, and no pairs are formed: larger batches probably no longer fit the caches"
PRODUCTS = (
    "products of all pairs of features are summed (d x d), and eigenvalues taken at the end: d squared by image, "
    "d cubed at the end. That is what covers any cut of the data; `projection` keeps d small"
)
ROWS_OF = {
    "images": (
        Row("FactorErrorRatio", "images", doubled(IMAGES), factor_errors),
        Row("FactorErrorRatio, 500 groups", "images", doubled(IMAGES), lambda n: factor_errors(n, groups=GROUPS)),
        Row("FactorCalibration", "images", doubled(IMAGES), calibration),
        Row("WorstClasses", "images", doubled(IMAGES), worst_classes),
        Row("GroupErrors", "images", doubled(IMAGES), group_errors),
        Row("GeneralisationGap", "images", doubled(IMAGES), gap),
        Row("PredictionCollapse", "images", doubled(IMAGES), prediction_collapse),
        Row("CueExplainedVariance", "images", doubled(IMAGES), explained_by_cue),
        Row("FeatureSpectrum", "images", doubled(IMAGES), spectrum_of_images),
        Row("find_slices", "images", doubled(8192), slices),
        Row(
            "find_near_copies",
            "images",
            doubled(4096),
            near_copies,
            "each held-out image is compared with each training image; the monitor samples both",
        ),
    ),
    "classes": (
        Row(
            "PredictionCollapse",
            "classes",
            doubled(CLASSES),
            lambda c: prediction_collapse(classes=c),
            "products of all pairs of logits are summed (c x c), and eigenvalues taken at the end",
        ),
        Row("WorstClasses", "classes", doubled(CLASSES), lambda c: worst_classes(classes=c)),
        Row("ClassAdjustedErrorRatio", "classes", doubled(CLASSES), adjusted),
        Row(
            "CueExplainedVariance",
            "classes",
            doubled(CLASSES),
            lambda c: explained_by_cue(classes=c),
            "all logits are summed for each label and bin of the cue (10 c x c); a batch touches its own rows alone",
        ),
        Row("CueSwapByClass", "classes", doubled(CLASSES), cue_swap),
        Row(
            "LabelMatching",
            "classes",
            doubled(CLASSES),
            lambda c: label_matching(classes=c),
            "a table of predicted class by label (c x c), matched one to one, which is c cubed at worst",
        ),
        Row(
            "NeuralCollapse",
            "classes",
            doubled(CLASSES),
            neural_collapse,
            "distances and angles of the means of all pairs of classes (c x c)",
        ),
        Row("LinearReference", "classes", doubled(CLASSES), linear_reference),
        Row("LabelErrors", "labels", doubled(CLASSES), multilabel),
    ),
    "features": (
        Row("FeatureSpectrum", "features", doubled(FEATURES), of_features(lf.FeatureSpectrum), PRODUCTS),
        Row("FeaturesKept", "features", doubled(FEATURES), of_features(lf.FeaturesKept), PRODUCTS),
        Row(
            "FeatureSpectrum, projection 256",
            "features",
            doubled(FEATURES),
            of_features(lambda d: lf.FeatureSpectrum(d, projection=256)),
        ),
        Row("DormantUnits", "features", doubled(FEATURES), of_features(lf.DormantUnits), CACHES),
        Row("SubspaceOverlap", "features", doubled(FEATURES), of_features(lf.SubspaceOverlap), PRODUCTS),
        Row("GroupedDimension", "features", doubled(FEATURES), grouped_dimension),
        Row(
            "NeuralCollapse",
            "features",
            doubled(1024),
            lambda d: neural_collapse(10, d),
            "as FeatureSpectrum, within classes and between",
        ),
        Row(
            "LinearReference",
            "features",
            doubled(1024),
            lambda d: linear_reference(10, d),
            "a linear model is fitted from sums of d x d; the monitor gives it means of channels, or of layers",
        ),
        Row(
            "LayerProbes",
            "features",
            doubled(1024),
            layer_probes,
            "as LinearReference, one for each layer; sampled rows",
        ),
        Row("LiDAR", "features", doubled(1024), lidar, "as FeatureSpectrum, and a square root of d x d"),
        Row("CrossLayerCKA", "features", doubled(512), lambda d: layer_cka(2, d), "as FeatureSpectrum, of all layers"),
        Row(
            "CrossLayerCKA",
            "layers",
            doubled(8),
            layer_cka,
            "every layer is compared with every other: products of all their features",
        ),
        Row("FeaturesKept, rows of ViT-B", "tokens", (25, 50, 100, 197), tokens),
    ),
    "channels": (
        Row("InputStatistics", "channels", doubled(200), input_statistics, CACHES),
        Row("ChannelDependence", "channels", doubled(200), channel_dependence),
        Row(
            "ChannelSignal",
            "channels",
            doubled(200),
            channel_signal,
            "products of all pairs of channels are summed, once for each image",
        ),
    ),
    "pixels": (
        Row("InputStatistics", "side", doubled(512), lambda side: input_statistics(3, side, 4)),
        Row("CueExplainedVariance, 21 classes", "side", doubled(512), segmentation),
        Row("ExplainedBySimple, 21 classes", "side", doubled(512), pixel_answers),
        Row("image_properties", "side", doubled(512), properties),
    ),
    "factors": (
        Row("FactorErrorRatio", "factors", doubled(FACTORS), lambda f: factor_errors(factors=f)),
        Row("ClassAdjustedErrorRatio", "factors", doubled(FACTORS), lambda f: adjusted(factors=f)),
        Row("PairedErrorRatio", "factors", doubled(FACTORS), paired),
        Row("FactorCalibration", "factors", doubled(FACTORS), lambda f: calibration(factors=f)),
        Row("FactorTrend", "factors", doubled(FACTORS), trend),
        Row("FactorMeanError", "factors", doubled(FACTORS), mean_errors),
        Row("FactorInteraction", "factors", doubled(FACTORS), interaction, "a result for each pair of factors"),
        Row("TransplantShares", "contents", doubled(FACTORS), transplant_shares),
    ),
    "groups": (
        Row("FactorErrorRatio", "groups", doubled(GROUPS), lambda g: factor_errors(groups=g)),
        Row("ClassAdjustedErrorRatio", "groups", doubled(GROUPS), lambda g: adjusted(groups=g)),
        Row("PairedErrorRatio", "groups", doubled(GROUPS), lambda g: paired(groups=g)),
        Row("FactorCalibration", "groups", doubled(GROUPS), lambda g: calibration(groups=g)),
        Row("FactorTrend", "groups", doubled(GROUPS), lambda g: trend(groups=g)),
        Row("FactorMeanError", "groups", doubled(GROUPS), lambda g: mean_errors(groups=g)),
        Row("GeneralisationGap", "groups", doubled(GROUPS), lambda g: gap(groups=g)),
        Row("TransplantShares", "groups", doubled(GROUPS), lambda g: transplant_shares(groups=g)),
        Row("GroupErrors", "groups", doubled(GROUPS), lambda g: group_errors(groups=g)),
        Row("GroupedDimension", "groups", doubled(64), lambda g: grouped_dimension(groups=g)),
    ),
}


def resident(field: str) -> float:
    """Resident memory of this process in MB: VmRSS now, VmHWM at most; nan where the system does not tell."""
    try:
        found = re.search(rf"{field}:\s+(\d+)", Path("/proc/self/status").read_text())
    except OSError:
        return math.nan
    return math.nan if found is None else int(found[1]) / 1024


def forget_peak() -> None:
    """Count the largest resident memory anew."""
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:  # such as on another system: the peak is that of the whole process
        return


def measure(work: Work) -> Measured:
    """Cost of one evaluation; once before, so that nothing is loaded meanwhile where that is quick."""
    forget_peak()
    before, spent = resident("VmRSS"), []
    while not spent or (sum(spent) < SHORT and len(spent) < REPEATS):
        began = time.process_time()
        work()
        spent.append(time.process_time() - began)
        if len(spent) == 1:
            peak = resident("VmHWM") - before
    return Measured(min(spent), max(peak, 0.0))


def _child(row: Row, size: int, answer: Any) -> None:
    torch.manual_seed(0)
    work = row.make(size)
    torch.linalg.eigvalsh(torch.eye(8, dtype=torch.float64))  # loads the libraries
    answer.send(measure(work))
    answer.close()


def run(row: Row, size: int) -> Measured:
    """One size in a process of its own."""
    ours, theirs = multiprocessing.Pipe(duplex=False)
    child = multiprocessing.get_context("fork").Process(target=_child, args=(row, size, theirs))
    child.start()
    theirs.close()
    try:
        found: Measured = ours.recv()
    except EOFError as error:
        raise RuntimeError(f"{row.metric} by {row.axis} broke off at {size}") from error
    finally:
        child.join()
    return found


def growth(row: Row, costs: Sequence[Measured]) -> tuple[float, float]:
    """Exponents of time and of memory; along a side those of the pixels."""
    sizes = [size**2 for size in row.sizes] if row.axis == "side" else row.sizes
    return tuple(exponent(sizes, [one[place] for one in costs]) for place in (0, 1))  # type: ignore[return-value]


def faster(row: Row, costs: Sequence[Measured]) -> str:
    """Which of time and memory grows faster than linear, where it is more than a trifle."""
    of_time, of_memory = growth(row, costs)
    found = ["time"] if of_time > LINEAR and costs[-1].seconds > LEAST else []
    found += ["memory"] if of_memory > LINEAR and costs[-1].megabytes > LEAST_MB else []
    return " and ".join(found)


INTRODUCTION = """# At scale

What each metric costs at the size of a large task, and how that grows. Made by

    python benchmarks/at_scale.py

Each row is one metric along one axis, which is doubled three times; what is not on the axis stays: 12,800 images in
batches of 256 (2,048 rows where features are counted), 1,000 classes, 16 factors. *time*: of the processor, for all
updates of an evaluation and its results at the end, on one thread. *memory*: the most that was held above what was held
before, without the batches. *growth*: the exponent over the last two doublings, 1 for linear, 2 for quadratic; along
the side of images it is that of the number of pixels. Below 20 ms, or 8 MB, an exponent is noise."""


def milliseconds(seconds: float) -> str:
    """Three digits at most where it is short.

    Example:
        >>> milliseconds(0.00456), milliseconds(0.0456), milliseconds(4.5678)
        ('4.6', '46', '4,568')
    """
    return f"{1e3 * seconds:.1f}" if seconds < 0.01 else f"{1e3 * seconds:,.0f}"


def page(found: Sequence[tuple[Row, Sequence[Measured]]]) -> str:
    """The tables in markdown."""
    versions = f"Python {platform.python_version()}, torch {importlib.metadata.version('torch')}"
    machine = f"{platform.machine()}, {os.cpu_count()} cores, one of them used"
    cells = []
    for row, costs in found:
        of_time, of_memory = ("" if math.isnan(each) else f"{max(each, 0.0):.1f}" for each in growth(row, costs))
        last = costs[-1]
        times = " / ".join(milliseconds(one.seconds) for one in costs)
        sizes = f"{row.sizes[0]:,} to {row.sizes[-1]:,} {row.axis}"
        cells.append([row.metric, sizes, times, of_time, f"{last.megabytes:.0f}", of_memory])
    named = [(row, what) for row, costs in found if (what := faster(row, costs))]
    parts = [
        INTRODUCTION,
        f"{versions}, {machine}.",
        table(["metric", "from, to", "time at each size, ms", "growth", "most memory, MB", "growth of memory"], cells),
        "## What grows faster than linear",
        table(
            ["metric", "along", "what", "why"],
            [[row.metric, row.axis, what, row.reason or "not known"] for row, what in named],
        )
        if named
        else "Nothing does.",
    ]
    return "\n\n".join(parts) + "\n"


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure all, print each row, and write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=list(ROWS_OF), default=list(ROWS_OF), help="these axes alone")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--page", type=Path, default=PAGE, help="where the tables are written")
    options = parser.parse_args(arguments)
    found = []
    for axis in options.only:
        for row in ROWS_OF[axis]:
            costs = [run(row, size) for size in row.sizes]
            found.append((row, costs))
            told = ", ".join(f"{one.seconds:.3f} s {one.megabytes:.0f} MB" for one in costs)
            print(f"{row.metric} by {row.axis}: {told}; {faster(row, costs) or 'linear'}", flush=True)
    if options.json is not None:
        rows = [
            {"metric": row.metric, "axis": row.axis, "sizes": row.sizes, "costs": [one._asdict() for one in costs]}
            for row, costs in found
        ]
        options.json.write_text(json.dumps(rows, indent=1) + "\n")
    options.page.write_text(page(found))


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
