"""Run one function on several gloo processes, for tests of distributed equality.

All processes are forked from one server that has torch, Lightning and the package imported already, and nothing else
done: a start takes milliseconds where a new interpreter takes seconds.
"""

import multiprocessing
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from lightning.pytorch.strategies import DDPStrategy, Strategy

PRELOADED = ["torch", "lightning", "lightning_failures", "lightning_failures.callbacks.suite"]
multiprocessing.set_forkserver_preload(PRELOADED)


def strategy(devices: int) -> Strategy | str:
    """Lightning's for so many processes, which are started likewise."""
    return DDPStrategy(start_method="forkserver") if devices > 1 else "auto"


def run_on_processes(world: int, work: Callable[..., Any], *args: Any) -> list[Any]:
    """Call ``work(rank, world, *args)`` on ``world`` gloo processes; return what each rank returned, in order.

    ``work`` is a module-level function (it is pickled); its result is saved with ``torch.save``.
    """
    with tempfile.TemporaryDirectory() as folder:
        mp.start_processes(_enter, args=(world, folder, work, args), nprocs=world, join=True, start_method="forkserver")
        return [torch.load(Path(folder) / f"{rank}.pt", weights_only=False) for rank in range(world)]


def _enter(rank: int, world: int, folder: str, work: Callable[..., Any], args: tuple[Any, ...]) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/rendezvous", rank=rank, world_size=world)
    try:
        result = work(rank, world, *args)
        torch.save(result, Path(folder) / f"{rank}.pt")
        dist.barrier()
    finally:
        dist.destroy_process_group()
