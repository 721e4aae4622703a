"""Shows the images that a finding speaks of, with row, file and names of classes, and which classes are confused."""

import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple, Unpack

import torch
from lightning.pytorch import LightningModule, Trainer
from torch import Tensor
from torch.nn import functional as F

from lightning_failures.callbacks.evaluation_context import EvaluationContext
from lightning_failures.callbacks.images.confusion import confusion_figure
from lightning_failures.callbacks.logged_step import logged_step
from lightning_failures.callbacks.monitor import Monitor, MonitorOptions
from lightning_failures.callbacks.ranks import gather
from lightning_failures.data.class_names import check_class_names
from lightning_failures.data.factor_dataset import file_name_of
from lightning_failures.interventions.changes import Denormalize, raw_images
from lightning_failures.observe.module_state import random_state_kept
from lightning_failures.observe.observation import Observation
from lightning_failures.reporting.contact_sheet import Places, Tile, sheet_of
from lightning_failures.reporting.loggers import log_image_table
from lightning_failures.spectrum.axes import axis_label, name_of_place, spectral_axis

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["FailingImagesMonitor"]

#: Images of a sheet that are wrong, and that are right.
WRONG, RIGHT = 12, 4
#: Images of an evaluation, on one process, of which losses and predictions are kept: 24 bytes each.
MOST_IMAGES = 1_000_000
#: Classes up to which it is counted which are taken for which.
MOST_CLASSES = 1024


class Seen(NamedTuple):
    """What is kept of each image of an evaluation, on the CPU; in the order seen."""

    loss: Tensor  # (n) float32
    target: Tensor  # (n) int64, negative where unknown
    pred: Tensor  # (n) int64
    likely: Tensor  # (n) float32, probability of the predicted class


class FailingImagesMonitor(Monitor):
    """Shows failing images: on contact sheets, in a table with pictures, and as a confusion matrix; logs no figures.

    Whatever a finding says of a factor, a property or a group, the report shows the images that it speaks of: at most
    twelve that are wrong, those with the highest loss first, and up to four of the same classes that are right and do
    not belong to them. Beneath each stand its row in the dataset, its file where the dataset knows it, and the names of
    the given and of the predicted class. At the end of a fit, or of an evaluation alone, the sheet of the worst images
    of all and their table are logged; the confusion matrix is logged as time allows, see :class:`.Pictures`.

    During an evaluation four numbers per image are kept where they are, so that the device is not waited for. Pixels
    are read from the dataset when a sheet is drawn, once, with its transforms, and without touching any random state.
    Of several processes the first one shows images of its own share; the confusion matrix is of all. Where the loader
    has an order of its own, no image can be found again, and the verdict says so.

    Args:
        class_names: of all classes, in their order; None: found in the dataset, as ``classes``, ``class_to_idx``,
            ``categories`` or ``features["label"].names``; without names there are numbers.
        channel_names: such as ``"1,200 nm"``, one per channel; None: their wavelengths, or else numbers.
        wavelengths: place of each channel on the axis, strictly monotone; (C). None: channels by number.
        unit: of the wavelengths: ``"nm"``, ``"um"`` or ``"cm-1"``; None: not said.
        denormalize: from inputs to raw units, which are shown; see :func:`.raw_images`. None: the inputs are raw.
        options: see :class:`.Monitor`.

    Raises:
        InputError: the class names are no names, or the wavelengths are no axis.
        UnknownNameError: no such unit.

    Example:
        >>> monitor = FailingImagesMonitor(["cat", "dog"], wavelengths=[500.0, 600.0, 700.0], unit="nm")
        >>> monitor.class_names, monitor.channel_names
        (('cat', 'dog'), ['500 nm', '600 nm', '700 nm'])
    """

    noun = "images"
    watches = "the images that fail, to look at"
    held_out = ("*",)
    tasks = ("multiclass", "binary")

    def __init__(
        self,
        class_names: Sequence[str] | None = None,
        *,
        channel_names: Sequence[str] | None = None,
        wavelengths: Any = None,
        unit: str | None = None,
        denormalize: Denormalize | None = None,
        **options: Unpack[MonitorOptions],
    ) -> None:
        super().__init__(**options)
        where = "FailingImagesMonitor"
        self.class_names = check_class_names(where, class_names)
        axis = None if wavelengths is None else spectral_axis(wavelengths, unit, where=where)
        self.places = None if axis is None else Places(axis.values.tolist(), axis_label(axis.unit), axis.descending)
        names = None if axis is None else [name_of_place(place, axis.unit) for place in axis.values.tolist()]
        self.channel_names = names if channel_names is None else list(channel_names)
        self.denormalize = denormalize
        self.seen: Seen | None = None  #: of the last evaluation, once it has ended
        self.confusion: Tensor | None = None  #: images by given and predicted class, of all ranks; (c c), int64
        self._batches: list[Seen] = []
        self._rows: list[Tensor] = []
        self._images = self._classes = 0
        self._loader: Any = None
        self._known: tuple[str, ...] = ()  # names of the classes, as far as they are
        self._lost: str | None = None

    @property
    def refusal(self) -> str | None:
        """Why no image can be shown."""
        return self._lost

    def check(self) -> None:
        """Nothing is asked for: what it needs and does not find is no error, since nobody asked for it."""

    # -- an evaluation

    def begin(self, evaluation: EvaluationContext) -> None:
        """Forget the images of the evaluation before."""
        self.seen, self.confusion = None, None
        self._batches, self._rows, self._images = [], [], 0
        self._loader = evaluation.loader
        self._known = self.class_names or evaluation.class_names or ()
        self._lost = None if evaluation.rows.known else "the loader has an order of its own, so no image is found again"

    def update(self, evaluation: EvaluationContext, seen: Observation, batch_idx: int) -> None:
        """Keep loss, classes and probability of each image of a batch."""
        logits, targets = seen.logits, seen.targets
        if logits is None or targets is None or logits.ndim != 2 or targets.ndim != 1 or self._images >= MOST_IMAGES:
            return
        likely = logits.detach().float().log_softmax(1)
        targets = targets.clamp(min=-1, max=logits.shape[1] - 1)
        loss = F.nll_loss(likely, targets.clamp(min=0), reduction="none")
        best, pred = likely.max(1)
        self._batches.append(Seen(loss, targets.detach(), pred, best.exp()))
        places = evaluation.places(seen, batch_idx)
        if places is not None:
            self._rows.append(places)
        self._images += len(pred)

    def conclude(self, evaluation: EvaluationContext) -> None:
        """Fetch what was kept."""
        if self._batches:
            parts = zip(*self._batches, strict=True)
            self.seen = Seen(*(torch.cat(part).cpu() for part in parts))
            self._batches = []

    def describe(self) -> int | None:
        """Number of classes; None where nothing was seen."""
        return None if self.seen is None else self.probe.classes

    def build(self, description: Any) -> None:
        """Nothing but the number of classes."""
        self._classes = int(description)

    def compute(self, evaluation: EvaluationContext) -> dict[str, Tensor]:
        """Count classes over all ranks; there are no figures."""
        if self._classes <= MOST_CLASSES:
            counts = torch.zeros(self._classes, self._classes, dtype=torch.int64)
            if self.seen is not None:
                known = self.seen.target >= 0
                pairs = self.seen.target[known] * self._classes + self.seen.pred[known]
                counts = torch.bincount(pairs, minlength=self._classes**2).reshape(self._classes, self._classes)
            self.confusion = torch.stack(gather(counts)).sum(0)
        return {}

    # -- what is shown

    def names(self) -> tuple[str, ...]:
        """Of the classes: those given, else those of the dataset, else their numbers."""
        wanted = max(self._classes if self.seen is not None else 0, len(self._known))
        return (*self._known, *(str(number) for number in range(len(self._known), wanted)))

    def worst(self, carried: Tensor | None = None) -> list[int]:
        """Images of the last evaluation that are wrong, the highest loss first; their places in the order seen.

        Args:
            carried: those among which they are looked for; (n), bool; None: all.
        """
        if self.seen is None:
            return []
        wrong = (self.seen.pred != self.seen.target) & (self.seen.target >= 0)
        places = (wrong if carried is None else wrong & carried).nonzero()[:, 0]
        order = self.seen.loss[places].nan_to_num(torch.inf, torch.inf).sort(descending=True, stable=True).indices
        found: list[int] = places[order].tolist()
        return found[:WRONG]

    def sheet(
        self, carried: Tensor | None = None, subject: str = ""
    ) -> "tuple[str, Callable[[], Figure | None]] | None":
        """Caption of a sheet of failing images, and what draws it; None where there is none to be seen.

        Args:
            carried: the images that a finding speaks of; (n), bool; None: all.
            subject: of the finding, in words.
        """
        if self.seen is None or self._lost is not None or sum(map(len, self._rows)) != len(self.seen.pred):
            return None
        if carried is not None:
            carried = carried.cpu()
            if carried.shape != self.seen.pred.shape:
                return None
        wrong = self.worst(carried)
        if not wrong:
            return None
        right = self._alike(wrong, carried)
        among = f" of '{subject}'" if carried is not None and subject else ""
        caption = (
            f"Images{among} that are wrong (orange), the most wrong first"
            + (f", and images of the same classes that are right{f' and not {among[4:]}' if among else ''} (green)")
            * bool(right)
            + ". Beneath each: its row of the dataset or its file, the given class, and the predicted one with its "
            "probability."
        )
        return caption, partial(self._draw, wrong, right, among)

    def _alike(self, wrong: Sequence[int], carried: Tensor | None) -> list[int]:
        """Images that are right, of the classes of wrong ones in turn, as near as can be to what is usual."""
        assert self.seen is not None
        fits = self.seen.pred == self.seen.target
        if carried is not None:
            fits = fits & ~carried
        found: list[int] = []
        for number in dict.fromkeys(self.seen.target[wrong].tolist()):
            places = (fits & (self.seen.target == number)).nonzero()[:, 0]
            if len(places) and len(found) < RIGHT:
                found.append(int(places[self.seen.loss[places].sort(stable=True).indices[(len(places) - 1) // 2]]))
        return found

    def _draw(self, wrong: Sequence[int], right: Sequence[int], among: str) -> "Figure | None":
        assert self.seen is not None
        places, rows = [*wrong, *right], torch.cat(self._rows)
        images, names = self._pixels(rows[places].tolist()), self.names()
        tiles = [
            Tile(images[number], tuple(self._lines(place, int(rows[place]), names)), number >= len(wrong))
            for number, place in enumerate(places)
            if images is not None and bool(images[number].isfinite().all())
        ]
        title = f"Images{among} that the model gets wrong" + " (orange), and some that it gets right (green)" * bool(
            right
        )
        return sheet_of(tiles, title, channel_names=self.channel_names, places=self.places)

    def _lines(self, place: int, row: int, names: Sequence[str]) -> list[str]:
        assert self.seen is not None
        given, pred = int(self.seen.target[place]), int(self.seen.pred[place])
        file = self._file(row)
        said = [f"row {row:,}", *([] if file is None else [file])]
        likely = float(self.seen.likely[place])
        sure = "" if math.isnan(likely) else f" {likely:.0%}"
        if given == pred:
            return [*said, f"{names[given]}{sure}"]
        return [*said, f"given {names[given]}", f"as {names[pred]}{sure}"]

    def _file(self, row: int) -> str | None:
        """File of a row, without its folders."""
        found = file_name_of(self._loader.dataset, row)
        return None if found is None else found.rpartition("/")[2]

    def _pixels(self, rows: Sequence[int]) -> Tensor | None:
        """Images of some rows, read from the dataset as the loader does it; (n b h w)."""
        with random_state_kept(torch.device("cpu")), torch.no_grad():
            batch = self._loader.collate_fn([self._loader.dataset[row] for row in rows])
            images = self.probe.read_batch(batch).inputs
            if images is None or images.ndim != 4 or len(images) != len(rows):
                return None
            images = images.detach().cpu().float()
            return raw_images(self.denormalize, images, type(self).__name__)

    def draw(
        self, evaluation: EvaluationContext, values: Mapping[str, float]
    ) -> "Mapping[str, Callable[[], Figure | None]]":
        """Which classes are confused; of an evaluation alone also the worst images."""
        found = {} if self.confusion is None else {"confusion": partial(confusion_figure, self.confusion, self.names())}
        if not evaluation.fitting:
            self._log_table(evaluation.trainer)
            if (sheet := self.sheet()) is not None:
                found["worst"] = sheet[1]  # type: ignore[assignment]  # a partial of another function
        return found

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Log the worst images of the last evaluation, in a table and as a sheet."""
        if not self.idle and trainer.is_global_zero and trainer.loggers:
            with self.guard():
                self._log_table(trainer)
                found = self.pictures.waiting
                if (sheet := self.sheet()) is not None:
                    found = {f"failures/{self.name}/worst": sheet[1], **found}
                self.pictures.draw(trainer, found)
        super().on_fit_end(trainer, pl_module)

    def _log_table(self, trainer: Trainer) -> None:
        """One row for each of the worst images."""
        places = self.worst() if self.sheet() is not None and trainer.loggers else []
        if not places or self.seen is None:
            return
        rows, names = torch.cat(self._rows)[places].tolist(), self.names()
        images = self._pixels(rows)
        if images is None:
            return
        said = [
            [
                row,
                self._file(row) or "",
                names[int(self.seen.target[place])],
                names[int(self.seen.pred[place])],
                float(self.seen.likely[place]),
                float(self.seen.loss[place]),
            ]
            for place, row in zip(places, rows, strict=True)
        ]
        columns = ["row", "file", "given", "predicted", "probability", "loss"]
        log_image_table(trainer.loggers, f"failures/{self.name}/table", columns, said, images, logged_step(trainer))
