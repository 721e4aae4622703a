"""The base of every monitor: observe, update, compute, log; a guest that steps aside when it fails."""

from collections.abc import Mapping
from typing import Any, ClassVar, Literal, TypedDict

from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor

from lightning_failures.callbacks.error_guard import Guest
from lightning_failures.callbacks.ranks import gather
from lightning_failures.observe.batch_fields import Field
from lightning_failures.observe.dataset_rows import DatasetRows
from lightning_failures.observe.observation import Observation
from lightning_failures.observe.probe import Probe

__all__ = ["Monitor", "MonitorOptions"]


class MonitorOptions(TypedDict, total=False):
    """Options that every monitor takes; see :class:`Monitor`."""

    inputs: Field | None
    targets: Field | None
    logits: Field | None
    probe: Probe | None
    on_error: Literal["warn", "raise"]


class Monitor(Guest, Callback):
    """Watches the first evaluation loader of ``fit``, ``validate`` and ``test`` and logs under ``failures/<noun>/``.

    A subclass says which metrics it holds (:meth:`describe`, :meth:`build`), feeds them (:meth:`update`) and computes a
    flat dict of scalars (:meth:`compute`). Work of a rank's own, such as extra forward passes, belongs into
    :meth:`conclude`, which runs before the ranks agree that all of them are well; collectives belong into
    :meth:`compute`, which runs on every rank or on none.

    Args:
        inputs: path (``"image"``, ``"0"``) or callable into the batch; None: found by name and shape.
        targets: path or callable into the batch, or into a dict that the step returns; None: found.
        logits: name of the submodule that gives them, or a field of what the step returns; None: what the step returns
            under a usual name, else the classifier head, discovered on the first batch.
        probe: a probe shared with other monitors, in place of the three above.
        on_error: ``"warn"``: an error of this monitor warns once, with its cause, and the monitor steps aside while
            training goes on; ``"raise"``: it stops the run.
    """

    noun: ClassVar[str]

    def __init__(
        self,
        *,
        inputs: Field | None = None,
        targets: Field | None = None,
        logits: Field | None = None,
        probe: Probe | None = None,
        on_error: Literal["warn", "raise"] = "warn",
    ) -> None:
        super().__init__(on_error)
        self.probe = probe or Probe(inputs=inputs, targets=targets, logits=logits, where=type(self).__name__)
        self.values: dict[str, Tensor] = {}
        self.undefined: dict[str, str] = {}
        self._retired = False
        self._rows: DatasetRows | None = None

    # -- what a subclass says

    def describe(self) -> Any:
        """What :meth:`build` needs, plain and equal on all ranks; None before the first batch."""
        raise NotImplementedError

    def build(self, description: Any) -> None:
        """Make the metrics, where they are not there yet; also called on a rank that saw no batch."""
        raise NotImplementedError

    def begin(self, trainer: Trainer, module: LightningModule) -> None:
        """Start an evaluation: reset the metrics."""

    def update(self, seen: Observation, batch_idx: int) -> None:
        """Add one batch, without a device synchronisation."""
        raise NotImplementedError

    def glance(self, seen: Observation) -> None:
        """One batch of the sanity check, which the module saw before any training."""

    def conclude(self, trainer: Trainer, module: LightningModule) -> None:
        """End an evaluation on this rank: extra work that needs no other rank."""

    def compute(self) -> dict[str, Tensor]:
        """Statistic -> value, from sums reduced over all ranks; fills :attr:`undefined`."""
        raise NotImplementedError

    def publish(self, trainer: Trainer, values: Mapping[str, Tensor]) -> None:
        """Log what is not a scalar; on rank zero."""

    # -- Lightning's hooks

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Begin to listen."""
        self._start(trainer, pl_module, trainer.val_dataloaders)

    def on_test_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Begin to listen."""
        self._start(trainer, pl_module, trainer.test_dataloaders)

    def on_validation_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        """Forget the calls of the last step."""
        self.probe.new_batch()

    def on_test_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        """Forget the calls of the last step."""
        self.probe.new_batch()

    def on_validation_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Observe the batch and update."""
        self._see(trainer, pl_module, outputs, batch, batch_idx, dataloader_idx)

    def on_test_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Observe the batch and update."""
        self._see(trainer, pl_module, outputs, batch, batch_idx, dataloader_idx)

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Compute and log."""
        self._finish(trainer, pl_module)

    def on_test_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Compute and log."""
        self._finish(trainer, pl_module)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Take the hooks off."""
        self.probe.detach(self)

    def on_test_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Take the hooks off."""
        self.probe.detach(self)

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Take the hooks off: after an exception nothing else is called."""
        self.probe.detach(self)

    def step_aside(self) -> None:
        """Take the hooks off."""
        self.probe.detach(self)

    # -- one evaluation

    def _start(self, trainer: Trainer, module: LightningModule, loaders: Any) -> None:
        if self._retired:
            return
        if trainer.sanity_checking:  # its first batch shows where everything is, before any training step
            with self.guarded():
                self.probe.attach(module, self)
            return
        with self.guarded():
            self._rows = None
            self._loader = loaders[0] if isinstance(loaders, list | tuple) else loaders
            self.values, self.undefined = {}, {}
            self.begin(trainer, module)
            if not self._idle:
                self.probe.attach(module, self)

    def _see(
        self, trainer: Trainer, module: LightningModule, outputs: Any, batch: Any, batch_idx: int, dataloader_idx: int
    ) -> None:
        if self._idle or dataloader_idx != 0:
            return
        with self.guarded():
            seen = self.probe.observe(module, outputs, batch)
            if trainer.sanity_checking:
                self.glance(seen)
                return
            if trainer.world_size > 1 and self.rows.known:
                seen = seen.select(self.rows.of(batch_idx).keep)
            self.update(seen, batch_idx)

    def _finish(self, trainer: Trainer, module: LightningModule) -> None:
        if self._retired or trainer.sanity_checking:
            return
        with self.guarded(), self.probe.paused():
            if self.failure is None:
                self.conclude(trainer, module)
        description = self.together(None if self.failure else self.describe())
        if self._retired or description is None:
            return
        with self.guarded():
            self.build(description)
            self.values = self.compute()
            module.log_dict(
                {f"failures/{self.noun}/{name}": value.float() for name, value in self.values.items()},
                sync_dist=trainer.world_size > 1,  # equal on all ranks already; Lightning warns without
                batch_size=1,
            )
            if trainer.is_global_zero:
                self.publish(trainer, self.values)

    def together(self, mine: Any) -> Any:
        """What the first rank that has something says; every rank takes part, and one that failed retires them all."""
        said = gather((self.failure, mine))
        failures = [failure for failure, _ in said if failure]
        if failures and not self._retired:
            self._retired = True
            self.failure = self.failure or f"it stepped aside on another rank: {failures[0]}"
        return next((word for _, word in said if word is not None), None)

    @property
    def rows(self) -> DatasetRows:
        """Dataset rows of this evaluation's batches."""
        if self._rows is None:
            self._rows = DatasetRows(self._loader)
        return self._rows

    def places(self, seen: Observation, batch_idx: int) -> Tensor | None:
        """Row of the dataset of each image; (n), int64, on the CPU; None where the loader has an order of its own."""
        return seen.of_batch(self.rows.of(batch_idx).rows[: seen.batch_images]) if self.rows.known else None

    @property
    def _idle(self) -> bool:
        return self._retired or self.failure is not None
