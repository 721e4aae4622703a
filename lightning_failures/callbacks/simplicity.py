"""Whether a model leans on a simple cue although more is there to be had, live."""

from collections.abc import Callable
from typing import Any, Unpack

import torch
import torch.distributed
from lightning.pytorch import LightningModule, Trainer
from torch import Tensor

from lightning_failures.callbacks.factors import no_targets
from lightning_failures.callbacks.monitor import MonitorOptions
from lightning_failures.callbacks.reference import ReferenceMonitor, inputs_of
from lightning_failures.errors import InputError
from lightning_failures.functional.discriminant import Discriminant
from lightning_failures.functional.moments import ClassMoments
from lightning_failures.metrics.simplicity import DecisionDimension, LinearReference, UntappedInformation
from lightning_failures.probes.interventions import interchange
from lightning_failures.probes.observe import Observation
from lightning_failures.probes.reference import donor_rows, mean_spectra

__all__ = ["SimplicityBiasMonitor"]

_WHERE = "SimplicityBiasMonitor"


class SimplicityBiasMonitor(ReferenceMonitor):
    """Logs what a linear model makes of the same images, and whether decisions hang on one scalar an image.

    *Linear reference*: moments of the mean spectrum (the channel means of an image) are streamed off the training
    batches until the first evaluation; a closed-form linear discriminant of them then predicts the same validation
    images as the network. ``failures/simplicity/difference`` is its accuracy minus the network's, with a paired
    interval.

    *Interchange on the first principal direction*: a donor image gets the receiver's coordinate on the direction of
    largest variance of the mean spectra; ``own/1`` is the share of pairs that then predict as the receiver.

    Args:
        images: size of the reference batch of the interchange, kept from the validation data.
        budget: share of the run's time that extra forward passes may take.
        every_n_epochs: cadence of the interchange.
        options: see :class:`~lightning_failures.callbacks.monitor.Monitor`.
    """

    noun = "simplicity"

    def __init__(
        self, *, images: int = 256, budget: float = 0.05, every_n_epochs: int = 1, **options: Unpack[MonitorOptions]
    ) -> None:
        super().__init__(images=images, budget=budget, every_n_epochs=every_n_epochs, **options)
        self.moments: LinearReference | None = None
        self.reference: Discriminant | None = None
        self.directions: Tensor | None = None
        self.chance = torch.tensor(torch.nan)
        self.untapped = UntappedInformation()
        self.dimension = DecisionDimension(ranks=(1,))

    # -- training: moments of the mean spectra

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
        """Add the batch's mean spectra, until the reference is fixed."""
        if self._idle or self.reference is not None:
            return
        with self.guarded():
            if not self.probe.discovered:
                self.probe.observe(pl_module, outputs, batch)
                self.probe.detach(self)
            seen = self.probe.read_batch(batch)
            spectra = mean_spectra(inputs_of(seen, _WHERE))
            self._stream(spectra.shape[1]).to(spectra.device).update(spectra, _labels(seen))

    def _stream(self, channels: int) -> LinearReference:
        if self.moments is None:
            if self.probe.classes is None:
                raise self.probe.no_logits(_WHERE)
            self.moments = LinearReference(self.probe.classes, channels)
        return self.moments

    # -- an evaluation

    @property
    def ready(self) -> bool:
        """Whether the directions are fixed."""
        return self.directions is not None

    def begin(self, trainer: Trainer, module: LightningModule) -> None:
        """Fix the linear reference and the directions at the first evaluation that has training moments."""
        for metric in (self.untapped, self.dimension):
            metric.to(module.device).reset()
        if self.reference is None:
            shape = self.together(self.moments and (self.moments.num_classes, self.moments.num_features))
            if shape is not None and not self._retired:
                self._fix((self.moments or LinearReference(*shape)).to(module.device))
        if self.reference is not None and self.reference.weight.device != module.device:  # after a resume
            self.reference = Discriminant(*(part.to(module.device) for part in self.reference))
        super().begin(trainer, module)
        if not self.ready:
            self.why_not = "no training batch was seen before this evaluation"

    def _fix(self, moments: LinearReference) -> None:
        self.reference, self.directions, self.chance = moments.fit(), moments.directions()[:, :1], moments.chance()
        self.moments = None

    def update(self, seen: Observation, batch_idx: int) -> None:
        """Compare the network and the reference on one batch, and keep images for the interchange."""
        logits, target = self.probe.require_logits(seen, _WHERE), _labels(seen)
        if self.reference is not None:
            # logits that are not finite make no prediction: a class that there is not, and so wrong
            own = torch.where(logits.isfinite().all(1), logits.argmax(1), logits.shape[1])
            self.untapped.update(own, self.reference.predict(mean_spectra(inputs_of(seen, _WHERE))), target)
        self.keep(seen, _WHERE)

    def examine(self, model: Callable[[Tensor], Tensor], inputs: Tensor) -> None:
        """Interchange: one forward pass of the reference batch, and one of the swapped images."""
        assert self.directions is not None
        own = model(inputs).argmax(1)
        donors = donor_rows(own)
        swapped = interchange(model, inputs, inputs[donors], self.directions.to(inputs.device))
        self.dimension.update(own, own[donors], swapped)

    def describe(self) -> Any:
        """Nothing to agree on: the metrics do not depend on the batches."""
        return ()

    def build(self, description: Any) -> None:
        """Nothing to make."""

    def compute(self) -> dict[str, Tensor]:
        """Accuracies of network and reference, and shares of the interchange."""
        shares = self.dimension.compute()
        values = self.untapped.compute() | shares | {"chance": self.chance}
        del values["decision_dimension"]  # of one rank it says no more than own/1
        undefined = self.untapped.undefined
        if self.reference is not None and bool(self.reference.weight.isnan().any()):
            undefined = dict.fromkeys(undefined, "too few training images for a linear reference")
        undefined |= self.reasons(self.dimension.undefined)
        self.undefined = {key: why for key, why in undefined.items() if key in values}
        return values

    # -- resume

    def state_dict(self) -> dict[str, Any]:
        """The moments so far, or the reference and directions once they are fixed; plain tensors."""
        if self.reference is not None:
            fixed = {"reference": tuple(self.reference), "directions": self.directions, "chance": self.chance}
            return {"fixed": fixed}
        return {} if self.moments is None else {"sums": tuple(self.moments.sums)}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on where the checkpoint stood; the first rank alone takes its moments, which would count once a rank."""
        if "fixed" in state_dict:
            fixed = state_dict["fixed"]
            self.reference = Discriminant(*fixed["reference"])
            self.directions, self.chance = fixed["directions"], fixed["chance"]
        elif "sums" in state_dict and not (torch.distributed.is_initialized() and torch.distributed.get_rank() > 0):
            sums = ClassMoments(*state_dict["sums"])
            self.moments = LinearReference(*sums.totals.shape)
            self.moments.add(sums)


def _labels(seen: Observation) -> Tensor:
    if seen.targets is None:
        raise no_targets(_WHERE)
    if seen.targets.ndim != 1:
        given = str(tuple(seen.targets.shape))
        raise InputError(_WHERE, "targets are not one label an image", given, "Use it on classification tasks.")
    return seen.targets
