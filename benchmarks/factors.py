"""What factor error ratios cost: against ImageNet-X's own code, and against fairlearn's bootstrap, in one run.

    python benchmarks/factors.py [--predictions FOLDER] [--repeats 5] [--bootstrap 200] [--json FILE]

The table: four files of predictions are read, joined with the annotations and turned into error ratios by factor, once
by `imagenet_x.get_factor_accuracies` and once by this package; both must agree to twelve digits. Nothing is kept from
one repeat to the next, and importing counts for neither. Theirs reads the probabilities too and looks up real labels
and metaclasses, which nothing here asks for: its function has no way to leave them out. The step from joined
predictions to ratios is timed by itself as well; and once more with what this package alone gives beside each ratio,
its 95% interval and its exact p-value. The files are those of `../shared/data`, each twice (upstream wants them
uncompressed).

The metric: 50,000 images with one of 16 factors each, error rates with intervals, once by fairlearn's MetricFrame with
its bootstrap and once by FactorErrorRatio, fed 256 images at a time. All is on one thread, in seconds of the processor;
the least of some repeats counts. Needs imagenet-x, pandas and fairlearn; what is not installed is left out.
"""

import argparse
import gzip
import importlib.util
import json
import platform
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from lightning_failures import FactorErrorRatio
from lightning_failures.data import FACTORS, read_imagenet_x, read_models
from lightning_failures.functional import (
    FactorCounts,
    count_errors_of_models,
    error_ratio,
    error_ratio_interval,
    factor_p_value,
    holm,
)

SHARED = Path(__file__).resolve().parents[2] / "shared" / "data" / "imagenetx" / "model_predictions"


def least(repeats: int, work: Callable[[], Any]) -> tuple[float, Any]:
    """Seconds of the processor of the fastest of some repeats, and what the last one gave."""
    times, result = [], None
    for _ in range(repeats):
        start = time.process_time()
        result = work()
        times.append(time.process_time() - start)
    return min(times), result


class Joined(NamedTuple):
    """Predictions of several models, joined with the annotations."""

    models: list[str]
    wrong: Tensor  # (m n), bool
    factors: Tensor  # (n f), bool


def our_reading(folder: Path) -> Joined:
    """The errors of every model in a folder, joined with the annotations."""
    table, classes = read_imagenet_x()
    models = read_models(sorted(folder.glob("*.csv")), table, 1000, probabilities=False)
    return Joined(
        [model.model for model in models], torch.stack([model.preds != classes for model in models]), table.values
    )


Rows = dict[str, dict[str, list[float]]]  # by model and factor


def our_ratios(joined: Joined) -> Rows:
    """Error ratios of every model."""
    return by_factor(joined, lambda counts: [error_ratio(counts)])


def our_tests(joined: Joined) -> Rows:
    """Error ratios, both ends of their intervals and adjusted p-values of every model."""
    return by_factor(
        joined, lambda counts: [error_ratio(counts), *error_ratio_interval(counts), holm(factor_p_value(counts))]
    )


def by_factor(joined: Joined, columns: Callable[[FactorCounts], list[Tensor]]) -> Rows:
    """Columns of every model by factor."""
    counts = count_errors_of_models(joined.wrong, joined.factors)
    return {
        model: {
            name: list(row) for name, *row in zip(FACTORS, *(column.tolist() for column in columns(own)), strict=True)
        }
        for model, own in zip(joined.models, counts, strict=True)
    }


def compare_tables(predictions: Path, repeats: int) -> dict[str, Any]:
    """Seconds of both tables, from files and from joined predictions, and how far they are apart."""
    import imagenet_x as theirs

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for path in sorted(predictions.glob("*.csv.gz")):
            for copy in range(2):
                stem = path.name.removesuffix(".csv.gz")
                (folder / f"{stem}_{copy}.csv").write_bytes(gzip.decompress(path.read_bytes()))
        whole, ratios = least(repeats, lambda: our_ratios(our_reading(folder)))
        joined = our_reading(folder)
        computing, _ = least(repeats, lambda: our_ratios(joined))
        testing, _ = least(repeats, lambda: our_tests(joined))
        their_whole, reference = least(repeats, lambda: theirs.error_ratio(theirs.get_factor_accuracies(str(folder))))
        models, _ = theirs.load_model_predictions(str(folder))
        merged = theirs.augment_model_predictions(theirs.load_annotations(), models)
        their_computing, _ = least(
            repeats, lambda: theirs.error_ratio(theirs.compute_factor_accuracies(merged, list(FACTORS)))
        )
    difference = max(
        abs(ratios[model][factor][0] - reference.loc[model, factor]) for model in ratios for factor in FACTORS
    )
    assert difference < 1e-12, difference
    return {
        "models": len(ratios),
        "from_files": beside(whole, their_whole),
        "from_joined_predictions": beside(computing, their_computing),
        "with_intervals_and_tests": beside(testing, their_computing),
        "largest_difference": difference,
    }


def beside(ours: float, theirs: float) -> dict[str, float]:
    """Both in seconds, and how many times faster ours is."""
    return {
        "seconds": round(ours, 5),
        "imagenet_x_seconds": round(theirs, 5),
        "times_faster": round(theirs / ours, 1),
    }


def compare_metrics(images: int, bootstrap: int, repeats: int) -> dict[str, Any]:
    """Seconds of both metrics; both give the same ratios."""
    generator = torch.Generator().manual_seed(0)
    factor = torch.randint(16, (images,), generator=generator)
    target = torch.randint(1000, (images,), generator=generator)
    wrong = torch.rand(images, generator=generator) < 0.15 + 0.02 * factor
    preds = torch.where(wrong, (target + 1) % 1000, target)
    factors = torch.nn.functional.one_hot(factor, 16).bool()
    parts = list(zip(preds.split(256), target.split(256), factors.split(256), strict=True))

    def ours() -> dict[str, Any]:
        metric = FactorErrorRatio([f"f{column}" for column in range(16)])
        for part in parts:
            metric.update(*part)
        return metric.compute()

    seconds, values = least(repeats, ours)
    result: dict[str, Any] = {"images": images, "factors": 16, "seconds": round(seconds, 4)}
    if importlib.util.find_spec("fairlearn") is None:
        return result | {"fairlearn": "not installed"}
    from fairlearn.metrics import MetricFrame

    y_true, y_pred, groups = target.numpy(), preds.numpy(), factor.numpy()

    def fairlearn() -> Any:
        return MetricFrame(
            metrics=lambda true, pred: (true != pred).mean(),
            y_true=y_true,
            y_pred=y_pred,
            sensitive_features=groups,
            n_boot=bootstrap,
            ci_quantiles=[0.025, 0.975],
            random_state=0,
        )

    theirs, frame = least(1, fairlearn)
    ratios = frame.by_group / frame.overall
    assert all(abs(ratios[column] - float(values[f"error_ratio/f{column}"])) < 1e-9 for column in range(16))
    return result | {
        "bootstrap": bootstrap,
        "fairlearn_seconds": round(theirs, 2),
        "times_faster": round(theirs / seconds),
    }


def main() -> None:
    """Measure, print, and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--predictions", type=Path, default=SHARED)
    parser.add_argument("--images", type=int, default=50_000)
    parser.add_argument("--bootstrap", type=int, default=200)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(1)
    results: dict[str, Any] = {"torch": torch.__version__, "machine": platform.machine()}
    if importlib.util.find_spec("imagenet_x") is None or not options.predictions.is_dir():
        results["table"] = "left out: needs imagenet-x and a folder of predictions"
    else:
        results["table"] = compare_tables(options.predictions, options.repeats)
    results["metric"] = compare_metrics(options.images, options.bootstrap, options.repeats)
    print(json.dumps(results, indent=2))
    if options.json is not None:
        options.json.write_text(json.dumps(results, indent=2) + "\n")


if __name__ == "__main__":
    main()
