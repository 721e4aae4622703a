"""What enters a network, streamed: the metric over :mod:`lightning_failures.functional.input_statistics`."""

from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor
from torchmetrics.utilities.distributed import gather_all_tensors

from lightning_failures.errors import InputError
from lightning_failures.functional.input_statistics import InputSums, channel_statistics, input_sums, merge_inputs
from lightning_failures.metrics.base import IMAGES, SumMetric
from lightning_failures.records.term import Term

__all__ = ["InputStatistics"]

_NONE = "no image whose values of the channel are all finite"
_FLAT = f"{_NONE}, or a channel that does not vary"


class InputStatistics(SumMetric[InputSums]):
    """What each channel of the inputs holds: see :func:`.channel_statistics`.

    ``compute`` returns ``<statistic>/<channel>`` for each field of :class:`.ChannelStatistics` but the counts,
    ``left_out/<channel>`` and ``images``. An image whose channel holds NaN or infinity is left out of the other figures
    of this channel, and counted. For :func:`.compare_inputs` and :func:`.match_channels` give them the ``sums`` of two
    such metrics.

    Args:
        channels: how many channels there are, or their names.
        kwargs: passed on to :class:`torchmetrics.Metric`.

    Raises:
        InputError: names that are not different; in ``update`` images of other channels.

    Example:
        >>> metric = InputStatistics(["red", "green"])
        >>> metric.update(torch.tensor([[[1.0, 3.0], [0.0, 0.0]]]))
        >>> metric.compute()["mean/red"], metric.compute()["empty/green"]
        (tensor(2., dtype=torch.float64), tensor(1., dtype=torch.float64))
    """

    terms: ClassVar[tuple[Term, ...]] = (
        Term("mean/*", "Mean of a channel", "Mean over images and their pixels.", "any", "describes", when_nan=_NONE),
        Term(
            "deviation/*",
            "Deviation of a channel",
            "Standard deviation over images and their pixels.",
            "0 upwards",
            "0: the channel says nothing",
            when_nan=_NONE,
        ),
        Term("minimum/*", "Smallest value", "Smallest value of the channel.", "any", "describes", when_nan=_NONE),
        Term("maximum/*", "Largest value", "Largest value of the channel.", "any", "describes", when_nan=_NONE),
        Term(
            "constant/*",
            "Images without contrast",
            "Share of images whose channel has one value everywhere.",
            "0 to 1",
            "lower is better",
            when_nan=f"{_NONE}, or images of one pixel",
        ),
        Term(
            "empty/*",
            "Images with an empty channel",
            "Share of images whose channel is 0 everywhere.",
            "0 to 1",
            "near 1: the channel is not filled",
            when_nan=_NONE,
        ),
        Term(
            "non_finite/*",
            "Values that are not finite",
            "Share of the channel's values that are NaN or infinity.",
            "0 to 1",
            "above 0: these images are spoilt",
            when_nan="no image was seen",
        ),
        Term(
            "at_minimum/*",
            "Values at the minimum",
            "Share of the channel's values that are equal to the smallest.",
            "0 to 1",
            "large: clipped below, or a background of one value",
            when_nan=_FLAT,
        ),
        Term(
            "at_maximum/*",
            "Values at the maximum",
            "Share of the channel's values that are equal to the largest.",
            "0 to 1",
            "large: saturated",
            when_nan=_FLAT,
        ),
        Term(
            "left_out/*",
            "Images left out",
            "Images whose channel holds NaN or infinity. They are left out of the other figures of the channel.",
            "0 upwards",
            "above 0: the inputs hold values that are not finite",
            "images",
        ),
        IMAGES,
    )

    def __init__(self, channels: int | Sequence[str], **kwargs: Any) -> None:
        names = [f"channel {place}" for place in range(channels)] if isinstance(channels, int) else list(channels)
        if not names or len(set(names)) < len(names):
            fix = "Pass how many channels there are, or a name for each."
            raise InputError("InputStatistics", "channels are not named once each", str(channels), fix)
        super().__init__(InputSums.zero(len(names)), **kwargs)
        self.names = tuple(names)

    def update(self, images: Tensor) -> None:
        """Add a batch.

        Args:
            images: channels on axis 1; (n b ...), any real type.

        Raises:
            InputError: another number of channels, or complex numbers.
        """
        if images.ndim < 2 or images.shape[1] != len(self.names) or images.is_complex():
            given = f"shape {tuple(images.shape)}, {images.dtype}, for {len(self.names)} channels"
            fix = "Pass images (n b ...) of real numbers, channels on axis 1."
            raise InputError("InputStatistics.update", "the inputs are not images of these channels", given, fix)
        self.add(input_sums(images.to(self.where)))

    def compute(self) -> dict[str, Tensor]:
        """All statistics of all channels, and how many images were seen."""
        found = channel_statistics(self.sums)._asdict()
        del found["images"]
        values = {
            f"{statistic}/{name}": value
            for statistic, column in found.items()
            for name, value in zip(self.names, column.double(), strict=True)
        }
        return {**values, "images": self.sums.seen.double()}

    def add(self, sums: InputSums, **counters: Tensor) -> None:
        """Merge the sums of a batch into those so far: extremes do not add."""
        moved = InputSums(*(value.to(state) for value, state in zip(sums, self.sums, strict=True)))
        self._keep(merge_inputs([self.sums, moved]))

    def _keep(self, sums: InputSums) -> None:
        for name, value in sums._asdict().items():
            setattr(self, name, value)

    def _reduce_states(self, incoming_state: dict[str, Any]) -> None:
        """What ``forward`` and ``merge_state`` join states with."""
        self._keep(merge_inputs([InputSums(*(incoming_state[name] for name in InputSums._fields)), self.sums]))

    def _sync_dist(
        self, dist_sync_fn: Callable[..., Any] = gather_all_tensors, process_group: Any | None = None
    ) -> None:
        flat = torch.cat([value.double().reshape(-1) for value in self.sums])
        sizes = [value.numel() for value in self.sums]
        parts = [
            InputSums(
                *(piece.view(own.shape).to(own) for piece, own in zip(all_of.split(sizes), self.sums, strict=True))
            )
            for all_of in dist_sync_fn(flat, group=process_group or self.process_group)
        ]
        self._keep(merge_inputs(parts))
