"""A run of each kind logs few curves by default, and few of them have short names."""

import warnings
from pathlib import Path

import pytest

from docs.kinds import PAGE, curves_line
from tests.curves import RUNS, logged_by


@pytest.mark.parametrize("name", RUNS)
def test_a_run_of_this_kind_logs_at_most_forty_curves_and_twelve_short_names(name: str, tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of steps aside, which test_kinds looks at
        logged = logged_by(name, tmp_path)
    assert "failures/findings" in logged.short
    assert "failures/training/loss" in logged.others
    assert len(logged.short) <= 12, sorted(logged.short)
    assert len(logged.short | logged.others) <= 40, sorted(logged.others)
    assert curves_line(name, logged) in PAGE.read_text(encoding="utf-8").splitlines(), "Run python -m docs.kinds."
