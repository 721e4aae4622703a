"""Modules of every kind, without an argument: what is watched is right, or openly not watched."""

import warnings

import pytest
import torch

from docs.kinds import PAGE, line
from tests.kinds import KINDS, row


@pytest.mark.parametrize("name", KINDS)
def test_a_module_of_this_kind_is_watched_right_or_openly_not(name: str) -> None:
    kind = KINDS[name]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of steps aside, which are looked at below
        found = row(kind)
    assert found.task == kind.task
    assert found.same_weights
    assert found.hooks == 0
    for key, (logged, computed) in found.figures.items():
        assert logged == pytest.approx(computed, rel=1e-4, abs=1e-6), key
    if kind.aside:
        assert any(kind.aside in why for why in found.left_out.values()), found.left_out
    else:
        assert found.figures
    assert torch.is_grad_enabled()
    assert line(name, kind, found) in PAGE.read_text(encoding="utf-8").splitlines(), "Run python -m docs.kinds."
