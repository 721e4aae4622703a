"""Fourteen training bugs of real life in two networks, and healthy runs: what is found, when, why, and what falsely.

    python benchmarks/fault_injection.py --out faults [--seeds 1 2 3 4 5] [--networks cnn resnet10t]
        [--processes 2] [--page docs/fault-injection.md]

Each bug is put into a healthy run by a few lines (benchmarks/faults.py), in each network and with each seed; each run
lasts a few seconds of one core, under :func:`lightning_failures.failure_monitors` as it comes. The healthy runs are
networks by data by how they are trained. A run whose file stands in ``--out`` is not done again: begin with an empty
folder after a change of the package. The page is written at the end, from all runs of the plan that are done.
"""

import argparse
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import lightning as L
import torch
from digit_runs import NETWORKS, RECIPES, Setup, Source, four_channels, healthy_setup, shapes, spectra, train
from faults import FAULTS
from judged_runs import Cell, broken_off, cells, judged, line, overall
from judgement import HEALTHY
from run_folder import Planned, RunFolder
from shares import table
from torch import Tensor

PAGE = Path(__file__).resolve().parents[1] / "docs" / "fault-injection.md"
SOURCES: dict[str, Source] = {"digits": four_channels, "spectra": spectra, "shapes": shapes}

INTRODUCTION = """# Faults put into training runs

Fourteen training bugs of real life, each put into a run that is healthy without it, and healthy runs of the same
networks; every run under `lf.failure_monitors()` as it comes. Made by

    python benchmarks/fault_injection.py --out faults

*detected*: a warning or a failure stands at the end. *cause right*: a finding that stands names the bug, by its cause
or, where a kind of finding is the bug itself, by its kind; and none that stands names anything else. *severity right*:
that finding is as severe as it must be. *epoch* and *step*: of the first finding that names the bug (median, least and
greatest). *accuracy*: what the validation metric of the run says at the end, and what it would say of the same weights
without a bug in validation. A finding that is "worth watching" counts as nothing. Shares have Wilson's 95% intervals.
"""


def shaken(images: Tensor) -> Tensor:
    """Each image brightened or dimmed by itself, with a little noise."""
    gain = 0.9 + 0.2 * torch.rand(len(images), 1, 1, 1)
    return gain * images + 0.1 * torch.randn_like(images)


def by_sgd(setup: Setup, network: str) -> Setup:
    """SGD on one cycle, without augmentation."""
    return replace(setup, schedule="one_cycle")


def by_adamw(setup: Setup, network: str) -> Setup:
    """AdamW on one cycle, with augmentation."""
    rate = RECIPES[network].adamw_rate
    return replace(setup, optimizer="adamw", schedule="one_cycle", rate=rate, augment=shaken)


TRAININGS: dict[str, Callable[[Setup, str], Setup]] = {"SGD": by_sgd, "AdamW and augmentation": by_adamw}
HEALTHY_RUNS = {f"{source}, {training}": (source, training) for source in SOURCES for training in TRAININGS}


def plan(networks: Sequence[str], seeds: Sequence[int], cases: Sequence[str]) -> list[Planned]:
    """All runs, seed by seed."""
    return [Planned(case, network, seed) for seed in seeds for case in cases for network in networks]


def work(planned: Planned) -> dict[str, Any]:
    """One run."""
    L.seed_everything(planned.seed, verbose=False)
    if planned.case in FAULTS:
        setup = FAULTS[planned.case].put_into(healthy_setup(planned.network, planned.seed))
    else:
        source, training = HEALTHY_RUNS[planned.case]
        setup = TRAININGS[training](healthy_setup(planned.network, planned.seed, SOURCES[source]), planned.network)
    return train(setup)


def page(records: Sequence[Mapping[str, Any]]) -> str:
    """The whole page."""
    runs = judged(records, {case: fault.truth for case, fault in FAULTS.items()} | dict.fromkeys(HEALTHY_RUNS, HEALTHY))
    names = ["faults detected", "cause right", "severity right"]
    names += ["healthy runs with a false alarm that stands", "healthy runs with a false alarm that passed"]
    parts = [
        INTRODUCTION,
        table(["over all", "share"], zip(names, overall(runs), strict=True)),
        "## Faults",
        table(
            ["fault", "network", "detected", "cause right", "severity right", "epoch", "step", "accuracy", "said"],
            map(faulty_row, cells(runs, FAULTS)),
        ),
        "## Healthy runs",
        table(
            ["data and training", "network", "runs", "alarms that stand", "alarms that passed", "accuracy"],
            map(healthy_row, cells(runs, HEALTHY_RUNS)),
        ),
        broken_off(records),
    ]
    return "\n\n".join(part.strip("\n") for part in parts if part) + "\n"


def faulty_row(cell: Cell) -> list[str]:
    """One fault in one network."""
    counts = [cell.held(name) for name in ("detected", "cause_right", "severity_right")]
    accuracy = f"{cell.mean('accuracy')} for {cell.mean('true_accuracy')}"
    return [cell.case, cell.network, *counts, cell.middle("epoch"), cell.middle("step"), accuracy, cell.said()]


def healthy_row(cell: Cell) -> list[str]:
    """One kind of healthy run in one network."""
    count = str(len(cell.runs))
    return [cell.case, cell.network, count, cell.false("alarms"), cell.false("passing"), cell.mean("accuracy")]


def main(arguments: Sequence[str] | None = None) -> None:
    """Run what is missing, and write the page of all."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    cases = [*FAULTS, *HEALTHY_RUNS]
    parser.add_argument("--out", type=Path, default=Path("faults"), help="folder of the runs")
    parser.add_argument("--seeds", nargs="+", type=int, default=[1, 2, 3, 4, 5])
    parser.add_argument("--networks", nargs="+", choices=list(NETWORKS), default=list(NETWORKS))
    parser.add_argument(
        "--only", nargs="+", choices=cases, default=cases, metavar="CASE", help="faults and healthy runs"
    )
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--page", type=Path, default=PAGE, help="where the table is written")
    options = parser.parse_args(arguments)
    folder, runs = RunFolder(options.out), plan(options.networks, options.seeds, options.only)
    for record in folder.fill(runs, work, options.processes):
        print(line(record), flush=True)
    options.page.write_text(page(folder.records(runs)))


if __name__ == "__main__":
    main()
