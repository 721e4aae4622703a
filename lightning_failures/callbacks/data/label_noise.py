"""Which training labels are likely to be wrong, from the logits of training steps."""

import hashlib
import math
from collections.abc import Iterable, Mapping
from typing import Any, ClassVar, Unpack

import torch
from lightning.pytorch import LightningModule, Trainer
from torch import Tensor

from lightning_failures.callbacks.data.label_record import CHANGED, LabelRecord, LabelRow, named
from lightning_failures.callbacks.data.rules import LABEL_RULES
from lightning_failures.callbacks.data.terms import LABEL_TERMS
from lightning_failures.callbacks.evaluation_context import EvaluationContext
from lightning_failures.callbacks.logged_step import logged_step
from lightning_failures.callbacks.monitor import NOT_REPLAYED, Monitor, MonitorOptions
from lightning_failures.callbacks.ranks import gather
from lightning_failures.errors import InputError
from lightning_failures.functional.image_hashes import image_hashes, in_sample
from lightning_failures.observe.batch_fields import Field, read_field
from lightning_failures.observe.dataset_rows import DatasetRows
from lightning_failures.observe.observation import Observation
from lightning_failures.reporting.loggers import log_table

__all__ = ["LabelNoiseMonitor"]

#: Most images that are watched, and most numbers of softmax that an epoch of them may take.
MOST_IMAGES, MOST_NUMBERS = 50_000, 2**24

#: Rows of the table.
MOST_ROWS = 100

_WHERE = "LabelNoiseMonitor"
_RESUMED = "the run went on from a checkpoint, whose network may know wrong labels by heart"


class LabelNoiseMonitor(Monitor):
    """Ranks training images by how likely their label is wrong, and logs what share of all labels is.

    It reads the logits of the training steps of the first epochs as they pass by; no forward pass is added and nothing
    changes in training. The table ``failures/data/label_noise`` holds the 100 images of the lowest area under the
    margin: the image, its label, what is predicted, the area under the margin (AUM), and the error norm (EL2N).
    :attr:`ranked` holds them too. ``mislabelled`` is how often the label is another one among the images of which the
    network is surest, over the first three epochs in which it no longer learns fast, see :func:`.sure_disagreement`.

    *What was measured*: with 10, 20 and 40% of the labels of 8 x 8 digits and of spectra wrong by chance, 0.84 to 0.98
    of as many images as were wrong, taken from the top of the ranking, were wrong ones; 0.6 to 0.85 where a quarter of
    the images lies between classes. The share was 0.03 off on average, its interval held the truth in 240 of 240 runs,
    and the finding ``label_noise`` came in 60 of 60 runs with 40%, 47 of 60 with 20%, 3 of 60 with 10%, none of 60 with
    right labels.

    *Which image is which* is known by the hash of its bytes, so that a table without ``ids`` and without a loader that
    goes through its dataset in order holds hashes; :meth:`rows_in` finds them in a loader. Augmented images are others
    each epoch and cannot be told apart: name them by ``ids``, which is said where it is needed.

    *Cost*: it is not among :func:`.failure_monitors`, since it looks at each training batch. Of more than 50,000
    images, or fewer of many classes, a sample is watched.

    Args:
        ids: path or callable into the batch that gives each image's id, a number or a text; None: the image itself.
        epochs: of training that are watched, from the first on; after more of them wrong labels are known by heart.
        options: see :class:`.Monitor`.

    Raises:
        InputError: fewer than three epochs.

    Example:
        >>> monitor = LabelNoiseMonitor(ids="file_name", epochs=5)
        >>> monitor.key("mislabelled")
        'failures/data/mislabelled'
    """

    noun = "data"
    watches = "labels of training images"
    tasks = ("multiclass", "binary")
    not_replayed: ClassVar[Mapping[str, str]] = {"*": NOT_REPLAYED}
    terms = LABEL_TERMS
    rules = LABEL_RULES

    def __init__(self, ids: Field | None = None, *, epochs: int = 10, **options: Unpack[MonitorOptions]) -> None:
        super().__init__(**options)
        if epochs < 3:
            fix = "Pass 3 or more; the share of wrong labels is read from three."
            raise InputError(_WHERE, "too few epochs to watch", str(epochs), fix)
        self.ids, self.epochs = ids, epochs
        self.record = LabelRecord()
        self.ranked: list[LabelRow] = []  #: the images of the lowest area under the margin, lowest first
        self._images = torch.zeros(0, dtype=torch.int64)
        self._names: dict[int, str | int] = {}
        self._unread: list[tuple[Tensor, Tensor]] = []  # images and rows, of batches that no evaluation has read yet
        self._rows = DatasetRows(None)
        self._steps = object()  # listens to training steps
        self._one_in = 0
        self._first = 0
        self._published = False

    @property
    def refusal(self) -> str | None:
        """Why labels cannot be watched."""
        return CHANGED if self.record.changed else None

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Begin a run."""
        super().on_fit_start(trainer, pl_module)
        self.record, self.ranked, self._names, self._unread = LabelRecord(), [], {}, []
        self._one_in, self._published, self._first = 0, False, trainer.current_epoch

    # -- training

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        """Listen to the step, in the epochs that are watched."""
        super().on_train_batch_start(trainer, pl_module, batch, batch_idx)
        if self._watching(trainer):
            with self.guard():
                self.probe.attach(pl_module, self._steps)
                self.probe.new_batch()

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Add the margins of the batch."""
        watching = self._watching(trainer)
        super().on_train_batch_end(trainer, pl_module, outputs, batch, batch_idx)
        if watching and not self.idle and self.probe.discovered and self.unserved is None:
            with self.guard():
                self._add(trainer, self.probe.observe(pl_module, outputs, batch), batch_idx)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Take the hooks off until the next epoch."""
        super().on_train_epoch_end(trainer, pl_module)
        self.probe.detach(self._steps)

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Log the table of a run that ended before all epochs were watched."""
        super().on_fit_end(trainer, pl_module)
        if not self.idle and not self._published:
            with self.guard():
                self._publish(trainer)

    def _stop_listening(self) -> None:
        super()._stop_listening()
        self.probe.detach(self._steps)

    def _watching(self, trainer: Trainer) -> bool:
        began = trainer.current_epoch - self._first
        return not (self.idle or self.record.changed) and self.probe.settled and began < self.epochs

    def _add(self, trainer: Trainer, seen: Observation, batch_idx: int) -> None:
        if seen.empty or seen.targets is None:
            return
        logits = self.probe.require_logits(seen, _WHERE)
        images = self._identify(trainer, seen, batch_idx)
        self._one_in = self._one_in or _sampled(trainer, len(logits), logits.shape[1])
        targets = seen.targets
        if self._one_in > 1:  # which stops the device; only where there are many images
            chosen = in_sample(images, self._one_in)
            images, logits, targets = images[chosen], logits[chosen], targets[chosen]
        if len(logits):
            self.record.add(trainer.current_epoch - self._first, images, logits, targets)

    def _identify(self, trainer: Trainer, seen: Observation, batch_idx: int) -> Tensor:
        """One number per image; (n). The name of each number, where it has one and may be new, is kept."""
        if self.ids is not None:
            given = read_field(seen.batch, self.ids, f"{_WHERE}(ids=...)")
            ids = given.tolist() if isinstance(given, Tensor) else list(given)
            if len(ids) != seen.images:
                fix = "Give one id an image."
                raise InputError(f"{_WHERE}(ids=...)", "ids and images differ in number", f"{len(ids)} ids", fix)
            numbers = [_number(each) for each in ids]
            self._names |= dict(zip(numbers, ids, strict=True))
            return torch.tensor(numbers, dtype=torch.int64, device=seen.require_inputs(_WHERE).device)
        images = image_hashes(seen.require_inputs(_WHERE))
        if trainer.current_epoch == self._first:
            if batch_idx == 0:
                self._rows = DatasetRows(trainer.train_dataloader)
            if self._rows.known:
                self._unread.append((images, self._rows.of(batch_idx).rows))  # read later: the device is not waited for
        return images

    def _read_names(self) -> dict[int, str | int]:
        """The name of each number that has one."""
        for images, rows in self._unread:
            self._names |= dict(zip(images.tolist(), rows.tolist(), strict=False))
        self._unread = []
        return self._names

    # -- an evaluation

    def update(self, evaluation: EvaluationContext, seen: Observation, batch_idx: int) -> None:
        """Nothing: it watches training."""

    def describe(self) -> Any:
        """Nothing to agree on: any process may know of images."""
        return ()

    def build(self, description: Any) -> None:
        """Nothing to make."""

    def compute(self, evaluation: EvaluationContext) -> dict[str, Tensor]:
        """The share of wrong labels, and the ranking, of all processes."""
        if not evaluation.fitting:
            return {}
        trainer = evaluation.trainer
        began = evaluation.epoch - self._first
        self.record.close(began if trainer.is_last_batch else began - 1)
        self._images, rows = self.record.lowest(MOST_ROWS)
        wanted = set(self._images.tolist())
        names: dict[int, str | int] = {}
        for theirs in gather({image: name for image, name in self._read_names().items() if image in wanted}):
            names = theirs | names
        self.ranked = named(rows, self._images, names)
        values = self.record.share | {"negative_margins": self.record.negative, "labels": float(self.record.images)}
        why = _RESUMED if self._first else self.record.why
        if self._first:
            values |= dict.fromkeys(self.record.share, math.nan)
        reasons = dict.fromkeys(self.record.share, why) | {"negative_margins": CHANGED if self.record.changed else why}
        self.undefined = {key: reason for key, reason in reasons.items() if math.isnan(values[key])}
        return {key: torch.tensor(value, dtype=torch.float64) for key, value in values.items()}

    def publish(self, evaluation: EvaluationContext, values: Mapping[str, Tensor]) -> None:
        """Log the table, once the epochs that are watched are over."""
        if evaluation.fitting and not self._published and evaluation.epoch - self._first + 1 >= self.epochs:
            self._publish(evaluation.trainer)

    def _publish(self, trainer: Trainer) -> None:
        self._published = bool(self.ranked)
        if self.ranked:
            rows = [[trainer.current_epoch, *row] for row in self.ranked]
            head = ["epoch", *LabelRow._fields]
            log_table(trainer.loggers, f"failures/{self.name}/label_noise", head, rows, logged_step(trainer))

    def rows_in(self, loader: Iterable[Any]) -> list[tuple[int, LabelRow]]:
        """The ranked images as rows of a loader that goes through the training dataset in order.

        Args:
            loader: batches as training had them, without shuffling or augmentation.

        Returns:
            Row, counted from 0, and what is known of the image; those of the lowest area under the margin first.
        """
        places: dict[int, list[int]] = {}
        start = 0
        with torch.random.fork_rng(devices=[]):  # a loader draws a seed even where it does not shuffle
            for batch in loader:
                seen = self.probe.read_batch(batch)
                images = image_hashes(seen.require_inputs(_WHERE)).tolist()
                for place, image in enumerate(images):
                    places.setdefault(image, []).append(start + place)
                start += len(images)
        ranked = zip(self._images.tolist(), self.ranked, strict=True)
        return [(place, row) for image, row in ranked for place in places.get(image, [])]


def _number(name: Any) -> int:
    """A number of 64 bits for an id."""
    digest = hashlib.blake2b(f"{type(name).__name__} {name}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little", signed=True) or 1


def _sampled(trainer: Trainer, images: int, classes: int) -> int:
    """Of how many images one is watched: a power of two."""
    batches = float(trainer.num_training_batches)
    coming = batches * images if math.isfinite(batches) else 16 * MOST_IMAGES
    most = min(MOST_IMAGES // trainer.world_size, MOST_NUMBERS // (classes * trainer.world_size))
    return 1 << max(0, math.ceil(math.log2(coming / max(1, most))))
