"""One pass over a loader: sums of its spectra and of the ladder's features, and samples of its images."""

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import torch
from einops import rearrange, reduce, repeat
from torch import Tensor
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset

from lightning_failures.audit.contents import content_rows
from lightning_failures.audit.copies import CopyRecords
from lightning_failures.audit.groups import GroupRecord, feature_of
from lightning_failures.audit.inputs import SeenInputs
from lightning_failures.audit.sample import Sample
from lightning_failures.errors import InputError
from lightning_failures.functional.estimate import add_sums
from lightning_failures.functional.ladder import ladder_features, pixel_ladder_features
from lightning_failures.functional.moments import ClassMoments, Moments, class_moments, moments, widen_classes
from lightning_failures.functional.spread_places import spread_places
from lightning_failures.interventions.changes import Denormalize, raw_images
from lightning_failures.observe.batch_fields import Field, discover_inputs, discover_targets, labels_of, read_field
from lightning_failures.observe.dataset_rows import DatasetRows
from lightning_failures.observe.group_reader import GroupReader
from lightning_failures.observe.input_view import InputView

__all__ = ["BatchLayout", "DataSums", "holds_loaders"]

GROUPS = 8  # of images, for intervals
TRAIN_IMAGES, HELD_IMAGES, HELD_ROWS = 2000, 1000, 4096  # that are kept for the small network, and for the ladder
NUMBERS = 16384  # a kept image has at most as many, and at most 16 pixels per side
SIDE = 16
CONTENT_NUMBERS = 2**18  # of an image whose contents are described; a larger one is averaged down
CONTENT_SIDE = 256  # pixels a side that it has at most
SPECTRA = 16  # pixels of an image whose spectra are summed
PIXELS = 64  # of an image that are looked at where each pixel has a label
MOST_CLASSES = 10_000


def holds_loaders(given: Any) -> bool:
    """Whether a list or tuple holds loaders or datasets, which are no batches.

    Example:
        >>> holds_loaders([DataLoader([1, 2]), DataLoader([3])]), holds_loaders([(torch.ones(2, 3), torch.ones(2))])
        (True, False)
    """
    return isinstance(given, list | tuple) and any(isinstance(item, DataLoader | Dataset) for item in given)


class BatchLayout(NamedTuple):
    """Where a batch keeps what, as :func:`.audit_data` takes it."""

    inputs: Field | None = None
    targets: Field | None = None
    denormalize: Denormalize | None = None
    cues: Mapping[str, Field] = {}
    ignore_index: int | None = None
    seed: int = 0
    where: str = "audit_data"
    channel_axis: int | None = None
    groups: GroupReader | None = None


class _Rows(NamedTuple):
    """What is kept of a batch: one row per image, or per pixel."""

    features: dict[str, Tensor]  # of the ladder; (m k) each
    target: Tensor  # (m)
    images: Tensor  # (m b h w), averaged down
    raw: Tensor  # the same in raw units
    large: Tensor  # in raw units, as large as they came; (m b h w) or (m b)
    spectra: Tensor  # some of its pixels, as they are; (m p b)
    kept: Tensor  # (m) bool: labelled and finite
    image: Tensor  # (m) the image that each row is of


class DataSums:
    """All that an audit needs of the data; the same however the batches are cut, and of bounded size.

    Args:
        layout: where a batch keeps what.
    """

    def __init__(self, layout: BatchLayout) -> None:
        self.layout = layout
        self.shape: tuple[int, ...] = ()  # of an image
        self.by_pixel = False  # whether each pixel has a label
        self.widths: dict[str, int] = {}
        self.feature_sums: list[ClassMoments] = []  # of the ladder's features, by group of training images
        self.pixel_sums: list[Moments] = []  # of their pixels' spectra
        self.train, self.held, self.held_images = Sample(TRAIN_IMAGES), Sample(HELD_ROWS), Sample(HELD_IMAGES)
        self.copies = CopyRecords()
        self.groups = GroupRecord()
        self.images = 0  # all that were read
        self.left_out = {"not finite": 0, "unlabelled": 0}
        self.positive = True  # whether every total over the channels is
        self._seen: SeenInputs | None = None  # takes the images of the loader that is read
        self._generator = torch.Generator().manual_seed(layout.seed)

    @property
    def classes(self) -> int:
        """Number of classes, those without training images included."""
        return len(self.feature_sums[0].counts)

    def read(self, loader: Iterable[Any], held: float, seen: SeenInputs | None = None) -> None:
        """Read every batch of a loader.

        Args:
            loader: of batches in any form that a step takes.
            held: share of the images that are held out, drawn at random.
            seen: takes the sums of the images by channel.
        """
        self._seen = seen
        order = DatasetRows(loader)
        with torch.random.fork_rng(devices=[]), torch.no_grad():  # a loader draws a seed even where it does not shuffle
            for place, batch in enumerate(loader):
                self._add(batch, held, order, place)

    def _add(self, batch: Any, held: float, order: DatasetRows, place: int) -> None:
        rows, given, target = self._rows(batch)
        n, per_image = int(rows.image[-1]) + 1, len(rows.target) // (int(rows.image[-1]) + 1)
        # one row of numbers per image, so that another cut of the data draws the same
        draws = torch.rand(n, 2 + per_image, generator=self._generator, dtype=torch.float64)
        out = (draws[:, 0] < held)[rows.image] & rows.kept
        self.copies.add(given, target, draws[:, 0] < held, draws[:, 1], held)
        mine, priority = rows.kept & ~out, rearrange(draws[:, 2:], "n p -> (n p)")
        group = (draws[:, 1] * GROUPS).long()[rows.image]
        self.images += n
        self._sum(rows, mine, group)
        as_given = {"images": rows.images, "target": rows.target}
        if rows.raw is not rows.images:
            as_given["raw"] = rows.raw
        for sample, chosen in ((self.train, mine), (self.held_images, out)):
            some = chosen.nonzero().squeeze(1)
            some = some[sample.keeps(priority[some])]  # the contents of no other image are described
            if len(some):
                taken = {name: value[some] for name, value in as_given.items()}
                sample.add(priority[some], taken | content_rows(self._of_one_size(rows.large[some])))
        if self.layout.groups is not None:
            of_images = self.layout.groups.read(batch, n, order, place).cpu()
            labelled = rows.kept.nonzero().squeeze(1)
            features = rows.features[feature_of(self.widths, self.shape[0])][labelled]
            part, group = draws[:, 1][rows.image][labelled], of_images[rows.image][labelled]
            self.groups.add(features, rows.target[labelled], group, part, priority[labelled], out[labelled])
        self.held.add(
            priority[out], {name: v[out].float() for name, v in rows.features.items()} | {"": rows.target[out]}
        )

    def _of_one_size(self, images: Tensor) -> Tensor:
        """Images averaged to the size of the first one, and down where that is large; others as they are."""
        if images.ndim != 4 or self.by_pixel:
            return images
        if images.shape[2:] != self.shape[1:]:
            images = F.adaptive_avg_pool2d(images, self.shape[1:])  # type: ignore[arg-type]
        return _smaller(images, CONTENT_SIDE, CONTENT_NUMBERS)

    def _sum(self, rows: _Rows, mine: Tensor, group: Tensor) -> None:
        widths = {name: value.shape[1] for name, value in rows.features.items()}
        side_by_side = torch.cat([value.double() for value in rows.features.values()], 1)
        if not self.feature_sums:
            self.widths = widths
            self.feature_sums = [ClassMoments.zero(2, side_by_side.shape[1])] * GROUPS
            self.pixel_sums = [Moments.zero(self.shape[0])] * GROUPS
        largest = int(rows.target[rows.kept].max()) + 1 if bool(rows.kept.any()) else 0
        if largest > self.classes:
            self.feature_sums = [widen_classes(own, largest) for own in self.feature_sums]
        for place in range(GROUPS):
            some = (mine & (group == place)).nonzero().squeeze(1)
            if not len(some):
                continue
            more = class_moments(side_by_side[some], rows.target[some], self.classes)
            self.feature_sums[place] = add_sums([self.feature_sums[place], more])
            also = moments(rearrange(rows.spectra[some], "m p b -> (m p) b"))
            self.pixel_sums[place] = add_sums([self.pixel_sums[place], also])

    def _rows(self, batch: Any) -> tuple[_Rows, Tensor, Tensor]:
        """The rows of a batch, checked; and its images and labels as they were given."""
        layout = self.layout
        path = layout.inputs if layout.inputs is not None else discover_inputs(batch)
        if path is None:
            said, fix = f"a batch that is a {type(batch).__name__}", "Name the field that holds them: inputs='image'."
            raise InputError(layout.where, "no images were found", said, fix)
        given = self._images(read_field(batch, path, layout.where))
        images, n = given.float(), len(given)
        if self._seen is not None:
            self._seen.add(images)
        at = layout.targets if layout.targets is not None else discover_targets(batch, n, str(path))
        if at is None:
            said, fix = f"images {tuple(images.shape)} alone", "Name the field that holds them: targets='label'."
            raise InputError(layout.where, "no class labels were found", said, fix)
        target = labels_of(read_field(batch, at, layout.where), layout.where).cpu()
        raw = raw_images(layout.denormalize, images, layout.where).float().cpu()
        cues = {name: torch.as_tensor(read_field(batch, cue, layout.where)) for name, cue in layout.cues.items()}
        cues = {name: cue.cpu().double() for name, cue in cues.items()}
        self.by_pixel = target.ndim == 3
        if target.ndim == 3 and images.ndim == 4 and target.shape[1:] == images.shape[2:]:
            return self._pixel_rows(images, raw, cues, target), given, target
        if target.shape != (n,):
            said = f"targets {tuple(target.shape)} for images {tuple(images.shape)}"
            raise InputError(layout.where, "labels and images differ in number", said, "Give one label per image.")
        small = _smaller(images)
        parts = small, small if raw is images else _smaller(raw), raw, _some_pixels(images, SPECTRA)
        return self._kept(ladder_features(images, raw, cues), target, *parts, torch.arange(n)), given, target

    def _pixel_rows(self, images: Tensor, raw: Tensor, cues: dict[str, Tensor], target: Tensor) -> _Rows:
        """Some pixels of each image as rows, always the same ones."""
        n, pixels = len(images), images[0, 0].numel()
        some = spread_places(pixels, PIXELS)
        place = rearrange(torch.arange(n)[:, None] * pixels + some, "n p -> (n p)")
        features = {name: rows[place] for name, rows in pixel_ladder_features(images, raw, cues).items()}
        spectra, raws = (rearrange(_some_pixels(part, PIXELS), "n p b -> (n p) b") for part in (images, raw))
        parts = _one_pixel(spectra), _one_pixel(raws), _one_pixel(raws), rearrange(spectra, "m b -> m 1 b")
        labels = rearrange(target, "n h w -> (n h w)")[place]
        return self._kept(features, labels, *parts, repeat(torch.arange(n), "n -> (n p)", p=len(some)))

    def _kept(
        self,
        features: dict[str, Tensor],
        target: Tensor,
        images: Tensor,
        raw: Tensor,
        large: Tensor,
        spectra: Tensor,
        image: Tensor,
    ) -> _Rows:
        where = self.layout.where
        finite = torch.stack(
            [reduce(part.isfinite(), "m ... -> m", "all") for part in (*features.values(), images, raw)]
        ).all(0)
        labelled = (target >= 0) & (target != (-1 if self.layout.ignore_index is None else self.layout.ignore_index))
        self.left_out["not finite"] += int((labelled & ~finite).sum())
        self.left_out["unlabelled"] += int((~labelled).sum())
        kept = finite & labelled
        if bool(kept.any()) and int(target[kept].max()) >= MOST_CLASSES:
            given, fix = (
                f"a label of {int(target[kept].max())}",
                f"Number the classes from 0, up to {MOST_CLASSES - 1}.",
            )
            raise InputError(where, "labels are no class indices", given, fix)
        totals = features.get("total_absorbance")
        if totals is not None and self.positive:
            self.positive = bool((totals[finite] > 0).all())
        return _Rows(features, torch.where(kept, target, -1), images, raw, large, spectra, kept, image)

    def _images(self, given: Any) -> Tensor:
        where, axis = self.layout.where, self.layout.channel_axis
        if isinstance(given, Tensor) and given.ndim > 1:
            given = InputView.of(tuple(given.shape), axis, f"{where}(channel_axis=...)").read(given)
        if not isinstance(given, Tensor) or given.is_complex() or given.ndim not in (2, 4) or not len(given):
            said = f"{tuple(given.shape)} {given.dtype}" if isinstance(given, Tensor) else type(given).__name__
            fix = "Pass images (n b h w), grey ones as (n 1 h w), or spectra (n b)."
            raise InputError(where, "the inputs are neither images nor spectra", said, fix)
        if axis is None and given.ndim == 4 and given.shape[-1] == 3 and min(given.shape[1:3]) > 3:
            fix = "Put the channels first: images.movedim(-1, 1), or pass channel_axis=3."
            raise InputError(where, "the channels seem to stand last", str(tuple(given.shape)), fix)
        if self.shape and tuple(given.shape[1:2]) != self.shape[:1]:
            said = f"{given.shape[1]} after {self.shape[0]}"
            raise InputError(where, "batches differ in their number of channels", said, "Audit one kind at a time.")
        self.shape = self.shape or tuple(given.shape[1:])
        return given.detach().cpu()


def _smaller(images: Tensor, most_side: int = SIDE, numbers: int = NUMBERS) -> Tensor:
    """Images averaged down to few numbers each; spectra as images of one pixel; (n b h w)."""
    if images.ndim == 2:
        return _one_pixel(images)
    b, h, w = images.shape[1:]
    side = max(1, min(most_side, int((numbers / b) ** 0.5)))
    if h <= side and w <= side:
        return images
    return F.adaptive_avg_pool2d(images, (min(h, side), min(w, side)))


def _some_pixels(images: Tensor, most: int) -> Tensor:
    """Spectra of some pixels of each image, always at the same places; (n p b)."""
    if images.ndim == 2:
        return rearrange(images, "n b -> n 1 b")
    pixels = rearrange(images, "n b h w -> n b (h w)")
    return rearrange(pixels[:, :, spread_places(pixels.shape[2], most)], "n b p -> n p b")


def _one_pixel(spectra: Tensor) -> Tensor:
    """Spectra as images of one pixel."""
    return rearrange(spectra, "n b -> n b 1 1")
