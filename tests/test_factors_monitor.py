"""The monitor of factors on tiny Lightning runs: its tables, and its pictures under a name of its own."""

import json
from types import SimpleNamespace

import pytest
import torch
from lightning.pytorch.loggers import CSVLogger

from lightning_failures import FactorErrorMonitor
from tests.runs import CLASSES, dataset, fit, table


def rows_of(folder, key):
    (path,) = folder.glob(f"failures/**/{key}.jsonl")
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_the_worst_classes_stand_in_a_table_with_the_interval_of_their_errors(tmp_path):
    _, module = fit([FactorErrorMonitor(table(), on_error="raise")], logger=CSVLogger(tmp_path, name="", version=""))
    images, labels = dataset(30, seed=1).tensors
    with torch.no_grad():
        wrong = module.eval().net(images).argmax(1) != labels
    last = [row for row in rows_of(tmp_path, "classes") if row["epoch"] == 1]
    assert {row["class"]: (row["errors"], row["images"]) for row in last} == {
        c: (int(wrong[labels == c].sum()), int((labels == c).sum())) for c in range(CLASSES)
    }
    assert [row["error"] for row in last] == sorted((row["error"] for row in last), reverse=True)
    assert all(row["low"] <= row["error"] <= row["high"] for row in last)


def test_a_named_monitor_draws_and_logs_under_its_name(tmp_path):
    pytest.importorskip("matplotlib")
    monitor = FactorErrorMonitor(table(), name="light", budget=None, on_error="raise")
    run, _ = fit([monitor], logger=CSVLogger(tmp_path, name="", version=""))
    assert "failures/light/error_ratio/dark" in run.callback_metrics
    assert {path.parent.name for path in tmp_path.rglob("*.png")} == {"light"}
    assert {row["factor"] for row in rows_of(tmp_path, "table")} == {"bright", "dark"}


def test_the_upper_end_of_the_odds_is_left_to_the_metric():
    monitor = FactorErrorMonitor(table(), on_error="raise")
    run, _ = fit([monitor], epochs=1)
    assert not any("odds_high" in key for key in (*run.callback_metrics, *monitor.undefined))
    assert "odds_high/dark" in monitor.counted.ratios.compute()


def test_a_process_that_saw_no_batch_counts_with_what_the_others_describe():
    seen, unseen = (FactorErrorMonitor(table(), on_error="raise") for _ in range(2))
    assert unseen.describe() is None
    fit([seen], epochs=1)
    assert seen.describe() == (("bright", "dark"), CLASSES)
    unseen.build(seen.describe())
    values = unseen.compute(SimpleNamespace(epoch=0, fitting=True))
    assert values.keys() == seen.values.keys()
    assert values["error/all"].isnan()
    assert values["images/all"] == 0
    assert unseen.counted.classes.rows == []
