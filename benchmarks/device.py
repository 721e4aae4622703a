"""What the monitors take of a training on a device: time, synchronisations, and whether the weights stay the same.

    python benchmarks/device.py [--model resnet18] [--pixels 64] [--batch 256] [--images 25600] [--held 5120]
        [--epochs 8] [--repeats 1] [--modes fp32 bf16 compiled graphs] [--device auto]
        [--json device.json] [--page docs/device.md]

On a GPU where there is one, else on the processor. A timm network is trained by a Lightning Trainer on random images
that lie on the device, so that loading hides nothing, once without and once with ``failure_monitors()`` as they come,
turn about. *fp32*: single precision; *bf16*: Lightning's ``bf16-mixed``; *compiled*: ``torch.compile``; *graphs*:
``torch.compile(mode="reduce-overhead")``, which replays CUDA graphs.

Three questions for each:

- *time*: the seconds of the run with the monitors over those without, and the seconds that they count themselves. What
  compiling takes is in both; the middle epoch after the first two is without it.
- *synchronisations*: torch warns of each call that waits for the device; in a run of its own those are counted that
  come from this package, for one training batch and one validation batch, and in between, where evaluations end.
- *weights*: two runs with deterministic kernels, one with the monitors: whether all parameters and buffers are bitwise
  the same.
"""

import argparse
import json
import math
import os
import platform
import statistics
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # before CUDA begins: kernels that repeat bitwise

import lightning as L
import timm
import torch
from shares import table
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

import lightning_failures as lf
from lightning_failures.callbacks.monitor import Monitor

MODES = {"fp32": "32-true", "bf16": "bf16-mixed", "compiled": "32-true", "graphs": "32-true"}
PACKAGE = str(Path(lf.__file__).parent)
CLASSES = 10


class OnDevice(Dataset[tuple[Tensor, Tensor]]):
    """Random images of ten classes that lie on a device; whole batches are taken at once."""

    def __init__(self, images: int, pixels: int, device: torch.device, seed: int) -> None:
        generator = torch.Generator(device).manual_seed(seed)
        self.labels = torch.arange(images, device=device) % CLASSES
        pattern = (
            torch.randn(CLASSES, 3, 4, 4, device=device, generator=torch.Generator(device).manual_seed(0))
            .repeat_interleave(pixels // 4, 2)
            .repeat_interleave(pixels // 4, 3)
        )
        self.images = torch.randn(images, 3, pixels, pixels, generator=generator, device=device)
        self.images += 0.2 * pattern[self.labels]

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        return self.images[index], self.labels[index]

    def __getitems__(self, rows: list[int]) -> tuple[Tensor, Tensor]:
        """A whole batch, which ``as_it_is`` passes on."""
        some = torch.tensor(rows, device=self.labels.device)
        return self.images[some], self.labels[some]


def as_it_is(batch: Any) -> Any:
    """A batch that is one already; rows that came one by one are put together."""
    return batch if isinstance(batch, tuple) else torch.utils.data.default_collate(batch)


class Classifier(L.LightningModule):
    """An ordinary classifier, compiled where that is asked for."""

    def __init__(self, model: str, mode: str) -> None:
        super().__init__()
        network = timm.create_model(model, num_classes=CLASSES)
        how = {"compiled": "default", "graphs": "reduce-overhead"}.get(mode)
        self.net = network if how is None else torch.compile(network, mode=how)

    def training_step(self, batch: Any, _: int) -> Tensor:
        """The loss of a batch."""
        return nn.functional.cross_entropy(self.net(batch[0]), batch[1])

    def validation_step(self, batch: Any, _: int) -> None:
        """A forward pass."""
        self.net(batch[0])

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Plain SGD."""
        return torch.optim.SGD(self.parameters(), 0.02, momentum=0.9)


class Clock(L.Callback):
    """Seconds at the start of training and at the end of each epoch, once the device has done its work."""

    def __init__(self) -> None:
        self.at: list[float] = []

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Begin to count."""
        self._note(pl_module)

    def on_train_epoch_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """An epoch ends where the next begins."""
        if trainer.current_epoch:
            self._note(pl_module)

    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """The last epoch; what callbacks before this one do at the end is in it."""
        self._note(pl_module)

    def _note(self, module: L.LightningModule) -> None:
        if module.device.type == "cuda":
            torch.cuda.synchronize()
        self.at.append(time.perf_counter())


class Waits(L.Callback):
    """Counts the calls of this package that wait for the device: in training and validation batches, and between.

    It stands before the monitors, so that a batch begins with it; ``end``, behind them, ends the batch.
    """

    def __init__(self) -> None:
        self.phase, self.batches = "first", Counter[str]()
        self.of_ours, self.where = Counter[str](), Counter[str]()
        self.end = BatchEnd(self)

    def seen(self, message: Any, category: type[Warning], *_: Any, **__: Any) -> None:
        """In place of ``warnings.showwarning``."""
        if "synchronizing CUDA operation" not in str(message):
            return
        ours = [frame for frame in traceback.extract_stack() if frame.filename.startswith(PACKAGE)]
        if ours:
            self.of_ours[self.phase] += 1
            self.where[f"{self.phase}: {ours[-1].filename[len(PACKAGE) + 1 :]}:{ours[-1].lineno}"] += 1

    def enter(self, trainer: L.Trainer, phase: str) -> None:
        """Another phase begins."""
        first = trainer.current_epoch == 0  # where all is seen for the first time
        self.phase = "first" if first else phase
        self.batches[self.phase] += 1

    def on_train_batch_start(self, trainer: L.Trainer, *_: Any) -> None:
        """A training batch begins."""
        self.enter(trainer, "training batch")

    def on_validation_batch_start(
        self, trainer: L.Trainer, pl_module: L.LightningModule, batch: Any, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        """A validation batch begins; behind the last one an evaluation ends, with whatever is examined then."""
        last = batch_idx + 1 == trainer.num_val_batches[dataloader_idx]
        self.enter(trainer, "between" if last else "validation batch")


class BatchEnd(L.Callback):
    """Says where a batch has ended, for the monitors too."""

    def __init__(self, waits: Waits) -> None:
        self.waits = waits

    def on_train_batch_end(self, trainer: L.Trainer, *_: Any) -> None:
        """What follows belongs to no batch."""
        self.waits.enter(trainer, "between")

    def on_validation_batch_end(self, trainer: L.Trainer, *_: Any) -> None:
        """Likewise."""
        self.waits.enter(trainer, "between")


def train(
    options: argparse.Namespace,
    mode: str,
    watched: bool,
    epochs: int,
    before: Sequence[L.Callback] = (),
    after: Sequence[L.Callback] = (),
) -> Any:
    """Train once, with callbacks before and behind the monitors; gives the module and the monitors."""
    torch._dynamo.reset()
    L.seed_everything(0, verbose=False)
    device = torch.device(options.device)
    callbacks: list[L.Callback] = lf.failure_monitors() if watched else []
    for each in callbacks:
        if hasattr(each, "announce"):
            each.announce = "nothing"
    module = Classifier(options.model, mode)
    trainer = L.Trainer(
        max_epochs=epochs,
        accelerator="gpu" if device.type == "cuda" else "cpu",
        devices=1,
        precision=MODES[mode],  # type: ignore[arg-type]
        callbacks=[*before, *callbacks, *after],
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
    )
    held, some = (OnDevice(n, options.pixels, device, seed) for n, seed in ((options.held, 1), (options.images, 2)))
    loaders = (
        DataLoader(some, options.batch, shuffle=True, drop_last=True, collate_fn=as_it_is),
        DataLoader(held, options.batch, collate_fn=as_it_is),
    )
    trainer.fit(module, *loaders)
    return module, callbacks


def timed(options: argparse.Namespace, mode: str) -> dict[str, Any]:
    """Seconds with and without, turn about."""
    runs: dict[bool, list[float]] = {False: [], True: []}
    epochs: dict[bool, list[float]] = {False: [], True: []}
    own: list[float] = []
    for turn in range(options.repeats):
        for watched in (False, True) if turn % 2 == 0 else (True, False):
            clock = Clock()
            _, callbacks = train(options, mode, watched, options.epochs, after=[clock])
            runs[watched].append(clock.at[-1] - clock.at[0])
            epochs[watched] += [after - before for before, after in pairwise(clock.at)][2:-1]
            if watched:
                own.append(sum(each.guard.seconds for each in callbacks if isinstance(each, Monitor)))
    bare, watched_run = statistics.median(runs[False]), statistics.median(runs[True])
    return {
        "seconds without": bare,
        "seconds with": watched_run,
        "share of the run": watched_run / bare - 1,
        "own count": statistics.median(own) / bare,
        "share of a middle epoch": (
            statistics.median(epochs[True]) / statistics.median(epochs[False]) - 1 if epochs[True] else math.nan
        ),
    }


def waits(options: argparse.Namespace, mode: str) -> dict[str, Any]:
    """Calls of this package that wait for the device, one batch; nan on a processor, which is never waited for."""
    if torch.device(options.device).type != "cuda":
        return {}
    found = Waits()
    shown = warnings.showwarning
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.showwarning = found.seen
        torch.cuda.set_sync_debug_mode("warn")
        try:
            train(options, mode, True, 3, [found], [found.end])
        finally:
            torch.cuda.set_sync_debug_mode("default")
            warnings.showwarning = shown
    phases = ("training batch", "validation batch")
    return {
        "waits": {phase: found.of_ours[phase] / max(found.batches[phase], 1) for phase in phases},
        "waits between": found.of_ours["between"],
        "where": dict(found.where.most_common(12)),
    }


def same(options: argparse.Namespace, mode: str) -> bool:
    """Whether all parameters and buffers are bitwise the same with and without the monitors."""
    was = torch.are_deterministic_algorithms_enabled()
    torch.use_deterministic_algorithms(True)
    try:
        states = [train(options, mode, watched, 2)[0].state_dict() for watched in (False, True)]
    finally:
        torch.use_deterministic_algorithms(was)
    return all(torch.equal(one, states[1][name]) for name, one in states[0].items())


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """All three questions for every mode; one that breaks off says so. What the file of figures has is kept."""
    kept = options.json is not None and options.json.exists()
    found: dict[str, Any] = json.loads(options.json.read_text()) if kept else {}
    for mode in options.modes:
        try:
            found[mode] = {
                "epochs": options.epochs,
                "same weights": same(options, mode),
                **waits(options, mode),
                **timed(options, mode),
            }
        except Exception as error:  # the other modes are still measured
            found[mode] = {"broke off": f"{type(error).__name__}: {error}", "trace": traceback.format_exc()}
        print(mode, json.dumps(found[mode], indent=1), flush=True)
        if options.json is not None:
            options.json.write_text(json.dumps(found, indent=1))
        if options.page is not None:
            options.page.write_text(page(options, found))
    return found


def page(options: argparse.Namespace, found: dict[str, Any]) -> str:
    """The figures as a page."""
    name = torch.cuda.get_device_name() if torch.device(options.device).type == "cuda" else platform.processor()
    versions = ", ".join(f"{one.__name__} {one.__version__}" for one in (torch, L))
    head = ["", "epochs", "run without", "with", "more", "own count", "more of a middle epoch",
            "waits, one training batch", "waits, one validation batch", "weights"]  # fmt: skip
    rows = []
    for mode, each in found.items():
        if "broke off" in each:
            rows.append([mode, each["broke off"].splitlines()[0], *[""] * 8])
            continue
        counted = [f"{each['waits'][phase]:.2f}" if "waits" in each else "none to wait for"
                   for phase in ("training batch", "validation batch")]  # fmt: skip
        rows.append([
            mode,
            str(each["epochs"]),
            f"{each['seconds without']:.1f} s",
            f"{each['seconds with']:.1f} s",
            f"{each['share of the run']:.1%}",
            f"{each['own count']:.1%}",
            f"{each['share of a middle epoch']:.1%}",
            *counted,
            "the same" if each["same weights"] else "NOT the same",
        ])  # fmt: skip
    return "\n\n".join([
        "# What the monitors take on a device",
        f"Made by `python benchmarks/device.py`, which says what each column is, on one {name or 'processor'} "
        f"({versions}): {options.model} at {options.pixels} pixels, {options.images:,} images for training and "
        f"{options.held:,} for validation in batches of {options.batch}.",
        table(head, rows),
    ]) + "\n"  # fmt: skip


def main() -> None:
    """Measure, print, and write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="resnet18")
    usual = {"pixels": 64, "batch": 256, "images": 25600, "held": 5120, "epochs": 8, "repeats": 1}
    for name, value in usual.items():
        parser.add_argument(f"--{name}", type=int, default=value)
    parser.add_argument("--modes", nargs="+", default=list(MODES), choices=list(MODES))
    parser.add_argument("--device", default="auto")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--page", type=Path)
    options = parser.parse_args()
    if options.device == "auto":
        options.device = "cuda" if torch.cuda.is_available() else "cpu"
    measure(options)


if __name__ == "__main__":
    main()
