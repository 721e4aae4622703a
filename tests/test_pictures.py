"""When a monitor draws: as the run's time has paid for it, and at the end of the run with what is left."""

import subprocess
import sys
from pathlib import Path

import pytest
from lightning.pytorch.loggers import CSVLogger
from lightning.pytorch.trainer.states import TrainerFn

from lightning_failures import CollapseMonitor, SimplicityBiasMonitor
from lightning_failures.callbacks.budget import Budget
from lightning_failures.callbacks.picture import IMPORT, Pictures
from tests.runs import fit, trainer

pytest.importorskip("matplotlib")


def drawn(folder):
    return sorted(path.name for path in folder.rglob("*.png"))


class Clock:
    """Goes on by what it is told."""

    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


def pictures(clock, made, *, share=0.03, takes=0.3):
    """Pictures that each take some seconds of a clock, and what makes one of them."""

    def make(name):
        def draw():
            from matplotlib.figure import Figure

            made.append(name)
            clock.now += takes
            return Figure()

        return draw

    budget = Budget(share, clock=clock)
    return Pictures("CollapseMonitor", budget), make, budget


def fitting(tmp_path):
    run = trainer([], logger=CSVLogger(tmp_path, name="", version=""))
    run.state.fn = TrainerFn.FITTING
    return run


def test_a_run_draws_nothing_before_its_time_has_paid_for_it_and_at_its_end_what_is_left(tmp_path, clock):
    import matplotlib.figure  # noqa: F401  whose import would be counted

    made = []
    drawn, make, budget = pictures(clock, made)
    run = fitting(tmp_path)
    drawn.draw(run, {"failures/collapse/first": make("first")})
    assert made == []
    clock.now += 70.0  # at 3% a twentieth of which is for pictures, one of .3 s
    drawn.draw(run, {f"failures/collapse/{name}": make(name) for name in ("second", "third")})
    assert made == ["second"]
    with budget.spend("CauseMonitor"):
        clock.now += 1.1
    drawn.finish(run)
    drawn.finish(run)
    assert made == ["second", "third"]
    drawn.draw(run, {f"failures/collapse/{name}": make(name) for name in "abc"})
    drawn.finish(run)
    assert made == ["second", "third", "a"]  # 2.1 s are 3% of 70 s
    assert budget.seconds() <= budget.limit


def test_each_picture_has_its_turn_where_time_allows_one_an_evaluation(tmp_path, clock):
    import matplotlib.figure  # noqa: F401

    made = []
    drawn, make, _ = pictures(clock, made)
    run = fitting(tmp_path)
    for _ in range(4):
        clock.now += 70.0
        drawn.draw(run, {name: make(name) for name in "abc"})
    assert made == ["a", "b", "c", "a"]


def test_without_a_logger_nothing_is_drawn(clock):
    drawn, _, _ = pictures(clock, [], share=None)
    drawn.draw(trainer([]), {"failures/collapse/layers": lambda: pytest.fail("drawn")})
    drawn.finish(trainer([]))


def test_the_first_picture_of_a_process_is_expected_to_import_what_draws_it(clock, monkeypatch):
    drawn, _, _ = pictures(clock, [])
    monkeypatch.setitem(sys.modules, "matplotlib.figure", object())
    known = drawn._expected
    monkeypatch.delitem(sys.modules, "matplotlib.figure")
    assert drawn._expected == known + IMPORT


def test_every_picture_of_the_last_evaluation_is_there_at_the_end_without_a_limit(tmp_path):
    layers = CollapseMonitor(["net.*"], budget=None, on_error="raise")
    simple = SimplicityBiasMonitor(budget=None, on_error="raise")
    run, _ = fit([layers, simple], epochs=3, logger=CSVLogger(tmp_path, name="", version=""))
    names = drawn(tmp_path)
    last = f"-{run.global_step - 1:08d}.png"  # under which Lightning logs the figures of the last evaluation
    assert f"layers{last}" in names
    assert {f"{name}{last}" for name in ("ladder", "worst_cue")} <= set(names), names


HEAVY = "matplotlib.pyplot scipy.stats sklearn pandas jinja2 kornia statsmodels"
PROGRAM = f"""
import sys
from tests.runs import fit, table
fit([])
before = set(sys.modules)
import lightning_failures as lf
monitors = lf.failure_monitors(factors=table(), on_error="raise")
fit(monitors, epochs=3)
print([name for name in {HEAVY.split()!r} if name in set(sys.modules) - before])
"""


def test_a_run_that_draws_nothing_imports_nothing_that_draws_or_fits():
    root = Path(__file__).resolve().parents[1]
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, cwd=root, check=True)
    assert done.stdout.splitlines()[-1] == "[]"
