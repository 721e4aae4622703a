"""The channel metric on several processes, one of them without an image."""

import pytest
import torch
from torch import Tensor

from lightning_failures.metrics.channels import ChannelDependence, ChannelSignal
from tests.processes import run_on_processes


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
