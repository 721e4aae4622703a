"""The base of a monitor whose simple models are fitted on sums over the training batches."""

from collections.abc import Mapping
from typing import Any, Unpack

from lightning.pytorch import LightningModule, Trainer
from torch import Tensor

from lightning_failures.callbacks.factors.monitor import no_targets
from lightning_failures.callbacks.monitor import MonitorOptions
from lightning_failures.callbacks.reference_monitor import ReferenceMonitor, inputs_of
from lightning_failures.callbacks.simplicity.cues import STANDARD_CUES, CueReader
from lightning_failures.callbacks.simplicity.simple_models import SimpleReference, SimpleStream, StreamShape
from lightning_failures.callbacks.simplicity.simple_rows import SimpleRows, as_floats, home_of, simple_rows
from lightning_failures.interventions.changes import Change, RawUnits, raw_units
from lightning_failures.observe.batch_fields import Field
from lightning_failures.observe.observation import Observation

__all__ = ["SimpleTraining"]


class SimpleTraining(ReferenceMonitor):
    """Streams what the simple models need off the training batches, until :attr:`fixed` is there.

    Args:
        cues: the user's; name -> path or callable into the batch.
        denormalize: from inputs to raw units, one scale and shift a channel; None: the inputs are raw.
        images: size of the reference batch, over all ranks.
        budget: share of the run's time that extra forward passes may take.
        every_n_epochs: cadence of them.
        options: see :class:`.Monitor`.
    """

    def __init__(
        self,
        cues: Mapping[str, Field] | None = None,
        denormalize: Change | None = None,
        *,
        images: int = 128,
        budget: float = 0.05,
        every_n_epochs: int = 1,
        **options: Unpack[MonitorOptions],
    ) -> None:
        super().__init__(images=images, budget=budget, every_n_epochs=every_n_epochs, **options)
        self.reader = CueReader(cues)
        self.denormalize = denormalize
        self.fixed: SimpleReference | None = None
        self._stream: SimpleStream | None = None
        self._units: RawUnits | None = None
        self._share = 1.0

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start the budget's clock."""
        super().on_fit_start(trainer, pl_module)
        self._share = 1 / trainer.world_size

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Listen to the first training batch, where no sanity check has shown the module yet."""
        if not self._idle and not self.probe.discovered:
            with self.guarded():
                self.probe.attach(pl_module, self)

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        """Forget the calls of the last step."""
        if not self.probe.discovered:
            self.probe.new_batch()

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Add the batch, until the simple models are fixed."""
        if self._idle or self.fixed is not None:
            return
        with self.guarded():
            if not self.probe.discovered:
                self.probe.observe(pl_module, outputs, batch)
                self.probe.detach(self)
            seen = self.probe.read_batch(batch)
            inputs = inputs_of(seen, type(self).__name__)
            rows = self.rows_of(seen, None)
            if self._stream is None:
                assert seen.targets is not None
                self._stream = SimpleStream(self._shape(inputs, rows, seen.targets.ndim == 3), self._share)
            self._stream.update(inputs, rows)

    def _shape(self, inputs: Tensor, rows: SimpleRows, pixels: bool) -> StreamShape:
        if self.probe.classes is None:
            raise self.probe.no_logits(type(self).__name__)
        widths = {name: part.shape[1] for name, part in rows.features.items()}
        assert self._units is not None
        units = RawUnits(*(part.cpu() for part in self._units))
        cues, spatial = tuple(rows.cues), inputs.ndim == 4
        return StreamShape(self.probe.classes, widths, cues, inputs.shape[1], spatial, pixels, units)

    def rows_of(self, seen: Observation, logits: Tensor | None, seed: int = 0) -> SimpleRows:
        """What the simple models see of one batch."""
        inputs = inputs_of(seen, type(self).__name__)
        if seen.targets is None:
            raise no_targets(type(self).__name__)
        if self._units is None:
            self._units = raw_units(self.denormalize, as_floats(inputs), type(self).__name__)
        cues = self.reader.read(seen, home_of(inputs.device))
        standard = STANDARD_CUES[1:] if inputs.shape[1] == 3 else STANDARD_CUES[:1]  # of three channels they agree
        units = None if self.denormalize is None else self._units
        return simple_rows(inputs, seen.targets, logits, cues, units, standard, seed)
