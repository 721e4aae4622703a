"""This package beside others, on the same data in one run: one table, into docs/benchmarks.md.

    python benchmarks/against_peers.py --out peers [--rounds 3] [--only factors channels collapse]
        [--predictions FOLDER] [--page docs/benchmarks.md]

Runs benchmarks/factors.py (imagenet-x, fairlearn), benchmarks/channels.py (captum, 64 channels) and
benchmarks/collapse.py (stable-pretraining, 2,048 features), each so many rounds in processes of their own. Each round
leaves a file in ``--out`` and is not done again: begin with an empty folder after a change of the package. A peer that
is not installed has no row. What stands between the two marks of the page is written anew.
"""

import argparse
import importlib.metadata
import json
import os
import platform
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from shares import middle, table

HERE = Path(__file__).resolve().parent
PAGE = HERE.parent / "docs" / "benchmarks.md"
BEGIN, END = "<!-- peers: begin -->", "<!-- peers: end -->"
PEERS = ("imagenet-x", "fairlearn", "captum", "stable-pretraining")

Figures = Mapping[str, Any]


class Compared(NamedTuple):
    """What this package and another one took in one round."""

    ours: float
    theirs: float


class Question(NamedTuple):
    """One row of the table."""

    script: str
    what: str
    peer: str
    unit: str
    read: Callable[[Figures], Compared | None]  # None: the peer was not there


def of_table(part: str) -> Callable[[Figures], Compared | None]:
    """A step of the table of factors."""

    def read(figures: Figures) -> Compared | None:
        there = figures["table"]
        if isinstance(there, str):
            return None
        return Compared(there[part]["seconds"], there[part]["imagenet_x_seconds"])

    return read


def of_metric(figures: Figures) -> Compared | None:
    """The metric of factors beside the bootstrap."""
    there = figures["metric"]
    return Compared(there["seconds"], there["fairlearn_seconds"]) if "fairlearn_seconds" in there else None


def of_forwards(ours: str, theirs: str) -> Callable[[Figures], Compared | None]:
    """Two contenders of the benchmark of channels."""

    def read(figures: Figures) -> Compared | None:
        costs = {row["name"]: row["forwards"] for row in figures["costs"] if "forwards" in row}
        return Compared(costs[ours], costs[theirs]) if {ours, theirs} <= costs.keys() else None

    return read


def of_queue(name: str) -> Callable[[Figures], Compared | None]:
    """The end of an epoch, or the memory, of streamed sums and of the queue."""

    def read(figures: Figures) -> Compared | None:
        (there,) = (value for key, value in figures.items() if key.startswith("d="))
        if "RankMe queue" not in there:
            return None
        return Compared(there["its RankMe alone"][name], there["RankMe queue"][name])

    return read


SCRIPTS = {
    "factors": ("--repeats", "3"),
    "channels": ("--channels", "64", "--scaling", "--monitor"),
    "collapse": ("--features", "2048"),
}
QUESTIONS = (
    Question("factors", "error ratios by factor of four models, from files", "imagenet-x", "s", of_table("from_files")),
    Question("factors", "the same from joined predictions", "imagenet-x", "s", of_table("from_joined_predictions")),
    Question(
        "factors",
        "with intervals and exact tests here, without them there",
        "imagenet-x",
        "s",
        of_table("with_intervals_and_tests"),
    ),
    Question("factors", "50,000 images, 16 factors, with intervals", "fairlearn, 200 bootstraps", "s", of_metric),
    Question(
        "channels",
        "64 channels left out one by one",
        "captum",
        "forwards",
        of_forwards("ablation by channel", "captum ablation by channel"),
    ),
    Question(
        "channels",
        "64 channels permuted one by one",
        "captum",
        "forwards",
        of_forwards("permutation by channel", "captum permutation by channel"),
    ),
    Question(
        "channels",
        "Shapley values of 10 bands from about 230 sets each",
        "captum",
        "forwards",
        of_forwards("Shapley, 10 bands, 25 draws", "captum Shapley, 10 bands, 25 orders"),
    ),
    Question(
        "channels",
        "the same at equal error: 74 sets in pairs against 49 orders",
        "captum",
        "forwards",
        of_forwards("Shapley, 10 bands, 8 draws", "captum Shapley, 10 bands, 49 orders"),
    ),
    Question(
        "collapse", "RankMe of 25,600 rows, end of epoch", "stable-pretraining's queue", "s", of_queue("epoch_end_s")
    ),
    Question("collapse", "RankMe of 25,600 rows, memory", "stable-pretraining's queue", "MB", of_queue("peak_mb")),
)


def run(script: str, to: Path, more: Sequence[str]) -> None:
    """One round in a process of its own, on one thread."""
    command = [sys.executable, str(HERE / f"{script}.py"), *SCRIPTS[script], *more, "--json", str(to)]
    subprocess.run(command, check=True, env=os.environ | {"OMP_NUM_THREADS": "1"}, stdout=subprocess.DEVNULL)


def rows(rounds: Mapping[str, Sequence[Figures]]) -> list[list[str]]:
    """The table's rows: medians over the rounds with the least and the greatest."""
    found = []
    for question in QUESTIONS:
        pairs = [pair for figures in rounds.get(question.script, ()) if (pair := question.read(figures)) is not None]
        if pairs:
            ours, theirs, times = (
                middle(float(f"{value:.3g}") for value in values)
                for values in (
                    [pair.ours for pair in pairs],
                    [pair.theirs for pair in pairs],
                    [pair.theirs / pair.ours for pair in pairs],
                )
            )
            costs = [f"{each} {question.unit}" for each in (ours, theirs)]
            found.append([question.what, question.peer, *costs, times, str(len(pairs))])
    return found


def section(rounds: Mapping[str, Sequence[Figures]]) -> str:
    """What stands between the marks."""
    versions = {name: _version(name) for name in ("torch", *PEERS)}
    there = ", ".join(f"{name} {version}" for name, version in versions.items() if version)
    missing = ", ".join(name for name, version in versions.items() if not version)
    head = ["what", "beside", "this package", "the other", "times", "rounds"]
    parts = [
        "## Beside other packages",
        "Made by `python benchmarks/against_peers.py --out peers`; medians of the rounds, with the least and the "
        "greatest. Seconds are of the processor. *times*: the other's figure over this package's; above 1: this "
        "package takes less. A *forward* is one pass of the network without gradients.",
        f"{platform.machine()}, {os.cpu_count()} cores, one thread, Python {platform.python_version()}, {there}."
        + (f" Not installed, and left out: {missing}." if missing else ""),
        table(head, rows(rounds)),
    ]
    return "\n\n".join(parts)


def _version(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return ""


def written(page: str, text: str) -> str:
    """A page with the text between its marks; at its end where there are none.

    Example:
        >>> once = written("# Page", "new")
        >>> print(once)
        # Page
        <BLANKLINE>
        <!-- peers: begin -->
        <BLANKLINE>
        new
        <BLANKLINE>
        <!-- peers: end -->
        <BLANKLINE>
        >>> written(once, "newer") == once.replace("new", "newer")
        True
    """
    before, begin, rest = page.partition(BEGIN)
    after = rest.partition(END)[2] if begin else "\n"
    return f"{before if begin else before.rstrip() + chr(10) * 2}{BEGIN}\n\n{text}\n\n{END}{after}"


def main(arguments: Sequence[str] | None = None) -> None:
    """Do the rounds that are missing, and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("peers"), help="folder of the rounds")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", nargs="*", choices=list(SCRIPTS), default=list(SCRIPTS), help="these alone are run")
    parser.add_argument("--predictions", type=Path, metavar="FOLDER", help="predictions for benchmarks/factors.py")
    parser.add_argument("--page", type=Path, default=PAGE)
    options = parser.parse_args(arguments)
    options.out.mkdir(parents=True, exist_ok=True)
    for number in range(1, options.rounds + 1):
        for script in options.only:
            to = options.out / f"{script}-{number}.json"
            if not to.exists():
                of_factors = script == "factors" and options.predictions is not None
                run(script, to, ["--predictions", str(options.predictions)] if of_factors else [])
                print(to, flush=True)
    rounds = {
        script: [json.loads(path.read_text()) for path in sorted(options.out.glob(f"{script}-*.json"))]
        for script in SCRIPTS
    }
    options.page.write_text(written(options.page.read_text(), section(rounds)))


if __name__ == "__main__":
    main()
