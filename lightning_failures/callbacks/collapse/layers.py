"""The metrics of the layers that are watched: how many dimensions their features fill, and which units are dormant."""

from collections.abc import Mapping
from typing import NamedTuple

from torch import Tensor

from lightning_failures.errors import InputError
from lightning_failures.metrics.collapse import FeatureSpectrum
from lightning_failures.metrics.dormant_units import DormantUnits
from lightning_failures.metrics.similarity import LiDAR
from lightning_failures.observe.observation import Observation

__all__ = ["Shape", "WatchedLayer", "WatchedLayers", "alike"]

MOST_FEATURES = 8192  # 0.5 GB of sums


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
        """Every statistic, ``<statistic>/<layer>``; of all ranks."""
        values: dict[str, Tensor] = {}
        self.undefined = {}
        for metric in self.metrics:
            own: dict[str, Tensor] = metric.compute()
            # the spectrum's counts stand, since LiDAR counts pairs
            values = {f"{key}/{self.name}": value for key, value in own.items()} | values
            self.undefined |= {f"{key}/{self.name}": why for key, why in metric.undefined.items()}
        return values


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
        """Every statistic of every layer; of all ranks."""
        values: dict[str, Tensor] = {}
        self.undefined = {}
        for layer in self.layers.values():
            values |= layer.compute()
            self.undefined |= layer.undefined
        return values
