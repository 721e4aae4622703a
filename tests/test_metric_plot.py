"""``metric.plot()``: every metric draws what it computes, with its intervals."""

from typing import Any

import pytest
import torch
from torch import Tensor
from torchmetrics import Metric

from lightning_failures.errors import InputError, UnknownNameError
from lightning_failures.metrics import FactorErrorRatio, GeneralisationGap, PredictionCollapse, UntappedInformation
from lightning_failures.metrics.base import SumMetric
from lightning_failures.metrics.plot import plot_values
from tests.test_empty_batches import CASES

pyplot = pytest.importorskip("matplotlib.pyplot")


@pytest.fixture(autouse=True)
def agg() -> Any:
    before = pyplot.get_backend()
    pyplot.switch_backend("agg")
    yield
    pyplot.close("all")
    pyplot.switch_backend(before)


def ratios() -> FactorErrorRatio:
    generator = torch.Generator().manual_seed(0)
    metric = FactorErrorRatio(["dark", "pose"])
    target = torch.randint(3, (300,), generator=generator)
    factors = torch.rand(300, 2, generator=generator) > 0.5
    metric.update(torch.randint(3, (300,), generator=generator), target, factors)
    return metric


def drawn(axes: Any) -> dict[str, float]:
    """The dots by the name that stands beside them."""
    names = [label.get_text() for label in axes.get_yticklabels()]
    dots = [line for line in axes.lines if line.get_marker() == "o"]
    return {names[int(line.get_ydata()[0])]: float(line.get_xdata()[0]) for line in dots}


@pytest.mark.parametrize("name", CASES)
def test_every_metric_draws_all_that_it_computes_and_nothing_twice(name: str) -> None:
    metric, batch = CASES[name].metric.clone(), CASES[name].batch
    metric.update(*batch)
    values = metric.compute()
    _, axes = metric.plot()
    shown = [
        label.get_text()
        for one in getattr(axes, "flat", [axes])
        for label in one.get_yticklabels()
        if one.get_visible()
    ]
    bounds = [key for key in values if key.split("/")[0].endswith(("low", "high"))]
    assert len(shown) == len(values) - len(bounds)


def test_a_factor_is_drawn_with_its_interval() -> None:
    metric = ratios()
    values = metric.compute()
    figure, axes = metric.plot(statistic="error_ratio")
    assert figure is axes.figure
    assert axes.get_title() == "Error ratio of a factor"
    found = drawn(axes)
    assert found == {key.split("/")[1]: float(values[key]) for key in values if key.startswith("error_ratio/")}
    (whisker,) = [each for each in axes.collections if each.get_segments()[0][0][1] == 0]
    assert whisker.get_segments()[0][:, 0].tolist() == [float(values["low/dark"]), float(values["high/dark"])]
    assert next(text.get_text() for text in axes.texts) == f"{float(values['error_ratio/dark']):.3g}"


@pytest.mark.parametrize("metric", [ratios, UntappedInformation, GeneralisationGap])
def test_an_interval_belongs_to_the_statistic_that_stands_before_it(metric: Any) -> None:
    made = metric()
    right = torch.arange(200) % 4 != 0
    if isinstance(made, UntappedInformation):
        made.update(torch.zeros(200).long(), right.long(), torch.ones(200).long())
    if isinstance(made, GeneralisationGap):
        made.update(torch.ones(200).long(), torch.ones(200).long(), True)
        made.update(torch.ones(200).long(), right.long(), False)
    _, axes = made.plot()
    whiskers = 0
    for one in axes.flat:
        dots = [float(line.get_xdata()[0]) for line in one.lines if line.get_marker() == "o"]
        for each in one.collections:
            (low, row), (high, _) = each.get_segments()[0]
            assert low <= dots[int(row)] <= high
            whiskers += 1
    assert whiskers >= 1


def test_values_of_several_evaluations_are_lines() -> None:
    metric = PredictionCollapse(3)
    course = []
    for shift in (0.0, 3.0):
        metric.reset()
        metric.update(torch.eye(3).repeat(4, 1) + torch.tensor([shift, 0, 0]), torch.arange(3).repeat(4))
        course.append(metric.compute())
    _, axes = metric.plot(course, statistic="accuracy")
    (line,) = axes.lines
    assert line.get_ydata().tolist() == [float(values["accuracy"]) for values in course]
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["Accuracy"]


def test_axes_of_ones_own_hold_the_first_panel() -> None:
    _, mine = pyplot.subplots()
    figure, axes = ratios().plot(ax=mine)
    assert (figure, axes) == (None, mine)
    assert axes.get_title() == "Error ratio of a factor"


def test_a_metric_of_a_single_value_is_drawn_as_torchmetrics_draws_it() -> None:
    class One(SumMetric[Any]):
        def update(self) -> None:
            """Nothing."""

        def compute(self) -> Tensor:  # type: ignore[override]
            return torch.tensor(0.25)

    metric = One(ratios().sums)
    _, axes = metric.plot()
    assert axes.lines[0].get_ydata()[0] == 0.25
    assert metric.plot([torch.tensor(0.25), torch.tensor(0.5)])[1].get_xlabel() == "Step"
    assert One.plot is not Metric.plot


def test_what_cannot_be_drawn_is_told() -> None:
    with pytest.raises(UnknownNameError) as unknown:
        ratios().plot(statistic="ratio")
    assert str(unknown.value).startswith(
        "FactorErrorRatio.plot: no such statistic; given 'ratio'. Use one of error_ratio, p_value, images, errors, "
    )
    with pytest.raises(InputError, match=r"^it: there is nothing to draw; given an empty sequence\."):
        plot_values("it", [], FactorErrorRatio.terms)


def test_what_is_undefined_is_said_and_not_drawn() -> None:
    _, axes = FactorErrorRatio(["dark"]).plot(statistic="error_ratio")
    assert drawn(axes) == {}
    assert {text.get_text() for text in axes.texts} == {"undefined"}
