"""Validation images of which a tenth is dark or blurred, which nobody annotated, and healthy runs: what is found.

    python benchmarks/property_failures.py --out properties [--seeds 9 10 11 12 13] [--processes 1]
        [--page docs/property-failures.md]

Each run lasts a few seconds of one core, under :func:`lightning_failures.failure_monitors` as it comes. In a planted
run every tenth validation image is darkened to a third, or blurred, and no training image is. Thresholds were set on
seeds 1 to 8. A run whose file stands in ``--out`` is not done again.
"""

import argparse
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import lightning as L
import torch
from digit_runs import (
    NETWORKS,
    Labelled,
    Setup,
    Source,
    accuracy,
    four_channels,
    healthy_setup,
    prepared,
    shapes,
    spectra,
)
from digit_runs import Classifier as Network
from digit_runs import train as train_setup
from judgement import HEALTHY, Truth
from run_folder import Planned, RunFolder
from shares import share, table
from torch import Tensor
from torch.nn import functional as F

PAGE = Path(__file__).resolve().parents[1] / "docs" / "property-failures.md"
SOURCES: dict[str, Source] = {"digits": four_channels, "shapes": shapes, "spectra": spectra}


def darkened(images: Tensor) -> Tensor:
    """A third of the light."""
    return images / 3


def blurred(images: Tensor) -> Tensor:
    """The mean of three by three pixels, twice."""
    for _ in range(2):
        images = F.avg_pool2d(F.pad(images, (1, 1, 1, 1), mode="replicate"), 3, stride=1)
    return images


INTRODUCTION = """# Dark or blurred validation images that nobody annotated

    {command}

Each run trains a small network under `lf.failure_monitors()` as it comes. In a planted run every tenth validation image
is darkened to a third, or blurred, and no training image is; what that costs is written beside it. *found*: a warning
or a failure stands at the end on images that count as dark, or as blurred, or in either case as of low contrast, which
both bring too. Shares have Wilson's 95% intervals. Thresholds were set on seeds 1 to 8."""

#: What is done to a tenth of the validation images -> it, and the properties that name it.
PLANTS: Mapping[str, tuple[Callable[[Tensor], Tensor], tuple[str, ...]]] = {
    "dark": (darkened, ("dark", "low contrast")),
    "blurred": (blurred, ("blurred", "low contrast")),
}


def plan(seeds: Sequence[int]) -> list[Planned]:
    """All runs, seed by seed."""
    cases = [f"{plant} {source}" for plant in PLANTS for source in ("digits", "shapes")]
    cases += [f"healthy {source}" for source in SOURCES]
    return [Planned(case, network, seed) for seed in seeds for case in cases for network in NETWORKS]


def truth_of(case: str) -> Truth:
    """What is true of a case."""
    plant = case.split()[0]
    return HEALTHY if plant == "healthy" else Truth((), ("factor_failure",), PLANTS[plant][1])


def work(planned: Planned) -> dict[str, Any]:
    """One run; the case is ``PLANT SOURCE``, the plant ``healthy`` for none."""
    L.seed_everything(planned.seed, verbose=False)
    plant, source = planned.case.split()
    setup: Setup = healthy_setup(planned.network, planned.seed, SOURCES[source])
    tenth = torch.arange(len(setup.valid.labels)) % 10 == 0
    if plant != "healthy":
        images = setup.valid.images.clone()
        images[tenth] = PLANTS[plant][0](images[tenth])
        setup = replace(setup, valid=Labelled(images, setup.valid.labels))
    record = train_setup(setup)
    module = Network(setup).eval()  # the network that was trained
    standard = prepared(setup.valid.images, setup.valid_by)
    parts = {"tenth": tenth, "rest": ~tenth}
    return record | {
        name: accuracy(module, Labelled(standard[rows], setup.valid.labels[rows])) for name, rows in parts.items()
    }


def on_properties(record: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Severity and subject of what stands at the end on images of a property."""
    return [
        (str(finding["severity"]), str(finding["subject"]))
        for finding in record["findings"]
        if finding["kind"] == "factor_failure" and finding["cleared"] is None
    ]


def is_found(record: Mapping[str, Any]) -> bool:
    """Whether the plant is named by a warning or a failure."""
    names = PLANTS[record["case"].split()[0]][1]
    return any(severity != "watch" and subject in names for severity, subject in on_properties(record))


def page(records: Sequence[Mapping[str, Any]], seeds: Sequence[int]) -> str:
    """The tables in markdown."""
    planted = [record for record in records if not record["case"].startswith("healthy")]
    healthy = [record for record in records if record["case"].startswith("healthy")]
    rows = []
    for plant in PLANTS:
        some = [record for record in planted if record["case"].startswith(plant)]
        rows.append([f"a tenth is {plant}: found", share(is_found(record) for record in some)])
    loud = share(any(severity != "watch" for severity, _ in on_properties(record)) for record in healthy)
    rows.append(["healthy: a warning or a failure", loud])
    rows.append(
        ["healthy: anything, worth watching included", share(bool(on_properties(record)) for record in healthy)]
    )
    each = [
        [
            record["case"],
            record["network"],
            str(record["seed"]),
            f"{record.get('tenth', float('nan')):.2f}",
            f"{record.get('rest', float('nan')):.2f}",
            "; ".join(f"{subject}: {severity}" for severity, subject in on_properties(record)) or "nothing",
        ]
        for record in records
    ]
    command = f"python benchmarks/property_failures.py --out properties --seeds {' '.join(map(str, seeds))}"
    return "\n\n".join(
        [
            INTRODUCTION.format(command=command),
            table(["runs", "share"], rows),
            "## Each run",
            table(["case", "network", "seed", "accuracy on the tenth", "on the others", "said of properties"], each),
        ]
    )


def main(arguments: Sequence[str] | None = None) -> None:
    """Run what is missing, and write the page of all."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("properties"))
    parser.add_argument("--seeds", nargs="+", type=int, default=[9, 10, 11, 12, 13])
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--page", type=Path, default=PAGE)
    options = parser.parse_args(arguments)
    folder, runs = RunFolder(options.out), plan(options.seeds)
    for record in folder.fill(runs, work, options.processes):
        print(record["case"], record["network"], record["seed"], on_properties(record), flush=True)
    options.page.write_text(page(folder.records(runs), options.seeds) + "\n")


if __name__ == "__main__":
    main()
