"""Whether a model leans on a simple cue although more is there to be had, live."""

import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Unpack

import torch
import torch.distributed
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.utilities import rank_zero_info, rank_zero_warn
from torch import Tensor

from lightning_failures.audit.data_audit import DataAudit
from lightning_failures.audit.given_audit import read_audit
from lightning_failures.callbacks.evaluation_context import EvaluationContext
from lightning_failures.callbacks.monitor import Monitor, MonitorOptions
from lightning_failures.callbacks.reference_examination import ReferenceExamination
from lightning_failures.callbacks.simplicity.comparison import TOO_FEW, Comparison
from lightning_failures.callbacks.simplicity.contents import FEW
from lightning_failures.callbacks.simplicity.course import SimplicityCourse
from lightning_failures.callbacks.simplicity.cues import cue_reliance, why_no_reliance
from lightning_failures.callbacks.simplicity.examination import PARTS_IN_WORDS, Examination, Moved
from lightning_failures.callbacks.simplicity.figures import FIGURES
from lightning_failures.callbacks.simplicity.rules import RULES
from lightning_failures.callbacks.simplicity.samples import SampleReader, home_of
from lightning_failures.callbacks.simplicity.scatter import CueScatter
from lightning_failures.callbacks.simplicity.simple_models import SimpleModels
from lightning_failures.callbacks.simplicity.terms import TERMS
from lightning_failures.callbacks.simplicity.training_stream import TrainingStream
from lightning_failures.callbacks.simplicity.transplant_figures import contact_sheet, region_map
from lightning_failures.callbacks.simplicity.turns import Turns
from lightning_failures.callbacks.simplicity.without import TrainingSample, WithoutContents
from lightning_failures.data.class_names import check_class_names
from lightning_failures.errors import FailuresWarning
from lightning_failures.functional.discriminant import Discriminant
from lightning_failures.functional.transplants import leads
from lightning_failures.interventions.changes import Denormalize, Transplant
from lightning_failures.interventions.transplants import exchange_direction
from lightning_failures.metrics.simplicity import DecisionDimension, UntappedInformation
from lightning_failures.observe.batch_fields import Field
from lightning_failures.observe.group_reader import GroupReader, GroupSource
from lightning_failures.observe.observation import Observation
from lightning_failures.records.finding import Evidence, Finding
from lightning_failures.records.kind import SIMPLE_CUE_RELIANCE
from lightning_failures.reporting.loggers import log_table
from lightning_failures.spectrum.axes import channel_names, spectral_axis

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["SimplicityBiasMonitor"]

_WHERE = "SimplicityBiasMonitor"
RECENT = 5  # evaluations back within which the network may have come up to the linear model
#: What is seen in the pictures of a finding.
SHEET = (
    "Images that are predicted as another one as soon as they have its content, at the last examination: the image, "
    "the one that gives its content, and the image with that content."
)
MAP = (
    "Where on the image the content lies: each region alone is exchanged between images; over the mean image, the "
    "share of pairs that are then predicted as the image that gave it."
)
#: The simple models, chance and what is left without a content are those of one class per image.
SEVERAL = (
    "it needs one class per image, and this is a task of several labels per image; "
    "lightning_failures.transplant(model, images, donors, task='multilabel') says which content decides them"
)
_NO_TRAINING = "no training batch was seen before this evaluation"


class SimplicityBiasMonitor(Monitor):
    """Logs, under ``failures/simplicity/``, which simple cue explains the model and what it leaves on the table.

    *Simple models*: sums over the training batches until the first evaluation fit, in closed form, the rungs of a
    ladder: total absorbance (from raw units), your own cues, pixel intensity, the first principal component, the best
    single channel, linear in the mean spectrum, low spatial frequencies; for three channels also grey level and mean
    colour. ``reach/<rung>`` is what a rung reaches on the labels, ``explained_adjusted/<rung>`` how much of the model
    it explains, :attr:`lowest_rung` the lowest that explains it. ``difference`` is the accuracy of the linear one minus
    the network's, with a paired interval.

    *Interchange on principal directions*: whose prediction comes out when a donor image gets the receiver's
    coordinates; ``own/1`` near 1 means that decisions hang on one scalar per image, ``decision_dimension`` is how many
    they need; ``pixel_own/1`` and the rest are the same for every pixel's spectrum.

    *Transplants*: ``transplant/<content>`` is the share of predictions that become those of another image when the
    content alone is taken from it: total absorbance (grey level of three channels), level, colour, statistics of the
    channels, low frequencies, texture, border, regions, and of more than four channels mean and deviation of a single
    one; see :func:`.transplant`.
    ``reliance/<content>`` is what of it no poorer content carries. Of what leads, a small model reads the labels of
    images that all have the same content: ``without/<content>`` is its accuracy above naming one class, as a share of
    what there is above it, and ``all_there_is/<content>`` is 1 where it finds nothing. An audit that was made before
    answers that itself, where it looked at the content; ``audit_alone/<content>`` and ``audit_without/<content>`` are
    the accuracies that it reached.

    *Your own cues*, which cannot be exchanged: ``eta2/<cue>`` and, within the labels, ``eta2_within/<cue>``;
    ``reliance/<cue>`` is the smaller one.

    The extra forward passes are dealt out over the evaluations within the budget, interchange on the first direction
    first, then transplants, and what the last evaluation left is examined at the end of the run; see
    :class:`.Examination`. Tasks that label pixels are read at 16 pixels of each image.

    Args:
        cues: your own: name -> path or callable into the batch that gives one number per image, such as a scanner's
            index, a staining batch or an acquisition date; bins of at most 16.
        denormalize: ``(mean, std)`` that standardised the inputs, each a number or one for each channel, or a callable
            such as ``lambda x: x * std + mean``; None: the inputs are raw. Where they are standardised, the total
            absorbance is then unknown, which is said once.
        wavelengths: place of each channel on the axis of the pictures; (b). None: channels by number.
        unit: ``"nm"``, ``"um"`` or ``"cm-1"``.
        audit: of the same data, made before: what :func:`.audit_data` returned, or the file that
            ``lightning-failures audit DATA --json FILE`` wrote; None: what is left without a content is tried in the
            run.
        groups: which images belong together, such as those of one patient, slide or scanner: a path or callable into
            the batch, or one for each row of the dataset; see :class:`.GroupReader`. The intervals of the difference
            from the linear model, and of the transplants, then count groups. None: images are independent.
        ids: path or callable into the batch that gives each image's id, where groups go by id.
        class_names: of all classes, in their order, for the pictures; None: found in the dataset; without names there
            are numbers.
        images: size of the reference batch, over all ranks.
        every_n_epochs: cadence of them.
        options: see :class:`.Monitor`.

    Raises:
        InputError: an audit that cannot be read, or that is none, or class names that are no names; in a run, an audit
            of other classes or channels.

    Example:
        >>> monitor = SimplicityBiasMonitor({"scanner": "scanner_id"}, denormalize=(0.5, 0.25))
        >>> monitor.key("reliance/scanner"), monitor.key("transplant/border")
        ('failures/simplicity/reliance/scanner', 'failures/simplicity/transplant/border')
    """

    noun = "simplicity"
    watches = "what decides the predictions"
    reads_batches = True
    terms = TERMS
    rules = RULES
    portion = 2.0  # contents, regions, channels, directions, and what there is without them
    examining: ReferenceExamination
    held_out = (
        *(
            "reference_accuracy",
            "difference",
            "low",
            "recent_low",
            "high",
            "p_value",
        ),  # of two models that both saw these images
    )

    def __init__(
        self,
        cues: Mapping[str, Field] | None = None,
        *,
        denormalize: Denormalize | None = None,
        wavelengths: Any = None,
        unit: str | None = None,
        audit: DataAudit | str | Path | None = None,
        groups: GroupSource | None = None,
        ids: Field | None = None,
        class_names: Sequence[str] | None = None,
        images: int = 64,
        every_n_epochs: int = 1,
        **options: Unpack[MonitorOptions],
    ) -> None:
        super().__init__(**options)
        self.examining = ReferenceExamination(
            _WHERE, self.title, self.budget, images=images, every_n_epochs=every_n_epochs
        )
        self.reader = SampleReader(cues, denormalize)
        self.groups = None if groups is None else GroupReader(groups, ids, _WHERE)
        self.class_names = check_class_names(_WHERE, class_names)
        self.stream = TrainingStream(self.reader)
        self.models: SimpleModels | None = None
        self.comparison: Comparison | None = None
        self.turns = Turns()
        self.sample = TrainingSample()
        self.without = WithoutContents(
            None if audit is None else read_audit(audit, f"{_WHERE}(audit=...)"), self.budget.clock
        )
        self.examination: Examination | None = None
        self._examined_before: dict[str, Any] = {"known": {}, "searches": {}}
        self._axis = axis = None if wavelengths is None else spectral_axis(wavelengths, unit, where=_WHERE)
        self.course = SimplicityCourse(None if axis is None else axis.values.tolist(), axis and axis.unit)
        self.scatter = CueScatter()
        self._batches = 0
        self._shortfalls: dict[int, float] = {}

    @property
    def reference(self) -> Discriminant | None:
        """The linear model of the mean spectrum; None before it is fixed."""
        return None if self.models is None else self.models.linear

    @property
    def directions(self) -> Tensor | None:
        """Principal directions of the mean spectra as columns; (b r), None before they are fixed."""
        return None if self.models is None else self.models.image_directions

    @property
    def lowest_rung(self) -> str | None:
        """The lowest rung that explains the model; None where none does."""
        return None if self.comparison is None else self.comparison.ladder.lowest

    @property
    def not_watched(self) -> dict[str, str]:
        """What could not be watched so far, and why."""
        names = [name.replace("_", " ") for name in self.without.open]
        without = {self._named(f"whether the labels can be told without the {name}"): self.budget.why for name in names}
        return super().not_watched | without

    @property
    def unserved(self) -> str | None:
        """Why it does not serve the task; of several labels per image with what tells of them instead."""
        why = super().unserved
        return SEVERAL if why is not None and self.probe.task.kind == "multilabel" else why

    # -- training: what the simple models are fitted on, until they are fixed

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Add the batch, until the simple models are fixed."""
        super().on_train_batch_end(trainer, pl_module, outputs, batch, batch_idx)
        if self.idle or self.unserved is not None or not (self.models is None or self.sample.wanting):
            return
        with self.guard():
            seen = self.probe.read_batch(batch)
            if seen.empty or not self.probe.settled:
                return
            if self.probe.classes is None:
                raise self.probe.no_logits(_WHERE)
            if self.models is None:
                self.stream.update(seen, self.probe.classes, trainer.world_size)
            self.sample.add(seen, trainer.num_training_batches, trainer.world_size, trainer.current_epoch)

    # -- an evaluation

    @property
    def refusal(self) -> str | None:
        """Why the model cannot be run again, or what the simple models lack."""
        return self.examining.refusal or (None if self.ready else self.examining.why_not)

    @property
    def ready(self) -> bool:
        """Whether there are directions."""
        return self.models is not None and self.models.defined

    def begin(self, evaluation: EvaluationContext) -> None:
        """Fix the simple models at the first evaluation that has training sums, and plan the examination."""
        device = home_of(evaluation.device)
        self.course.class_names = self.class_names or evaluation.class_names
        left_out: dict[str, str] = {}
        if self.models is None:
            shape = self.ranks.first(self.stream.shape)
            if shape is not None and not self.ranks.retired:
                self.models = self.stream.fit(shape, device)
                if self.without.audit is not None:
                    where, trained = f"{_WHERE}(audit=...)", self.stream.trained
                    self.without.audit.check(where, shape.classes, trained, shape.channels, shape.pixels)
                left_out = self.models.left_out
        if self.models is not None:
            self._compare_with(self.models.to(device), self.examining.share(evaluation))
        early = not RULES[0].counts(evaluation.epoch, evaluation.step)
        self.examining.begin(evaluation, self.ranks.first, self.ready, early)
        if not self.ready:
            self.examining.why_not = _NO_TRAINING if self.models is None else TOO_FEW
        for part in (self.comparison, self.examination):
            if part is not None:
                part.begin(device)
        self.scatter.begin(evaluation)
        self._batches = 0
        if self.examining.due and self.examination is not None:
            left = self.examining.turn(self.pace(evaluation))
            self.examination.follow(self.ranks.first(self.examination.fits(left)) or ())
        self._say(left_out)  # last: a warning that is an error on one rank must not keep the others waiting

    def _compare_with(self, models: SimpleModels, images: int) -> None:
        """Make what compares the network with the simple models, where they are new, or on a new device."""
        if self.comparison is None or models is not self.models:
            self.models, self.comparison = models, Comparison(models)
            names = None if self._axis is None else channel_names(len(models.image_directions), self._axis)
            known = self._examined_before if self.examination is None else self.examination.state_dict()
            self.examination = Examination(models, images, self.turns, names)
            self.examination.load_state_dict(known)

    def _say(self, left_out: Mapping[str, str]) -> None:
        for name, why in left_out.items():
            text = f"{_WHERE}: the cue {name!r} is left out: {why}"
            if name in self.reader.own_cues:
                rank_zero_warn(text, category=FailuresWarning)
            else:
                rank_zero_info(text)

    def glance(self, seen: Observation) -> None:
        """See before any training that there are logits, so that their absence is said at once."""
        self.probe.require_logits(seen, _WHERE)

    def update(self, evaluation: EvaluationContext, seen: Observation, batch_idx: int) -> None:
        """Compare the network and the simple models on one batch, and keep images for the examination."""
        self._batches += 1
        logits = self.probe.require_logits(seen, _WHERE)
        samples = self.reader.read(seen, logits, batch_idx)
        groups = None
        if self.groups is not None:
            groups = evaluation.read(self.groups, seen, batch_idx)
        if self.comparison is not None:
            each = 1 if groups is None else len(samples.target) // max(1, len(groups))  # pixels of an image
            self.comparison.update(samples, None if groups is None else groups.repeat_interleave(each))
            self.scatter.keep(samples)
        self.examining.keep(seen, logits, groups=groups)

    def conclude(self, evaluation: EvaluationContext) -> None:
        """Examine the model on the reference batch."""
        planned = 0.0 if self.examination is None else self.examination.first_passes
        self.examining.run(
            evaluation, self.probe.runnable(evaluation.module), self._examine, planned, self.pace(evaluation)
        )

    def unexamined(self, evaluation: EvaluationContext) -> tuple[str, ...]:
        """The parts that the last evaluation of a run left."""
        if self.examination is None or not self.ready:
            return ()
        left = self.examination.left_over if self.examining.examined or self.examining.left_over else ()
        return (*left, *self.without.open)

    def begin_last(self, evaluation: EvaluationContext, parts: tuple[str, ...]) -> None:
        """Plan what is left."""
        super().begin_last(evaluation, parts)
        if self.examination is not None:
            self.examination.plan = self.examination.left_over

    @property
    def unfinished(self) -> str:
        """The parts that the last examination of a run, or one outside of a ``fit``, had no time for."""
        if self.examination is None or not self.examining.final or not self.examination.done:
            return super().unfinished if self.ready else ""
        left = self.examination.left_over
        parts = [PARTS_IN_WORDS[part] for part in left if part in PARTS_IN_WORDS]
        contents = [part for part in left if part not in PARTS_IN_WORDS]
        parts += [f"exchanging {', '.join(contents)}"] if contents else []
        return f"by {', by '.join(parts)}" if parts else ""

    def _examine(self, model: Callable[[Tensor], Tensor], inputs: Tensor) -> float | None:
        """The parts that are planned."""
        targets = self.examining.targets
        if self.examination is None or targets is None:
            return None
        seconds, groups = self.examining.seconds, self.examining.groups
        target = targets.to(inputs.device)
        return self.examination.run(model, inputs, target, seconds, groups, self.budget.clock)

    def describe(self) -> Any:
        """That there was a batch; what the metrics need was agreed on when the simple models were fixed."""
        return {} if self._batches else None

    def build(self, description: Any) -> None:
        """Nothing: the metrics are made with the simple models."""

    def compute(self, evaluation: EvaluationContext) -> dict[str, Tensor]:
        """The ladder, the cues, and what the examination found."""
        if self.models is None or self.comparison is None or self.examination is None:
            return self._nothing(home_of(evaluation.device))
        values = self.comparison.compute()
        values["recent_low"] = self._recent_low(evaluation.step, values["low"])
        found, why = self.examination.compute()
        values |= found
        undefined = self.comparison.undefined | self.examining.reasons(why)
        undefined |= {"recent_low": undefined["low"]} if "low" in undefined else {}
        values |= cue_reliance(values, self.reader.own_cues)
        undefined |= why_no_reliance(undefined, self.reader.own_cues)
        values |= self._whether_more(values)
        self.undefined = {key: why for key, why in undefined.items() if key in values}
        return values

    def _recent_low(self, step: int, low: Tensor) -> Tensor:
        """The least shortfall of the last evaluations, this one included."""
        known = self._shortfalls | ({} if low.isnan() else {step: float(low)})
        self._shortfalls = dict(sorted(known.items())[-RECENT:])
        return torch.full_like(low, torch.nan) if low.isnan() else low.new_tensor(min(self._shortfalls.values()))

    def _whether_more(self, values: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """What is left to be had without the contents that carry the decision; every rank must call it."""
        assert self.models is not None
        assert self.examination is not None
        leading = dict(self.examination.leading)
        own, donor = (float(values.get(f"{key}/1", math.nan)) for key in ("own", "donor"))
        if leads(own, donor):
            leading["first_direction"] = exchange_direction(self.models.image_directions[:, 0])
        if not leading:
            return {}
        numbers, last = self.examination.numbers, self.examining.final
        with self.budget.spend(self.title, "examination"):
            classes = len(self.models.linear.bias)
            self.without.look(leading, self.sample, classes, numbers, lambda: self.budget.turn(self.title, last=last))
        few = self.examination.channels <= FEW
        return self.without.figures(leading, few) | self.without.audited(leading, numbers)

    def _nothing(self, device: torch.device) -> dict[str, Tensor]:
        """The main figures, all undefined, as long as there are no simple models."""
        untapped, interchanged = UntappedInformation().to(device), DecisionDimension((1,)).to(device)
        values = untapped.compute() | {"chance": torch.tensor(torch.nan)} | interchanged.compute()
        del values["decision_dimension"]
        values["recent_low"] = values["low"]
        undefined = (
            untapped.undefined
            | {"recent_low": untapped.undefined["low"]}
            | {"chance": _NO_TRAINING}
            | self.examining.reasons(interchanged.undefined)
        )
        self.undefined = {key: why for key, why in undefined.items() if key in values}
        return values

    def publish(self, evaluation: EvaluationContext, values: Mapping[str, Tensor]) -> None:
        """Log the ladder as a table, one row per rung."""
        if self.models is None or not self.ready or not evaluation.fitting:
            return
        plain = {key: float(value) for key, value in values.items()}
        columns = ("reach", "explained_adjusted")
        rows: list[list[Evidence]] = [
            [evaluation.epoch, name, *(plain.get(f"{key}/{name}", math.nan) for key in columns)]
            for name in self.models.names
        ]
        loggers = evaluation.trainer.loggers
        log_table(loggers, f"failures/{self.name}/table", ["epoch", "rung", *columns], rows, evaluation.logged_step)

    def draw(
        self, evaluation: EvaluationContext, values: Mapping[str, float]
    ) -> "Mapping[str, Callable[[], Figure | None]]":
        """The ladder, the decision dimension, the contents that are exchanged, and the worst cue."""
        if self.models is None or not self.ready or not evaluation.fitting:
            return {}
        directions = self.models.image_directions[:, :4].T.tolist()
        self.course.add(evaluation.epoch, values, self.models.names, directions)
        self.course.cues = list(self.models.bins)
        self.course.points = self.scatter.points(self.course.worst_cue) or self.course.points
        course = {name: partial(make, self.course) for name, make in FIGURES.items()}
        return {**self._transplants_seen(), **course}

    def _transplants_seen(self) -> "dict[str, Callable[[], Figure | None]]":
        """Images whose prediction moved with the content that carries the decision, and where on the image it lies."""
        leading = () if self.examination is None else self.examination.leading
        sheet = next((make for name in leading if (make := self._sheet(name)) is not None), None)
        found = {"transplants": sheet, "regions": self._regions()}
        return {name: make for name, make in found.items() if make is not None}

    def evidence(self, finding: Finding) -> "Mapping[str, Callable[[], Figure | None]]":
        """Images that are predicted as another one once they have its content, and of a region where it lies."""
        if finding.kind != SIMPLE_CUE_RELIANCE:
            return {}
        sheet, region = self._sheet(finding.subject), finding.subject.startswith("region")
        found = {SHEET: sheet, MAP: self._regions() if region else None}
        return {caption: make for caption, make in found.items() if make is not None}

    def _sheet(self, content: str) -> "Callable[[], Figure | None] | None":
        """What draws the contact sheet of a content; None where there is none to be seen."""
        examination, batch = self.examination, self.examining.batch
        moved = None if examination is None else examination.moved.get(content)
        if examination is None or moved is None or batch is None or batch.inputs is None:
            return None
        images = self.examining.inputs(torch.device("cpu"))
        if len(images) != moved.images:
            return None
        return partial(self._draw_sheet, images, moved, content, examination.exchanges[content])

    def _draw_sheet(self, images: Tensor, moved: Moved, content: str, exchange: Transplant) -> "Figure | None":
        """The contact sheet, in raw units where they are known."""
        receivers, donors = images[moved.receivers], images[moved.donors]
        units = None if self.models is None else self.models.units
        one, other, made = (
            each if units is None else units.to_raw(each) for each in (receivers, donors, exchange(receivers, donors))
        )
        return contact_sheet(one, other, made, moved.own, moved.donor, moved.preds, content, self.course.class_names)

    def _regions(self) -> "Callable[[], Figure | None] | None":
        """What draws the map of regions; None where none was exchanged."""
        examination, batch = self.examination, self.examining.batch
        if examination is None or batch is None or batch.inputs is None or not examination.boxes:
            return None
        images = self.examining.inputs(torch.device("cpu"))
        regions = [(box, examination.known[name][0]) for name, box in examination.boxes.items()]
        return partial(region_map, regions, images.shape[2], images.shape[3], images.float().mean(0))

    # -- resume

    def state_dict(self) -> dict[str, Any]:
        """The sums so far, or the simple models once they are fixed; plain containers."""
        if self.models is None:
            stream = self.stream.state_dict()
            return {"stream": stream} if stream else {}
        models, turns, course = self.models.state_dict(), self.turns.state_dict(), self.course.state_dict()
        examined = self._examined_before if self.examination is None else self.examination.state_dict()
        without = self.without.state_dict()
        kept = {"models": models, "turns": turns, "course": course, "examined": examined, "without": without}
        return kept | {"shortfalls": dict(self._shortfalls)}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on where the checkpoint stood; the first rank alone takes its sums, which would count once per rank."""
        if "models" in state_dict:
            self.models = SimpleModels.from_state(state_dict["models"])
            self.turns.load_state_dict(state_dict["turns"])
            self.course.load_state_dict(state_dict["course"])
            self._examined_before = state_dict["examined"]
            self.without.load_state_dict(state_dict["without"])
            self._shortfalls = dict(state_dict["shortfalls"])
        elif "stream" in state_dict and not (torch.distributed.is_initialized() and torch.distributed.get_rank() > 0):
            self.stream.load_state_dict(state_dict["stream"])
