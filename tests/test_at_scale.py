"""Costs are measured size by size, and what grows faster than linear is named with its reason."""

import doctest
import json
import math
import time

import pytest
import torch


@pytest.fixture
def at_scale(benchmark):
    return benchmark("at_scale")


@pytest.mark.parametrize("power", [0.5, 1, 2, 3])
def test_the_exponent_of_a_power_is_the_power(at_scale, power):
    sizes = [3, 6, 12, 24]
    assert at_scale.exponent(sizes, [size**power for size in sizes]) == pytest.approx(power)


def test_a_cost_of_nothing_has_no_exponent(at_scale):
    assert math.isnan(at_scale.exponent([1, 2, 4, 8], [0.0, 0.0, 0.0, 1.0]))
    assert math.isnan(at_scale.exponent([1, 2, 4, 8], [1.0, math.nan, 1.0, 1.0]))


def row(at_scale, costs, axis="classes", reason="all pairs"):
    made = at_scale.Row("Pairs", axis, (1, 2, 4, 8), lambda size: lambda: None, reason)
    return made, [at_scale.Measured(*each) for each in costs]


def test_what_grows_faster_than_linear_is_named_where_it_is_no_trifle(at_scale):
    faster = at_scale.faster
    assert faster(*row(at_scale, [(0.1 * 4**k, 10.0) for k in range(4)])) == "time"
    assert faster(*row(at_scale, [(1e-6 * 4**k, 10.0 * 4**k) for k in range(4)])) == "memory"
    assert faster(*row(at_scale, [(0.1 * 2**k, 10.0 * 2**k) for k in range(4)])) == ""
    assert faster(*row(at_scale, [(0.1 * 4**k, 10.0 * 4**k) for k in range(4)], axis="side")) == ""


def test_the_page_lists_each_row_and_the_reasons(at_scale):
    page = at_scale.page([row(at_scale, [(0.1 * 4**k, 10.0) for k in range(4)])])
    assert "| Pairs | 1 to 8 classes | 100 / 400 / 1,600 / 6,400 | 2.0 | 10 | 0.0 |" in page
    assert "| Pairs | classes | time | all pairs |" in page
    assert "Nothing does." in at_scale.page([row(at_scale, [(0.1, 10.0)] * 4)])


def test_time_and_memory_are_those_of_the_work_and_not_of_its_data(at_scale):
    def make(size):
        before = torch.zeros(size << 17)  # in MB: size / 2

        def work():
            ends = time.process_time() + 0.2
            while time.process_time() < ends:
                torch.ones(size << 18).add_(before.mean())  # in MB: size

        return work

    found = at_scale.run(at_scale.Row("work", "size", (64,), make), 64)
    assert found.seconds == pytest.approx(0.2, rel=0.5)
    assert math.isnan(found.megabytes) or 60 < found.megabytes < 90


def test_every_row_can_be_made_and_run_at_its_smallest(at_scale):
    for rows in at_scale.ROWS_OF.values():
        for one in rows:
            assert len(one.sizes) == 4
            assert list(one.sizes) == sorted(one.sizes)
            if one.sizes[0] < 1000:
                one.make(one.sizes[0])()


def test_the_command_writes_a_page_and_the_figures(at_scale, monkeypatch, tmp_path, capsys):
    few = at_scale.Row("InputStatistics", "channels", (1, 2, 4, 8), at_scale.input_statistics)
    monkeypatch.setattr(at_scale, "ROWS_OF", {"channels": (few,)})
    page, figures = tmp_path / "page.md", tmp_path / "figures.json"
    at_scale.main(["--page", str(page), "--json", str(figures)])
    assert "InputStatistics by channels: " in capsys.readouterr().out
    assert "| InputStatistics | 1 to 8 channels |" in page.read_text()
    (one,) = json.loads(figures.read_text())
    assert [each["seconds"] > 0 for each in one["costs"]] == [True] * 4


def test_a_size_that_breaks_off_is_told(at_scale):
    def broken(size):
        raise SystemExit(3)

    with pytest.raises(RuntimeError, match="Pairs by classes broke off at 8"):
        at_scale.run(at_scale.Row("Pairs", "classes", (1, 2, 4, 8), broken), 8)


def test_the_examples_run(at_scale):
    failed, tried = doctest.testmod(at_scale)
    assert (failed, tried > 0) == (0, True)
