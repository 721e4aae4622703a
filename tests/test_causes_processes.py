"""Groups of validation images are compared over two gloo processes as in one."""

import math

import lightning as L
import pytest
import torch
from torch.utils.data import DataLoader, TensorDataset

from lightning_failures import CauseMonitor, FactorTable
from tests.processes import strategy
from tests.quarters import Net, images

pytestmark = pytest.mark.slow

CARRIED = torch.stack([torch.arange(61) % 3 == 0, torch.arange(61) % 2 == 0, torch.arange(61) < 4], 1)
GROUPS = [("b" if own else "few" if row > 56 else "a") for row, own in enumerate(CARRIED[:, 0].tolist())]


class Still(Net):
    """It knows the classes by the brightest quarter, and learns nothing."""

    def __init__(self):
        super().__init__()
        with torch.no_grad():
            self.net[0].weight.fill_(0.1)
            self.net[0].bias.zero_()
            self.net[4].weight.copy_(torch.eye(4).repeat(1, 8))
            self.net[4].bias.copy_(torch.tensor([0.0, 0.1, 0.2, 0.3]))

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.0)


class Outcome(L.Callback):
    """Brings back what each process logged."""

    def __init__(self, path):
        self.path = path

    def on_fit_end(self, trainer, pl_module):
        (monitor,) = (each for each in trainer.callbacks if isinstance(each, CauseMonitor))
        values = {key: float(value) for key, value in monitor.values.items()}
        torch.save((values, dict(monitor.undefined)), f"{self.path}.{trainer.global_rank}")


def watched(path, devices):
    """One study is on another scale, another lacks the first channel, and all of validation lacks the last."""
    inputs, target = images(61, 1)
    inputs = torch.where(CARRIED[:, 0, None, None, None], 0.05 * inputs - 1, inputs)
    inputs[CARRIED[:, 1], 0] = 0
    inputs[:, 2] = 0
    monitor = CauseMonitor(
        FactorTable(("study_b", "old", "rare"), CARRIED), groups=GROUPS, budget=1e9, on_error="raise"
    )
    run = L.Trainer(
        accelerator="cpu",
        devices=devices,
        strategy=strategy(devices),
        callbacks=[monitor, Outcome(path)],
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        max_epochs=2,
    )
    train = DataLoader(TensorDataset(*images(64, 0)), batch_size=8)
    run.fit(Still(), train, DataLoader(TensorDataset(inputs, target), batch_size=4))
    return [torch.load(f"{path}.{rank}") for rank in range(devices)]


def shared(values):
    """What does not hang on which images a process has: contents of training images are given by those of its own."""
    return {key: value for key, value in values.items() if "training_content" not in key and key != "undecided"}


def test_two_processes_compare_and_mend_the_groups_as_one_does(tmp_path):
    ((one, reasons),) = watched(tmp_path / "one", 1)
    for values, undefined in watched(tmp_path / "two", 2):
        assert undefined["factor_channels/rare"] == reasons["factor_channels/rare"]
        assert list(values) == list(one)
        assert shared(values) == pytest.approx(shared(one), rel=1e-6, abs=1e-9, nan_ok=True)
    assert one["factor_share/study_b"] > 0.5
    assert one["factor_undone/study_b"] == 0
    assert one["group_share/b"] > 0.5
    assert "group_channels/few" not in one
    assert one["factor_constant_channel/old"] == 0
    assert one["before/constant_channels"] == one["after/constant_channels"] == 1  # by the other two
    assert one["faults/empty in validation only"] == 2
    assert math.isnan(one["factor_channels/rare"])
