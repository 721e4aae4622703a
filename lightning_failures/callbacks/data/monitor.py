"""Whether images stand on both sides of the split, more than once, or under several labels, live."""

import math
from typing import Any, Unpack, get_args

import torch
from lightning.pytorch import LightningModule, Trainer
from torch import Tensor

from lightning_failures.callbacks.data.image_record import ImageRecord
from lightning_failures.callbacks.data.rules import RULES
from lightning_failures.callbacks.data.terms import NO_IMAGE, NO_LABELS, NO_TRAINING, NOT_ALL, NOTHING_HELD, TERMS
from lightning_failures.callbacks.evaluation_context import EvaluationContext
from lightning_failures.callbacks.monitor import Monitor, MonitorOptions
from lightning_failures.functional.image_hashes import ImageSets, copies_statistics
from lightning_failures.functional.unseen_classes import unseen_class_statistics
from lightning_failures.observe.observation import Observation
from lightning_failures.observe.task import Kind

__all__ = ["DataMonitor"]

#: Images of the second epoch, over all processes, that are looked for among those of the first.
AGAIN = 512

#: Share of them that must be found, so that an absence of leakage says something.
ENOUGH = 0.5

CHANGED = "training images are augmented or drawn anew each epoch, so that no copy is recognised; audit_data can"
NO_SECOND = "there was no second epoch of training"
NO_INPUTS = "no inputs were found"
ALL_BLANK = "in each image every channel has one value throughout"


class DataMonitor(Monitor):
    """Logs, under ``failures/data/``, how many validation images were trained on, occur twice, or have two labels.

    Images are compared byte for byte, as the steps saw them, by a hash of 64 bits, see :func:`.image_hashes`: those of
    training in the first epoch, those of validation at the first evaluations. After the first evaluation of the second
    epoch nothing is hashed any more, and the figures stand. Of more than 200,000 images a sample is compared, drawn so
    that shares stay what they are.

    *Augmentation* makes it blind: an image that is changed before training is equal to none of validation.
    ``recognised`` is how many training images came again in the second epoch as they were; where less than half did
    and nothing leaked, ``leakage`` is nan and the verdict says why. :func:`.audit_data` on loaders without augmentation
    sees what this cannot, near copies included.

    *Labels*: ``unseen_class_images`` is the share of the validation images whose class no training image of the first
    epoch has. Augmentation does not hide it.

    *Blank images*, in which each channel has one value, are counted, ``blank``, and else left out. ``test`` and
    ``validate`` compare their images with what this Trainer trained on before, and nan where it trained on nothing.

    Args:
        options: see :class:`.Monitor`.

    Example:
        >>> DataMonitor().key("leakage")
        'failures/data/leakage'
    """

    noun = "data"
    watches = "images on both sides of the split"
    reads_batches = True
    tasks = get_args(Kind)
    terms = TERMS
    rules = RULES
    held_out = ("*",)

    def __init__(self, **options: Unpack[MonitorOptions]) -> None:
        super().__init__(**options)
        self.record = ImageRecord()
        self._first: int | None = None  # the epoch whose training images are kept
        self._standing: dict[str, float] | None = None  # figures that do not change any more
        self._why: dict[str, str] = {}
        self._cannot: str | None = None
        self._batches = 0

    @property
    def unserved(self) -> str | None:
        """Nothing: it needs images alone."""
        return None

    @property
    def refusal(self) -> str | None:
        """Why leakage cannot be seen."""
        return self._cannot

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Begin a run."""
        super().on_fit_start(trainer, pl_module)
        self.record = ImageRecord(self.record.most)
        self._first, self._standing, self._cannot = None, None, None

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Keep the hashes of the first epoch's images, and of some of the second."""
        super().on_train_batch_end(trainer, pl_module, outputs, batch, batch_idx)
        if self.idle or self._standing is not None or self._needs_validation:
            return
        if self._first is None:  # a run that goes on in the midst of an epoch has not seen all of it
            self._first = trainer.current_epoch + (batch_idx > 0)
        with self.guard():
            again = trainer.current_epoch > self._first
            if again and self.record.images("again") >= AGAIN // trainer.world_size:
                return
            seen = self.probe.read_batch(batch)
            if not seen.empty and self.probe.settled:
                self.record.add("again" if again else "train", seen, trainer.world_size)

    # -- an evaluation

    def begin(self, evaluation: EvaluationContext) -> None:
        """Forget the images of the evaluation before."""
        self.record.clear("held")
        self._batches = 0

    def update(self, evaluation: EvaluationContext, seen: Observation, batch_idx: int) -> None:
        """Keep the hashes of one batch."""
        self._batches += 1
        if self._standing is None or not evaluation.fitting:
            self.record.add("held", seen, evaluation.world_size)

    def describe(self) -> Any:
        """That there was a batch."""
        return {} if self._batches else None

    def build(self, description: Any) -> None:
        """Nothing: hashes need no shapes."""

    def compute(self, evaluation: EvaluationContext) -> dict[str, Tensor]:
        """Shares of images that occur more than once, of all processes."""
        values = self._standing if evaluation.fitting else None
        if values is None:
            values = self._found() | self._unseen(evaluation)
            if evaluation.fitting and self._first is not None and evaluation.epoch > self._first:
                self._standing = values
        self.undefined = {key: why for key, why in self._why.items() if math.isnan(values[key])}
        return {key: torch.tensor(value, dtype=torch.float64) for key, value in values.items()}

    def _found(self) -> dict[str, float]:
        values = {key: float(value) for key, value in copies_statistics(self.record.gathered("held")).items()}
        again = copies_statistics(self.record.gathered("again"))
        values["recognised"], values["one_in"] = float(again["leakage"]), float(self.record.one_in)
        values |= {"blank": self.record.blank("held"), "training_blank": self.record.blank("train")}
        blind = values["recognised"] < ENOUGH and not values["leaked"]
        self._cannot = CHANGED if blind else None
        if not values["images"] and not values["training_images"]:
            self._cannot = NO_INPUTS if math.isnan(values["blank"]) else ALL_BLANK
        if blind:
            values |= dict.fromkeys(("leakage", "leakage_low", "leakage_high"), math.nan)
        unseen = CHANGED if blind else NO_TRAINING if not values["training_images"] else NOTHING_HELD
        self._why = {
            **dict.fromkeys(("leakage", "leakage_low", "leakage_high"), unseen),
            "duplicates": NOTHING_HELD,
            "contradicting_labels": NO_LABELS,
            "training_contradicting_labels": NO_LABELS,
            "training_duplicates": NO_TRAINING,
            "recognised": NO_SECOND,
            **dict.fromkeys(("blank", "training_blank"), NO_IMAGE),
            **dict.fromkeys(("unseen_classes", "unseen_class_images"), NOT_ALL),
        }
        return values

    def _unseen(self, evaluation: EvaluationContext) -> dict[str, float]:
        """Classes without a training image, once all of these were seen."""
        sets = self.record.gathered("held")
        over = self.replayed or evaluation.trainer.is_last_batch  # a replay shows an epoch of training as a whole
        complete = self._first is not None and (over or evaluation.epoch > self._first)
        task = self.probe.task  # maps of labels have a hash each, which is no class
        if not (complete and task.classifies and not task.pixels and self.record.one_in == 1):
            sets = ImageSets.zero()
        found = unseen_class_statistics(sets.train_labels, sets.held_labels)
        return {key: float(value) for key, value in found.items()}
