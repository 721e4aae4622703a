"""The simplicity monitor on two gloo processes of a real Trainer, with an uneven shard."""

import lightning as L
import pytest
import torch
from torch.utils.data import DataLoader, TensorDataset

from lightning_failures import SimplicityBiasMonitor
from tests.test_distributed import trainer
from tests.test_simplicity_monitor import KEY, Fixed, scene, thick

pytestmark = pytest.mark.slow

#: Of pairs within a rank, and of draws for the images of a rank.
OF_A_RANK = (
    "own",
    "donor",
    "pixel_",
    "transplant",
    "pairs",
    "reliance",
    "without",
    "all_there_is",
    "decision_",
    "class_",
    "reliant_",
)


class Keeps(L.Callback):
    """Brings back what the first process logged and fixed."""

    def __init__(self, path, monitor):
        self.path, self.monitor = path, monitor

    def on_fit_end(self, trainer, pl_module):
        if trainer.is_global_zero:
            logged = {key: float(value) for key, value in trainer.callback_metrics.items() if key.startswith(KEY)}
            torch.save({"logged": logged, "fixed": self.monitor.models.state_dict()}, self.path)


def watched(devices, folder):
    data = DataLoader(TensorDataset(*scene(160)), batch_size=20)
    held = DataLoader(TensorDataset(*scene(74, seed=1)), batch_size=10)
    monitor = SimplicityBiasMonitor({"thickness": "2"}, budget=1e9, images=160, on_error="raise")
    L.seed_everything(3, verbose=False)
    path = folder / f"{devices}.pt"
    run = trainer(devices, [monitor, Keeps(path, monitor)], max_epochs=2, num_sanity_val_steps=0)
    run.fit(Fixed(thick), data, held)
    return torch.load(path)


def test_two_processes_with_an_uneven_shard_log_the_ladder_and_the_cues_of_one(tmp_path):
    first, second = watched(1, tmp_path), watched(2, tmp_path)
    one, two = ({key.removeprefix(KEY): v for key, v in part["logged"].items()} for part in (first, second))
    assert one["images"] == two["images"] == 74
    same = [{key for key in part if not key.startswith(("transplant", "reliance", "without"))} for part in (one, two)]
    assert same[0] == same[1]  # which parts are looked at goes by what was found, and half the images may be too few
    sums = [key for key in one if not key.startswith(OF_A_RANK)]
    assert {"reach/thickness", "eta2/thickness", "explained_adjusted/low_frequencies", "difference"} <= set(sums)
    for key in sorted(sums):
        assert two[key] == pytest.approx(one[key], rel=1e-5, abs=1e-6, nan_ok=True), key
    assert one["pairs"] == two["pairs"] == 74
    for key in ("own/1", "own/2", "pixel_own/1", "transplant/total_absorbance"):
        assert two[key] == pytest.approx(one[key], abs=0.1), key
    for name, cut in first["fixed"]["bins"].items():
        torch.testing.assert_close(second["fixed"]["bins"][name], cut)
    torch.testing.assert_close(second["fixed"]["tensors"], first["fixed"]["tensors"], rtol=1e-6, atol=1e-8)
