"""Whether a model leans on a simple cue although more is there to be had, live."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, Unpack

import torch
import torch.distributed
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.utilities import rank_zero_info, rank_zero_warn
from torch import Tensor

from lightning_failures.callbacks.evaluation_context import EvaluationContext
from lightning_failures.callbacks.monitor import Monitor, MonitorOptions
from lightning_failures.callbacks.reference_examination import ReferenceExamination
from lightning_failures.callbacks.simplicity.cues import (
    STANDARD_CUES,
    CueReader,
    CueWatch,
    cue_reliance,
    why_no_reliance,
)
from lightning_failures.callbacks.simplicity.examination import Examination
from lightning_failures.callbacks.simplicity.figures import FIGURES
from lightning_failures.callbacks.simplicity.ladder import LadderWatch
from lightning_failures.callbacks.simplicity.pictures import SimplicityPictures
from lightning_failures.callbacks.simplicity.rules import RULES
from lightning_failures.callbacks.simplicity.simple_models import SimpleReference, SimpleStream, StreamShape
from lightning_failures.callbacks.simplicity.simple_rows import SimpleRows, as_floats, home_of, simple_rows
from lightning_failures.callbacks.simplicity.terms import TERMS
from lightning_failures.callbacks.simplicity.untapped_layers import UntappedLayers
from lightning_failures.errors import FailuresWarning
from lightning_failures.functional.discriminant import Discriminant
from lightning_failures.interventions.changes import Change, RawUnits, raw_units
from lightning_failures.interventions.interventions import as_labels
from lightning_failures.metrics.simplicity import DecisionDimension, UntappedInformation
from lightning_failures.observe.batch_fields import Field
from lightning_failures.observe.observation import Observation

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["SimplicityBiasMonitor"]

_WHERE = "SimplicityBiasMonitor"
_NO_TRAINING = "no training batch was seen before this evaluation"
_TOO_FEW = "too few training images for a linear reference"


class SimplicityBiasMonitor(Monitor):
    """Logs, under ``failures/simplicity/``, which simple cue explains the model and what it leaves on the table.

    *Simple models*: sums over the training batches until the first evaluation fit, in closed form, the rungs of a
    ladder: total absorbance (from raw units), your own cues, pixel intensity, the first principal component, the best
    single channel, linear in the mean spectrum, low spatial frequencies; for three channels also grey level and mean
    colour. ``reach/<rung>`` is what a rung reaches on the labels, ``explained_adjusted/<rung>`` how much of the model
    it explains, :attr:`lowest_rung` the lowest that explains it. ``difference`` is the accuracy of the linear one minus
    the network's, with a paired interval.

    *Interchange on principal directions*: whose prediction comes out when a donor image gets the receiver's
    coordinates; ``own/1`` near 1 means that decisions hang on one scalar an image, ``decision_dimension`` is how many
    they need; ``pixel_own/1`` and the rest are the same for every pixel's spectrum.

    *Cues*: ``eta2/<cue>`` and, within the labels, ``eta2_within/<cue>``; ``swap_own/<cue>``, the share of predictions
    that follow when an image is scaled to another's value. ``reliance/<cue>``, which the rule ``simple_cue_reliance``
    looks at, is the latter, and for your own cues, which cannot be exchanged, the smaller of both ``eta2``.

    *Layers*: ``layer_difference/<layer>``, accuracy of a linear model of a layer's features minus the network's.

    *Retention*: accuracy on images with pixels shuffled, spectra averaged, intensities alone or removed, without one
    ring of spatial frequencies, with one patch as noise, and on Gaussian clones.

    The extra forward passes are dealt out over the evaluations within the budget; see
    :class:`.Examination`. Tasks that label pixels are read at 16 pixels of
    each image.

    Args:
        cues: your own: name -> path or callable into the batch that gives one number an image, such as a scanner's
            index, a staining batch or an acquisition date; bins of at most 16.
        denormalize: from inputs to raw units, one scale and shift a channel; None: the inputs are raw. Where they are
            standardised, the total absorbance is then unknown, which is said once.
        wavelengths: place of each channel on the axis of the pictures; (b). None: channels by number.
        unit: ``"nm"``, ``"um"`` or ``"cm-1"``.
        images: size of the reference batch, over all ranks.
        budget: share of the run's time that extra forward passes may take.
        every_n_epochs: cadence of them.
        options: see :class:`.Monitor`.
    """

    noun = "simplicity"
    terms = TERMS
    rules = RULES

    def __init__(
        self,
        cues: Mapping[str, Field] | None = None,
        *,
        denormalize: Change | None = None,
        wavelengths: Any = None,
        unit: str | None = None,
        images: int = 128,
        budget: float = 0.05,
        every_n_epochs: int = 1,
        **options: Unpack[MonitorOptions],
    ) -> None:
        super().__init__(**options)
        self.examining = ReferenceExamination(_WHERE, images=images, budget=budget, every_n_epochs=every_n_epochs)
        self.reader = CueReader(cues)
        self.denormalize = denormalize
        self.fixed: SimpleReference | None = None
        self.untapped = UntappedInformation()
        self.examination: Examination | None = None
        self.ladder: LadderWatch | None = None
        self.cues: CueWatch | None = None
        self.layers: UntappedLayers | None = None
        self.shown = SimplicityPictures(wavelengths, unit, _WHERE)
        self._stream: SimpleStream | None = None
        self._units: RawUnits | None = None
        self._share = 1.0
        self._waited: dict[str, Any] | None = None
        self._batches = 0
        self._unsaid: dict[str, str] = {}

    @property
    def reference(self) -> Discriminant | None:
        """The linear model of the mean spectrum; None before it is fixed."""
        return None if self.fixed is None else self.fixed.linear

    @property
    def directions(self) -> Tensor | None:
        """Principal directions of the mean spectra as columns; (b r), None before they are fixed."""
        return None if self.fixed is None else self.fixed.image

    @property
    def lowest_rung(self) -> str | None:
        """The lowest rung that explains the model; None where none does."""
        return None if self.ladder is None else self.ladder.lowest

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Begin a run."""
        super().on_fit_start(trainer, pl_module)
        self.examining.budget.restart()
        self._share = 1 / trainer.world_size

    # -- training: what the simple models need, until they are fixed

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Listen to the first training batch, where no sanity check has shown the module yet."""
        if not self.idle and not self.probe.discovered:
            with self.guard():
                self.probe.attach(pl_module, self)

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        """Forget the calls of the last step."""
        if not self.probe.discovered:
            self.probe.new_batch()

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Add the batch, until the simple models are fixed."""
        if self.idle or self.fixed is not None:
            return
        with self.guard():
            seen = self.probe.read_batch(batch)
            if seen.empty:
                return
            if not self.probe.discovered:
                self.probe.observe(pl_module, outputs, batch)
                self.probe.detach(self)
            inputs = seen.require_inputs(_WHERE)
            rows = self.rows_of(seen, None)
            if self._stream is None:
                assert seen.targets is not None
                self._stream = SimpleStream(self._shape(inputs, rows, seen.targets.ndim == 3), self._share)
            self._stream.update(inputs, rows)

    def _shape(self, inputs: Tensor, rows: SimpleRows, pixels: bool) -> StreamShape:
        if self.probe.classes is None:
            raise self.probe.no_logits(_WHERE)
        widths = {name: part.shape[1] for name, part in rows.features.items()}
        assert self._units is not None
        units = RawUnits(*(part.cpu() for part in self._units))
        cues, spatial = tuple(rows.cues), inputs.ndim == 4
        return StreamShape(self.probe.classes, widths, cues, inputs.shape[1], spatial, pixels, units)

    def rows_of(self, seen: Observation, logits: Tensor | None, seed: int = 0) -> SimpleRows:
        """What the simple models see of one batch."""
        inputs = seen.require_inputs(_WHERE)
        targets = seen.require_targets(_WHERE)
        if self._units is None:
            self._units = raw_units(self.denormalize, as_floats(inputs))
        cues = self.reader.read(seen, home_of(inputs.device))
        standard = STANDARD_CUES[1:] if inputs.shape[1] == 3 else STANDARD_CUES[:1]  # of three channels they agree
        units = None if self.denormalize is None else self._units
        return simple_rows(inputs, targets, logits, cues, units, standard, seed)

    # -- an evaluation

    @property
    def ready(self) -> bool:
        """Whether there are directions."""
        return self.fixed is not None and self.fixed.defined

    def begin(self, evaluation: EvaluationContext) -> None:
        """Fix the simple models at the first evaluation that has training sums, and plan the examination."""
        device = home_of(evaluation.device)
        if self.fixed is None:
            shape = self.ranks.first(self._stream and self._stream.shape)
            if shape is not None and not self.ranks.retired:
                self.fixed = (self._stream or SimpleStream(shape)).fix(
                    device, tuple(self.reader.cues), self.denormalize is not None
                )
                self._stream, self._unsaid = None, self.fixed.left_out
        if self.fixed is not None:
            self.fixed = self.fixed.to(device)
            if self.examination is None:
                self._watch(self.fixed, self.examining.share(evaluation))
        self.examining.begin(evaluation, self.ranks.first, self.ready)
        if not self.ready:
            self.examining.why_not = _NO_TRAINING if self.fixed is None else _TOO_FEW
        self.untapped.to(device).reset()
        for part in (self.ladder, self.cues, self.examination):
            if part is not None:
                part.begin(device)
        if self.layers is not None:
            self.layers.begin()
        self.shown.begin(evaluation)
        self._batches = 0
        if self.examining.due and self.examination is not None:
            self.examination.follow(self.ranks.first(self.examination.fits(self.examining.budget.left)) or ())
        self._say()  # last: a warning that is an error on one rank must not keep the others waiting

    def _say(self) -> None:
        unsaid, self._unsaid = self._unsaid, {}
        for name, why in unsaid.items():
            text = f"{_WHERE}: the cue {name!r} is left out: {why}"
            if name in self.reader.cues:
                rank_zero_warn(text, category=FailuresWarning)
            else:
                rank_zero_info(text)

    def _watch(self, fixed: SimpleReference, images: int) -> None:
        self.ladder = LadderWatch(fixed.names, len(fixed.linear.bias))
        self.cues = CueWatch(fixed.bins, fixed.logits)
        self.layers = UntappedLayers(len(fixed.linear.bias))
        self.examination = Examination(fixed, images)
        if self._waited is not None:
            self.examination.load_state_dict(self._waited)

    def update(self, evaluation: EvaluationContext, seen: Observation, batch_idx: int) -> None:
        """Compare the network and the simple models on one batch, and keep images for the examination."""
        self._batches += 1
        logits = self.probe.require_logits(seen, _WHERE)
        rows = self.rows_of(seen, logits, batch_idx)
        assert rows.logits is not None
        if self.fixed is not None and self.ladder is not None and self.cues is not None:
            own, simple = as_labels(rows.logits), self.fixed.predict(rows)
            # logits that are not finite make no prediction: a class that there is not, and so wrong
            finite = rows.logits.isfinite().flatten(1).all(1)
            own = torch.where(finite, own, len(self.fixed.linear.bias))
            self.ladder.update(own, simple, rows.target)
            self.untapped.update(own, simple[self.fixed.linear_name], rows.target)
            self.cues.update(rows.logits, rows.cues, rows.target)
            self.shown.keep(rows)
        if self.examining.due and self.layers is not None and seen.targets is not None and seen.targets.ndim == 1:
            with self.examining.budget.spend():
                self.layers.update(seen.features, seen.targets, evaluation.places(seen, batch_idx))
        self.examining.keep(seen, logits)

    def conclude(self, evaluation: EvaluationContext) -> None:
        """Examine the model on the reference batch."""
        self.examining.run(evaluation, self.probe.entry, self._examine)

    def _examine(self, model: Callable[[Tensor], Tensor], inputs: Tensor) -> None:
        """The parts that are planned."""
        targets = None if self.examining.batch is None else self.examining.batch.targets
        if self.examination is not None and targets is not None:
            self.examination.run(model, inputs, targets.to(inputs.device))

    def describe(self) -> Any:
        """Sizes of the layers; what else the metrics need was agreed on when the simple models were fixed."""
        widths = None if self.layers is None else self.layers.widths
        return widths or ({} if self._batches else None)

    def build(self, description: Any) -> None:
        """Make the sums of the layers."""
        if self.layers is not None:
            self.layers.build(description)

    def compute(self, evaluation: EvaluationContext) -> dict[str, Tensor]:
        """The ladder, the cues, and what the examination found."""
        values = self.untapped.compute()
        undefined = dict(self.untapped.undefined)
        if self.fixed is not None and bool(self.fixed.linear.weight.isnan().any()):
            undefined = dict.fromkeys(undefined, _TOO_FEW)
        values |= {"chance": torch.tensor(torch.nan) if self.fixed is None else self.fixed.chance}
        for part in (self.ladder, self.cues):
            if part is not None:
                values |= part.compute()
                undefined |= part.undefined
        if self.examination is None:
            nothing = DecisionDimension((1,))
            values |= {key: value for key, value in nothing.compute().items() if key != "decision_dimension"}
            undefined |= self.examining.reasons(nothing.undefined)
        else:
            found, why = self.examination.compute()
            values |= found
            undefined |= self.examining.reasons(why)
        if self.layers is not None:
            with self.examining.budget.spend():
                values |= self.layers.compute(values["model_accuracy"])
            undefined |= self.examining.reasons(self.layers.undefined)
        if self.fixed is not None:
            values |= cue_reliance(values, tuple(self.fixed.bins))
            undefined |= why_no_reliance(undefined, tuple(self.fixed.bins))
        self.undefined = {key: why for key, why in undefined.items() if key in values}
        return values

    def publish(self, evaluation: EvaluationContext, values: Mapping[str, Tensor]) -> None:
        """Log the ladder as a table, a row a rung."""
        if self.fixed is not None and self.fixed.defined and evaluation.fitting:
            plain = {key: float(value) for key, value in values.items()}
            self.shown.add(evaluation, plain, self.fixed, f"failures/{self.name}/table")

    def draw(
        self, evaluation: EvaluationContext, values: Mapping[str, float]
    ) -> "Mapping[str, Callable[[], Figure | None]]":
        """The ladder, the decision dimension, the worst cue, and what is retained."""
        if self.fixed is None or not self.fixed.defined or not evaluation.fitting:
            return {}
        return {name: partial(make, self.shown.course) for name, make in FIGURES.items()}

    # -- resume

    def state_dict(self) -> dict[str, Any]:
        """The sums so far, or the simple models once they are fixed; plain containers."""
        if self.fixed is not None:
            waited = self._waited if self.examination is None else self.examination.state_dict()
            return {"fixed": self.fixed.state_dict(), "waited": waited, "course": self.shown.course.state_dict()}
        return {} if self._stream is None else {"stream": self._stream.state_dict()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on where the checkpoint stood; the first rank alone takes its sums, which would count once a rank."""
        if "fixed" in state_dict:
            self.fixed = SimpleReference.from_state(state_dict["fixed"])
            self._waited = state_dict["waited"]
            self.shown.course.load_state_dict(state_dict["course"])
        elif "stream" in state_dict and not (torch.distributed.is_initialized() and torch.distributed.get_rank() > 0):
            self._stream = SimpleStream.from_state(state_dict["stream"], self._share)
