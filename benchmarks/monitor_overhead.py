"""What the default CollapseMonitor takes of a training: share of a training step, in one run.

    python benchmarks/monitor_overhead.py [--model resnet18] [--pixels 64] [--batch 64] [--steps 30] [--classes 100]
        [--images 512] [--every-n-steps 0] [--device cpu] [--threads 1] [--json FILE]

A timm network is trained on random images through a Lightning Trainer; only time is measured. A monitor works in
evaluations, so three things are timed apart, and the device is waited for around each: a training step, an evaluation
batch's `update`, and the end of an evaluation (eigenvalues, figures left out since there is no logger). From them comes
the share of an epoch of CIFAR (50,000 images trained on, 10,000 evaluated) and of ImageNet (1,281,167 and 50,000): the
monitor's seconds over those of the training steps alone, so that the evaluation itself does not make it look small.
With `--every-n-steps n` the cost of listening to training is in it too, a window
of eight batches every n. The least of each counts, since other work on the machine only adds.
"""

import argparse
import json
import platform
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightning as L
import timm
import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset

from lightning_failures import CollapseMonitor


class Noise(Dataset[tuple[torch.Tensor, int]]):
    """Random images, made once and shared, so that loading takes no time."""

    def __init__(self, images: int, pixels: int, classes: int) -> None:
        self.pool = torch.randn(64, 3, pixels, pixels, generator=torch.Generator().manual_seed(0))
        self.images, self.classes = images, classes

    def __len__(self) -> int:
        return self.images

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        return self.pool[index % 64], index % self.classes


class Classifier(L.LightningModule):
    """An ordinary classifier."""

    def __init__(self, model: str, classes: int) -> None:
        super().__init__()
        self.net = timm.create_model(model, num_classes=classes)

    def training_step(self, batch: Any, _: int) -> torch.Tensor:
        """The loss of a batch."""
        return nn.functional.cross_entropy(self.net(batch[0]), batch[1])

    def validation_step(self, batch: Any, _: int) -> None:
        """A forward pass."""
        self.net(batch[0])

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """SGD with momentum."""
        return torch.optim.SGD(self.parameters(), lr=0.01, momentum=0.9)


class Steps(L.Callback):
    """Times each training step, from before the batch's forward pass to after the optimizer's step."""

    def __init__(self, wait: Callable[[], None]) -> None:
        self.wait = wait
        self.seconds: list[float] = []

    def on_train_batch_start(self, *_: Any) -> None:
        """Begin."""
        self.wait()
        self._began = time.perf_counter()

    def on_train_batch_end(self, *_: Any) -> None:
        """End."""
        self.wait()
        self.seconds.append(time.perf_counter() - self._began)


class Timed(CollapseMonitor):
    """The monitor, with a clock around each part that stops only once the device is done."""

    def __init__(self, wait: Callable[[], None], **options: Any) -> None:
        super().__init__(on_error="raise", **options)
        self.wait = wait
        self.spent: dict[str, list[float]] = {"update": [], "end": [], "training": []}

    def _clock(self, part: str, work: Callable[..., None], *args: Any) -> None:
        self.wait()
        began = time.perf_counter()
        work(*args)
        self.wait()
        self.spent[part].append(time.perf_counter() - began)

    def on_validation_batch_end(self, trainer: L.Trainer, *args: Any) -> None:
        """Update."""
        part = "training" if trainer.sanity_checking else "update"
        self._clock(part, super().on_validation_batch_end, trainer, *args)

    def on_validation_epoch_end(self, trainer: L.Trainer, *args: Any) -> None:
        """Compute."""
        part = "training" if trainer.sanity_checking else "end"
        self._clock(part, super().on_validation_epoch_end, trainer, *args)

    def on_train_batch_start(self, *args: Any) -> None:
        """Begin."""
        self._clock("training", super().on_train_batch_start, *args)

    def on_train_batch_end(self, *args: Any) -> None:
        """End."""
        self._clock("training", super().on_train_batch_end, *args)


def main() -> None:
    """Train a few steps, evaluate, and print the shares."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="resnet18")
    parser.add_argument("--pixels", type=int, default=64)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--steps", type=int, default=30)
    parser.add_argument("--classes", type=int, default=100)
    parser.add_argument("--images", type=int, default=512, help="evaluated, to measure")
    parser.add_argument("--every-n-steps", type=int, default=0, help="0: not")
    parser.add_argument("--device", default="cpu", choices=["cpu", "gpu"])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    L.seed_everything(0, verbose=False)
    wait = torch.cuda.synchronize if args.device == "gpu" else lambda: None
    monitor, steps = Timed(wait, every_n_steps=args.every_n_steps or None), Steps(wait)
    train, val = (
        DataLoader(Noise(images, args.pixels, args.classes), batch_size=args.batch)
        for images in (args.steps * args.batch, args.images)
    )
    trainer = L.Trainer(
        max_epochs=1,
        accelerator=args.device,
        devices=1,
        callbacks=[monitor, steps],
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(Classifier(args.model, args.classes), train, val)

    step, update, end = min(steps.seconds), min(monitor.spent["update"]), min(monitor.spent["end"])
    listening = sum(monitor.spent["training"]) if args.every_n_steps else 0.0
    shares = {}
    for name, trained, evaluated in (("CIFAR", 50_000, 10_000), ("ImageNet", 1_281_167, 50_000)):
        spent = update * evaluated / args.batch + end
        shares[name] = spent / (trained / args.batch * step) + listening / sum(steps.seconds)
    result = {
        "model": args.model,
        "pixels": args.pixels,
        "batch": args.batch,
        "device": torch.cuda.get_device_name() if args.device == "gpu" else platform.processor() or "cpu",
        "threads": args.threads,
        "torch": torch.__version__,
        "training step, ms": 1e3 * step,
        "update, ms a batch": 1e3 * update,
        "update over a training step": update / step,
        "end of an evaluation, ms": 1e3 * end,
        "listening over training": listening / sum(steps.seconds),
        "share of an epoch": shares,
    }
    for name, value in result.items():
        print(f"{name:32} {value:.4g}" if isinstance(value, float) else f"{name:32} {value}")
    if args.json:
        args.json.write_text(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
