"""One image that holds NaN or infinity is left out of a figure and counted; it never makes the figure nan."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from lightning_failures import LinearReference
from lightning_failures.functional import (
    class_moments,
    linear_discriminant,
    signal_moments,
)
from tests.test_empty_batches import CASES, N, cases

SPOILT = 3


def each(batch: Any, change: Callable[[Tensor], Tensor]) -> Any:
    """The batch with every tensor changed."""
    if isinstance(batch, Tensor):
        return change(batch)
    if isinstance(batch, dict):
        return {name: each(part, change) for name, part in batch.items()}
    return tuple(each(part, change) for part in batch) if isinstance(batch, tuple | list) else batch


def spoil(value: Tensor, by: float) -> Tensor:
    """With one number of one image that is not finite."""
    if not value.is_floating_point() or len(value) != N:
        return value
    value = value.clone()
    value[SPOILT].view(-1)[0] = by
    return value


def without(value: Tensor) -> Tensor:
    """Without that image."""
    return torch.cat([value[:SPOILT], value[SPOILT + 1 :]]) if len(value) == N else value


@pytest.mark.parametrize("by", [torch.nan, torch.inf, -torch.inf])
@pytest.mark.parametrize("name", CASES)
def test_one_image_that_is_not_finite_makes_no_figure_of_a_metric_nan(name: str, by: float) -> None:
    (spoilt, batch), alone = cases()[name], cases()[name].metric
    spoilt.update(*each(batch, lambda value: spoil(value, by)))
    alone.update(*each(batch, without))
    expected = alone.compute()
    for key, value in spoilt.compute().items():
        assert not value.isnan() or expected[key].isnan(), key


def rows() -> tuple[Tensor, Tensor]:
    target = torch.arange(60) % 3
    return torch.randn(60, 4, generator=torch.Generator().manual_seed(0)) + target[:, None], target


def test_a_linear_reference_is_that_of_the_finite_rows_and_counts_the_others() -> None:
    features, target = rows()
    features[5, 1], features[9, 0] = torch.nan, torch.inf
    keep = features.isfinite().all(1)
    metric = LinearReference(3, 4)
    metric.update(features, target)
    expected = linear_discriminant(class_moments(features[keep], target[keep], 3))
    assert torch.equal(metric.fit().predict(features[keep]), expected.predict(features[keep]))
    assert (int(metric.compute()["rows"]), int(metric.compute()["non_finite"])) == (58, 2)


def test_sums_of_images_are_those_of_the_finite_ones() -> None:
    images = torch.randn(20, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    spoilt, rest = images.clone(), torch.cat([images[:4], images[5:]])
    spoilt[4, 1, 2, 3] = torch.nan
    logits = torch.randn(20, 2, generator=torch.Generator().manual_seed(1))
    for own, other in zip(signal_moments(spoilt, logits), signal_moments(rest, logits[rows_but(4)]), strict=True):
        torch.testing.assert_close(own, other)


def rows_but(place: int) -> Tensor:
    return torch.tensor([row for row in range(20) if row != place])
