"""When a monitor draws: at once, as time allows, and at the end of the run what is left."""

import pytest
from lightning.pytorch.loggers import CSVLogger

from lightning_failures import CollapseMonitor, SimplicityBiasMonitor
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


def test_every_picture_of_the_last_evaluation_is_there_at_the_end(tmp_path):
    layers, simple = CollapseMonitor(on_error="raise"), SimplicityBiasMonitor(budget=1e9, on_error="raise")
    layers.pictures.budget.share = simple.pictures.budget.share = 0.0
    run, _ = fit([layers, simple], epochs=3, logger=CSVLogger(tmp_path, name="", version=""))
    names = drawn(tmp_path)
    last = f"-{run.global_step:08d}.png"
    assert f"layers{last}" in names
    assert {f"{name}{last}" for name in ("ladder", "retention_figure", "ring_figure")} <= set(names), names
