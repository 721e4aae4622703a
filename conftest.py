"""Test set-up: one thread a worker, so that the suite on two cores does not fight with itself."""

import importlib
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import pytest

os.environ.setdefault("OMP_NUM_THREADS", "1")  # inherited by spawned processes

import torch
from hypothesis import settings

settings.register_profile("same", derandomize=True, deadline=None)
settings.register_profile("random", deadline=None)  # new examples each time: pytest --hypothesis-profile=random
settings.load_profile("same")  # a commit that passed once passes again

torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def _forget_what_was_compiled() -> Iterator[None]:
    """A test that compiles leaves nothing behind: the losses of a process with compiled functions are not heard."""
    yield
    if "torch._dynamo" in sys.modules:
        torch.compiler.reset()


#: Tests of what the clock decides; in all others, what is found does not depend on how busy the machine is.
ABOUT_TIME = {"budget", "test_budget", "test_pictures", "test_short_runs"}


@pytest.fixture(autouse=True)
def _time_enough(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run of seconds is allowed what one of an hour is."""
    budget = sys.modules.get("lightning_failures.callbacks.budget")
    if budget is not None and request.path.stem not in ABOUT_TIME:
        monkeypatch.setattr(budget, "FIRST", 3600.0)


@pytest.fixture
def benchmark(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], ModuleType]:
    """A module of the benchmarks by name, as a script of that folder imports it."""
    monkeypatch.syspath_prepend(str(Path(__file__).parent / "benchmarks"))
    return importlib.import_module
