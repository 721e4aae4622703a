"""Runs whose cause is planted, and their healthy twins: is it found, and is the right cause named, when?

    python benchmarks/causes.py --out causes [--cases FOLDER] [--only CASE CASE] [--seeds 1 2 3 4 5]
        [--networks cnn resnet10t] [--set-on 1 2 3] [--processes 2] [--page docs/causes.md]

Without ``--cases`` it runs the cases of benchmarks/planted_causes.py, on scikit-learn's digits, in two small networks.
``--cases`` names a folder with cases of one's own (benchmarks/given_cases.py says in which form); these run in their
own networks, and ``--networks`` adds others for those cases that any network can take. A run whose file stands in
``--out`` is not done again: begin with an empty folder after a change of the package. The page is written at the end,
from all runs of the plan that are done. ``--set-on`` names the seeds on which the thresholds of the rules were set: the
others are reported apart, and so are networks in which they were not.
"""

import argparse
import functools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import lightning as L
from digit_runs import NETWORKS, healthy_setup, train
from given_cases import AS_GIVEN, cases_of, run_given, takes_other_networks, truths_of
from judged_runs import Cell, JudgedRun, broken_off, cells, judged, line, overall
from judgement import Truth
from planted_causes import CASES
from run_folder import Planned, RunFolder
from shares import table

PAGE = Path(__file__).resolve().parents[1] / "docs" / "causes.md"

INTRODUCTION = """# Runs whose cause is known

Each run trains a small network under `lf.failure_monitors()` with one planted cause in it, or with none. Made by

    python benchmarks/causes.py{options}

*detected*: a warning or a failure stands at the end of the run. *cause right*: a finding that stands names what is
true, by its cause or, where a kind of finding says by itself what is wrong, by its kind; and none that stands names
anything else. *severity right*: that finding is as severe as it must be. *epoch*: at which it was raised. *lead*: how
many epochs later the validation metric turned; empty where it never did. Both are the median, with the least and the
greatest of the seeds. A finding that is "worth watching" counts as nothing. Shares have Wilson's 95% intervals.
"""


def plan(folder: Path | None, cases: Sequence[str], networks: Sequence[str], seeds: Sequence[int]) -> list[Planned]:
    """All runs, seed by seed."""
    runs = []
    for seed in seeds:
        for case in cases:
            for network in networks:
                if folder is None:
                    takes = network in CASES[case].networks
                else:
                    takes = network == AS_GIVEN or takes_other_networks(case)
                runs += [Planned(case, network, seed)] if takes else []
    return runs


def work(planned: Planned, folder: Path | None) -> dict[str, Any]:
    """One run."""
    if folder is not None:
        return run_given(folder, planned.case, planned.network, planned.seed)
    L.seed_everything(planned.seed, verbose=False)
    return train(CASES[planned.case].put_into(healthy_setup(planned.network, planned.seed)))


def page(
    records: Sequence[Mapping[str, Any]], truths: Mapping[str, Truth], set_on: Sequence[int] = (), options: str = ""
) -> str:
    """The whole page.

    Args:
        records: the runs.
        truths: what is true of each case.
        set_on: seeds on which thresholds were set; empty: not said.
        options: what stands behind the command on the page.
    """
    runs = judged(records, truths)
    cases = dict.fromkeys(one["case"] for one in records)
    failing, healthy = ([run for run in runs if run.truth.failing is there] for there in (True, False))
    unknown = [case for case in cases if case not in truths]
    parts = [
        INTRODUCTION.format(options=options),
        table(
            [
                "runs",
                "detected",
                "cause right",
                "severity right",
                "healthy, an alarm stands",
                "healthy, an alarm passed",
            ],
            [[name, *overall(some)] for name, some in parts_of(runs, set_on).items()],
        ),
        "## With a planted cause",
        table(
            [
                "case",
                "network",
                "detected",
                "cause right",
                "severity right",
                "epoch",
                "lead",
                "accuracy",
                "said (runs)",
            ],
            map(failing_row, cells(failing, cases)),
        ),
        "## With nothing that should be called a failure",
        table(
            ["case", "network", "runs", "alarms that stand (runs)", "alarms that passed (runs)", "accuracy"],
            map(healthy_row, cells(healthy, cases)),
        ),
        wrong_runs(runs),
        f"Cases that nobody has said the truth of, and that count nowhere: {', '.join(unknown)}." if unknown else "",
        broken_off(records),
    ]
    return "\n\n".join(part.strip("\n") for part in parts if part) + "\n"


def parts_of(runs: Sequence[JudgedRun], set_on: Sequence[int]) -> dict[str, list[JudgedRun]]:
    """All runs, and those on other seeds and in other networks than thresholds were set on."""
    parts = {"all": list(runs)}
    if set_on:
        seeds = ", ".join(map(str, set_on))
        parts[f"seeds {seeds}, on which thresholds were set"] = [r for r in runs if r.record["seed"] in set_on]
        parts["other seeds"] = [r for r in runs if r.record["seed"] not in set_on]
    networks = dict.fromkeys(run.record["network"] for run in runs)
    if len(networks) > 1:
        parts |= {name: [run for run in runs if run.record["network"] == name] for name in networks}
    return {name: some for name, some in parts.items() if some}


def failing_row(cell: Cell) -> list[str]:
    """One case with a planted cause."""
    counts = [cell.held(name) for name in ("detected", "cause_right", "severity_right")]
    middles = [cell.middle(name) for name in ("epoch", "lead")]
    return [cell.case, cell.network, *counts, *middles, cell.mean("accuracy"), cell.said()]


def healthy_row(cell: Cell) -> list[str]:
    """One healthy case."""
    count = str(len(cell.runs))
    return [cell.case, cell.network, count, cell.false("alarms"), cell.false("passing"), cell.mean("accuracy")]


def wrong_runs(runs: Sequence[JudgedRun]) -> str:
    """What was said in the runs that are not all right."""
    rows = [
        [run.record["case"], run.record["network"], str(run.record["seed"]), "; ".join(run.said) or "nothing"]
        for run in runs
        if not run.right
    ]
    return "## Runs that are not all right\n\n" + table(["case", "network", "seed", "said"], rows) if rows else ""


def main(arguments: Sequence[str] | None = None) -> None:
    """Run what is missing, and write the page of all."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("causes"), help="folder of the runs")
    parser.add_argument("--cases", type=Path, metavar="FOLDER", help="a folder with cases of your own")
    parser.add_argument("--only", nargs="+", metavar="CASE", help="these cases alone")
    parser.add_argument("--seeds", nargs="+", type=int, default=[1, 2, 3, 4, 5])
    parser.add_argument("--networks", nargs="*", choices=list(NETWORKS))
    parser.add_argument("--set-on", nargs="*", type=int, default=[], help="seeds on which thresholds were set")
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--page", type=Path, default=PAGE, help="where the table is written")
    options = parser.parse_args(arguments)
    if options.cases is None:
        known, truths = list(CASES), {name: case.truth for name, case in CASES.items()}
        networks = options.networks or list(NETWORKS)
    else:
        known, truths = list(cases_of(options.cases)), truths_of(options.cases)
        networks = [AS_GIVEN, *(options.networks or [])]
    if missing := [name for name in options.only or [] if name not in known]:
        parser.error(f"--only: there is no case {', '.join(missing)}; choose from {', '.join(known)}")
    folder = RunFolder(options.out)
    runs = plan(options.cases, options.only or known, networks, options.seeds)
    for record in folder.fill(runs, functools.partial(work, folder=options.cases), options.processes):
        print(line(record), flush=True)
    said = " --out causes" if options.cases is None else " --out causes --cases FOLDER"
    options.page.write_text(page(folder.records(runs), truths, options.set_on, said))


if __name__ == "__main__":
    main()
