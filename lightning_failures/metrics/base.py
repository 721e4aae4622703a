"""The one base class of every metric: a NamedTuple of sums as states, reduced once over all ranks."""

from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Generic, NamedTuple, TypeVar

import torch
import torch.distributed
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.utilities.distributed import gather_all_tensors

from lightning_failures.errors import InputError
from lightning_failures.functional.moments import Numerics, numerics
from lightning_failures.records.term import Term, find_term

__all__ = ["IMAGES", "NON_FINITE", "UNLABELLED", "SumMetric", "check_rows", "check_target"]

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
        found = {key: find_term(self.terms, key) for key, value in values.items() if bool(value.isnan())}
        return {key: "" if term is None else term.when_nan for key, term in found.items()}

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
        names = list(self._defaults)
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


def check_rows(where: str, rows: Tensor, width: int, unit: str = "features", finite: bool = False) -> None:
    """Raise an :class:`InputError` where rows cannot be used.

    Args:
        where: the public name that was called.
        rows: what was given, expected as (n ``width``).
        width: the width that the metric was made for.
        unit: what a column is.
        finite: whether NaN and infinity are errors, which costs a device synchronisation.
    """
    if rows.ndim != 2:
        fix = "Pass one row an image; pool feature maps and tokens, and flatten pixels, before."
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
    """Raise an :class:`InputError` where a target is not one integer class a row."""
    if target.shape != (length,):
        given = f"shape {tuple(target.shape)} for {length} rows"
        raise InputError(where, "the target is not one class a row", given, "Pass class indices; (n), int64.")
    if target.is_floating_point() or target.is_complex():
        raise InputError(where, "the target is not integer", str(target.dtype), "Pass class indices; (n), int64.")
