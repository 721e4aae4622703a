"""A run of many evaluations holds on to no more at its end than at its beginning: objects, hooks, files, bytes."""

import gc
import os
import weakref
from collections import Counter

import lightning as L
import pytest
import torch
from lightning.pytorch.loggers import CSVLogger
from torch import nn

from lightning_failures import PerturbationMonitor, failure_monitors
from tests.runs import Classifier, fit, hooks_on, table

EVALUATIONS, EARLY, LATE = 150, 60, 140  # before the sixtieth not all parts have been examined
pytestmark = pytest.mark.slow


class Census(L.Callback):
    """Counts, between two evaluations, what lives: tensors and their bytes, modules, other objects, files, hooks."""

    def __init__(self):
        self.counted = {}

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
        if trainer.current_epoch in (EARLY, LATE) and batch_idx == 0:
            gc.collect()
            living = gc.get_objects()
            tensors = [each for each in living if type(each) in (torch.Tensor, nn.Parameter)]
            self.counted[trainer.current_epoch] = {
                "tensors": len(tensors),
                "bytes": sum(tensor.untyped_storage().nbytes() for tensor in tensors),
                "modules": sum(issubclass(type(each), nn.Module) for each in living),
                "weak references": sum(issubclass(type(each), weakref.ref) for each in living),
                "files": len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else 0,
                "hooks": hooks_on(pl_module),
                "kinds": Counter(type(each).__qualname__ for each in living if _is_held(type(each))),
            }


def _is_held(kind):
    """Whether objects of a kind are what a run would hold on to: of torch, Lightning or us, or plain containers."""
    ours = str(kind.__module__).partition(".")[0] in ("lightning_failures", "lightning", "torch", "torchmetrics")
    return ours or kind in (list, dict, tuple, float)


def test_a_hundred_and_fifty_evaluations_hold_on_to_nothing_but_their_figures(tmp_path, monkeypatch):
    monkeypatch.setattr("lightning_failures.callbacks.picture.find_spec", lambda name: None)
    # of an evaluation that is left out one nan stands for all figures, which are as many tensors at the next one
    monkeypatch.setattr("lightning_failures.callbacks.budget.Budget.watches", lambda self, step, last=False: True)
    census = Census()
    monitors = failure_monitors(factors=table(), report_dir=tmp_path / "report", on_error="raise")
    monitors[-1].announce = "nothing"
    watched = [PerturbationMonitor(["darker"], on_error="raise"), *monitors]
    csv = CSVLogger(tmp_path, name="csv")
    fit([*watched, census], Classifier(), epochs=EVALUATIONS, logger=csv, limit_train_batches=2)
    early, late = census.counted[EARLY], census.counted[LATE]
    assert len(monitors[-1].record.evaluations) == EVALUATIONS
    assert late["hooks"] == early["hooks"] == 0
    assert late["files"] <= early["files"]
    assert late["modules"] <= early["modules"]
    assert late["tensors"] <= early["tensors"] + 5
    assert late["bytes"] <= early["bytes"] + 10_000  # a tenth of one evaluation's images
    # what an evaluation leaves is its figures: one entry of the record, one of each course; nothing else is as many
    evaluations = LATE - EARLY
    grown = {kind: late["kinds"][kind] - count for kind, count in early["kinds"].items()}
    own = {"UntypedStorage"}  # of the census: a look at a tensor's storage makes one
    many = {kind for kind, more in grown.items() if more >= evaluations / 2} - own
    assert many <= {"Evaluation", "BandProfile", "list", "dict", "tuple", "float"}, grown
    assert grown["list"] <= 10 * evaluations
    assert grown["dict"] <= 5 * evaluations
