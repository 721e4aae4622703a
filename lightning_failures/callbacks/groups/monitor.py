"""Which groups of images a model fails on, and whether on those that training has not seen, live."""

from typing import Any, Unpack

import torch
from lightning.pytorch import LightningModule, Trainer
from torch import Tensor

from lightning_failures.callbacks.evaluation_context import EvaluationContext
from lightning_failures.callbacks.groups.feature_sample import MOST, FeatureSample, SampledFeatures
from lightning_failures.callbacks.groups.rules import RULES
from lightning_failures.callbacks.groups.terms import TERMS
from lightning_failures.callbacks.monitor import Monitor, MonitorOptions
from lightning_failures.callbacks.ranks import gather
from lightning_failures.callbacks.sampled_rows import drawn_rows
from lightning_failures.errors import FailuresError
from lightning_failures.functional.feature_reading import feature_reading
from lightning_failures.metrics.group_errors import NOT_IN_TRAINING, GroupErrors
from lightning_failures.observe.batch_fields import Field
from lightning_failures.observe.group_reader import GroupReader, GroupSource, add_up_groups
from lightning_failures.observe.layers import PENULTIMATE
from lightning_failures.observe.observation import Observation
from lightning_failures.records.finding import Finding
from lightning_failures.records.term import why_nan

__all__ = ["GroupErrorMonitor"]

#: Groups that are told of one by one: those with most images at the first evaluation.
MOST_NAMED = 12
#: Batches whose groups are kept before they are put together; what a group is called by may stand on a device.
HELD = 256


class GroupErrorMonitor(Monitor):
    """Logs, under ``failures/groups/``, the errors of each group of images, and of groups that training has not seen.

    Groups are images that belong together: of one study, patient, slide or scanner. ``difference/NAME`` is the error
    rate of a group minus that of all others, with its interval; of more than 12 groups those with most images at the
    first evaluation are told of. Where the groups of training images can be read too, ``new_groups`` says after the
    first epoch how many are not in training; such a group is called ``NAME, not in training``, and all of them together
    are compared with the others. See :class:`.GroupErrors`.

    *The features*: of a sample of 1,024 images, ``group_read`` is the share whose group a linear model in closed form
    reads from the penultimate features, with ``group_chance``; ``group_read_within`` is the same among images of one
    class; ``label_read`` says how well the class is read from the same features in the same way. ``robustness_index``
    says whether the nearest neighbours of an image are of its class or of its group. See :func:`.feature_reading`.
    They are evidence and raise no finding: a group that is read well need not be leant on. Nothing is fitted by steps,
    and no image is run again.

    Args:
        groups: a path or callable into the batch, or one for each row of the validation dataset; see
            :class:`.GroupReader`. Of a sequence by row, the groups of training images are not known.
        ids: path or callable into the batch that gives each image's id, where groups go by id.
        options: see :class:`.Monitor`.

    Raises:
        InputError: groups that cannot be read, or that go by id where no ids are named.

    Example:
        >>> GroupErrorMonitor("scanner").key("difference/old scanner")
        'failures/groups/difference/old scanner'
    """

    noun = "groups"
    always = True
    watches = "errors by group"
    reads_batches = True
    tasks = ("multiclass", "binary")
    terms = TERMS
    rules = RULES
    held_out = ("*",)

    def __init__(self, groups: GroupSource, *, ids: Field | None = None, **options: Unpack[MonitorOptions]) -> None:
        super().__init__(**options)
        self.reader = GroupReader(groups, ids, type(self).__name__)
        self.metric = GroupErrors()
        self.known: set[int] = set()  #: groups of the training images of this rank
        self._kept: list[Tensor] = []  # of training batches, as they came
        self._of_training = not self.reader.by_row
        self._from_start = self._whole = False  # whether the first epoch was seen from its first batch, and to its last
        self._in_training: set[int] | None = None  # of all ranks; None: not known
        self._told_of: dict[int, str] | None = None
        self._batches: list[Tensor] = []
        self._seen_groups: list[Tensor] = []  # of each batch of the last evaluation
        self._counted = False
        self._sample = FeatureSample(0)
        self._lacking: str | None = None  # why no features are read

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Keep the groups of the training images."""
        super().on_train_batch_end(trainer, pl_module, outputs, batch, batch_idx)
        if self.idle or not self._of_training or self._whole or self.unserved:
            return
        if trainer.current_epoch > 0:
            self._whole = self._from_start
            return
        self._from_start = self._from_start or batch_idx == 0
        with self.guard():
            try:
                self._kept.append(self.reader.of_batch(batch).detach())
            except FailuresError:  # training batches do not say it
                self._of_training, self._kept = False, []
            if len(self._kept) >= HELD:
                self._settle()
            self._whole = self._from_start and batch_idx + 1 >= trainer.num_training_batches

    def _settle(self) -> None:
        """Put together the groups that were kept."""
        for part in self._kept:
            self.known.update(part.unique().tolist())
        self._kept = []

    # -- an evaluation

    def begin(self, evaluation: EvaluationContext) -> None:
        """Forget the images of the evaluation before, and learn which groups training has seen."""
        self.metric.to(evaluation.device).reset()
        self._batches, self._counted = [], False
        self._seen_groups, self._lacking = [], None
        self._sample = FeatureSample(evaluation.batches, evaluation.world_size, evaluation.trainer.global_rank)
        if evaluation.fitting:
            self._settle()
            parts = gather((self._of_training and self._whole, self.known))
            self._in_training = set().union(*(known for _, known in parts)) if all(can for can, _ in parts) else None

    def carriers(self, finding: Finding) -> Tensor | None:
        """Which images are of the group of a finding; (n), bool, as they were evaluated; None where none is known."""
        groups = [group for group, name in self.metric.names.items() if name == finding.subject]
        return torch.cat(self._seen_groups) == groups[0] if groups and self._seen_groups else None

    def update(self, evaluation: EvaluationContext, seen: Observation, batch_idx: int) -> None:
        """Count the errors of one batch by group."""
        logits = self.probe.require_logits(seen, type(self).__name__)
        targets = seen.require_targets(type(self).__name__)
        groups = evaluation.read(self.reader, seen, batch_idx)
        self.metric.to(logits.device).update(logits, targets, groups, targets >= 0)
        self._seen_groups.append(groups)
        if self._told_of is None:
            self._batches.append(groups)
        self._counted = True
        self._keep(evaluation, seen, targets, groups, batch_idx)

    def _keep(
        self, evaluation: EvaluationContext, seen: Observation, targets: Tensor, groups: Tensor, batch_idx: int
    ) -> None:
        """Keep the features of some images of a batch."""
        features = seen.features.get(PENULTIMATE)
        if features is None or features.ndim != 2 or targets.ndim != 1:
            self._lacking = "the input of the classifier head, one row for each image, was not found"
        elif len(features) != len(targets):
            self._lacking = "a step calls the head on several views of an image"
        else:
            chosen = drawn_rows(evaluation.rows.size, MOST)
            kept, places = self._sample.rows(len(targets), evaluation.places(seen, batch_idx), chosen)
            self._sample.add(kept, places, features, targets, groups)

    def describe(self) -> Any:
        """That there was a batch."""
        return {} if self._counted else None

    def build(self, description: Any) -> None:
        """Nothing: the metric needs no shapes."""

    def compute(self, evaluation: EvaluationContext) -> dict[str, Tensor]:
        """Errors by group."""
        if self._told_of is None:
            mine: dict[int, int] = {}
            for part in self._batches:
                ids, counts = part.unique(return_counts=True)
                for group, count in zip(ids.tolist(), counts.tolist(), strict=True):
                    mine[group] = mine.get(group, 0) + count
            self._batches = []
            parts = gather({group: (count, self.reader.name(group)) for group, count in mine.items()})
            largest = list(add_up_groups(parts).items())[:MOST_NAMED]
            self._told_of = {group: name for group, (_, name) in largest}
        known = self._in_training
        self.metric.in_training = known
        self.metric.names = {
            group: name if known is None or group in known else f"{name}{NOT_IN_TRAINING}"
            for group, name in self._told_of.items()
        }
        found: dict[str, Tensor] = self.metric.compute()
        of_features, why = self._read_features()
        found |= of_features
        unread = {key: why or reason for key, reason in why_nan(self.terms, of_features).items()}
        self.undefined = self.metric.undefined | unread
        return found

    def _read_features(self) -> tuple[dict[str, Tensor], str | None]:
        """What is read of groups and classes in the sample of all ranks, the same on each; and why nothing is."""
        said = gather((self._lacking, self._sample.on_cpu()))
        self._sample = FeatureSample(0)  # which held the device's memory
        why = next((lacking for lacking, _ in said if lacking is not None), None)
        parts = [part for _, part in said if part is not None]
        if why is not None or not parts:
            nothing = torch.zeros(0, dtype=torch.int64)
            sample = SampledFeatures(nothing, torch.zeros(0, 1), nothing, nothing)
        else:
            sample = SampledFeatures.joined(parts)
        reading = feature_reading(sample.features, sample.target, sample.groups)
        return reading._asdict() | {"sampled": torch.tensor(len(sample.target))}, why
