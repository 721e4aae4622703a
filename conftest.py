"""Test set-up: one thread a worker, so that the suite on two cores does not fight with itself."""

import os
import sys
from collections.abc import Iterator

import pytest

os.environ.setdefault("OMP_NUM_THREADS", "1")  # inherited by spawned processes

import torch

torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def _forget_what_was_compiled() -> Iterator[None]:
    """A test that compiles leaves nothing behind: the losses of a process with compiled functions are not heard."""
    yield
    if "torch._dynamo" in sys.modules:
        torch.compiler.reset()
