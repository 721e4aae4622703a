"""The one base class of every metric: a NamedTuple of sums as states, reduced once over all ranks."""

from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Generic, NamedTuple, TypeVar

import torch
import torch.distributed
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.utilities.distributed import gather_all_tensors

__all__ = ["SumMetric"]

S = TypeVar("S", bound=NamedTuple)


class SumMetric(Metric, Generic[S]):
    """A metric whose whole state is one NamedTuple of tensors that adds up across batches and ranks.

    A subclass gives the zero of its sums, feeds :meth:`add` in ``update``, and calls one pure function of
    :attr:`sums` in ``compute``, which returns a flat dict of scalar tensors, ``"<statistic>/<name>"`` or ``"<statistic>"``.

    Args:
        zero: the sums of no data; its dtypes and shapes are kept, whatever a strategy does to the module.
        kwargs: passed on to :class:`torchmetrics.Metric`.
    """

    full_state_update = False
    is_differentiable = False
    higher_is_better = None

    #: Why a statistic is nan, by the part of its key before the first slash.
    why_nan: ClassVar[Mapping[str, str]] = {}

    def __init__(self, zero: S, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._sums_type = type(zero)
        for name, value in zero._asdict().items():
            self.add_state(name, default=value, dist_reduce_fx="sum")

    @property
    def sums(self) -> S:
        """The sums so far; of all ranks inside ``compute``, of this rank outside."""
        return self._sums_type(*(getattr(self, name) for name in self._sums_type._fields))

    def add(self, sums: S) -> None:
        """Add the sums of a batch, without a device synchronisation where they already live on this metric's device."""
        for name, value in sums._asdict().items():
            state = getattr(self, name)
            value = value.detach().to(device=state.device, dtype=state.dtype)
            if state.is_inference() and not torch.is_inference_mode_enabled():
                setattr(self, name, state + value)  # an inference tensor refuses an update in place
            else:
                state.add_(value)

    @property
    def undefined(self) -> dict[str, str]:
        """Why each nan of the last ``compute`` is nan: key -> reason."""
        values: dict[str, Tensor] = self._computed or {}
        return {key: self.why_nan[key.split("/")[0]] for key, value in values.items() if bool(value.isnan())}

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
        names = self._sums_type._fields
        for dtype in dict.fromkeys(getattr(self, name).dtype for name in names):
            mine = {name: getattr(self, name) for name in names if getattr(self, name).dtype == dtype}
            flat = torch.cat([value.reshape(-1) for value in mine.values()])
            torch.distributed.all_reduce(flat, group=process_group or self.process_group)
            for (name, value), piece in zip(mine.items(), flat.split([v.numel() for v in mine.values()]), strict=True):
                setattr(self, name, piece.view(value.shape))

    def _apply(self, fn: Callable[[Tensor], Tensor], exclude_state: Any = "") -> "SumMetric[S]":
        def move(value: Tensor) -> Tensor:
            moved = fn(value)
            return moved if moved.dtype == value.dtype else value.to(moved.device)

        return super()._apply(move, exclude_state)  # type: ignore[no-any-return]
