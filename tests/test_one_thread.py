"""Decompositions run on one thread, and what the user set stays as it was."""

import pytest
import torch

from lightning_failures.functional import one_thread
from lightning_failures.functional.moments import eigen, spectrum


@pytest.fixture
def three_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    yield
    torch.set_num_threads(before)


@pytest.mark.usefixtures("three_threads")
@pytest.mark.parametrize(("decompose", "name"), [(eigen, "eigh"), (spectrum, "eigvalsh")])
def test_eigenvalues_are_found_on_one_thread(monkeypatch, decompose, name):
    threads, real = [], getattr(torch.linalg, name)

    def noted(matrix):
        threads.append(torch.get_num_threads())
        return real(matrix)

    monkeypatch.setattr(torch.linalg, name, noted)
    decompose(torch.diag(torch.tensor([3.0, 1.0, 2.0], dtype=torch.float64)))
    assert threads == [1]
    assert torch.get_num_threads() == 3


@pytest.mark.usefixtures("three_threads")
def test_an_error_leaves_as_many_threads_as_before():
    with pytest.raises(ZeroDivisionError), one_thread():
        raise ZeroDivisionError
    assert torch.get_num_threads() == 3
