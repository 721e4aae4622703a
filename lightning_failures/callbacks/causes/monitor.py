"""Why a model fails, live: what training and validation images give when one thing is undone at a time."""

import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, NamedTuple, Unpack

import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.utilities import rank_zero_warn
from torch import Tensor, nn

from lightning_failures.callbacks.causes.answers import of_answers
from lightning_failures.callbacks.causes.experiments import LABELS, LEAST_GAP, Experiments
from lightning_failures.callbacks.causes.inputs_by_kind import InputsByKind, KindSums, largest_groups
from lightning_failures.callbacks.causes.orientation import ORIENTATIONS
from lightning_failures.callbacks.causes.preparation import Preparation
from lightning_failures.callbacks.causes.rules import RULES
from lightning_failures.callbacks.causes.terms import TERMS
from lightning_failures.callbacks.causes.training_content import MOST, TRAINING_CONTENTS
from lightning_failures.callbacks.evaluation_context import EvaluationContext
from lightning_failures.callbacks.monitor import Monitor, MonitorOptions
from lightning_failures.callbacks.ranks import gather
from lightning_failures.callbacks.reference_examination import FEWEST, ReferenceExamination
from lightning_failures.errors import FailuresError, FailuresWarning
from lightning_failures.functional.input_statistics import InputSums, input_sums, merge_inputs
from lightning_failures.functional.logit_adjustment import are_uneven
from lightning_failures.observe.batch_fields import Field
from lightning_failures.observe.batch_statistics import batch_statistics, trained_norms
from lightning_failures.observe.factor_reader import FactorReader, FactorSource
from lightning_failures.observe.group_reader import GroupReader, GroupSource
from lightning_failures.observe.observation import Observation
from lightning_failures.observe.pixels import rows_of
from lightning_failures.observe.reference_batch import ReferenceBatch
from lightning_failures.observe.rerun import by_chance
from lightning_failures.observe.undisturbed import undisturbed
from lightning_failures.records.term import find_term

__all__ = ["CauseMonitor"]


#: Families of images that are held against the others, and what is said of the images of one of them.
_FAMILIES = {"factor": "images with a factor", "group": "images of a group"}


class _Kept(NamedTuple):
    """What a rank tells the others of its validation images."""

    images: InputSums
    by_kind: Mapping[str, Sequence[KindSums]]  # by family


class _KeptOfTraining(NamedTuple):
    """What a rank tells the others of its training images."""

    images: InputSums
    labels: Tensor  # (n) int64; of maps those of all pixels
    grouped: bool


class CauseMonitor(Monitor):
    """Logs, under ``failures/causes/``, how far training and validation are apart, and what undoing a cause mends.

    Two batches are kept: training images as the first steps saw them, and validation images of the first evaluation.
    At each evaluation the network is run on both, with one thing undone at a time, so that the gain is measured on the
    same images:

    - ``evaluation_mode``: batch norm with the statistics of the batch, as in training; where the module is validated in
      training mode, in evaluation mode;
    - ``order_and_scale``: both, where channels are on another scale and another order may hide behind that: the order
      that their correlations tell, or, of few channels, the opposite one;
    - ``training_images``: the same, on training images, which it was trained on in just this way;
    - ``input_scale``: validation inputs with the mean and the deviation that training's have, channel by channel, where
      these differ beyond chance;
    - ``channel_order``: channels in the order in which they are most like those of training, where that is another;
    - ``input_turned``: where channels are on another scale, upside down as well: the negative of an image;
    - ``class_imbalance``: where some classes are more frequent in training than others, scores less the logarithm of
      each class's share;
    - ``orientation``: images mirrored, turned or transposed, once a gap to training was seen that nothing else closes;
    - ``training_content``: likewise, images with one content of another image of their class, such as a quarter of it:
      before, of another validation image; after, of a training image. So a watermark in training images is found; tried
      where channels are prepared alike;
    - ``constant_channels``: a channel that has one value in validation and varies in training cannot be mended; so that
      value is put into training images: before, with it; after, as they are. The share is 1 where these are then judged
      just as badly as validation images;
    - ``labels``: each predicted class as the label that it fits best, found on one half of the images and judged on the
      other.

    ``before/<experiment>``, ``after/<experiment>`` and ``gain/<experiment>`` have their 95% intervals beside them;
    ``share/<experiment>`` is the share of the gap between training and validation that it closes.
    :class:`.FailureDiagnosis` takes from these, and from what the other monitors log, which cause explains a finding.

    In a bare ``trainer.test()`` or ``trainer.validate()`` no training image was seen, and ``labels`` is the one
    experiment that can be judged: ``renaming_gain_low`` and ``renamed_skill_low`` say whether a model that was trained
    elsewhere tells the classes apart under other names than these labels.

    ``faults/<fault>``: channels that hold NaN or infinity, are empty, constant or saturated on one side only.

    *With factors*: the inputs of the validation images that carry a factor are compared with those of the others, such
    as those of a study in absorbance with those in transmittance. ``factor_channels/<factor>`` says in how many
    channels they differ. Where they do, these images are run again with the mean and the deviation of the others, or
    with the others' order of channels; and of a channel that does not vary in them, its value is put into the others.
    ``factor_before/<factor>``, ``factor_after/<factor>`` and ``factor_gain/<factor>`` are of what closes most of the
    gap to the others, ``factor_share/<factor>`` says how much of it. Where they are on another scale, they are also
    turned upside down, for no mean and no deviation tells absorbance from transmittance. On several processes the first
    such experiment is that of the second evaluation, since the images are compared when all processes have theirs.
    Where images depend on each other, since the module is validated in training mode, none is made.

    *With groups*: the same of the images of each group, under ``group_channels/<group>`` and so on, of up to 12 groups
    with most images among the kept ones. It tells the cause of a ``group_shift``. Intervals of the gap between training
    and validation and of what an experiment mends then count groups, ``groups/all`` of them, and are nan below four;
    ``gap_low_of_images`` and ``gain_low_of_images/<experiment>`` say what holds for the images themselves, which then
    decides what is proven. Where groups go by row of the evaluation's dataset, those of training images are not known,
    and each of these counts by itself. Images count, and not groups, where labels are renamed, and in the comparison of
    the images of a factor or of a group with the others, which is of these very images.

    Args:
        factors: see :class:`.FactorErrorMonitor`; None: no images with a factor are compared with the others.
        groups: which images belong together; see :class:`.GroupReader`. None: no groups are compared.
        ids: path or callable into the batch that gives each image's id, where factors or groups go by id.
        images: size of either batch, over all ranks.
        every_n_epochs: cadence of them.
        options: see :class:`.Monitor`.

    Raises:
        InputError: a size, or a cadence that is too small.

    Example:
        >>> monitor = CauseMonitor(groups="patient", images=128)
        >>> monitor.key("share/input_scale"), monitor.key("group_channels/Ann")
        ('failures/causes/share/input_scale', 'failures/causes/group_channels/Ann')
    """

    noun = "causes"
    watches = "why it fails"
    reads_batches = True
    terms = TERMS
    rules = RULES
    examining: ReferenceExamination
    held_out = ("*",)

    def __init__(
        self,
        factors: FactorSource | None = None,
        *,
        groups: GroupSource | None = None,
        ids: Field | None = None,
        images: int = 256,
        every_n_epochs: int = 1,
        **options: Unpack[MonitorOptions],
    ) -> None:
        super().__init__(**options)
        where = type(self).__name__
        self.examining = ReferenceExamination(
            where, self.title, self.budget, images=images, every_n_epochs=every_n_epochs, by_chance=True
        )
        self.trained = ReferenceBatch(images)  #: training images, as the step saw them
        self.experiments: Experiments | None = None
        self.preparation: Preparation | None = None
        self.reader = None if factors is None else FactorReader(factors, ids=ids, where=where)
        self.group_reader = None if groups is None else GroupReader(groups, ids, where)
        self._asked = factors is not None or groups is not None
        #: the images of each kind beside the others, by family; factors from the first batch on, groups once all
        #: processes know which of them have most images
        self.by_kind: dict[str, InputsByKind] = {}
        self.unread: dict[str, str] = {}  #: why factors or groups could not be read, on whichever rank
        self._groups: dict[int, str] | None = None  # that are compared: their names by number; None: not known yet
        self._compared: ReferenceBatch | None = None  # the batch that the comparisons are of
        self._warned: set[str] = set()  # families of which a warning said that they could not be read
        self._norms: list[nn.Module] | None = None  # batch norms that learn running statistics
        self._begun = self._in_training_mode = False
        self._gap_is_open = False  # whether the evaluation before had a gap to training that nothing else closes
        self._sums: InputSums | None = None  # of all training images that are kept, on all ranks
        self._labels: Tensor | None = None  # of the same images; (n), int64

    @property
    def not_watched(self) -> dict[str, str]:
        """What could not be watched so far, and why; without factors or groups, all but the comparison of these."""
        found = super().not_watched
        whole = self._named(self.watches) in found
        return found if whole else found | {self._named(f"inputs by {kind}"): why for kind, why in self.unread.items()}

    @property
    def refusal(self) -> str | None:
        """Why the model cannot be run again."""
        return self.examining.refusal

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        """See which batch norms work in training mode."""
        super().on_train_batch_start(trainer, pl_module, batch, batch_idx)
        if self._norms is None:
            self._norms = trained_norms(pl_module)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Keep some images of the first steps."""
        super().on_train_batch_end(trainer, pl_module, outputs, batch, batch_idx)
        if self.idle or self.trained.complete or self.unserved is not None or not self.probe.settled:
            return
        with self.guard():
            if not self._begun:
                self._begun = True
                self.trained.restrict(-(-self.trained.images // trainer.world_size))
                self.trained.begin(trainer.num_training_batches)
            seen = self.probe.read_batch(batch)
            if seen.inputs is not None and seen.targets is not None and not seen.empty:
                self.trained.add(seen.inputs, None, seen.targets, None, self._groups_of_training(seen))

    def _groups_of_training(self, seen: Observation) -> Tensor | None:
        """Which training images belong together; (n), int64; None where the batch does not tell."""
        if self.group_reader is None or self.group_reader.by_row:
            return None
        try:
            groups = self.group_reader.of_batch(seen.batch)
        except FailuresError:
            return None
        return seen.of_batch(groups) if len(groups) == seen.batch_images else None

    # -- an evaluation

    def begin(self, evaluation: EvaluationContext) -> None:
        """Fix the training images at the first evaluation that has some, and plan the examination."""
        if self._sums is None and evaluation.fitting:
            if self.trained.kept >= FEWEST or evaluation.epoch > 0:
                self.trained.fix()
            images = self.trained.inputs
            mine = None if images is None or self.failure else self._kept_of_training(images)
            parts = [part for part in gather(mine) if part is not None]
            self._sums = merge_inputs([part.images for part in parts]) if parts else None
            self._labels = torch.cat([part.labels for part in parts]) if parts else None
            if not all(part.grouped for part in parts):
                self.trained.groups = None
        self.examining.begin(evaluation, self.ranks.first)
        if self._compared is not self.examining.batch:  # images of a test are not those of validation
            self._compared, self.preparation = self.examining.batch, None
            for each in self.by_kind.values():
                each.preparations = None
            self._groups = None
            self.by_kind.pop("group", None)
        self._in_training_mode = False
        for part in (self.experiments, *self.by_kind.values()):
            if part is not None:
                part.begin(evaluation.device)

    def _kept_of_training(self, images: Tensor) -> "_KeptOfTraining":
        """What this rank tells the others of its training images."""
        targets = self.trained.targets
        labels = torch.zeros(0, dtype=torch.int64) if targets is None else targets[targets >= 0]
        return _KeptOfTraining(input_sums(images), labels, self.trained.groups is not None)

    def update(self, evaluation: EvaluationContext, seen: Observation, batch_idx: int) -> None:
        """Count the answers of one batch, and keep images for the examination."""
        logits = self.probe.require_logits(seen, type(self).__name__)
        if seen.targets is None:
            return
        rows = rows_of(seen, batch_idx)
        if rows.logits is None or rows.targets is None:
            return
        self._in_training_mode = self._in_training_mode or bool(by_chance(evaluation.module))
        carried, groups = self._read_kinds(evaluation, seen, batch_idx)
        names = None if self.reader is None else self.reader.names
        self.build((rows.logits.shape[1], names))
        assert self.experiments is not None
        self.experiments.pass_by(rows.logits, rows.targets, of_answers(groups, seen.images, len(rows.targets)))
        self.examining.keep(seen, logits, carried, groups)

    def _read_kinds(
        self, evaluation: EvaluationContext, seen: Observation, batch_idx: int
    ) -> tuple[Tensor | None, Tensor | None]:
        """Which factors each image carries, while images are kept, (n f), bool; and its group, (n), int64."""
        batch = self.examining.batch
        found: dict[str, Tensor] = {}
        for family, reader in (("factor", self.reader), ("group", self.group_reader)):
            if reader is None or (family == "factor" and (batch is None or batch.complete)):
                continue
            try:
                found[family] = evaluation.read(reader, seen, batch_idx)
            except FailuresError as error:  # what else is tested needs none of them
                if self.guard.on_error == "raise":
                    raise
                self._give_up(family, str(error))
        return found.get("factor"), found.get("group")

    def _give_up(self, family: str, why: str) -> None:
        """Read no more factors, or groups."""
        self.unread[family] = why
        if family == "factor":
            self.reader = None
        else:
            self.group_reader = None

    def conclude(self, evaluation: EvaluationContext) -> None:
        """Undo one thing at a time."""
        batch, modes = self.examining.batch, 1.0 + bool(self._norms)
        trained = self.trained.kept / batch.kept if batch is not None and batch.kept else 0.0
        undone = 0.0 if self.preparation is None else self.preparation.passes
        if self._gap_is_open and batch is not None and batch.kept:
            undone += len(ORIENTATIONS) + 2 * len(TRAINING_CONTENTS) * min(1.0, MOST / batch.kept)
        of_kinds = sum(each.passes(self._carried(family)) for family, each in self.by_kind.items())
        spoilt = self.preparation is not None and bool(self.preparation.is_constant.any())
        passes = modes * (1.0 + trained) + undone + of_kinds + spoilt * trained
        self.examining.run(
            evaluation,
            self.probe.runnable(evaluation.module),
            lambda model, inputs: self._examine(evaluation, model, inputs),
            passes,
            self.pace(evaluation),
        )

    def _examine(self, evaluation: EvaluationContext, model: Callable[[Tensor], Tensor], inputs: Tensor) -> None:
        """The experiments, on validation images and then on training images."""
        targets = self.examining.targets
        if self.experiments is None or targets is None:
            return
        if evaluation.world_size == 1:
            self._choose_groups([self._kept_groups])
            self._prepare([self._kept_sums])
        norms = self._norms or []
        other: AbstractContextManager[object] | None = batch_statistics(norms) if norms else None
        if self._in_training_mode:
            other = undisturbed(evaluation.module, evaluation.device, mode="eval", hooks="own")
        targets = targets.to(inputs.device)
        groups = None if self.group_reader is None else self.examining.groups
        logits = self.experiments.validate(
            model,
            inputs,
            targets,
            other,
            self.preparation,
            groups,
            gap_is_open=self._gap_is_open,
            training=self._training_images,
        )
        n = len(logits)
        for family, each in self.by_kind.items():
            carried = self._carried(family)
            if carried is not None and not self._in_training_mode:
                each.examine(model, inputs[:n], targets[:n], logits, carried[:n])
        images, labels = self.trained.inputs, self.trained.targets
        if images is not None and labels is not None:
            part = len(inputs) / (batch.kept if (batch := self.examining.batch) is not None else 1)
            rows = torch.linspace(0, len(images) - 1, round(len(images) * min(1.0, part))).round().long()
            rows = rows if self.trained.finite is None else rows[self.trained.finite[rows]]
            if not len(rows):
                return
            with undisturbed(evaluation.module, evaluation.device, mode="eval", hooks="own"):
                given, asked = images[rows].to(inputs.device), labels[rows].to(inputs.device)
                groups = None if self.trained.groups is None else self.trained.groups[rows]
                self.experiments.train(model, given, asked, norms, self.preparation, groups)

    @property
    def _training_images(self) -> tuple[Tensor, Tensor] | None:
        """Finite training images with their labels; None without any, or while images are not prepared alike."""
        images, labels, finite = self.trained.inputs, self.trained.targets, self.trained.finite
        of_kinds = [part for each in self.by_kind.values() for part in (each.preparations or {}).values()]
        alike = self.preparation is not None and all(
            each is None or each.alike for each in (self.preparation, *of_kinds)
        )
        if images is None or labels is None or not alike:
            return None
        return (images, labels) if finite is None else (images[finite], labels[finite])

    def _prepare(self, parts: "Sequence[_Kept | None]") -> None:
        """Compare the inputs, as the ranks hold them; once, since they stay.

        Args:
            parts: of each rank, see :attr:`_kept_sums`.
        """
        known = [part for part in parts if part is not None]
        if self.preparation is None and self._sums is not None and known:
            validation = merge_inputs([part.images for part in known])
            if len(validation.images) == len(self._sums.images):
                self.preparation = Preparation.of(self._sums, validation)
        for family, each in self.by_kind.items():
            if each.preparations is not None or not known:
                continue
            if why := self.unread.get(family):
                each.leave_out(why)
            else:
                each.compare([part.by_kind[family] for part in known])

    def _choose_groups(self, parts: Sequence[Mapping[int, tuple[int, str]] | None]) -> None:
        """Fix which groups are compared, as the processes hold them; once, since the images stay.

        Args:
            parts: of each process, see :attr:`_kept_groups`.
        """
        known = [part for part in parts if part is not None]
        if self._groups is None and known and "group" not in self.unread:
            self._groups = largest_groups(known)
            if self._groups:
                self.by_kind["group"] = InputsByKind(list(self._groups.values()), "group")

    @property
    def _kept_groups(self) -> dict[int, tuple[int, str]] | None:
        """How many of this rank's validation images are of each group, and its name; None where nobody said."""
        batch = self.examining.batch
        if batch is None or batch.groups is None or self.group_reader is None:
            return None
        ids, counts = batch.groups.unique(return_counts=True)
        names = {group: self.group_reader.name(group) for group in ids.tolist()}
        return {group: (count, names[group]) for group, count in zip(names, counts.tolist(), strict=True)}

    def _carried(self, family: str, *, kept: bool = False) -> Tensor | None:
        """Which kinds of a family each image is of; (n k), bool.

        Args:
            family: ``"factor"`` or ``"group"``.
            kept: of all images that are kept; else of those that are examined.
        """
        source = self.examining.batch if kept else self.examining
        if source is None or family == "factor":
            return None if source is None else source.factors
        if source.groups is None or not self._groups:
            return None
        return source.groups[:, None] == torch.tensor(list(self._groups))

    @property
    def _unprepared(self) -> bool:
        """Whether something is still to be compared; the same on all ranks."""
        waits = self.group_reader is not None and self._groups is None
        return waits or self.preparation is None or any(each.preparations is None for each in self.by_kind.values())

    @property
    def _kept_sums(self) -> "_Kept | None":
        """Of this rank's validation images, all of them and by kind; None without any, or where all is compared."""
        batch = self.examining.batch
        if batch is None or batch.inputs is None or not self._unprepared:
            return None
        carried = {family: self._carried(family, kept=True) for family in self.by_kind}
        by_kind = {
            family: [] if which is None else KindSums.of(batch.inputs, which) for family, which in carried.items()
        }
        return _Kept(input_sums(batch.inputs), by_kind)

    def _agree_on_unread(self) -> None:
        """Read no factors or groups that some rank could not read; every rank takes part."""
        for said in gather(self.unread):
            for family, why in said.items():
                if family not in self.unread:
                    self._give_up(family, why)
        if "group" in self.unread and self.experiments is not None:
            self.experiments.forget_groups()

    def _agree(self) -> None:
        """Compare, as the ranks hold them, what is not compared yet; every rank takes part."""
        self._choose_groups(gather(self._kept_groups))
        self._prepare(gather(self._kept_sums))

    def describe(self) -> Any:
        """Number of classes, and the names of the factors."""
        if self.experiments is None:
            return None
        factors = self.by_kind.get("factor")
        return self.experiments.labels.num_classes, None if factors is None else factors.names

    def build(self, description: Any) -> None:
        """Make the metrics."""
        classes, factors = description
        if self.experiments is None:
            self.experiments = Experiments(classes)
        if self._labels is not None and self.experiments.class_counts is None:
            counts = self._class_counts()
            self.experiments.class_counts = counts if counts is not None and are_uneven(counts) else None
        if factors is None:  # nobody knows of any, or could read none
            self.by_kind.pop("factor", None)
        elif "factor" not in self.by_kind:
            self.by_kind["factor"] = InputsByKind(factors)

    def _class_counts(self) -> Tensor | None:
        """Kept training images of each class, on all ranks; None where labels are none of the classes."""
        assert self.experiments is not None
        classes, labels = self.experiments.labels.num_classes, self._labels
        if labels is None or not len(labels) or int(labels.max()) >= classes:
            return None
        return labels.bincount(minlength=classes)

    def _class_figures(self) -> dict[str, Tensor]:
        """How frequent the most and the least frequent class are among the kept training images."""
        counts = self._class_counts()
        nan = torch.tensor(torch.nan, dtype=torch.float64)
        share = nan[None] if counts is None else counts.double() / counts.sum()
        uneven = nan if counts is None else torch.tensor(float(are_uneven(counts)), dtype=torch.float64)
        return {"uneven_classes": uneven, "largest_class_share": share.amax(), "smallest_class_share": share.amin()}

    def compute(self, evaluation: EvaluationContext) -> dict[str, Tensor]:
        """How far both are apart, and what each experiment gave."""
        assert self.experiments is not None
        if self._asked:
            self._agree_on_unread()
        values = self.experiments.compute()
        if self._unprepared:  # of one process too, where the model cannot be run again, such as on NaN
            self._agree()
        for each in self.by_kind.values():
            values |= each.compute()
        gaps = (float(values.get(key, math.nan)) for key in ("gap_low", "gap_low_of_images"))
        tried = not bool(values["orientation"].isnan() & values["training_content"].isnan())
        unproven = float(values["proven"]) == 0 or tried
        self._gap_is_open = unproven and any(gap > LEAST_GAP for gap in gaps)
        values |= self._class_figures()
        values["in_training_mode"] = torch.tensor(float(self._in_training_mode))
        if not evaluation.fitting and bool(values["reached"].isnan()):
            values["renaming_gain_low"] = values[f"gain_low/{LABELS}"]
            # a network that names one class for all images is, renamed, right on the most frequent label, and no more
            room, above = 1 - values["chance"], values[f"after_low/{LABELS}"] - values["chance"]
            values["renamed_skill_low"] = torch.where(room > 0, above / room, torch.nan)
        values |= Preparation.unknown() if self.preparation is None else self.preparation.figures()
        self.undefined, why = {}, self.examining.refusal or self.examining.why_not
        told = self.experiments.undefined
        for key in (key for key, value in values.items() if bool(value.isnan())):
            passed_by = told.get(key) if key.startswith("validation_") else None  # needs no examination
            term = find_term(self.terms, key)
            self.undefined[key] = passed_by or why or told.get(key) or ("" if term is None else term.when_nan)
        for each in self.by_kind.values():
            self.undefined |= each.undefined
        return values

    def publish(self, evaluation: EvaluationContext, values: Mapping[str, Tensor]) -> None:
        """Say once what could not be read: last, since a warning may be an error on this rank alone."""
        for family in sorted(self.unread.keys() - self._warned):
            self._warned.add(family)
            text = f"{self.title} does not compare the inputs of {_FAMILIES[family]}: {self.unread[family]}"
            rank_zero_warn(text, category=FailuresWarning)
