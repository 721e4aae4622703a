"""Which kind of content carries a model's decision: each is exchanged between images, and the model run on that."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor

from lightning_failures.errors import InputError, UnknownNameError
from lightning_failures.functional.content_descriptors import why_no_content
from lightning_failures.functional.contents import (
    TRANSPLANTS,
    cell_mask,
    content_size,
    transplant_channel_statistics,
    transplant_channels,
    transplant_region,
)
from lightning_failures.functional.interchange import interchange_inputs
from lightning_failures.functional.moments import finite_images
from lightning_failures.functional.transplants import (
    TransplantCounts,
    control_rows,
    count_transplants,
    transplant_shares,
)
from lightning_failures.interventions.changes import (
    Denormalize,
    RawUnits,
    Transplant,
    grey_level_swap,
    raw_units,
    total_absorbance_swap,
)
from lightning_failures.interventions.interventions import Model, as_labels, predict_transplants
from lightning_failures.observe.task import check_kind
from lightning_failures.spectrum.bands import BandsLike, resolve_bands

__all__ = [
    "KINDS",
    "ContentShares",
    "Transplanted",
    "cue_exchanges",
    "exchange_cell",
    "exchange_channel_statistics",
    "exchange_channels",
    "exchange_direction",
    "exchanges",
    "transplant",
]

#: Kinds of content that are known by name, the smaller and poorer ones first.
KINDS = (
    "level",
    "channel_statistics",
    "colour",
    "channels",
    "texture",
    "low_frequencies",
    "border",
    "centre",
    "regions",
)
_OF_LIGHT = ("level", "colour")  # are those of raw units
_AS_ONE = {"channels": "channel 0", "regions": "low_frequencies"}  # what several contents of a kind need, one needs too
_REGIONS = ("border", "centre", "regions")
_GRIDS = (2, 4, 8)  # cells along each side, from coarse to fine


class ContentShares(NamedTuple):
    """What came out for one content; see :func:`.transplant_shares` and :func:`.content_size`."""

    donor: float
    donor_low: float
    donor_high: float
    own: float
    own_low: float
    own_high: float
    off_manifold: float
    control: float
    excess: float
    excess_low: float
    excess_high: float
    size: float


@dataclass(frozen=True)
class Transplanted:
    """What :func:`transplant` gives.

    Args:
        shares: by content.
        own_preds: predictions for the receivers, -1 for a pair that is left out; (n), (n h w), or (n l) for several
            labels, int64.
        donor_preds: for the donors; the same shape.
        preds: for the receivers with one content of the donors, a column per content in the order of ``shares``;
            (n ... k).
        pairs: answers that differ between receiver and donor, which alone count.
        controlled: how many of these have a control.
        left_out: why a content was not exchanged, by its kind.
        non_finite: pairs left out since an image holds NaN or infinity.
        within: the shares among pairs of one group, by content; None where no groups were given.
        across: among pairs of two groups.
    """

    shares: dict[str, ContentShares]
    own_preds: Tensor
    donor_preds: Tensor
    preds: Tensor
    pairs: int
    controlled: int
    left_out: dict[str, str]
    non_finite: int
    within: dict[str, ContentShares] | None = None
    across: dict[str, ContentShares] | None = None

    def __repr__(self) -> str:
        """The share that follows the donor, for each content, the largest first; predictions are left out."""
        lines = [f"Transplanted: share of {self.pairs} answers that follow the donor of a content, with 95% interval"]
        if not self.pairs:
            return "Transplanted: undefined, since the answers differ in no pair of images"
        shown = sorted(self.shares.items(), key=lambda pair: -(pair[1].donor if pair[1].donor >= 0 else -1.0))
        width = max(map(len, self.shares), default=0)
        for content, one in shown[:12]:
            figures = f"{one.donor:.2f} ({one.donor_low:.2f} to {one.donor_high:.2f}), control {one.control:.2f}"
            lines.append(f"  {content:<{width}}  {figures}")
        lines += [f"  and {len(shown) - 12} more"] * (len(shown) > 12)
        return "\n".join([*lines, *(f"  {content}  left out: {why}" for content, why in self.left_out.items())])


def transplant(
    model: Model,
    images: Tensor,
    donors: Tensor,
    kinds: Sequence[str] | Mapping[str, str | Transplant] | None = None,
    *,
    denormalize: Denormalize | None = None,
    bands: BandsLike = None,
    task: str | None = None,
    groups: tuple[Tensor, Tensor] | None = None,
    batch_size: int = 64,
) -> Transplanted:
    """Whose prediction comes out when images are given one kind of content of their donors.

    ``level``: the mean of the whole image. ``channel_statistics``: mean and deviation of each channel. ``colour``: the
    proportions of the channels. ``channels``: each channel, or band, by itself. ``texture``: the Fourier amplitude.
    ``low_frequencies``: up to one and a half waves along the shorter side. ``border``: an eighth
    of each side, and ``centre``, the rest. ``regions``: the quarters of the image, then the quarters of the one that
    carries most, and once more. The model runs in evaluation mode, nothing of it is changed, and every content costs
    two forward passes of the images: one from the donors, and one from other images that are predicted alike.

    Args:
        model: gives logits: (n c), (n) or (n 1) for two classes, (n c h w) for pixels, (n l) for several labels.
        images: the receivers, on the model's device; (n b h w), or (n b ...) for the contents that need no image.
        donors: one per receiver; the same shape, for example ``images.roll(1, 0)``.
        kinds: names of kinds, or name -> kind or a function from receivers and donors to images. None: all.
        denormalize: ``(mean, std)`` that standardised the inputs, each a number or one for each channel, or a callable
            such as ``lambda x: x * std + mean``; None: the inputs are raw. Level and colour need raw units.
        bands: of ``channels``, as :func:`.resolve_bands` takes them without an axis; None: each channel.
        task: ``"multilabel"`` for several labels per image, which the shapes of logits do not tell; None: else.
        groups: group of each receiver and of each donor, such as whether the image carries a factor; two of (n), of
            integers or bool. Then the shares are given within groups and across them too: a content that moves
            predictions across them and not within carries what sets the groups apart. Where groups go with the classes,
            that may be the classes themselves. None: no groups.
        batch_size: images per forward pass.

    Returns:
        Shares by content, and the predictions that they rest on. A content that does not fit the images is left out,
        with the reason. In segmentation so are parts of the image, whose pixels' answers move along with them.

    Raises:
        InputError: images and donors that are no pairs; groups that are not one per receiver and one per donor; a
            function that gives images of another shape; a task without classes; ``denormalize`` that is not one scale
            and shift for each channel.
        UnknownNameError: no such kind.

    Example:
        >>> images = torch.rand(64, 1, 8, 8, generator=torch.Generator().manual_seed(0))
        >>> bright = lambda x: x.mean((1, 2, 3)) - 0.5
        >>> found = transplant(bright, images, images.roll(1, 0), ["level", "centre", "colour"])
        >>> found.shares["level"].donor, found.left_out
        (1.0, {'colour': 'the images have one channel'})
    """
    where = "transplant"
    _check(where, images, donors)
    alike_in_group = None if groups is None else _one_group(where, groups, len(images))
    say = _answers(where, task)
    usable = finite_images(images) & finite_images(donors)
    receivers, givers = images[usable], donors[usable]
    units = raw_units(denormalize, receivers, where) if receivers.is_floating_point() else None
    wanted = _wanted(where, kinds)

    def predict(those: Tensor, transplants: Mapping[str, Transplant]) -> Tensor:
        return predict_transplants(model, receivers, those, transplants, batch_size, where, say)

    own, donor = predict(givers, {"own": lambda mine, _: mine, "donor": lambda _, theirs: theirs}).unbind(-1)
    maps = own.ndim > 1 and task != "multilabel" and own[:1].numel() > 1
    left_out: dict[str, str] = {}
    contents: dict[str, Transplant] = {}
    preds = [own.new_zeros(*own.shape, 0)]
    for name, kind in wanted.items():
        if kind == "regions":
            why = _why_not(kind, receivers, units, maps)
            if why is not None:
                left_out[name] = why
                continue
            searched, found = _search(receivers, partial(predict, givers), own, donor)
            contents.update(searched)
            preds += found
        else:
            made, lacking = exchanges({name: kind}, receivers, units, bands, maps, where)
            left_out.update(lacking)
            if made:
                contents.update(made)
                preds.append(predict(givers, made))
    moved = torch.cat(preds, -1)
    rows = control_rows(own)
    control = predict(receivers[rows], contents) if contents else moved
    alike = _alike(own, rows)
    sizes = {
        name: float(content_size(receivers, givers, change(receivers, givers))) for name, change in contents.items()
    }

    def shares_of(pairs: Tensor) -> tuple[TransplantCounts, dict[str, ContentShares]]:
        counts = count_transplants(own[pairs], donor[pairs], moved[pairs], control[pairs], alike[pairs])
        by_content = torch.stack(transplant_shares(counts), 1).tolist()
        rows = zip(sizes.items(), by_content, strict=True)
        return counts, {name: ContentShares._make([*row, size]) for (name, size), row in rows}

    counts, shares = shares_of(torch.ones(len(own), dtype=torch.bool, device=own.device))
    together = None if alike_in_group is None else alike_in_group.to(own.device)[usable]
    return Transplanted(
        shares=shares,
        own_preds=_in_place(own, usable),
        donor_preds=_in_place(donor, usable),
        preds=_in_place(moved, usable),
        pairs=int(counts.pairs),
        controlled=int(counts.controlled.max()) if contents else 0,
        left_out=left_out,
        non_finite=int((~usable).sum()),
        within=None if together is None else shares_of(together)[1],
        across=None if together is None else shares_of(~together)[1],
    )


def exchanges(
    kinds: Mapping[str, str | Transplant],
    images: Tensor,
    units: RawUnits | None,
    bands: BandsLike = None,
    maps: bool = False,
    where: str = "exchanges",
) -> tuple[dict[str, Transplant], dict[str, str]]:
    """What exchanges each kind of content between such images, and why some are left out.

    Args:
        kinds: name -> kind, one of :data:`KINDS` but ``regions``, or a function from receivers and donors to images.
        images: some inputs; (n b h w), (n b t) or (n b).
        units: raw units of the inputs; None: unknown, and the inputs are taken as they are.
        bands: of ``channels``; None: each channel.
        maps: whether each pixel has a prediction of its own.
        where: the public name to put into an error.

    Returns:
        Name of the content -> function from receivers and donors to receivers with the donors' content, in the dtype of
        the receivers; and name -> reason.

    Example:
        >>> made, left_out = exchanges({"level": "level", "colour": "colour"}, torch.rand(4, 1, 8, 8), None)
        >>> list(made), left_out
        (['level'], {'colour': 'the images have one channel'})
    """
    made: dict[str, Transplant] = {}
    left_out: dict[str, str] = {}
    for name, kind in kinds.items():
        why = _why_not(kind, images, units, maps) if isinstance(kind, str) else None
        if why is None:
            made.update(_contents(name, kind, images, units, bands, where))
        else:
            left_out[name] = why
    return made, left_out


def cue_exchanges(units: RawUnits, channels: int) -> dict[str, Transplant]:
    """What scales receivers, in raw units, to the donors' total absorbance; to their grey level where they have three
    channels. By name, as :func:`exchanges` gives them.
    """
    swap = grey_level_swap(units) if channels == 3 else total_absorbance_swap(units)
    name = "grey_level" if channels == 3 else "total_absorbance"
    return {name: _exact(lambda receivers, donors: swap(donors, receivers))}


def exchange_channels(members: Tensor) -> Transplant:
    """What gives receivers the donors' values in some channels (b), bool."""
    return _exact(partial(transplant_channels, members=members))


def exchange_channel_statistics(members: Tensor) -> Transplant:
    """What gives receivers the donors' mean and deviation over the pixels in some channels (b), bool.

    Of inputs without pixels it is the values of these channels.
    """

    def run(receivers: Tensor, donors: Tensor) -> Tensor:
        moved = donors if receivers.ndim == 2 else transplant_channel_statistics(receivers, donors)
        return transplant_channels(receivers, moved, members=members)

    return _exact(run)


def exchange_direction(direction: Tensor) -> Transplant:
    """What gives receivers the donors' coordinate on a direction of the channels (b), one number per image."""
    column = direction[:, None]
    return _exact(lambda receivers, donors: interchange_inputs(donors, receivers, column.to(receivers), "image"))


def exchange_cell(grid: int, row: int, column: int) -> Transplant:
    """What gives receivers the donors' pixels in one cell of a grid; see :func:`.cell_mask`."""
    return _exact(partial(_cell, grid=grid, row=row, column=column))


def _search(
    receivers: Tensor, predict: Callable[[Mapping[str, Transplant]], Tensor], own: Tensor, donor: Tensor
) -> tuple[dict[str, Transplant], list[Tensor]]:
    """Cells of ever finer grids, each within the one that carried most; and what was predicted for them."""
    height, width = receivers.shape[2:]
    contents: dict[str, Transplant] = {}
    preds: list[Tensor] = []
    row = column = 0
    for grid in _GRIDS:
        if grid > min(height, width):
            break
        places = [(2 * row + down, 2 * column + on) for down in (0, 1) for on in (0, 1)]
        cells = {_region(cell_mask(height, width, grid, *place)): exchange_cell(grid, *place) for place in places}
        found = predict(cells)
        contents.update(cells)
        preds.append(found)
        most = count_transplants(own, donor, found).transplant_donor
        if not bool(most.any()):
            break  # no part of what carries nothing is looked into
        row, column = places[int(most.argmax())]
    return contents, preds


def _region(mask: Tensor) -> str:
    rows, columns = (mask.any(axis).nonzero()[:, 0].tolist() for axis in (1, 0))
    return f"region (rows {rows[0]}-{rows[-1]}, columns {columns[0]}-{columns[-1]})"


def _contents(
    name: str, kind: str | Transplant, images: Tensor, units: RawUnits | None, bands: BandsLike, where: str
) -> dict[str, Transplant]:
    """The exchanges that a kind stands for, by the name of their content."""
    if not isinstance(kind, str):
        return {name: _exact(_checked(where, name, kind))}
    if kind == "channels":
        found = resolve_bands(bands, images.shape[1], where=where)
        names = [band if band.startswith("channel") else f"channel {band}" for band in found.names]
        members = zip(names, found.members, strict=True)
        return {band: _exact(partial(transplant_channels, members=which)) for band, which in members}
    exchange = TRANSPLANTS[kind]
    return {name: _exact(_in_raw(exchange, units) if kind in _OF_LIGHT else exchange)}


def _cell(receivers: Tensor, donors: Tensor, grid: int, row: int, column: int) -> Tensor:
    height, width = receivers.shape[-2:]
    return transplant_region(receivers, donors, cell_mask(height, width, grid, row, column))


def _why_not(kind: str, images: Tensor, units: RawUnits | None, maps: bool) -> str | None:
    """Why a kind of content cannot be exchanged between such images; None where it can."""
    if not images.is_floating_point() and images.ndim != 4:
        return "the inputs are whole numbers that are no images (n b h w)"
    raw = images if units is None or kind not in _OF_LIGHT else units.to_raw(images)
    why = why_no_content(raw, _AS_ONE.get(kind, kind))
    if why is None and kind == "regions" and min(images.shape[2:]) < 2:
        return "a side of the images has one pixel"
    if why is None and kind in _REGIONS and maps:
        return "each pixel has a prediction of its own, which moves along with a part of the image"
    return why


def _wanted(where: str, kinds: Sequence[str] | Mapping[str, str | Transplant] | None) -> dict[str, str | Transplant]:
    if isinstance(kinds, str):
        kinds = [kinds]
    if kinds is not None and not isinstance(kinds, Mapping) and len(set(kinds)) < len(kinds):
        raise InputError(where, "a kind stands twice", ", ".join(kinds), "Name each one once.")
    named = KINDS if kinds is None else kinds
    wanted: dict[str, str | Transplant] = {**named} if isinstance(named, Mapping) else {kind: kind for kind in named}
    unknown = [kind for kind in wanted.values() if kind not in KINDS and not callable(kind)]
    if unknown:
        fix = f"Use some of {', '.join(KINDS)}, or name -> a function from receivers and donors to images."
        raise UnknownNameError(where, "there is no such kind of content", ", ".join(map(str, unknown)), fix)
    return wanted


def _answers(where: str, task: str | None) -> Callable[[Tensor], Tensor]:
    check_kind(task, where)
    if task in ("regression", "embedding", "unknown"):
        fix = "Use it on a model that classifies, or pass a function that gives its output as logits."
        raise InputError(where, "such a task has no classes to compare", repr(task), fix)
    return _yes_or_no if task == "multilabel" else as_labels


def _yes_or_no(logits: Tensor) -> Tensor:
    return torch.where(logits.isnan(), -1, (logits > 0).long())


def _check(where: str, images: Tensor, donors: Tensor) -> None:
    if not isinstance(images, Tensor) or not isinstance(donors, Tensor):
        given = f"{type(images).__name__} and {type(donors).__name__}"
        raise InputError(where, "images and donors are not tensors", given, "Pass (n b h w).")
    if images.shape != donors.shape or images.ndim < 2 or images.is_complex():
        given = f"images {tuple(images.shape)} {images.dtype}, donors {tuple(donors.shape)}"
        raise InputError(where, "images and donors are no pairs", given, "Pass one donor a receiver: both (n b h w).")


def _one_group(where: str, groups: tuple[Tensor, Tensor], images: int) -> Tensor:
    """Whether receiver and donor of each pair are of one group; (n), bool."""
    given = [getattr(each, "shape", type(each).__name__) for each in groups]
    if len(given) != 2 or any(shape != (images,) for shape in given):
        said = f"{' and '.join(str(tuple(s)) if isinstance(s, tuple) else s for s in given)} for {images} pairs"
        fix = "Pass the group of each receiver and of each donor: groups=(group, group.roll(1, 0))."
        raise InputError(where, "the groups are not those of receivers and donors", said, fix)
    own, theirs = groups
    return own.to(theirs.device) == theirs


def _checked(where: str, name: str, change: Transplant) -> Transplant:
    def run(receivers: Tensor, donors: Tensor) -> Tensor:
        found = change(receivers, donors)
        if not isinstance(found, Tensor) or found.shape != receivers.shape:
            given = f"{tuple(found.shape)}" if isinstance(found, Tensor) else f"a {type(found).__name__}"
            fix = "Give images like the receivers: (receivers, donors) -> images, all (n b h w)."
            raise InputError(where, f"the function of {name!r} gives other images", f"{given}", fix)
        return found

    return run


def _in_raw(change: Transplant, units: RawUnits | None) -> Transplant:
    if units is None:
        return change
    return lambda receivers, donors: units.to_inputs(change(units.to_raw(receivers), units.to_raw(donors)))


def _exact(change: Transplant) -> Transplant:
    """The exchange in the dtype of the receivers, whole numbers rounded."""

    def run(receivers: Tensor, donors: Tensor) -> Tensor:
        found = change(receivers, donors)
        if found.dtype == receivers.dtype or receivers.is_floating_point():
            return found.to(receivers.dtype)
        span = torch.iinfo(receivers.dtype)
        return found.round().clamp(span.min, span.max).to(receivers.dtype)

    return run


def _alike(preds: Tensor, rows: Tensor) -> Tensor:
    """Which answers another image gives as well."""
    other = (rows != torch.arange(len(rows), device=rows.device)).reshape(-1, *[1] * (preds.ndim - 1))
    return other & (preds[rows] == preds)


def _in_place(found: Tensor, usable: Tensor) -> Tensor:
    """Predictions of the usable pairs at the places of all, -1 elsewhere."""
    if bool(usable.all()):
        return found
    everywhere = found.new_full((len(usable), *found.shape[1:]), -1)
    everywhere[usable] = found
    return everywhere
