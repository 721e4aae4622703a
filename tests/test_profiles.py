"""Profiles hold this package's functions alone, and are drawn by their share of the time."""

import doctest
from types import SimpleNamespace

import pytest
from PIL import Image


@pytest.fixture
def profiles(benchmark):
    return benchmark("profiles")


def frame(path, function, time, *children):
    return SimpleNamespace(file_path=path, function=function, time=time, children=children)


def test_what_is_not_this_package_counts_for_the_function_that_called_it(profiles):
    inside = frame("/torch/linalg.py", "eigh", 2.0, frame("/a/lightning_failures/data/table.py", "read", 0.5))
    root = frame("/user/train.py", "fit", 9.0, frame("/a/lightning_failures/metrics/base.py", "add", 3.0, inside))
    whole = profiles.Span("all")
    profiles.summed(root, whole)
    assert whole.plain()["calls"] == [
        {
            "name": "metrics.base.add",
            "seconds": 3.0,
            "calls": [{"name": "data.table.read", "seconds": 0.5, "calls": []}],
        }
    ]


def test_a_function_that_calls_itself_is_one_and_what_is_passed_on_to_the_user_is_not_counted(profiles):
    again = frame("/a/lightning_failures/metrics/base.py", "add", 1.0)
    heard = frame("/a/lightning_failures/observe/loss_listener.py", "__torch_function__", 5.0)
    whole = profiles.Span("all")
    profiles.summed(frame("/a/lightning_failures/metrics/base.py", "add", 3.0, again, heard), whole)
    assert whole.plain()["calls"] == [{"name": "metrics.base.add", "seconds": 3.0, "calls": []}]


def test_both_profiles_are_one_picture(profiles, tmp_path):
    span = profiles.Span("all", 2.0, {"metrics.base.add": profiles.Span("metrics.base.add", 1.5)})
    (tmp_path / "one.png").write_bytes(profiles.picture("Sums", {"before": span, "now": profiles.Span("all", 0.1)}))
    with Image.open(tmp_path / "one.png") as drawn:
        assert min(drawn.size) > 300


def test_the_examples_hold(profiles):
    failed, tried = doctest.testmod(profiles)
    assert (failed, tried > 0) == (0, True)
