"""Whether a model leans on a simple cue although more is there to be had, live."""

from typing import Any, Unpack

import torch
from lightning.pytorch import LightningModule, Trainer
from torch import Tensor

from lightning_failures.callbacks.budget import Budget
from lightning_failures.callbacks.factors import no_targets
from lightning_failures.callbacks.monitor import Monitor, MonitorOptions
from lightning_failures.errors import DiscoveryError, InputError
from lightning_failures.functional.discriminant import Discriminant
from lightning_failures.functional.moments import ClassMoments
from lightning_failures.metrics.simplicity import DecisionDimension, LinearReference, UntappedInformation
from lightning_failures.probes.interventions import interchange
from lightning_failures.probes.observe import Observation
from lightning_failures.probes.reference import ReferenceBatch, donor_rows, mean_spectra
from lightning_failures.probes.rerun import check_rerun, rerun

__all__ = ["SimplicityBiasMonitor"]


class SimplicityBiasMonitor(Monitor):
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
        options: see :class:`~lightning_failures.callbacks.monitor.Monitor`.
    """

    noun = "simplicity"

    def __init__(self, *, images: int = 256, budget: float = 0.05, **options: Unpack[MonitorOptions]) -> None:
        super().__init__(**options)
        if images < 2:
            raise InputError(
                "SimplicityBiasMonitor", "the interchange needs pairs", f"images={images}", "Keep 2 or more."
            )
        self.images = images
        self.budget = Budget(budget)
        self.moments: LinearReference | None = None
        self.reference: Discriminant | None = None
        self.directions: Tensor | None = None
        self.chance: Tensor | None = None
        self.untapped = UntappedInformation()
        self.dimension = DecisionDimension(ranks=(1,))
        self._batch = ReferenceBatch(images)
        self._due = False
        self._runs_again = True
        self.why_not: str | None = None

    # -- training: moments of the mean spectra

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start the budget's clock."""
        self.budget.restart()

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
            if seen.targets is None:
                raise no_targets("SimplicityBiasMonitor")
            spectra = mean_spectra(_inputs(seen))
            self._stream(spectra.shape[1]).to(spectra.device).update(spectra, _labels(seen.targets))

    def _stream(self, channels: int) -> LinearReference:
        if self.moments is None:
            if self.probe.classes is None:
                raise self.probe.no_logits("SimplicityBiasMonitor")
            self.moments = LinearReference(self.probe.classes, channels)
        return self.moments

    # -- an evaluation

    def begin(self, trainer: Trainer, module: LightningModule) -> None:
        """Fix the linear reference and the directions at the first evaluation that has training moments."""
        for metric in (self.untapped, self.dimension):
            metric.to(module.device).reset()
        if self.reference is None:
            shape = self.together(self.moments and (self.moments.num_classes, self.moments.num_features))
            if shape is not None and not self._retired:
                self._fix((self.moments or LinearReference(*shape)).to(module.device))
        self._due = bool(self.together(self.budget.allows)) and self.directions is not None
        if self._due and not self._batch.complete:
            batches = trainer.num_test_batches if trainer.testing else trainer.num_val_batches
            self._batch.begin(batches[0] if isinstance(batches, list) else batches)

    def _fix(self, moments: LinearReference) -> None:
        self.reference, self.directions, self.chance = moments.fit(), moments.directions()[:, :1], moments.chance()
        self.moments = None

    def update(self, seen: Observation, batch_idx: int) -> None:
        """Compare the network and the reference on one batch, and keep images for the interchange."""
        if seen.targets is None:
            raise no_targets("SimplicityBiasMonitor")
        logits = self.probe.require_logits(seen, "SimplicityBiasMonitor")
        inputs = _inputs(seen)
        if self.reference is not None:
            scores = self.reference.scores(mean_spectra(inputs))
            self.untapped.update(logits.argmax(1), scores.argmax(1), _labels(seen.targets))
        if self._due:
            self._batch.add(inputs, logits)

    def conclude(self, trainer: Trainer, module: LightningModule) -> None:
        """Interchange on the reference batch: one forward pass of it, and one of the swapped images."""
        if self.directions is None:
            self.why_not = "no training moments yet"
        elif not self._due:
            self.why_not = "the time budget was spent"
        else:
            with self.budget.spend():
                self._interchange(trainer, module, self.directions)

    def _interchange(self, trainer: Trainer, module: LightningModule, directions: Tensor) -> None:
        fresh = self._batch.fix()
        if self._batch.inputs is None or self._batch.logits is None:
            return
        inputs = self._batch.inputs.to(module.device)
        model = rerun(module, self.probe.entry, trainer.precision_plugin.forward_context)
        if fresh:
            try:
                check_rerun(model, inputs, self._batch.logits.to(module.device))
            except DiscoveryError as error:
                self.why_not, self._runs_again = str(error), False
        if not self._runs_again:
            return
        self.why_not = None
        own = model(inputs).argmax(1)
        donors = donor_rows(own)
        swapped = interchange(model, inputs, inputs[donors], directions.to(inputs.device))
        self.dimension.update(own, own[donors], swapped)

    def describe(self) -> Any:
        """Nothing to agree on: the metrics do not depend on the batches."""
        return ()

    def build(self, description: Any) -> None:
        """Nothing to make."""

    def compute(self) -> dict[str, Tensor]:
        """Accuracies of network and reference, and shares of the interchange."""
        values = {**self.untapped.compute(), **self.dimension.compute()}
        del values["decision_dimension"]  # of one rank it says no more than own/1
        self.undefined = self.untapped.undefined | self.dimension.undefined
        if self.why_not is not None:
            self.undefined |= dict.fromkeys(self.dimension.undefined, self.why_not)
        self.undefined = {key: why for key, why in self.undefined.items() if key in values}
        values["chance"] = self.chance if self.chance is not None else torch.tensor(torch.nan)
        return values

    def state_dict(self) -> dict[str, Any]:
        """The moments so far, or the reference and directions once they are fixed; plain tensors."""
        if self.reference is not None:
            fixed = {"reference": tuple(self.reference), "directions": self.directions, "chance": self.chance}
            return {"fixed": fixed}
        return {} if self.moments is None else {"sums": tuple(self.moments.sums)}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on where the checkpoint stood."""
        if "fixed" in state_dict:
            fixed = state_dict["fixed"]
            self.reference = Discriminant(*fixed["reference"])
            self.directions, self.chance = fixed["directions"], fixed["chance"]
        elif "sums" in state_dict:
            sums = ClassMoments(*state_dict["sums"])
            self.moments = LinearReference(*sums.totals.shape)
            self.moments.add(sums)


def _inputs(seen: Observation) -> Tensor:
    if seen.inputs is None:
        raise DiscoveryError(
            "SimplicityBiasMonitor",
            "no inputs were found",
            "a batch without a float or uint8 tensor of two or more axes",
            "Name the field that holds them: inputs='image'.",
        )
    return seen.inputs


def _labels(targets: Tensor) -> Tensor:
    if targets.ndim != 1:
        raise InputError(
            "SimplicityBiasMonitor",
            "targets are not one label an image",
            str(tuple(targets.shape)),
            "Use it on classification tasks.",
        )
    return targets
