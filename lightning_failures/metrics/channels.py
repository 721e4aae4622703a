"""Channel profiles as a torchmetrics metric: sums over images, batches and ranks."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from lightning_failures.errors import InputError
from lightning_failures.functional.channels import ChannelSums, channel_sums, mean_change, share, standard_error
from lightning_failures.functional.concentration import concentration
from lightning_failures.metrics.base import SumMetric

__all__ = ["ChannelDependence"]


class ChannelDependence(SumMetric[ChannelSums]):
    """What a model loses without each band, over any number of batches, and on how many bands that is concentrated.

    Convention:
        ``compute`` gives, by band, ``change`` (mean change of the score), ``error`` (its standard error over images)
        and ``share`` (its size over the sum of sizes); and ``effective_channels``, ``entropy_channels``, ``gini``,
        ``largest_share``, ``centroid`` of the shares, and ``largest_change``. Where no change passes ``floor``, the
        shares and their summaries are nan.

    Args:
        names: names of the bands, in the order of the axis.
        positions: place of each band on the axis; (g), any sequence of numbers.
        floor: size of change that means nothing, at least 0.
        kwargs: passed on to :class:`torchmetrics.Metric`.

    Example:
        >>> metric = ChannelDependence(["Amide I", "Phosphate"])
        >>> metric.update(torch.tensor([[3.0, 1.0], [3.0, 1.0]]))
        >>> {key: round(float(value), 2) for key, value in metric.compute().items() if key.startswith("share")}
        {'share/Amide I': 0.75, 'share/Phosphate': 0.25}
    """

    why_nan: Mapping[str, str] = {
        "change": "no image was seen",
        "error": "fewer than two images were seen",
        "share": "no band's change passes the null floor, so that the profile's shape means nothing",
        "effective_channels": "no band's change passes the null floor",
        "entropy_channels": "no band's change passes the null floor",
        "gini": "no band's change passes the null floor",
        "largest_share": "no band's change passes the null floor",
        "largest_change": "no image was seen",
        "centroid": "the bands have no axis, or no band's change passes the null floor",
    }

    def __init__(
        self, names: Sequence[str], positions: Sequence[float] | Tensor | None = None, floor: float = 0.0, **kwargs: Any
    ) -> None:
        if not names or len(set(names)) < len(names) or (positions is not None and len(positions) != len(names)):
            raise InputError(
                "ChannelDependence",
                "bands are not named once each, with one position each",
                f"{len(names)} names, {len(set(names))} different, positions: "
                f"{'none' if positions is None else len(positions)}",
                "Give each band a name of its own, and one position a band or none.",
            )
        super().__init__(ChannelSums.zero(len(names)), **kwargs)
        self.names = tuple(names)
        self.floor = floor
        self._positions = None if positions is None else torch.as_tensor(positions, dtype=torch.float64)

    def update(self, changes: Tensor) -> None:
        """Add one batch.

        Args:
            changes: change of the score of each image on replacing each band, ``ChannelProfile.changes``; (n g), any
                float; images with a nan do not count.
        """
        if changes.ndim != 2 or changes.shape[1] != len(self.names):
            raise InputError(
                "ChannelDependence.update",
                "changes and bands differ in number",
                f"changes {tuple(changes.shape)}, {len(self.names)} bands",
                "Give one row an image and one column a band.",
            )
        self.add(channel_sums(changes))

    def compute(self) -> dict[str, Tensor]:
        """Change, error and share by band, and their concentration."""
        sums = self.sums
        change, error = mean_change(sums), standard_error(sums)
        largest = change.abs().max()
        shares = torch.where(largest > self.floor, share(change), torch.nan)
        found = concentration(shares, self._positions)
        by_band = {"change": change, "error": error, "share": shares}
        return {
            **{
                f"{key}/{name}": value
                for key, column in by_band.items()
                for name, value in zip(self.names, column, strict=True)
            },
            **found._asdict(),
            "largest_change": largest,
        }
