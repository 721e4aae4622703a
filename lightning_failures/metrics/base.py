"""The one base class of every metric: a NamedTuple of sums as states, reduced once over all ranks."""

import functools
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Generic, NamedTuple, TypeVar

import torch
import torch.distributed
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.utilities.distributed import gather_all_tensors

from lightning_failures.errors import InputError
from lightning_failures.functional.clusters import FEWEST_GROUPS, add_by_group
from lightning_failures.functional.moments import Numerics, numerics
from lightning_failures.metrics.plot import plot_values
from lightning_failures.records.term import Term, why_nan

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = [
    "ALL_GROUPS",
    "IMAGES",
    "NON_FINITE",
    "UNLABELLED",
    "GroupedMetric",
    "SumMetric",
    "check_groups",
    "check_rows",
    "check_target",
]

#: What most metrics count beside their statistics.
IMAGES = Term("images", "Images", "Images that the figures beside it rest on.", "0 upwards", "describes", "images")
NON_FINITE = Term(
    "non_finite",
    "Images left out",
    "Images whose rows hold NaN or infinity. They are left out of the figures beside it.",
    "0 upwards",
    "above 0: the network computes values that are not finite",
    "images",
)
UNLABELLED = Term(
    "unlabelled",
    "Images without a label",
    "Images whose label is none of the classes. What compares with labels leaves them out.",
    "0 upwards",
    "describes",
    "images",
)

ALL_GROUPS = Term(
    "groups/all",
    "Groups",
    "Groups of images that belong together, where groups were given: intervals and tests count groups.",
    "0 upwards",
    "describes",
    "groups",
)

NO_FLOAT64 = {"mps"}  # device types; sums stay where they are

S = TypeVar("S", bound=NamedTuple)


class SumMetric(Metric, Generic[S]):
    """A metric whose whole state is one NamedTuple of tensors that adds up across batches and ranks.

    A subclass gives the zero of its sums, feeds :meth:`add` in ``update``, and calls one pure function of
    :attr:`sums` in ``compute``, which returns a flat dict of scalar tensors, with keys
    ``"<statistic>/<name>"`` or ``"<statistic>"``. :attr:`terms` says what each of these keys means.

    Args:
        zero: the sums of no data; its dtypes and shapes are kept, whatever a strategy does to the module.
        counters: whole numbers that are counted beside the sums, each a state of its own name, with what they start at.
            One that starts at an option of the metric and is never fed keeps a :class:`torchmetrics.MetricCollection`
            from merging metrics that differ in the option: it merges those whose states are equal after one batch.
        kwargs: passed on to :class:`torchmetrics.Metric`.
    """

    full_state_update = False
    is_differentiable = False
    higher_is_better = None

    #: One for every key that ``compute`` returns: what it means, its range, unit and direction, and why it is nan.
    terms: ClassVar[tuple[Term, ...]] = ()

    def __init__(self, zero: S, counters: Mapping[str, int] | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._sums_type = type(zero)
        beside = {name: torch.tensor(start) for name, start in (counters or {}).items()}
        for name, value in (zero._asdict() | beside).items():
            self.add_state(name, default=value.clone(), dist_reduce_fx="sum")

    @property
    def sums(self) -> S:
        """The sums so far; of all ranks inside ``compute``, of this rank outside."""
        return self._sums_type(*(getattr(self, name) for name in self._sums_type._fields))

    @property
    def sums_on_cpu(self) -> S:
        """The sums so far on the CPU, where a look at a value stops no device."""
        return self._sums_type(*(value.cpu() for value in self.sums))

    def add(self, sums: S, **counters: Tensor) -> None:
        """Add the sums of a batch, without a device synchronisation where they already live on this metric's device.

        Args:
            sums: of the batch.
            counters: what is counted beside them, (), int64; one that is left out stays.
        """
        for name, value in (sums._asdict() | counters).items():
            state = getattr(self, name)
            value = value.detach().to(device=state.device, dtype=state.dtype)
            if state.is_inference() and not torch.is_inference_mode_enabled():
                setattr(self, name, state + value)  # an inference tensor refuses an update in place
            else:
                state.add_(value)

    @property
    def where(self) -> torch.device:
        """The device on which the sums live: this metric's own, or the CPU for a device without float64."""
        state: Tensor = getattr(self, self._sums_type._fields[0])
        return state.device

    @property
    def numerics(self) -> Numerics:
        """How products are summed where this metric lives."""
        return numerics(self.device)

    @property
    def undefined(self) -> dict[str, str]:
        """Why each nan of the last ``compute`` is nan: key -> reason."""
        values: dict[str, Tensor] = self._computed or {}
        return why_nan(self.terms, values)

    def plot(
        self,
        val: Any = None,
        ax: "Axes | None" = None,
        statistic: str | None = None,
    ) -> "tuple[Figure | None, Any]":
        """Draw the values: one panel for each statistic, with its interval where the metric gives one.

        Args:
            val: what ``compute`` or ``forward`` returned, or a list of these, drawn as lines; None: what ``compute``
                returns now.
            ax: axes to draw on, which hold one panel, the first by default; None: a figure is made.
            statistic: the only one to draw, such as ``"error_ratio"``, the part of the keys before the slash; None:
                all.

        Returns:
            The figure, None where ``ax`` was given; and its axes, an array of them where there are several panels.

        Raises:
            InputError: there is nothing to draw.
            UnknownNameError: there is no such statistic.
            MissingPackageError: matplotlib is not installed.
        """
        found = self.compute() if val is None else val
        if isinstance(found, Tensor) or (found and not isinstance(found, Mapping) and isinstance(found[0], Tensor)):
            return self._plot(found, ax)  # torchmetrics' own, for a subclass of a single value
        return plot_values(f"{type(self).__name__}.plot", found, self.terms, ax, statistic)

    def _wrap_compute(self, compute: Callable[..., Any]) -> Callable[..., Any]:
        cached = super()._wrap_compute(compute)

        @functools.wraps(compute)
        def on_all_ranks(*args: Any, **kwargs: Any) -> Any:
            if torch.distributed.is_available() and torch.distributed.is_initialized():
                self._computed = None  # a rank without an update since the last time would leave the others waiting
            return cached(*args, **kwargs)

        return on_all_ranks

    @property
    def update_called(self) -> bool:
        """Always true: an empty shard is a valid state, its statistics are nan."""
        return True

    def _sync_dist(
        self, dist_sync_fn: Callable[..., Any] = gather_all_tensors, process_group: Any | None = None
    ) -> None:
        if dist_sync_fn is not gather_all_tensors:  # the user's own way of reducing
            super()._sync_dist(dist_sync_fn, process_group)
            return
        names = [name for name in self._defaults if isinstance(getattr(self, name), Tensor)]
        for dtype in dict.fromkeys(getattr(self, name).dtype for name in names):
            mine = {name: getattr(self, name) for name in names if getattr(self, name).dtype == dtype}
            flat = torch.cat([value.reshape(-1) for value in mine.values()])
            torch.distributed.all_reduce(flat, group=process_group or self.process_group)
            pieces = torch.split_with_sizes(flat, [value.numel() for value in mine.values()])
            for (name, value), piece in zip(mine.items(), pieces, strict=True):
                setattr(self, name, piece.view(value.shape))

    def _apply(self, fn: Callable[[Tensor], Tensor], exclude_state: Any = "") -> "SumMetric[S]":
        def move(value: Tensor) -> Tensor:
            moved = fn(value.new_empty(0, dtype=torch.int64))  # casts leave an integer alone: only the device shows
            return value if moved.device.type in NO_FLOAT64 else value.to(moved.device)

        super()._apply(move, exclude_state)
        return self


class GroupedMetric(SumMetric[S]):
    """A :class:`SumMetric` that also keeps its sums by group, where images come in groups that belong together.

    A subclass passes what each image adds to :meth:`add_groups`, and reads :attr:`by_group` in ``compute``. Groups are
    put together at the end, so that neither their number nor their names need to be known before, and an image's group
    may be met on several ranks. Without groups nothing is kept, and nothing more is sent between ranks.

    Args:
        zero: as for :class:`SumMetric`.
        counters: as for :class:`SumMetric`.
        of_group: zero of the sums of a group, where these are others; None: the same.
        names: how many numbers name a group of rows.
        kwargs: passed on to :class:`torchmetrics.Metric`.
    """

    #: Statistics of ``compute`` that count groups where there are any, and are nan where these are too few.
    counts_groups: ClassVar[tuple[str, ...]] = ()

    in_groups: Tensor
    in_no_group: Tensor
    group_ids: list[Tensor]
    group_rows: list[Tensor]

    def __init__(
        self,
        zero: S,
        counters: Mapping[str, int] | None = None,
        of_group: Any = None,
        names: int = 1,
        **kwargs: Any,
    ) -> None:
        super().__init__(zero, {**(counters or {}), "in_groups": 0, "in_no_group": 0}, **kwargs)
        self._of_group = zero if of_group is None else of_group
        self._names = names
        self.add_state("group_ids", default=[], dist_reduce_fx="cat")
        self.add_state("group_rows", default=[], dist_reduce_fx="cat")

    def add_groups(self, groups: Tensor | None, length: int, of_images: Callable[[], Any]) -> None:
        """Keep what each image of a batch adds to the sums of its group.

        On the CPU it is added up at once; on a device, which would have to tell how many groups there are, at the end.

        Args:
            groups: the group of each image, any number; (n), int; or (n j), the ``names`` that name its rows. None:
                images are independent.
            length: number of images n.
            of_images: gives what each image adds; the sums with a leading axis (n). Called where there are groups.
        """
        if groups is None:
            self._count("in_no_group", length)
            return
        self._count("in_groups", length)
        parts = zip(of_images(), self._of_group, strict=True)
        rows = torch.cat([value.detach().reshape(length, zero.numel()).to(self._common) for value, zero in parts], 1)
        groups = groups.to(device=rows.device, dtype=torch.int64)
        if rows.device.type == "cpu":
            groups, rows = add_by_group(rows, groups)
        self.group_ids.append(groups.reshape(-1, self._names))
        self.group_rows.append(rows)

    def forget_groups(self) -> None:
        """Take all images as independent, those too whose group was given; on every rank or on none."""
        self.in_groups, self.in_no_group = torch.zeros_like(self.in_groups), torch.zeros_like(self.in_no_group)
        self.group_ids, self.group_rows = [], []

    def grouped(self) -> tuple[Tensor, Any] | None:
        """What names each group, (g) or (g j), and its sums with a leading axis, on the CPU; None without groups.

        Raises:
            InputError: some batches came with groups and others without.
        """
        if not int(self.in_groups):
            return None
        if int(self.in_no_group):
            given = f"{int(self.in_groups)} images with a group, {int(self.in_no_group)} without"
            fix = "Pass groups with every batch, or with none."
            raise InputError(f"{type(self).__name__}.compute", "only some images have a group", given, fix)
        rows, ids = (torch.cat([part.cpu() for part in parts]) for parts in (self.group_rows, self.group_ids))
        ids, sums = add_by_group(rows, ids.squeeze(1) if self._names == 1 else ids)
        parts = sums.split([value.numel() for value in self._of_group], 1)
        wanted = zip(parts, self._of_group, strict=True)
        return ids, type(self._of_group)(*(part.reshape(-1, *zero.shape).to(zero.dtype) for part, zero in wanted))

    @property
    def by_group(self) -> S | None:
        """The sums of each group, where these are of the same kind; see :meth:`grouped`."""
        found = self.grouped()
        return None if found is None else found[1]

    @property
    def undefined(self) -> dict[str, str]:
        """Why each nan of the last ``compute`` is nan: key -> reason."""
        found = super().undefined
        if "groups/all" not in (self._computed or {}):
            return found
        few = f"fewer than {FEWEST_GROUPS} groups hold such images, or one of them holds most"
        return {
            key: f"{why}; or {few}" if key.split("/")[0] in self.counts_groups else why for key, why in found.items()
        }

    @property
    def _common(self) -> torch.dtype:
        return torch.float64 if any(value.is_floating_point() for value in self._of_group) else torch.int64

    def _count(self, name: str, length: int) -> None:
        state = getattr(self, name)
        setattr(self, name, state + length)

    def _sync_dist(
        self, dist_sync_fn: Callable[..., Any] = gather_all_tensors, process_group: Any | None = None
    ) -> None:
        super()._sync_dist(dist_sync_fn, process_group)
        if dist_sync_fn is gather_all_tensors and int(self.in_groups):  # of all ranks: they all know of it now
            width = sum(value.numel() for value in self._of_group)
            for name, empty in (
                ("group_ids", torch.zeros(0, self._names, dtype=torch.int64)),
                ("group_rows", torch.zeros(0, width, dtype=self._common)),
            ):
                mine = torch.cat([empty.to(self.where), *getattr(self, name)])
                setattr(self, name, gather_all_tensors(mine, process_group or self.process_group))


def check_groups(where: str, groups: Tensor | None, length: int) -> None:
    """Refuse groups that are not one whole number for each image.

    Args:
        where: the public name that was called.
        groups: what was given, expected as (n), int. None: none were.
        length: number of images n.

    Raises:
        InputError: they are of another shape or another type.
    """
    if groups is None:
        return
    if groups.shape != (length,) or groups.is_floating_point() or groups.is_complex():
        given = f"shape {tuple(groups.shape)}, {groups.dtype} for {length} images"
        fix = "Pass groups (n), int: the number of each image's patient, slide or scanner."
        raise InputError(where, "groups are not one whole number for each image", given, fix)


def check_rows(where: str, rows: Tensor, width: int, unit: str = "features", finite: bool = False) -> None:
    """Raise an :class:`InputError` where rows cannot be used.

    Args:
        where: the public name that was called.
        rows: what was given, expected as (n ``width``).
        width: the width that the metric was made for.
        unit: what a column is.
        finite: whether NaN and infinity are errors, which costs a device synchronisation.

    Raises:
        InputError: they have other than two axes or another width, are complex, or hold NaN or infinity where that is
            an error.
    """
    if rows.ndim != 2:
        fix = "Pass one row per image; pool feature maps and tokens, and flatten pixels, before."
        raise InputError(where, f"{unit} are not rows", f"shape {tuple(rows.shape)}", fix)
    if rows.shape[1] != width:
        fix = f"Make one metric for each size; this one takes rows of {width}."
        raise InputError(where, f"the number of {unit} differs from the metric's", f"rows of {rows.shape[1]}", fix)
    if rows.is_complex():
        raise InputError(where, f"{unit} are complex", str(rows.dtype), "Pass real numbers, for example their modulus.")
    if finite and not bool(rows.isfinite().all()):
        bad = int((~rows.isfinite().all(1)).sum())
        fix = 'Look for the first layer that gives such values, or pass non_finite="omit" to leave the rows out.'
        raise InputError(where, f"{unit} hold NaN or infinity", f"{bad} such rows of {len(rows)}", fix)


def check_target(where: str, target: Tensor, length: int) -> None:
    """Refuse a target that is not one integer class for each row.

    Args:
        where: the public name that was called.
        target: what was given, expected as (n), int.
        length: number of rows n.

    Raises:
        InputError: it is of another shape or another type.
    """
    if target.shape != (length,):
        given = f"shape {tuple(target.shape)} for {length} rows"
        raise InputError(where, "the target is not one class per row", given, "Pass class indices; (n), int64.")
    if target.is_floating_point() or target.is_complex():
        raise InputError(where, "the target is not integer", str(target.dtype), "Pass class indices; (n), int64.")
