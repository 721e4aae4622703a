"""The layers that are watched, in evaluations and in training: how many dimensions their features fill."""

from collections.abc import Mapping
from typing import NamedTuple

from torch import Tensor

from lightning_failures.errors import InputError
from lightning_failures.metrics.collapse import FeatureSpectrum
from lightning_failures.metrics.dormant_units import DormantUnits
from lightning_failures.metrics.similarity import LiDAR
from lightning_failures.observe.observation import Observation

__all__ = ["Shape", "TrainingWindow", "WatchedLayer", "WatchedLayers", "alike"]

#: Statistics of a layer that are logged; its metrics compute more. Left out is what others say already: the stable rank
#: (1 over the top-1 share), the participation ratio with its bias, the Marchenko-Pastur rank (one more count of
#: dimensions, which no rule or picture reads), the fit of alpha (the pictures show the spectra), images for each
#: feature (images over a constant), and the number of dormant units (their share times a constant).
LAYER_STATISTICS = (
    "effective_rank",
    "rankme",
    "participation_ratio_unbiased",
    "top1_share",
    "alpha",
    "mean_cosine",
    "feature_spread",
    "dormant_share",
    "lidar",
    "images",
    "non_finite",
)
MOST_FEATURES = 8192  # 0.5 GB of sums
WINDOW = 8  # training batches, over which the weights hardly move


class Shape(NamedTuple):
    """What a layer's rows are; equal on all ranks."""

    width: int
    views: int = 1
    pixels: bool = False


def alike(shapes: Mapping[str, Shape]) -> dict[str, int]:
    """Widths of the layers whose rows stand for the same images or pixels as the first one's."""
    first = next(iter(shapes.values()), Shape(0))
    return {name: shape.width for name, shape in shapes.items() if shape[1:] == first[1:]}


class WatchedLayer:
    """Spectrum and dormant units of a layer's features, and LiDAR where a step shows two views of each image.

    Args:
        name: of the layer.
        shape: of its rows.

    Raises:
        InputError: the layer has too many features for sums of their products.
    """

    def __init__(self, name: str, shape: Shape) -> None:
        if shape.width > MOST_FEATURES:
            raise InputError(
                "CollapseMonitor",
                f"the layer {name!r} has too many features",
                f"{shape.width} an image, where {MOST_FEATURES} are the most",
                "Name a layer before it is flattened, whose maps are then pooled, or one behind it.",
            )
        self.name, self.shape = name, shape
        self.spectrum = FeatureSpectrum(shape.width)
        self.dormant = DormantUnits(shape.width)
        self.lidar = LiDAR(shape.width) if shape.views == 2 and not shape.pixels else None
        self.metrics: list[FeatureSpectrum | DormantUnits | LiDAR] = [self.spectrum, self.dormant]
        if self.lidar is not None:
            self.metrics.append(self.lidar)
        self.undefined: dict[str, str] = {}

    def update(self, rows: Tensor) -> None:
        """Add a batch; (v*n d), the views after each other."""
        for metric in self.metrics:
            metric.to(rows.device)
        self.spectrum.update(rows)
        self.dormant.update(rows)
        if self.lidar is not None and len(rows) % 2 == 0:
            self.lidar.update(*rows.chunk(2))

    def compute(self) -> dict[str, Tensor]:
        """Every statistic that is logged, ``<statistic>/<layer>``; of all ranks."""
        values: dict[str, Tensor] = {}
        undefined: dict[str, str] = {}
        for metric in self.metrics:
            own: dict[str, Tensor] = metric.compute()
            values = own | values  # the spectrum's counts stand, since LiDAR counts pairs
            undefined |= metric.undefined
        self.undefined = {f"{key}/{self.name}": why for key, why in undefined.items() if key in LAYER_STATISTICS}
        return {f"{key}/{self.name}": value for key, value in values.items() if key in LAYER_STATISTICS}


class WatchedLayers:
    """All layers that are watched; each is made when its first rows come, or by :meth:`build`."""

    def __init__(self) -> None:
        self.layers: dict[str, WatchedLayer] = {}
        self.undefined: dict[str, str] = {}

    @property
    def shapes(self) -> dict[str, Shape]:
        """Shape of each layer's rows."""
        return {name: layer.shape for name, layer in self.layers.items()}

    @property
    def eigenvalues(self) -> dict[str, list[float]]:
        """Eigenvalues of each layer's covariance at the last :meth:`compute`, in descending order."""
        found = {name: layer.spectrum.eigenvalues for name, layer in self.layers.items()}
        return {name: values.tolist() for name, values in found.items() if values is not None}

    def build(self, shapes: Mapping[str, Shape]) -> None:
        """Make the layers that are not there yet."""
        for name, shape in shapes.items():
            if name not in self.layers:
                self.layers[name] = WatchedLayer(name, shape)

    def reset(self) -> None:
        """Forget all rows."""
        for layer in self.layers.values():
            for metric in layer.metrics:
                metric.reset()

    def update(self, seen: Observation, rows: Mapping[str, Tensor]) -> None:
        """Add a batch.

        Args:
            seen: what it showed.
            rows: the same features as rows, by layer.
        """
        images = seen.images
        for name, value in seen.features.items():
            if name not in self.layers:
                views = len(value) // images if images else 1
                self.build({name: Shape(value.shape[1], views, value.ndim == 4)})
            self.layers[name].update(rows[name])

    def compute(self) -> dict[str, Tensor]:
        """Every statistic of every layer that is logged; of all ranks."""
        values: dict[str, Tensor] = {}
        self.undefined = {}
        for layer in self.layers.values():
            values |= layer.compute()
            self.undefined |= layer.undefined
        return values


class TrainingWindow:
    """The layers in training, over the last 8 batches before each n-th.

    Args:
        every: n; None: no batch.

    Example:
        >>> window = TrainingWindow(10)
        >>> [(window.open, window.step()) for _ in range(10)][1:3]
        [(False, False), (True, False)]
    """

    def __init__(self, every: int | None) -> None:
        if every is not None and every < 1:
            given = f"every_n_steps={every}"
            raise InputError("CollapseMonitor", "there is no such cadence", given, "Pass 1 or more, or None.")
        self.every = every
        self.layers = WatchedLayers()
        self.values: dict[str, Tensor] = {}
        self._done = 0

    @property
    def open(self) -> bool:
        """Whether the batch that comes is looked at."""
        return self.every is not None and self._done % self.every >= self.every - WINDOW

    def step(self) -> bool:
        """Count a batch; whether it is an n-th."""
        self._done += 1
        return self.every is not None and self._done % self.every == 0

    def close(self, shapes: Mapping[str, Shape]) -> dict[str, Tensor]:
        """End the window: every statistic of every layer, of all ranks, which :attr:`values` keeps.

        Args:
            shapes: of the layers, for a rank that saw no batch.
        """
        self.layers.build(shapes)
        self.values = self.layers.compute()
        self.layers.reset()
        return self.values
