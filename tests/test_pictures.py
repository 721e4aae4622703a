"""When a monitor draws: not in a run's first minute, then as time allows, and at the end of the run what is left."""

import subprocess
import sys
from pathlib import Path

import pytest
from lightning.pytorch.loggers import CSVLogger
from lightning.pytorch.trainer.states import TrainerFn

from lightning_failures import CollapseMonitor, SimplicityBiasMonitor
from lightning_failures.callbacks import picture
from lightning_failures.callbacks.picture import Pictures
from tests.runs import fit, trainer

pytest.importorskip("matplotlib")


def drawn(folder):
    return sorted(path.name for path in folder.rglob("*.png"))


def test_the_first_picture_is_drawn_at_once_and_the_last_at_the_end(tmp_path):
    from matplotlib.figure import Figure

    run = trainer([], logger=CSVLogger(tmp_path, name="", version=""))
    made = []
    pictures = Pictures()
    pictures.budget.share = 0.0  # nothing but the first, which is free

    def make(name):
        return lambda: made.append(name) or Figure()

    pictures.restart()
    for name in ("first", "second", "third"):
        pictures.draw(run, {"failures/collapse/layers": make(name)})
    assert made == ["first"]
    pictures.finish(run)
    pictures.finish(run)
    assert made == ["first", "third"]


def test_each_picture_has_its_turn_where_time_allows_one_an_evaluation(tmp_path):
    from matplotlib.figure import Figure

    run = trainer([], logger=CSVLogger(tmp_path, name="", version=""))
    made = []
    pictures = Pictures()
    pictures.restart()
    for _ in range(4):
        pictures.budget.spent = 0.0  # one more is free
        pictures.budget.share = 0.0
        pictures.draw(run, {name: lambda name=name: made.append(name) or Figure() for name in "abc"})
    assert made == ["a", "b", "c", "a"]


def test_without_a_logger_nothing_is_drawn(tmp_path):
    pictures = Pictures()
    pictures.draw(trainer([]), {"failures/collapse/layers": lambda: pytest.fail("drawn")})
    pictures.finish(trainer([]))


def test_a_run_of_seconds_draws_at_its_end_what_fits_into_what_all_monitors_may_take(tmp_path):
    from matplotlib.figure import Figure

    monitor = CollapseMonitor(on_error="raise")
    run = trainer([monitor], logger=CSVLogger(tmp_path, name="", version=""))
    run.state.fn = TrainerFn.FITTING
    made = []

    def slowly(name):
        def make():
            made.append(name)
            monitor.guard.seconds += picture.AT_ONCE  # as a slow one takes
            return Figure()

        return make

    monitor.pictures.restart()
    monitor.pictures.draw(run, {name: slowly(name) for name in "abcdefg"})
    assert made == []  # the run may be over in a second
    monitor.guard.seconds = picture.AT_ONCE - picture.A_PICTURE - 0.2
    monitor.pictures.finish(run)
    assert made == ["a"]
    monitor.guard.seconds, made[:] = picture.AT_ONCE, []
    monitor.pictures.restart()
    monitor.pictures.draw(run, {"h": slowly("h")})
    monitor.pictures.finish(run)
    assert made == []


def test_every_picture_of_the_last_evaluation_is_there_at_the_end(tmp_path, monkeypatch):
    monkeypatch.setattr(picture, "FIRST_MINUTE", 0.0)
    layers, simple = CollapseMonitor(on_error="raise"), SimplicityBiasMonitor(budget=1e9, on_error="raise")
    layers.pictures.budget.share = simple.pictures.budget.share = 0.0
    run, _ = fit([layers, simple], epochs=3, logger=CSVLogger(tmp_path, name="", version=""))
    names = drawn(tmp_path)
    last = f"-{run.global_step:08d}.png"
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
