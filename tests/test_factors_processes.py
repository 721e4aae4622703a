"""Every factor metric on two and three processes, in one spawn each: equal to one process, to the last digit."""

from typing import Any

import pytest
import torch
from torch import Tensor
from torchmetrics import Metric

from lightning_failures import (
    ClassAdjustedErrorRatio,
    FactorCalibration,
    FactorErrorRatio,
    FactorInteraction,
    FactorTrend,
    LabelErrors,
    PairedErrorRatio,
    WorstClasses,
)
from tests.processes import run_on_processes

NAMES = ["blurred", "dark", "rare"]
IMAGES, CLASSES = 97, 5


def batch() -> dict[str, Tensor]:
    """All images; the factor "rare" is carried by the last two only, so that it is absent from the first shard."""
    generator = torch.Generator().manual_seed(0)
    target = torch.randint(CLASSES, (IMAGES,), generator=generator)
    scores, others = torch.randn(2, IMAGES, CLASSES, generator=generator)
    scores[torch.arange(IMAGES), target] += 1
    factors = torch.rand(IMAGES, 3, generator=generator) < torch.tensor([0.5, 0.2, 0.0])
    factors[-2:, 2] = True
    values = torch.rand(IMAGES, 2, generator=generator)
    return {
        "scores": scores,
        "others": others,
        "target": target,
        "factors": factors,
        "values": values,
        "labels": others > 0,
        "confidence": scores.softmax(1).amax(1),
        "groups": torch.randint(12, (IMAGES,), generator=generator),
    }


def metrics() -> dict[str, tuple[Metric, tuple[str, ...]]]:
    """Each metric with the names of what its update takes."""
    usual = ("scores", "target", "factors")
    return {
        "ratio": (FactorErrorRatio(NAMES), usual),
        "top 2": (FactorErrorRatio(NAMES, top_k=2), usual),
        "adjusted": (ClassAdjustedErrorRatio(NAMES, CLASSES), usual),
        "paired": (PairedErrorRatio(NAMES), ("scores", "others", "target", "factors")),
        "interaction": (FactorInteraction(NAMES), usual),
        "calibration": (FactorCalibration(NAMES), usual),
        "calibration by group": (FactorCalibration(NAMES), (*usual, "confidence", "groups")),
        "trend": (FactorTrend({"light": [0.3, 0.6], "size": [0.5]}), ("scores", "target", "values")),
        "classes": (WorstClasses(CLASSES, k=2), ("scores", "target")),
        "labels": (LabelErrors(CLASSES), ("scores", "labels")),
    }


def measure(rank: int, world: int, shards: list[list[slice]]) -> dict[str, float]:
    """Every value of every metric, over the batches of this rank's shard."""
    data, results = batch(), {}
    for title, (metric, fields) in metrics().items():
        for rows in shards[rank]:
            metric.update(*(data[field][rows] for field in fields))
        results |= {f"{title}: {key}": float(value) for key, value in metric.compute().items()}
    return results


def same(one: dict[str, float], other: dict[str, float]) -> bool:
    return repr(one) == repr(other)  # every digit, and nan like nan


WHOLE = [[slice(0, IMAGES)]]


@pytest.mark.slow
@pytest.mark.parametrize(
    "shards",
    [[[slice(0, 31)], [slice(31, 97)]], [[slice(0, 20), slice(20, 50)], [], [slice(50, 97)]]],
    ids=["two, uneven", "three, one of them empty"],
)
def test_processes_agree_with_one_to_the_last_digit(shards: list[list[slice]]) -> None:
    expected = measure(0, 1, WHOLE)
    for result in run_on_processes(len(shards), measure, shards):
        assert same(result, expected)


def test_any_cut_and_order_of_the_data_agrees_to_the_last_digit() -> None:
    order = torch.randperm(IMAGES, generator=torch.Generator().manual_seed(1)).split([0, 1, 6, 40, 50])
    assert same(measure(0, 1, [list(order)]), measure(0, 1, WHOLE))  # type: ignore[list-item]


class Meta(torch.utils._python_dispatch.TorchDispatchMode):
    """Fails where a value is read or a size depends on values, as either would stop a device."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        assert func not in (torch.ops.aten._local_scalar_dense.default, torch.ops.aten.nonzero.default), func
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("title", metrics())
def test_update_never_stops_the_device(title: str) -> None:
    metric, fields = metrics()[title]
    data = {name: value.to("meta") for name, value in batch().items()}
    metric.to("meta")
    with Meta():
        metric.update(*(data[field] for field in fields))


@pytest.mark.parametrize("title", metrics())
def test_a_cast_module_and_a_reset_leave_the_counts_alone(title: str) -> None:
    metric, fields = metrics()[title]
    data = batch()
    results = []
    for cast in (metric.float, metric.half, metric.double):
        cast().reset()
        metric.update(*(data[field] for field in fields))
        results.append(repr({key: float(value) for key, value in metric.compute().items()}))
    assert results[0] == results[1] == results[2]
