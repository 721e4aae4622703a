"""Whether an evaluation takes longer, or memory grows, the longer a run is: the last of 200 evaluations by the first.

    python benchmarks/long_run.py [--evaluations 200] [--part 50] [--images 64] [--logger none] [--json FILE]

A small network is trained on random images with all monitors, at their usual time budget, and without any. An
evaluation is timed from its start to the last callback's end, so that the record, the rules and what is logged are in
it. What examinations are due differs from one evaluation to the next; so the median of each part counts, of the
processor's time, to which other work on the machine adds least. A ratio of 1 means that the length of the run costs
nothing. Beside it stands by how much the process has grown since then: the record of a run holds every evaluation.
"""

import argparse
import json
import resource
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import lightning as L
import torch
from lightning.pytorch.loggers import CSVLogger
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from lightning_failures import failure_monitors


class Classifier(L.LightningModule):
    """An ordinary classifier of four classes."""

    def __init__(self) -> None:
        super().__init__()
        body = [nn.Conv2d(3, 16, 3), nn.BatchNorm2d(16), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()]
        self.net = nn.Sequential(*body, nn.Linear(16, 4))

    def training_step(self, batch: Any, _: int) -> torch.Tensor:
        """The loss of a batch."""
        return nn.functional.cross_entropy(self.net(batch[0]), batch[1])

    def validation_step(self, batch: Any, _: int) -> None:
        """A forward pass."""
        self.log("val_loss", nn.functional.cross_entropy(self.net(batch[0]), batch[1]))

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Plain descent."""
        return torch.optim.SGD(self.parameters(), lr=0.05)


class First(L.Callback):
    """Stands before the monitors, and notes when an evaluation begins."""

    began = 0.0

    def on_validation_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Note the time."""
        self.began = time.process_time()


class Last(L.Callback):
    """Stands behind the monitors, and notes how long an evaluation took and how large the process was at most."""

    def __init__(self, first: First) -> None:
        self.first, self.seconds, self.megabytes = first, list[float](), list[float]()

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Note the time since the beginning."""
        if not trainer.sanity_checking:
            self.seconds.append(time.process_time() - self.first.began)
            self.megabytes.append(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)


def data(images: int, seed: int) -> TensorDataset:
    """Random images whose class is a channel's brightness."""
    generator = torch.Generator().manual_seed(seed)
    inputs, labels = torch.rand(images, 3, 16, 16, generator=generator), torch.arange(images) % 4
    inputs[torch.arange(images), labels % 3] += 0.3
    return TensorDataset(inputs, labels)


def evaluations(watched: bool, options: argparse.Namespace) -> Last:
    """Seconds that each evaluation of one run takes, and the process' largest size by then, in MiB."""
    L.seed_everything(0, verbose=False)
    monitors = failure_monitors() if watched else []
    for monitor in monitors[-1:]:
        monitor.announce = "nothing"
    first = First()
    last = Last(first)
    with tempfile.TemporaryDirectory() as folder:
        run = L.Trainer(
            max_epochs=options.evaluations,
            accelerator="cpu",
            logger=CSVLogger(folder) if options.logger == "csv" else False,
            callbacks=[first, *monitors, last],
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            limit_train_batches=2,
        )
        run.fit(Classifier(), DataLoader(data(options.images, 0), 16), DataLoader(data(options.images, 1), 32))
    return last


def main() -> None:
    """Print the medians and their ratio, without and with the monitors."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--evaluations", type=int, default=200)
    parser.add_argument("--part", type=int, default=50)
    parser.add_argument("--images", type=int, default=64)
    parser.add_argument("--logger", choices=("none", "csv"), default="none")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(1)
    found = {}
    for name, watched in (("without monitors", False), ("with monitors", True)):
        run = evaluations(watched, options)
        early, late = (statistics.median(part) for part in (run.seconds[: options.part], run.seconds[-options.part :]))
        grown = run.megabytes[-1] - run.megabytes[options.part - 1]
        found[name] = {"first": early, "last": late, "ratio": late / early, "grown_mib": grown}
        times = f"{1000 * early:.1f} ms an evaluation first, {1000 * late:.1f} ms last: ratio {late / early:.2f}"
        print(f"{name}: {times}; {grown:.0f} MiB larger", flush=True)
    if options.json is not None:
        options.json.write_text(json.dumps(found, indent=2) + "\n")


if __name__ == "__main__":
    main()
