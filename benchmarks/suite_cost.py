"""What each monitor of ``failure_monitors()`` takes of a run, and what its sentinels take alone.

    python benchmarks/suite_cost.py [--model resnet18] [--pixels 64] [--batch 64] [--steps 60] [--images 1024]
        [--epochs 5] [--threads 1] [--json FILE]

A timm network is trained on random images by a Lightning Trainer, with all monitors as they come. Each monitor counts
the seconds of its own work; here they are held against the seconds of the whole run without them. The *sentinels* are
what CauseMonitor, TrainingMonitor and DataMonitor do where nothing is run again: statistics of inputs, names of labels,
modes, hashes, and looks at the training step. They are timed in a second run, whose budget is 0; of it the least of the
epochs counts, without the first two, in which everything is seen for the first time and examined once.
"""

import argparse
import json
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

import lightning as L
import torch
from monitor_overhead import Classifier, Noise
from torch.utils.data import DataLoader

from lightning_failures import failure_monitors
from lightning_failures.callbacks.monitor import Monitor

#: As failure_monitors has it.
BUDGET = 0.05

SENTINELS = ("CauseMonitor", "TrainingMonitor", "DataMonitor")


class Spent(L.Callback):
    """Seconds of the run, and those of each monitor, at the end of each epoch."""

    def __init__(self, monitors: list[Monitor]) -> None:
        self.monitors = monitors
        self.at: list[float] = []
        self.of: dict[str, list[float]] = {monitor.title: [] for monitor in monitors}

    def on_train_start(self, *_: Any) -> None:
        """Begin to count."""
        self._note()

    def on_train_epoch_end(self, *_: Any) -> None:
        """Count an epoch; validation is in it."""
        self._note()

    def _note(self) -> None:
        self.at.append(time.perf_counter())
        for monitor in self.monitors:
            self.of[monitor.title].append(monitor.guard.seconds)


def run(options: argparse.Namespace, budget: float) -> Spent:
    """Train once with all monitors."""
    torch.set_num_threads(options.threads)
    L.seed_everything(0, verbose=False)
    callbacks = failure_monitors(budget=budget)
    callbacks[-1].announce = "nothing"  # type: ignore[attr-defined]
    spent = Spent([callback for callback in callbacks if isinstance(callback, Monitor)])
    trainer = L.Trainer(
        max_epochs=options.epochs,
        limit_train_batches=options.steps,
        accelerator="cpu",
        callbacks=[*callbacks, spent],
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
    )
    train = DataLoader(Noise(options.steps * options.batch, options.pixels, 10), options.batch)
    held = DataLoader(Noise(options.images, options.pixels, 10), options.batch)
    trainer.fit(Classifier(options.model, 10), train, held)
    return spent


def shares(options: argparse.Namespace) -> dict[str, Any]:
    """Shares of the run of each monitor, and of an epoch of the sentinels."""
    spent, without = run(options, BUDGET), run(options, 0.0)
    alone = spent.at[-1] - spent.at[0] - sum(seconds[-1] - seconds[0] for seconds in spent.of.values())
    of_run = {name: (seconds[-1] - seconds[0]) / alone for name, seconds in spent.of.items()}
    epoch = alone / options.epochs
    sentinels = {
        name: min(after - before for before, after in pairwise(seconds[2:])) / epoch
        for name, seconds in without.of.items()
        if name in SENTINELS
    }
    return {"seconds of an epoch": epoch, "shares of the run": of_run, "sentinels, share of an epoch": sentinels}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="resnet18")
    for name, default in (
        ("pixels", 64),
        ("batch", 64),
        ("steps", 60),
        ("images", 1024),
        ("epochs", 5),
        ("threads", 1),
    ):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    found = shares(options)
    print(f"an epoch takes {found['seconds of an epoch']:.1f} s")
    for title in ("shares of the run", "sentinels, share of an epoch"):
        print(f"{title}: {sum(found[title].values()):.2%}")
        for name, share in found[title].items():
            print(f"    {name:28}{share:.2%}")
    if options.json is not None:
        options.json.write_text(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
