"""What each monitor of ``failure_monitors()`` takes of a run, and what of it is always on.

    python benchmarks/suite_cost.py [--model resnet18] [--pixels 64] [--batch 64] [--training 2000] [--images 500]
        [--epochs 3] [--threads 1] [--budget 0.03] [--logger FOLDER] [--cpu-time] [--json FILE]

A timm network is trained on random images by a Lightning Trainer, once without monitors and once with all of them as
they come. The budget measures what each monitor takes, and for what: sums, which are always on, examinations, and
pictures. Here that is held against the run's own seconds, and against the difference of the two runs, which also counts
what the budget cannot see, such as hooks. ``--cpu-time`` counts the seconds of the processor instead of those of the
clock, also in the budget, which is fair where other work shares the machine.
"""

import argparse
import json
import time
from pathlib import Path
from typing import Any

import lightning as L
import torch
from lightning.pytorch.loggers import CSVLogger
from monitor_overhead import Classifier
from torch.utils.data import DataLoader, TensorDataset

from lightning_failures import FailureDiagnosis, failure_monitors
from lightning_failures.callbacks.budget import SHARE, Budget

PURPOSES = ("sums", "examination", "picture")


def images(count: int, pixels: int, seed: int) -> TensorDataset:
    """Random images of ten classes, none of them twice."""
    generator = torch.Generator().manual_seed(seed)
    made = torch.randn(count, 3, pixels, pixels, generator=generator)
    return TensorDataset(made, torch.randint(0, 10, (count,), generator=generator))


class Evaluations(L.Callback):
    """What was spent and allowed at the end of each evaluation."""

    def __init__(self, budget: Budget) -> None:
        self.budget = budget
        self.rows: list[dict[str, float]] = []

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Note an evaluation."""
        if not trainer.sanity_checking:
            budget = self.budget
            self.rows.append({"own": budget.own, "spent": budget.seconds(), "allowed": budget.limit})


def run(options: argparse.Namespace, callbacks: list[L.Callback]) -> float:
    """Train once; seconds of the fit."""
    torch.set_num_threads(options.threads)
    L.seed_everything(0, verbose=False)
    logger = CSVLogger(options.logger, version="with" if callbacks else "without") if options.logger else False
    trainer = L.Trainer(
        max_epochs=options.epochs,
        accelerator="cpu",
        callbacks=callbacks,
        logger=logger,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    train = DataLoader(images(options.training, options.pixels, 0), options.batch)
    held = DataLoader(images(options.images, options.pixels, 1), options.batch)
    model = Classifier(options.model, 10)
    began = options.clock()
    trainer.fit(model, train, held)
    return float(options.clock() - began)


def shares(options: argparse.Namespace) -> dict[str, Any]:
    """Shares of the run's own time, by monitor and purpose, and what both runs took."""
    without = run(options, [])
    callbacks = failure_monitors(budget=options.budget)
    diagnosis = callbacks[-1]
    assert isinstance(diagnosis, FailureDiagnosis)
    budget, diagnosis.announce = diagnosis.budget, "nothing"
    budget.clock = options.clock
    evaluations = Evaluations(budget)
    total = run(options, [*callbacks, evaluations])
    own = total - budget.seconds()
    return {
        "seconds without": without,
        "seconds with": total,
        "more, by both runs": total / without - 1,
        "more, by the budget": budget.seconds() / own,
        "by purpose": {purpose: budget.seconds(purpose=purpose) / own for purpose in PURPOSES},
        "by monitor": {
            name: {purpose: budget.seconds(name, purpose) / own for purpose in PURPOSES} for name in budget.by_monitor()
        },
        "evaluations": evaluations.rows,
        "not examined": diagnosis.record.not_watched,
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="resnet18")
    for name, default in (
        ("pixels", 64),
        ("batch", 64),
        ("training", 2000),
        ("images", 500),
        ("epochs", 3),
        ("threads", 1),
    ):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--budget", type=float, default=SHARE)
    parser.add_argument("--logger", type=Path)
    parser.add_argument("--cpu-time", action="store_const", dest="clock", const=time.process_time)
    parser.add_argument("--json", type=Path)
    parser.set_defaults(clock=time.perf_counter)
    options = parser.parse_args()
    found = shares(options)
    print(f"{found['seconds without']:.1f} s without, {found['seconds with']:.1f} s with all monitors")
    print(f"more by both runs {found['more, by both runs']:.2%}, by the budget {found['more, by the budget']:.2%}")
    print(", ".join(f"{purpose} {share:.2%}" for purpose, share in found["by purpose"].items()))
    print(f"    {'':28}" + "".join(f"{purpose:>13}" for purpose in PURPOSES))
    for name, parts in found["by monitor"].items():
        print(f"    {name:28}" + "".join(f"{parts[purpose]:>13.2%}" for purpose in PURPOSES))
    for row in found["evaluations"]:
        print(f"evaluation at {row['own']:.0f} s: {row['spent']:.2f} of {row['allowed']:.2f} s")
    for what, why in found["not examined"].items():
        print(f"{what}: {why}")
    if options.json is not None:
        options.json.write_text(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
