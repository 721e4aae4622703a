"""One image that holds NaN or infinity is left out of a figure and counted; it never makes the figure nan."""

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils.data import DataLoader, TensorDataset

from lightning_failures import (
    CauseMonitor,
    FailureDiagnosis,
    LinearReference,
    PerturbationMonitor,
    failure_monitors,
)
from lightning_failures.functional import (
    class_moments,
    linear_discriminant,
    signal_moments,
)
from tests.runs import Classifier, dataset, fit, loaders
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


def watched(images: Tensor, target: Tensor) -> dict[str, Any]:
    """What a run with every examination leaves, of validation images in one batch."""
    train = DataLoader(dataset(96, seed=2), 16)
    changed = PerturbationMonitor(["darker", "blur"], images=64, budget=1e9, on_error="raise")
    callbacks = [changed, *failure_monitors(budget=1e9, on_error="raise")]
    fit(callbacks, data=(train, DataLoader(TensorDataset(images, target), 60)), epochs=2)
    diagnosis = callbacks[-1]
    assert isinstance(diagnosis, FailureDiagnosis)
    record = diagnosis.record
    return {"values": record.evaluations[-1].values, "not_watched": record.not_watched, "why": record.undefined}


def test_one_image_that_is_not_finite_is_left_out_of_the_examinations_and_that_is_said() -> None:
    images, target = dataset(60, seed=1).tensors
    images[7, 2, 1, 1] = torch.nan
    keep = images.flatten(1).isfinite().all(1)
    spoilt, rest = watched(images, target), watched(images[keep], target[keep])
    assert spoilt["not_watched"] == {"1 of 60 images of the reference batch": "NaN or infinity in them"}
    assert rest["not_watched"] == {}
    parts = ("simplicity/own", "simplicity/transplant", "channels/change", "factors/perturbed", "causes/after/eval")
    for part in parts:
        keys = [key for key in rest["values"] if key.startswith(f"failures/{part}")]
        assert keys, part
        for key in keys:  # all figures of 59 images
            assert spoilt["values"][key] == pytest.approx(rest["values"][key], abs=1e-6, nan_ok=True), key


def test_a_reference_batch_of_images_that_are_all_not_finite_gives_nan_with_that_reason() -> None:
    images, target = dataset(60, seed=1).tensors
    images[:, 2, 1, 1] = torch.nan
    found = watched(images, target)
    why = "every image of the reference batch holds NaN or infinity"
    assert found["not_watched"] == {
        "60 of 60 images of the reference batch": "NaN or infinity in them",
        "which bands the predictions depend on": why,
    }
    for key in ("simplicity/own/1", "causes/gap", "causes/after/evaluation_mode", "factors/perturbed_ratio/blur"):
        assert math.isnan(found["values"][f"failures/{key}"])
        assert found["why"][f"failures/{key}"] == why
    assert "failures/channels/largest_change" not in found["values"]
    assert math.isnan(found["values"]["failures/causes/before/labels"])  # no class is named, not the first one
    assert found["values"]["failures/causes/chance"] == pytest.approx(float(target.bincount().max() / 60))


def test_training_images_that_are_not_finite_are_left_out_of_what_is_reached_on_them() -> None:
    images, target = dataset(80, seed=2).tensors
    images[::4, 0, 0, 0] = torch.inf

    class Cleaned(Classifier):
        def training_step(self, batch: Any, batch_idx: int) -> Tensor:
            return super().training_step((batch[0].nan_to_num(0, 0, 0), batch[1]), batch_idx)

    monitor = CauseMonitor(budget=1e9, on_error="raise")
    fit([monitor], Cleaned(), data=(DataLoader(TensorDataset(images, target), 16), loaders()[1]), epochs=1)
    assert monitor.trained.finite is not None
    assert int((~monitor.trained.finite).sum()) == 20
    experiments = monitor.experiments
    assert experiments is not None
    assert int(experiments.gap.sums.training_seen) == 60
