"""Channel profiles as a torchmetrics metric: sums over images, batches and ranks."""

from collections.abc import Sequence
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor

from lightning_failures.errors import InputError
from lightning_failures.functional.channels import (
    ChannelProfile,
    ChannelSums,
    band_floors,
    channel_sums,
    haufe_pattern,
    is_blank,
    mean_change,
    null_floor,
    share,
    signal_moments,
    standard_error,
)
from lightning_failures.functional.concentration import concentration
from lightning_failures.functional.moments import Moments, covariance, mean
from lightning_failures.metrics.base import IMAGES, SumMetric
from lightning_failures.records.term import Term

__all__ = ["ChannelDependence", "ChannelSignal", "Spectra"]

_BLANK = "no band's change passes the null floor"


class ChannelDependence(SumMetric[ChannelSums]):
    """What a model loses without each band, over any number of batches, and on how many bands that is concentrated.

    Convention:
        ``compute`` gives, by band, ``change`` (mean change of the score), ``error`` (its standard error over images)
        and ``share`` (its size over the sum of sizes); and ``effective_channels``, ``entropy_channels``, ``gini``,
        ``largest_share``, ``centroid`` of the shares; ``largest_change``; ``total``, the change with all bands
        replaced, where the method gives it; ``band_floor`` by band, ``floor`` and the number of ``bands``. Where no
        change passes its floor, the shares and their summaries are nan.

    Args:
        names: names of the bands, in the order of the axis.
        positions: place of each band on the axis; (g), any sequence of numbers.
        floor: size of change that means nothing, at least 0; a profile brings its own.
        kwargs: passed on to :class:`torchmetrics.Metric`.

    Raises:
        InputError: bands without a name, two of one name, or a number of positions that is not that of the names.

    Example:
        >>> metric = ChannelDependence(["Amide I", "Phosphate"])
        >>> metric.update(torch.tensor([[3.0, 1.0], [3.0, 1.0]]))
        >>> {key: round(float(value), 2) for key, value in metric.compute().items() if key.startswith("share")}
        {'share/Amide I': 0.75, 'share/Phosphate': 0.25}
    """

    terms: ClassVar[tuple[Term, ...]] = (
        Term(
            "change/*",
            "What the model loses without a band",
            "Mean over the images of how much the score of their target falls when the band is replaced. It says what "
            "the model depends on, not what the signal is carried by.",
            "any",
            "0: no dependence; above 0: the model is worse without the band",
            "nats",
            "no image was seen",
        ),
        Term(
            "error/*",
            "Standard error of that",
            "Standard error of the change, over images and over random draws.",
            "0 upwards",
            "smaller: better known",
            "nats",
            "fewer than two images were seen",
        ),
        Term(
            "share/*",
            "Share of a band",
            "Size of the band's change over the sum of all sizes. Read it beside the change, whose size it hides.",
            "0 to 1",
            "describes",
            when_nan=f"{_BLANK}, so that the profile's shape means nothing",
        ),
        Term(
            "effective_channels",
            "Effective bands",
            "1 over the sum of squared shares: the number of equal bands that would be as concentrated.",
            "1 to the number of bands",
            "1: one band has it all",
            "bands",
            _BLANK,
        ),
        Term(
            "entropy_channels",
            "Effective bands by entropy",
            "Exponential of the entropy of the shares.",
            "1 to the number of bands",
            "1: one band has it all",
            "bands",
            _BLANK,
        ),
        Term(
            "gini",
            "Gini coefficient of the bands",
            "How unequal the shares are.",
            "0 to 1",
            "0: all are equal; near 1: one band has it all",
            when_nan=_BLANK,
        ),
        Term(
            "largest_share",
            "Largest share",
            "Share of the largest band.",
            "0 to 1",
            "near 1: one band has it all",
            when_nan=_BLANK,
        ),
        Term(
            "centroid",
            "Centroid of the profile",
            "Mean place of the shares on the axis, in its unit.",
            "the axis",
            "describes",
            when_nan=f"the bands have no axis, or {_BLANK}",
        ),
        Term(
            "largest_change",
            "Largest change",
            "Size of the largest change of a band.",
            "0 upwards",
            "compare with the null floor",
            "nats",
            "no image was seen",
        ),
        Term(
            "total",
            "Loss without all bands",
            "How much the score falls when all bands are replaced together, which the bands' Shapley values share out.",
            "any",
            "describes",
            "nats",
            "no image was seen, or the method does not replace all bands together",
        ),
        Term(
            "floor",
            "Null floor",
            "Size of change that means nothing, of the band that passes its own by most or comes nearest to it: the "
            "largest of the one that was given, the mean of those that the profiles brought, and, where they ask for "
            "it, the rise that the chance of the images gives such a band.",
            "0 upwards",
            "a change below it means nothing",
            "nats",
            "no image was seen, or one alone where chance counts",
        ),
        Term(
            "band_floor/*",
            "Null floor of a band",
            "Size of the band's own change that means nothing.",
            "0 upwards",
            "a change below it means nothing",
            "nats",
            "no image was seen, or one alone where chance counts",
        ),
        Term("bands", "Bands", "Number of bands that are watched.", "1 upwards", "describes", "bands"),
    )

    def __init__(
        self, names: Sequence[str], positions: Sequence[float] | Tensor | None = None, floor: float = 0.0, **kwargs: Any
    ) -> None:
        if not names or len(set(names)) < len(names) or (positions is not None and len(positions) != len(names)):
            raise InputError(
                "ChannelDependence",
                "bands are not named once each, with one position each",
                f"{len(names)} names, {len(set(names))} different, positions: "
                f"{'none' if positions is None else len(positions)}",
                "Give each band a name of its own, and one position per band or none.",
            )
        super().__init__(ChannelSums.zero(len(names)), **kwargs)
        self.names = tuple(names)
        self._least = floor
        self._positions = None if positions is None else torch.as_tensor(positions, dtype=torch.float64)

    def update(self, profile: ChannelProfile | Tensor) -> None:
        """Add one batch.

        Args:
            profile: of a batch, of the same bands; or the change of the score of each image on replacing each band; (n
                g), any float; images whose changes are not finite do not count.

        Raises:
            InputError: other than one column per band.
        """
        changes = profile.changes if isinstance(profile, ChannelProfile) else profile
        if changes.ndim != 2 or changes.shape[1] != len(self.names):
            raise InputError(
                "ChannelDependence.update",
                "changes and bands differ in number",
                f"changes {tuple(changes.shape)}, {len(self.names)} bands",
                "Give one row per image and one column per band.",
            )
        self.add(profile.sums if isinstance(profile, ChannelProfile) else channel_sums(profile))

    def compute(self) -> dict[str, Tensor]:
        """Change, error and share by band, and their concentration."""
        sums = self.sums
        change, error = mean_change(sums), standard_error(sums)
        shares = torch.where(is_blank(sums, self._least), torch.nan, share(change))
        found = concentration(shares, self._positions)
        by_band = {"change": change, "error": error, "share": shares, "band_floor": band_floors(sums, self._least)}
        return {
            **{
                f"{key}/{name}": value
                for key, column in by_band.items()
                for name, value in zip(self.names, column, strict=True)
            },
            **found._asdict(),
            "largest_change": change.abs().max(),
            "total": sums.together / sums.images,
            "floor": null_floor(sums, self._least),
            "bands": torch.tensor(float(len(self.names)), dtype=torch.float64, device=change.device),
        }


class Spectra(NamedTuple):
    """Over images: each channel's mean and deviation, and what it says of the logits."""

    mean: Tensor  # (C) float64
    deviation: Tensor  # (C) float64, of the images' means
    pattern: Tensor  # (C) float64, largest size of its correlation with a logit; nan where it does not vary


class ChannelSignal(SumMetric[Moments]):
    """What each channel carries, to be read beside what the model depends on.

    Convention:
        ``compute`` gives ``images``, and ``pattern``, the largest size of a correlation of a channel's mean with a
        logit, in [0, 1]. :meth:`spectra` gives all channels; inside a distributed run it reduces over all ranks, so
        that every rank must call it.

    Args:
        channels: number of channels C.
        classes: number of logits c.
        kwargs: passed on to :class:`torchmetrics.Metric`.

    Example:
        >>> metric = ChannelSignal(channels=1, classes=1)
        >>> metric.update(torch.tensor([[1.0], [3.0]]), torch.tensor([[-1.0], [-3.0]]))
        >>> [round(float(value), 4) for value in metric.spectra()]
        [2.0, 1.4142, 1.0]
    """

    terms: ClassVar[tuple[Term, ...]] = (
        IMAGES,
        Term(
            "pattern",
            "What a channel says of the logits",
            "Largest size of a correlation, over the images, between the mean of a channel and a logit.",
            "0 to 1",
            "describes: what carries the signal, used or not",
            when_nan="fewer than two images, or channels or logits that do not vary",
        ),
    )

    def __init__(self, channels: int, classes: int, **kwargs: Any) -> None:
        super().__init__(Moments.zero(channels + classes), **kwargs)
        self.channels = channels

    def update(self, inputs: Tensor, logits: Tensor, axis: int = 1) -> None:
        """Add images with their logits; see :func:`.signal_moments`.

        Args:
            inputs: images; (n C h w), or with any other axes, images first; any float.
            logits: class scores of images (n c) or of pixels (n c h w), whose mean counts; any float.
            axis: axis of the channels.
        """
        self.add(signal_moments(inputs, logits, axis))

    def compute(self) -> dict[str, Tensor]:
        """How many images, and how much a channel says of the logits at most."""
        sizes = self._spectra(self.sums).pattern
        largest = torch.where(sizes.isnan().all(), torch.nan, sizes.nan_to_num(0.0).max())
        return {"images": self.sums.count.double(), "pattern": largest}

    def spectra(self) -> Spectra:
        """Mean, deviation and pattern of each channel."""
        with self.sync_context():
            return self._spectra(self.sums)

    def _spectra(self, sums: Moments) -> Spectra:
        sizes = haufe_pattern(sums, self.channels).abs()
        pattern = torch.where(sizes.isnan().all(0), torch.nan, sizes.nan_to_num(0.0).max(0).values)
        variance = covariance(sums).diagonal()[: self.channels].clamp(min=0)
        return Spectra(mean(sums)[: self.channels], variance.sqrt(), pattern)
