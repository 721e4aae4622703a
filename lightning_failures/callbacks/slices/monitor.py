"""Groups of images that a network fails on and that nobody named, found and tested live."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Unpack

import torch
from torch import Tensor

from lightning_failures.callbacks.evaluation_context import EvaluationContext
from lightning_failures.callbacks.monitor import Monitor, MonitorOptions
from lightning_failures.callbacks.ranks import gather
from lightning_failures.callbacks.sampled_rows import drawn_rows
from lightning_failures.callbacks.slices.figures import SheetImages, slice_sheet, slice_sheet_images
from lightning_failures.callbacks.slices.rules import RULES
from lightning_failures.callbacks.slices.sample import MOST, SampledImages, SliceSample
from lightning_failures.callbacks.slices.terms import TERMS
from lightning_failures.data.class_names import check_class_names
from lightning_failures.functional.image_properties import carries, property_edges
from lightning_failures.functional.slices import Slice, Slices, find_slices, searched_half
from lightning_failures.observe.batch_fields import Field
from lightning_failures.observe.factor_reader import FactorReader, FactorSource
from lightning_failures.observe.group_reader import GroupReader, GroupSource
from lightning_failures.observe.layers import PENULTIMATE
from lightning_failures.observe.observation import Observation
from lightning_failures.records.finding import Finding
from lightning_failures.records.kind import SLICE_FAILURE
from lightning_failures.reporting.contact_sheet import shown_channels
from lightning_failures.reporting.loggers import log_table

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["SliceMonitor"]

#: Evaluations at which a slice that is found no more is still told of, as one with no excess.
TOLD = 5

_HEAD = ("slice", "images", "error", "error_others", "difference", "low", "high", "p_value", "shared")
SHEET = "Images of this group that are wrong, each with its given class and what is said; below them, others."


class SliceMonitor(Monitor):
    """Logs, under ``failures/slices/``, groups of images that are wrong more often than others of the same classes.

    Nobody needs to name them. On one half of a sample of the evaluated images, 2,048 at most, groups are looked for in
    the penultimate features and among the images of one class that carry a factor, such as dark shirts; on the other
    half they are tested, with Holm's adjustment: see :func:`.find_slices`. A slice is called by what its images share:
    the class, what they are predicted as, and a factor that most of them and few others carry, *described by dark*.
    Factors are yours and the properties of :class:`.PropertyErrorMonitor`, a tenth of the searched images on either
    side. Images that carry a factor in all classes alike are no slice here, since that monitor and
    :class:`.FactorErrorMonitor` tell of them.

    ``found`` is how many slices hold on the second half. For each of them ``error/NAME``, ``error_others/NAME``,
    ``difference/NAME``, its lower end ``excess/NAME`` and its upper ``difference_high/NAME``, ``p_value/NAME`` and
    ``images/NAME``. A slice that is found no more has an excess of 0. The table ``failures/slices/table`` has what the
    images share; the contact sheet shows them.

    *What a healthy network has*: between classes that look alike errors are frequent, and a group of such images is
    harder than others of its classes. That is true, and no fault; see ``docs/slices.md`` for how large it gets.

    Args:
        factors: see :class:`.FactorErrorMonitor`; None: properties alone.
        names: of the columns, where ``factors`` gives a matrix.
        groups: which images belong together; see :class:`.FactorErrorMonitor`. None: images are independent.
        ids: path or callable into the batch that gives each image's id, where factors or groups go by id.
        class_names: of all classes, in their order; None: found in the dataset; without names there are numbers.
        options: see :class:`.Monitor`.

    Raises:
        InputError: a file of factors or groups that cannot be read, groups that go by id where no ids are named, or
            class names that are no names.

    Example:
        >>> monitor = SliceMonitor(["dark"], class_names=["shirt", "coat"])
        >>> monitor.key("found"), monitor.watches
        ('failures/slices/found', 'groups of images with many errors')
    """

    noun = "slices"
    watches = "groups of images with many errors"
    tasks = ("multiclass", "binary")
    terms = TERMS
    rules = RULES
    held_out = ("*",)

    def __init__(
        self,
        factors: FactorSource | None = None,
        names: Sequence[str] | None = None,
        *,
        groups: GroupSource | None = None,
        ids: Field | None = None,
        class_names: Sequence[str] | None = None,
        **options: Unpack[MonitorOptions],
    ) -> None:
        super().__init__(**options)
        where = type(self).__name__
        self.reader = None if factors is None else FactorReader(factors, names, ids, where)
        self.groups = None if groups is None else GroupReader(groups, ids, where)
        self.class_names = check_class_names(where, class_names)
        self.slices: tuple[Slice, ...] = ()  #: those of the last evaluation, the hardest first
        self.sample: SampledImages | None = None  #: in which they were found
        self.tested_on = torch.zeros(0, dtype=torch.bool)  #: which images of the sample they were tested on
        self._kept = SliceSample(0)
        self._names: tuple[str, ...] = ()  # of the user's factors
        self._classes: tuple[str, ...] | None = None  # their names, where they are known
        self._pictures: dict[int, Tensor] = {}  # by row of the sample
        self._false_colour: list[int] | None = None  # which three of many channels these hold
        self._found_again = False  # whether the places of the sample are rows of the dataset
        self._shown: dict[str, SheetImages] = {}
        self._told: dict[str, int] = {}  # slice -> evaluations since it was found
        self._cannot: str | None = None

    @property
    def refusal(self) -> str | None:
        """Why nothing can be told."""
        return self._cannot

    def check(self) -> None:
        """Nothing is asked for: what it needs and does not find is said in the verdict, since nobody asked for it."""

    # -- an evaluation

    def begin(self, evaluation: EvaluationContext) -> None:
        """Forget the images of the evaluation before."""
        self._kept = SliceSample(evaluation.batches, evaluation.world_size, evaluation.trainer.global_rank)
        self.slices, self.sample, self._pictures, self._shown = (), None, {}, {}
        self._classes = self.class_names or evaluation.class_names

    def update(self, evaluation: EvaluationContext, seen: Observation, batch_idx: int) -> None:
        """Keep some images of one batch."""
        targets, logits = seen.targets, seen.logits
        features = seen.features.get(PENULTIMATE)
        if features is None:
            features = next((each for each in reversed(list(seen.features.values())) if each.ndim == 2), None)
        if targets is None or logits is None or logits.ndim != 2 or targets.ndim != 1 or features is None:
            lacking = "features" if features is None else "labels" if targets is None else "one class for each image"
            self._cannot = f"no {lacking} were found"
            return
        if features.ndim != 2 or len(features) != len(targets):
            self._cannot = "a step calls the head on several views of an image"
            return
        places = evaluation.places(seen, batch_idx)
        self._found_again = places is not None
        kept, places = self._kept.rows(len(targets), places, drawn_rows(evaluation.rows.size, MOST))
        carried = groups = None
        if self.reader is not None:
            carried = evaluation.read(self.reader, seen, batch_idx)
        if self.groups is not None:
            groups = evaluation.read(self.groups, seen, batch_idx)
        images = seen.inputs if seen.inputs is not None and seen.inputs.ndim == 4 else None
        self._kept.add(kept, places, images, features, logits, targets, carried, groups)

    def describe(self) -> Any:
        """Names of the factors, where images were kept."""
        return None if not self._kept.images else () if self.reader is None else self.reader.names or ()

    def build(self, description: Any) -> None:
        """Nothing is built: what is kept needs no shapes."""
        self._names = tuple(description)

    def compute(self, evaluation: EvaluationContext) -> dict[str, Tensor]:
        """Look for slices in the sample of all ranks; each rank finds the same."""
        parts = [part for part in gather(self._kept.on_cpu()) if part is not None]
        sample = SampledImages.joined(parts)
        found = self._find(sample)
        self.sample, self.slices, self.tested_on = sample, found.slices, found.tested_on
        self._keep_pictures(sample)
        self._kept = SliceSample(0)  # which held the device's memory
        values = {"images/all": torch.tensor(len(sample.target))}
        count = torch.nan if found.why else float(len(found.slices))
        values |= {
            "found": torch.tensor(count),
            "tested": torch.tensor(torch.nan if found.why else float(found.candidates)),
        }
        self.undefined = {} if found.why is None else dict.fromkeys(("found", "tested"), found.why)
        for one in found.slices:
            for key, value in _figures(one).items():
                values[f"{key}/{one.name}"] = torch.tensor(value, dtype=torch.float64)
        return values | self._no_more()

    def _find(self, sample: SampledImages) -> Slices:
        """The slices of a sample, among the user's factors and the properties of the images."""
        searched = searched_half(len(sample.target)) if not len(sample.groups) else None
        edges = property_edges(sample.properties) if sample.properties else []
        carried, names = sample.carried, [*self._names]
        mine = [edge for edge in edges if edge.factor not in names]
        if mine:
            carried = torch.cat([carried, carries(sample.properties, mine)], 1)
            names += [edge.factor for edge in mine]
        return find_slices(
            sample.features,
            sample.preds,
            sample.target,
            carried,
            names,
            groups=sample.groups if len(sample.groups) else None,
            class_names=self._classes,
            searched=searched,
            factors_alone=False,
        )

    def _no_more(self) -> dict[str, Tensor]:
        """An excess of 0 for the slices that were found before and are not now."""
        now = {one.name for one in self.slices}
        told = {name: since + 1 for name, since in self._told.items() if name not in now and since < TOLD}
        self._told = told | dict.fromkeys(sorted(now), 0)
        return {f"excess/{name}": torch.zeros((), dtype=torch.float64) for name in told}

    def _keep_pictures(self, sample: SampledImages) -> None:
        """Keep the pictures of the contact sheets, of all ranks."""
        self._shown = {one.name: slice_sheet_images(one, sample.preds, sample.target) for one in self.slices}
        rows = sorted({row for shown in self._shown.values() for each in shown for row in each})
        places = sample.places[rows].tolist()
        parts = gather((self._kept.channels, self._kept.pictures(set(places))))
        here = {place: picture for _, part in parts for place, picture in part.items()}
        channels = max(count or 0 for count, _ in parts)
        self._false_colour = None if channels in (1, 3) else shown_channels(channels)
        self._pictures = {row: here[place] for row, place in zip(rows, places, strict=True) if place in here}

    def publish(self, evaluation: EvaluationContext, values: Mapping[str, Tensor]) -> None:
        """Log the table: one row for each slice."""
        rows: list[list[Any]] = [
            [evaluation.epoch, one.name, one.images, one.error, one.error_others, one.difference, one.low, one.high,
             one.p_value, "; ".join(f"{each.name} ({each.share:.0%})" for each in one.factors)]
            for one in self.slices
        ]  # fmt: skip
        if rows:
            log_table(
                evaluation.trainer.loggers,
                f"failures/{self.name}/table",
                ["epoch", *_HEAD],
                rows,
                evaluation.logged_step,
            )

    def draw(
        self, evaluation: EvaluationContext, values: Mapping[str, float]
    ) -> "Mapping[str, Callable[[], Figure | None]]":
        """The contact sheet of the hardest slice."""
        return {"contact_sheet": partial(self.draw_sheet, self.slices[0].name)} if self.slices else {}

    def evidence(self, finding: Finding) -> "Mapping[str, Callable[[], Figure | None]]":
        """The contact sheet of the slice that a finding is about."""
        if finding.kind != SLICE_FAILURE:
            return {}
        return {SHEET: partial(self.draw_sheet, finding.subject)}

    def draw_sheet(self, name: str) -> "Figure | None":
        """The contact sheet of a slice of the last evaluation; None where there is none of that name, or no image.

        Args:
            name: of one of :attr:`slices`.
        """
        one = next((each for each in self.slices if each.name == name), None)
        if one is None or self.sample is None:
            return None
        preds, target = self.sample.preds, self.sample.target
        rows = self.sample.places if self._found_again else None
        return slice_sheet(
            one, self._shown[name], self._pictures, preds, target, self._classes, rows, self._false_colour
        )

    # -- resume

    def state_dict(self) -> dict[str, Any]:
        """The slices that were told of; plain containers."""
        return {"told": dict(self._told)}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Go on where the checkpoint stood."""
        self._told = dict(state_dict["told"])


def _figures(one: Slice) -> dict[str, float]:
    """What is logged of a slice."""
    return {
        "excess": one.low,
        "error": one.error,
        "error_others": one.error_others,
        "difference": one.difference,
        "difference_high": one.high,
        "p_value": one.p_value,
        "images": float(one.images),
    }
