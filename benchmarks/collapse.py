"""What streamed spectra cost: FeatureSpectrum against the RankMe queue of stable-pretraining, on the same features.

    python benchmarks/collapse.py [--rows 25600] [--features 512 2048] [--json FILE]

Each contender runs in a process of its own. It is fed 256 rows at a time through its own code, then asked for its
result as at the end of an epoch; seconds are of the processor. The queue needs stable-pretraining (0.1.8 was tried) in
the same environment; without it that half is left out, and said so. The bytes of a reduction over ranks are counted on
two gloo processes.
"""

import argparse
import importlib.util
import json
import platform
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch import Tensor
from torchmetrics import Metric

from lightning_failures import FeatureSpectrum
from lightning_failures.functional import rankme, spectrum

BATCH = 256


def batches(rows: int, features: int, rank: int | None) -> Iterator[Tensor]:
    """Features of exact rank ``rank``, or with variances 1/i; 256 rows at a time, so that the data take no memory."""
    generator = torch.Generator().manual_seed(0)
    scale = 1 / torch.arange(1, features + 1).sqrt()
    basis = torch.randn(rank or 1, features, generator=generator)
    for _ in range(rows // BATCH):
        drawn = torch.randn(BATCH, rank or features, generator=generator)
        yield drawn @ basis if rank else drawn * scale


Contender = tuple[Callable[[Tensor], None], Callable[[], float], Callable[[], int]]


def everything(rows: int, features: int) -> Contender:
    """Feed, end of epoch, and bytes held, of the streamed sums: fourteen statistics, RankMe one of them."""
    metric = FeatureSpectrum(features)
    return metric.update, lambda: float(metric.compute()["rankme"]), lambda: sum(s.nbytes for s in metric.sums)


def rankme_alone(rows: int, features: int) -> Contender:
    """The same sums, asked for RankMe alone, which is all that the queue gives."""
    metric = FeatureSpectrum(features)
    return metric.update, lambda: float(rankme(spectrum(metric.outer))), lambda: sum(s.nbytes for s in metric.sums)


def queue(rows: int, features: int) -> Contender:
    """The same of the queue: its own callbacks, called as its trainer calls them."""
    from stable_pretraining.callbacks.rankme import RankMe

    logged: dict[str, float] = {}
    module = SimpleNamespace(
        device=torch.device("cpu"), callbacks_modules=torch.nn.ModuleDict(), log=logged.__setitem__
    )
    trainer = SimpleNamespace(callbacks=[], lightning_module=module, global_rank=0, world_size=1)
    callback = RankMe("rankme", "features", rows, features)
    callback.setup(trainer, module, "fit")
    (buffer,) = trainer.callbacks

    def feed(batch: Tensor) -> None:
        buffer.on_train_batch_end(trainer, module, {}, {"features": batch}, 0)

    def end() -> float:
        buffer.on_validation_epoch_start(trainer, module)
        callback.on_validation_batch_end(trainer, module, {}, {}, 0)
        buffer.on_validation_epoch_end(trainer, module)
        return logged["rankme"]

    return feed, end, lambda: sum(value.nbytes for value in module.callbacks_modules.buffers())


QUEUE = "RankMe queue"
CONTENDERS = {"FeatureSpectrum": everything, "its RankMe alone": rankme_alone, QUEUE: queue}


def resident() -> float:
    """Largest resident memory so far, in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def child(name: str, rows: int, features: int, rank: int | None) -> dict[str, Any]:
    """One contender in this process."""
    torch.linalg.svdvals(torch.randn(64, 64))  # loads the libraries
    torch.linalg.eigvalsh(torch.eye(64, dtype=torch.float64))
    feed, end, held = CONTENDERS[name](rows, features)
    before, fed = resident(), 0.0
    for batch in batches(rows, features, rank):
        start = time.process_time()
        feed(batch)
        fed += time.process_time() - start
    start = time.process_time()
    value = end()
    return {
        "epoch_end_s": time.process_time() - start,
        "feeding_s": fed,
        "held_mb": held() / 2**20,
        "peak_mb": resident() - before,
        "rankme": value,
    }


def run(name: str, rows: int, features: int, rank: int | None = None) -> dict[str, Any]:
    """One contender in a fresh process."""
    command = [sys.executable, __file__, "--child", name, "--rows", str(rows), "--features", str(features)]
    command += ["--rank", str(rank)] if rank else []
    output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return json.loads(output.splitlines()[-1])


def _count(rank: int, folder: str, features: int) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/rendezvous", rank=rank, world_size=2)
    moved: dict[str, int] = {}
    way = ""
    own_reduce, own_gather = dist.all_reduce, dist.all_gather

    def all_reduce(tensor: Tensor, *args: Any, **kwargs: Any) -> Any:
        moved[way] = moved.get(way, 0) + tensor.nbytes
        return own_reduce(tensor, *args, **kwargs)

    def all_gather(into: list[Tensor], *args: Any, **kwargs: Any) -> Any:
        moved[way] = moved.get(way, 0) + sum(tensor.nbytes for tensor in into)
        return own_gather(into, *args, **kwargs)

    dist.all_reduce, dist.all_gather = all_reduce, all_gather
    for name, sync in (("all_reduce", FeatureSpectrum._sync_dist), ("gather_and_stack", Metric._sync_dist)):
        way = name
        metric = FeatureSpectrum(features)
        metric.update(torch.ones(4, features))
        sync(metric)
    if rank == 0:
        (Path(folder) / "bytes.json").write_text(json.dumps(moved))
    dist.barrier()
    dist.destroy_process_group()


def synced(features: int) -> dict[str, int]:
    """Bytes in the buffers of the collectives on each of two ranks: by this package's way, and by torchmetrics' own."""
    with tempfile.TemporaryDirectory() as folder:
        mp.spawn(_count, args=(folder, features), nprocs=2, join=True)
        counted: dict[str, int] = json.loads((Path(folder) / "bytes.json").read_text())
    return counted


def main() -> None:
    """Run all, print a table, write the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=25_600)
    parser.add_argument("--features", type=int, nargs="+", default=[512, 2048])
    parser.add_argument("--rank", type=int)
    parser.add_argument("--child", choices=CONTENDERS)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    if arguments.child:
        print(json.dumps(child(arguments.child, arguments.rows, arguments.features[0], arguments.rank)))
        return
    names = [*CONTENDERS]
    if importlib.util.find_spec("stable_pretraining") is None:
        print("stable-pretraining is not installed here: the queue is left out")
        names.remove(QUEUE)
    figures: dict[str, Any] = {
        "rows": arguments.rows,
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "machine": platform.machine(),
    }
    for features in arguments.features:
        found = {name: run(name, arguments.rows, features) for name in names}
        figures[f"d={features}"] = {**found, "sync_bytes": synced(features)}
        for name, values in found.items():
            print(f"d={features:5} {name:16}", *(f"{key} {value:9.2f}" for key, value in values.items()))
        for name in names[:-1] if QUEUE in found else ():
            ratios = {key: found[QUEUE][key] / found[name][key] for key in found[name] if key != "rankme"}
            figures[f"d={features}"][f"queue over {name}"] = ratios
            print(f"d={features:5} queue over {name}:", *(f"{key} {value:.2f}" for key, value in ratios.items()))
        print(f"d={features:5} bytes in collectives on two ranks", figures[f"d={features}"]["sync_bytes"])
    for rank in (1, 10):
        found = {name: run(name, 10 * BATCH, 2048, rank)["rankme"] for name in names if name != "its RankMe alone"}
        figures[f"exact rank {rank}, d=2048"] = found
        print(f"exact rank {rank}, d=2048: RankMe", found)
    if arguments.json:
        arguments.json.write_text(json.dumps(figures, indent=1) + "\n")


if __name__ == "__main__":
    main()
