"""The collapse monitor by class, by factor, and between layers."""

import math

import lightning as L
import pytest
import torch

from lightning_failures import CollapseMonitor, FactorTable, GroupedDimension
from tests.runs import CLASSES, fit, table

KEY = "failures/collapse/"


def test_dimensions_by_class_and_by_factor_are_those_of_the_features_of_these_images():
    monitor = CollapseMonitor(factors=table(), by_class=True, on_error="raise")
    kept = []

    class Keep(L.Callback):
        def on_validation_batch_end(self, trainer, module, outputs, batch, batch_idx, dataloader_idx=0):
            with torch.no_grad():
                kept.append((module.net[:-1](batch[0]), batch[1]))

    run, _ = fit([monitor, Keep()], epochs=1, num_sanity_val_steps=0)
    features, labels = (torch.cat(parts) for parts in zip(*kept, strict=True))
    for label in range(CLASSES):
        expected = GroupedDimension(["one"], features.shape[1])
        expected.update(features[labels == label], torch.zeros(int((labels == label).sum()), dtype=torch.int64))
        found = run.callback_metrics[f"{KEY}class_dimension/{label}"]
        assert float(found) == pytest.approx(float(expected.compute()["dimension/one"]), rel=1e-5, nan_ok=True)
    bright = table().values[:, 0]
    expected = GroupedDimension(["one"], features.shape[1])
    expected.update(features[bright], torch.zeros(int(bright.sum()), dtype=torch.int64))
    found = run.callback_metrics[KEY + "factor_dimension/bright"]
    assert float(found) == pytest.approx(float(expected.compute()["dimension/one"]), rel=1e-5, nan_ok=True)
    assert KEY + "class_dimension/median" in run.callback_metrics


def test_a_group_of_too_few_images_has_no_dimension_and_says_why():
    few = FactorTable(("three",), torch.arange(30)[:, None] < 3)
    monitor = CollapseMonitor(factors=few, on_error="raise")
    run, _ = fit([monitor], epochs=1)
    assert math.isnan(run.callback_metrics[KEY + "factor_dimension/three"])
    assert monitor.undefined["factor_dimension/three"].startswith("fewer than four finite rows")


def test_layers_are_compared_with_each_other_on_the_same_images():
    monitor = CollapseMonitor(["net.0", "net.1", "penultimate"], similarity=True, on_error="raise")
    run, _ = fit([monitor], epochs=1)
    found = {key: float(value) for key, value in run.callback_metrics.items() if key.startswith(KEY + "cka/")}
    assert set(found) == {KEY + f"cka/{pair}" for pair in ("net.0~net.1", "net.0~penultimate", "net.1~penultimate")}
    assert all(0 <= value <= 1 + 1e-9 for value in found.values())
    assert run.callback_metrics[KEY + "images/net.0"] == 30
