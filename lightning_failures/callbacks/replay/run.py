"""The monitors over the checkpoints of a past training, in one call."""

import random
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from importlib import import_module
from math import inf
from os import PathLike
from typing import Any

import torch
from lightning.pytorch import Callback, LightningDataModule, LightningModule, Trainer
from lightning.pytorch.loggers.logger import DummyLogger
from lightning.pytorch.utilities import rank_zero_warn
from lightning.pytorch.utilities.seed import isolate_rng

from lightning_failures.callbacks.findings.diagnosis import FailureDiagnosis
from lightning_failures.callbacks.monitor import Monitor
from lightning_failures.callbacks.replay.checkpoints import (
    SavedCheckpoint,
    find_checkpoints,
    load_checkpoint,
)
from lightning_failures.callbacks.replay.player import Player
from lightning_failures.callbacks.suite import failure_monitors
from lightning_failures.errors import FailuresWarning, InputError
from lightning_failures.records.run_record import RunRecord

__all__ = ["play", "replay"]

WHERE = "replay"


def replay(
    checkpoints: str | PathLike[str] | Sequence[str | PathLike[str]],
    module: LightningModule,
    data: Any = None,
    callbacks: Sequence[Callback] | None = None,
    *,
    trust: bool = False,
    accelerator: str = "auto",
    precision: Any = "32-true",
    seed: int = 0,
) -> RunRecord:
    """Run the monitors over the saved checkpoints of a past training, to answer when a failure began.

    Each checkpoint goes through the Trainer's own validation, at its own epoch and step, and the rules run over the
    sequence. The figures are those that monitors log in a live run. What needs training steps, such as gradients, the
    training loss and the learning rate, is left out, see :attr:`.Monitor.not_replayed`. The network before training is
    not there: what a layer kept is held against the first checkpoint. Where training images come in another order than
    they did, figures of a sample of them differ by that sample. Without training images, what is held against them is
    left out; the record says what, ``not_watched``.

    No step is taken. The random state stays as it was, files are only read, and the module has its own weights again
    afterwards. Callbacks of the module's own, ``configure_callbacks``, do not run, since they may save or stop.

    Args:
        checkpoints: files that Lightning wrote, patterns such as ``"run/*.ckpt"``, or folders with ``*.ckpt``; in any
            order. Of several of one global step the first is taken. Files that cannot be read are left out with a
            warning.
        module: of the class that was trained.
        data: a LightningDataModule; or the validation loader, or a list of such; or ``(training, validation)``; None:
            the module has loaders of its own. Of the training loader two epochs of images are read at most.
        callbacks: monitors, with a :class:`.FailureDiagnosis` after them, such as
            ``failure_monitors(factors=table, report_dir="replayed")``; None: those of :func:`.failure_monitors`. Their
            budget of time does not count, unless it is 0: there is no training that they could hold up.
        trust: whether checkpoints may hold more than weights and plain values; reading such a file may run code.
        accelerator: of the Trainer; one device is used.
        precision: of the Trainer; give what the training had.
        seed: of the order of training images, where they are shuffled.

    Returns:
        The record: an evaluation for each checkpoint, and findings with the epoch at which each began.

    Raises:
        InputError: no checkpoint can be read, one is of another module or is not to be trusted, there are no validation
            images, or module, callbacks or data cannot be used.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> from torch.utils.data import DataLoader, TensorDataset
        >>> class Classifier(LightningModule):
        ...     def __init__(self):
        ...         super().__init__()
        ...         self.net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(48, 2))
        ...     def training_step(self, batch, batch_idx):
        ...         return torch.nn.functional.cross_entropy(self.net(batch[0]), batch[1])
        ...     def validation_step(self, batch, batch_idx):
        ...         self.log("val_loss", self.training_step(batch, batch_idx))
        ...     def configure_optimizers(self):
        ...         return torch.optim.SGD(self.parameters(), lr=0.1)
        >>> loader = DataLoader(TensorDataset(torch.rand(12, 3, 4, 4), torch.arange(12) % 2), batch_size=6)
        >>> with TemporaryDirectory() as folder:
        ...     for epoch in range(2):
        ...         content = {"epoch": epoch, "global_step": 10 * epoch + 10}
        ...         torch.save({**content, "state_dict": Classifier().state_dict()}, f"{folder}/{epoch}.ckpt")
        ...     record = replay(folder, Classifier(), loader, [FailureDiagnosis(announce="nothing")])
        >>> record.series("val_loss")[0]
        [0, 1]
    """
    found = find_checkpoints(WHERE, checkpoints, trust=trust)
    for file, why in found.skipped.items():
        rank_zero_warn(f"lightning-failures replays without {file.name}: {why}.", category=FailuresWarning)
    options = {"accelerator": accelerator, "precision": precision}
    return play(WHERE, found.checkpoints, module, data, callbacks, trust=trust, seed=seed, trainer=options)


def play(
    where: str,
    checkpoints: Sequence[SavedCheckpoint],
    module: LightningModule,
    data: Any,
    callbacks: Sequence[Callback] | None = None,
    *,
    trust: bool = False,
    seed: int = 0,
    trainer: dict[str, Any],
    tell: Callable[[SavedCheckpoint, Trainer], None] | None = None,
) -> RunRecord:
    """What :func:`replay` does with checkpoints that were found.

    Args:
        where: the public name to put into an error.
        checkpoints: in the order of training.
        module: see there.
        data: see there.
        callbacks: see there.
        trust: see there.
        seed: see there.
        trainer: options of the Trainer.
        tell: is told of each checkpoint when it has been evaluated.
    """
    chosen = _checked(where, failure_monitors() if callbacks is None else callbacks)
    _check_module(where, module)
    datamodule, training, validation = _loaders(where, module, data)
    trains = training is not None or any(
        each is not None and _has("train_dataloader", each) for each in (datamodule, module)
    )
    player = Player(where, checkpoints, partial(load_checkpoint, where, trust=trust), trains, tell)
    state = {name: value.clone() for name, value in module.state_dict().items()}
    package = "pytorch_lightning" if _is_theirs(module) else "lightning.pytorch"
    make: type[Trainer] = import_module(package).Trainer
    with isolate_rng(), _without_limit(chosen):
        _seed(seed)
        runs = make(
            callbacks=[player, *chosen],
            logger=DummyLogger() if package == "lightning.pytorch" else False,
            devices=1,
            fast_dev_run=False,
            max_epochs=checkpoints[-1].epoch + 1,
            log_every_n_steps=1,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            **trainer,
        )
        player.take(runs)
        module.configure_callbacks = list  # type: ignore[method-assign]
        try:
            if datamodule is not None:
                runs.fit(module, datamodule=datamodule)
            else:
                runs.fit(module, training, validation)
        finally:
            del module.configure_callbacks
            if state.keys() == module.state_dict().keys():
                module.load_state_dict(state)
    return next(each for each in chosen if isinstance(each, FailureDiagnosis)).record


@contextmanager
def _without_limit(callbacks: Sequence[Monitor | FailureDiagnosis]) -> Iterator[None]:
    """Lift the budgets of time for a while, but those of nothing."""
    budgets = {id(each.budget): each.budget for each in callbacks if each.budget.share}
    shares = {key: budget.share for key, budget in budgets.items()}
    for budget in budgets.values():
        budget.share = inf
    try:
        yield
    finally:
        for key, budget in budgets.items():
            budget.share = shares[key]


def _seed(seed: int) -> None:
    random.seed(seed)
    torch.manual_seed(seed)
    if "numpy" in sys.modules:
        sys.modules["numpy"].random.seed(seed)


def _is_theirs(module: Any) -> bool:
    """Whether a module is of the package ``pytorch_lightning``."""
    return any(base.__module__.startswith("pytorch_lightning.") for base in type(module).__mro__)


def _has(name: str, of: Any) -> bool:
    """Whether a module or a data module has a method of its own, in place of the empty one of either package."""
    home = getattr(getattr(of, name, None), "__module__", None) or ""
    return name in vars(of) or (hasattr(of, name) and not home.startswith(("lightning.pytorch.", "pytorch_lightning.")))


def _checked(where: str, callbacks: Sequence[Callback]) -> list[Monitor | FailureDiagnosis]:
    chosen: list[Monitor | FailureDiagnosis] = []
    for callback in callbacks:
        if not isinstance(callback, Monitor | FailureDiagnosis):
            fix = "Pass monitors and a FailureDiagnosis alone."
            raise InputError(where, "this callback needs a training", type(callback).__name__, fix)
        chosen.append(callback)
    if not any(isinstance(callback, FailureDiagnosis) for callback in chosen):
        chosen.append(FailureDiagnosis(announce="nothing"))
    return chosen


def _check_module(where: str, module: Any) -> None:
    if not (isinstance(module, LightningModule) or _is_theirs(module)):
        given = "None" if module is None else f"a {type(module).__name__}"
        raise InputError(where, "this is no LightningModule", given, "Pass one of the class that was trained.")
    for name in ("validation_step", "training_step", "configure_optimizers"):
        if not _has(name, module):
            given = f"a {type(module).__name__} without it"
            raise InputError(where, f"the module has no {name}", given, "Pass the module as it was trained.")


def _loaders(where: str, module: Any, data: Any) -> tuple[Any, Any, Any]:
    """The data module, or the loaders of training and validation; what there is not is None."""
    if data is None and _has("val_dataloader", module):
        return None, None, None
    if isinstance(data, LightningDataModule) or (data is not None and _is_theirs(data)):
        return data, None, None
    if isinstance(data, tuple) and len(data) == 2:
        training, validation = data
    else:
        training, validation = None, data
    if validation is None or not hasattr(validation, "__iter__"):
        given = "no data" if validation is None else f"a {type(validation).__name__}"
        fix = "Give a LightningDataModule, the validation loader, or a pair of those of training and validation."
        raise InputError(where, "there is no validation loader", given, fix)
    return None, training, validation
