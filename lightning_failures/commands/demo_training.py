"""The arms of the demo: an ordinary module and an ordinary Trainer, with the monitors as the only addition."""

import logging
import signal
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr
from io import StringIO
from pathlib import Path
from typing import Any, Literal, NamedTuple

import timm
import torch
from lightning.fabric.utilities.warnings import PossibleUserWarning
from lightning.pytorch import Callback, LightningModule, Trainer, seed_everything
from lightning.pytorch.callbacks import TQDMProgressBar
from lightning.pytorch.loggers import CSVLogger, Logger, TensorBoardLogger, WandbLogger
from torch import Tensor
from torch.nn import functional as F
from torch.utils.data import DataLoader
from torchmetrics.classification import MulticlassAccuracy

from lightning_failures.callbacks.findings.diagnosis import FailureDiagnosis
from lightning_failures.callbacks.suite import failure_monitors
from lightning_failures.data.indian_pines import IndianPines
from lightning_failures.records.run_record import RunRecord

__all__ = ["Arm", "SceneClassifier", "train_arm", "watch_arm"]

#: Share of the run's time that the monitors may take: a demo is there to show what they find, and takes two minutes.
BUDGET = 0.25


class SceneClassifier(LightningModule):
    """A module that knows nothing of monitors."""

    def __init__(self, bands: int, classes: int) -> None:
        super().__init__()
        self.net = timm.create_model("resnet10t", in_chans=bands, num_classes=classes)
        self.accuracy = MulticlassAccuracy(classes, average="micro")

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
        """Cross-entropy."""
        patches, labels = batch
        loss = F.cross_entropy(self.net(patches), labels)
        self.log("train_loss", loss)
        return loss

    def validation_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> None:
        """Accuracy."""
        patches, labels = batch
        self.accuracy(self.net(patches), labels)
        self.log("val_acc", self.accuracy, prog_bar=True)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """AdamW, as it comes."""
        return torch.optim.AdamW(self.parameters())


class Arm(NamedTuple):
    """What one arm of a demo trains."""

    module: LightningModule
    train: DataLoader[Any]
    validation: DataLoader[Any]
    monitors: list[Callback]  # of :func:`.failure_monitors`


def train_arm(
    name: str,
    scene: IndianPines,
    out: Path,
    epochs: int,
    seed: int,
    logger: Literal["wandb", "csv", "tensorboard"],
    share: float = 1.0,
) -> RunRecord:
    """Train one arm on the scene under watch; see :func:`watch_arm`.

    Args:
        name: name of the arm.
        scene: its data.
        out: folder that everything is written below.
        epochs: passes over the training patches.
        seed: of weights and order.
        logger: where values are logged.
        share: share of the batches of each epoch.
    """

    def make() -> Arm:
        return Arm(
            SceneClassifier(len(scene.wavelengths), len(scene.class_names)),
            DataLoader(scene.train, batch_size=64, shuffle=True),
            DataLoader(scene.validation, batch_size=256),
            failure_monitors(
                factors=scene.factors,
                wavelengths=scene.wavelengths,
                unit="nm",
                class_names=scene.class_names,
                budget=BUDGET,
                report_dir=out / name,
            ),
        )

    return watch_arm(name, make, out, epochs, seed, logger, share)


def watch_arm(
    name: str,
    make: Callable[[], Arm],
    out: Path,
    epochs: int,
    seed: int,
    logger: Literal["wandb", "csv", "tensorboard"],
    share: float = 1.0,
) -> RunRecord:
    """Train one arm under watch.

    Args:
        name: name of the arm.
        make: makes the module, the loaders and the monitors, once the seed is set.
        out: folder that everything is written below.
        epochs: passes over the training images.
        seed: of weights and order.
        logger: where values are logged.
        share: share of the batches of each epoch.

    Returns:
        What was logged and found.

    Raises:
        KeyboardInterrupt: after Ctrl-C, once the run is closed and the arm's report written.
    """
    with _quiet():
        seed_everything(seed, verbose=False)
        arm = make()
        (diagnosis,) = (monitor for monitor in arm.monitors if isinstance(monitor, FailureDiagnosis))
        diagnosis.record.name = name
        diagnosis.announcer.announce = "findings"  # the verdict on all arms stands at the end
        writer = _logger(logger, name, out)
        trainer = Trainer(
            max_epochs=epochs,
            callbacks=[*arm.monitors, _Bar(refresh_rate=1 if sys.stdout.isatty() else 37)],
            logger=writer,
            accelerator="cpu",  # equal figures everywhere; a machine of several devices would start several processes
            devices=1,
            default_root_dir=out,
            enable_checkpointing=False,
            enable_model_summary=False,
            num_sanity_val_steps=0,
            log_every_n_steps=10,
            limit_train_batches=share,
            limit_val_batches=share,
        )
        try:
            trainer.fit(arm.module, arm.train, arm.validation)
        except SystemExit as leaving:  # what Lightning makes of Ctrl-C, deaf to a second one
            signal.signal(signal.SIGINT, signal.default_int_handler)
            raise KeyboardInterrupt from leaving
        finally:
            if isinstance(writer, WandbLogger):  # Lightning leaves the run open, and the next arm would write to it
                writer.experiment.finish(exit_code=int(trainer.interrupted))
    return diagnosis.record


class _Bar(TQDMProgressBar):
    """Lightning's bar without the logger's version, closed when the run breaks off."""

    def get_metrics(
        self, trainer: Trainer, pl_module: LightningModule
    ) -> dict[str, int | str | float | dict[str, float]]:
        items = super().get_metrics(trainer, pl_module)
        items.pop("v_num", None)
        return items

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        self.train_progress_bar.close()


def _logger(kind: str, name: str, out: Path) -> Logger:
    match kind:
        case "wandb":
            logger = WandbLogger(name=name, project="lightning-failures-demo", save_dir=out, offline=True)
            with redirect_stderr(StringIO()):  # W&B warns of an argument that Lightning passes
                _ = logger.experiment
            return logger
        case "csv":
            return CSVLogger(out, name=f"csv/{name}")
        case _:
            return TensorBoardLogger(out, name=f"tensorboard/{name}")


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep advice for developers off the screen; our own warnings stay."""
    logs = [logging.getLogger(name) for name in ("lightning.pytorch", "matplotlib")]
    levels = [log.level for log in logs]
    with warnings.catch_warnings():
        for advice in (PossibleUserWarning, FutureWarning, DeprecationWarning):
            warnings.simplefilter("ignore", advice)
        for log in logs:
            log.setLevel(logging.ERROR)
        try:
            yield
        finally:
            for log, level in zip(logs, levels, strict=True):
                log.setLevel(level)
