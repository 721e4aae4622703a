"""Channels on several processes: the metrics, one rank without an image, and the monitor under a real Trainer."""

from pathlib import Path
from typing import Any

import lightning as L
import pytest
import torch
from torch import Tensor
from torch.utils.data import DataLoader

from lightning_failures import ChannelAttributionMonitor
from lightning_failures.metrics import ChannelDependence, ChannelSignal
from tests.processes import run_on_processes
from tests.runs import Classifier, dataset
from tests.test_distributed import Outcome, trainer


def shard(rank: int, world: int, changes: Tensor, cuts: list[int]) -> dict[str, Tensor]:
    metric = ChannelDependence([str(band) for band in range(changes.shape[1])])
    rows = changes[cuts[rank] : cuts[rank + 1]]
    signal = ChannelSignal(changes.shape[1] - 1, 1)
    if len(rows):
        metric.update(rows)
        signal.update(rows[:, 1:], rows[:, :1])
    return metric.compute() | signal.spectra()._asdict()


@pytest.mark.slow
@pytest.mark.parametrize(("world", "cuts"), [(2, [0, 9, 11]), (3, [0, 0, 4, 11])])
def test_uneven_and_empty_ranks_give_what_one_process_gives(world: int, cuts: list[int]) -> None:
    changes = torch.randn(11, 4, generator=torch.Generator().manual_seed(0))
    alone = shard(0, 1, changes, [0, 11])
    for values in run_on_processes(world, shard, changes, cuts):
        for key, value in alone.items():
            assert torch.allclose(values[key], value, equal_nan=True), key


def monitored(devices: int) -> dict[str, float]:
    L.seed_everything(3, verbose=False)
    module = Classifier()
    watch = ChannelAttributionMonitor(detail="full", on_error="raise", budget=100.0)
    data = DataLoader(dataset(37, seed=1), batch_size=4)
    return dict(trainer(devices, [watch]).validate(module, data, verbose=False)[0])


@pytest.mark.slow
def test_the_monitor_logs_on_two_processes_with_an_uneven_shard_what_it_logs_on_one() -> None:
    one, two = monitored(1), monitored(2)
    ours = {key for key in one if key.startswith("failures/channels/")}
    assert ours == {key for key in two if key.startswith("failures/channels/")}
    assert two["failures/channels/floor"] >= one["failures/channels/floor"] * (1 - 1e-6)
    for key in sorted(ours):
        if key.split("/")[2] in ("change", "error", "largest_change", "bands"):
            assert two[key] == pytest.approx(one[key], rel=1e-5, abs=1e-8), key


class FailsOnRankOne(ChannelAttributionMonitor):
    """Breaks at its second examination, on the second process only."""

    def examine(self, evaluation: Any, inputs: Tensor) -> None:
        if torch.distributed.get_rank() == 1 and self.examination is not None:
            raise ArithmeticError("a fault of one rank")
        super().examine(evaluation, inputs)


@pytest.mark.slow
def test_steps_and_epochs_are_examined_by_every_rank_and_one_that_fails_retires_all(tmp_path: Path) -> None:
    for kind, failure in (
        (ChannelAttributionMonitor, None),
        (FailsOnRankOne, "it stepped aside on another rank: ArithmeticError: a fault of one rank"),
    ):
        L.seed_everything(3, verbose=False)
        outcome = Outcome(tmp_path / "outcome.pt")
        watch = kind(every_n_steps=2, budget=100.0)
        run = trainer(2, [watch, outcome], max_epochs=2)
        run.fit(Classifier(), DataLoader(dataset(), batch_size=8), DataLoader(dataset(37, seed=1), batch_size=4))
        seen = torch.load(outcome.path)
        assert (seen["epoch"], seen["hooks"]) == (2, 0)
        assert seen["failures"][0] == failure
        assert run.callback_metrics["failures/channels/bands"] == 6
