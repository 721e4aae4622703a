"""A folder of runs, one JSON file each, filled by several processes and taken up again where it stood."""

import functools
import json
import multiprocessing
import subprocess
import time
import traceback
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path
from typing import Any, NamedTuple

import torch

__all__ = ["Planned", "RunFolder"]

Record = dict[str, Any]


class Planned(NamedTuple):
    """One run that is to be done."""

    case: str
    network: str
    seed: int

    @property
    def file(self) -> str:
        """Name of its file."""
        return f"{self.case}-{self.network}-{self.seed}.json"


PACKAGE = Path(__file__).resolve().parents[1] / "lightning_failures"


@functools.cache
def package_commit() -> str:
    """The last commit that changed the package, and whether some of it was changed since; empty where git is silent."""

    def asked(*words: str) -> str:
        command = ["git", *words, "--", PACKAGE.name]
        told = subprocess.run(command, cwd=PACKAGE.parent, capture_output=True, text=True, timeout=20, check=True)
        return told.stdout.strip()

    try:
        dirty = "-dirty" if asked("status", "--porcelain") else ""
        return asked("log", "-1", "--format=%h") + dirty
    except (OSError, subprocess.SubprocessError):
        return ""


def one_run(planned: Planned, work: Callable[[Planned], Record]) -> Record:
    """Do one run; one that breaks off leaves what it broke off with."""
    began = time.process_time()
    try:
        record = work(planned)
    except Exception as error:
        record = {"findings": [], "crash": "".join(traceback.format_exception(error))}
    spent = round(time.process_time() - began, 2)
    return {**planned._asdict(), **record, "cpu_seconds": spent, "commit": package_commit()}


class RunFolder:
    """Runs that are done, by their files.

    A run that crashed is told apart from one that ended, and is done again when the folder is taken up again.

    Args:
        path: the folder; made where it does not exist.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        path.mkdir(parents=True, exist_ok=True)

    def records(self, plan: Sequence[Planned]) -> list[Record]:
        """What is known of the runs of a plan, in its order."""
        return [json.loads(self._at(each).read_text()) for each in plan if self._at(each).exists()]

    def everything(self) -> list[Record]:
        """What is known of all runs of the folder, in the order of their cases, networks and seeds."""
        found = [json.loads(path.read_text()) for path in self.path.glob("*.json")]
        return sorted(found, key=lambda one: (one["case"], one["network"], one["seed"]))

    def missing(self, plan: Sequence[Planned]) -> list[Planned]:
        """The runs of a plan that are still to be done."""
        ended = {
            Planned(one["case"], one["network"], one["seed"]) for one in self.records(plan) if not one.get("crash")
        }
        return [each for each in plan if each not in ended]

    def fill(self, plan: Sequence[Planned], work: Callable[[Planned], Record], processes: int = 1) -> Iterator[Record]:
        """Do what is missing; gives each record as soon as its file is written.

        Args:
            plan: the runs.
            work: what does one run; a function of a module where there are several processes.
            processes: how many at once, one thread each.
        """
        for record in _all(self.missing(plan), work, processes):
            at = self._at(Planned(record["case"], record["network"], record["seed"]))
            part = at.with_suffix(".part")  # a run that is broken off here leaves no half file
            part.write_text(json.dumps(record))
            part.replace(at)
            yield record

    def _at(self, planned: Planned) -> Path:
        return self.path / planned.file


def _all(plan: Sequence[Planned], work: Callable[[Planned], Record], processes: int) -> Iterable[Record]:
    if processes == 1:
        torch.set_num_threads(1)
        for planned in plan:
            yield one_run(planned, work)
        return
    fresh = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(processes, fresh, torch.set_num_threads, (1,)) as pool:
        for done in as_completed([pool.submit(one_run, planned, work) for planned in plan]):
            yield done.result()
