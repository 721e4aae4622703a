"""Whether features and predictions collapse, live."""

from collections.abc import Sequence
from typing import Any, Unpack

from lightning.pytorch import LightningModule, Trainer
from torch import Tensor

from lightning_failures.callbacks.monitor import Monitor, MonitorOptions
from lightning_failures.metrics.collapse import FeatureSpectrum
from lightning_failures.metrics.prediction_collapse import PredictionCollapse
from lightning_failures.probes.observe import Observation

__all__ = ["CollapseMonitor"]


class CollapseMonitor(Monitor):
    """Logs ranks of each layer's features, ``failures/collapse/effective_rank/<layer>``, and of the centred logits.

    Args:
        layers: names of submodules whose outputs are watched; None: the input of the classifier head, ``penultimate``.
        options: see :class:`~lightning_failures.callbacks.monitor.Monitor`.
    """

    noun = "collapse"

    def __init__(self, layers: Sequence[str] | None = None, **options: Unpack[MonitorOptions]) -> None:
        super().__init__(**options)
        if layers is not None:
            self.probe.listen_also(layers)
        self.features: dict[str, FeatureSpectrum] = {}
        self.predictions: PredictionCollapse | None = None

    def begin(self, trainer: Trainer, module: LightningModule) -> None:
        """Reset the sums."""
        for metric in self._metrics():
            metric.to(module.device).reset()

    def update(self, seen: Observation, batch_idx: int) -> None:
        """Add the features and logits of one batch."""
        logits = seen.logits if seen.logits is not None and seen.logits.ndim == 2 else None
        self.build(
            (
                {name: value.shape[1] for name, value in seen.features.items()},
                None if logits is None else logits.shape[1],
            )
        )
        for name, value in seen.features.items():
            self.features[name].to(value.device).update(value)
        if logits is not None and self.predictions is not None:
            self.predictions.to(logits.device).update(logits, seen.targets)

    def describe(self) -> Any:
        """Width of each layer, and the number of classes."""
        if not self.features and self.predictions is None:
            return None
        widths = {name: metric.num_features for name, metric in self.features.items()}
        return widths, None if self.predictions is None else self.predictions.num_classes

    def build(self, description: Any) -> None:
        """Make the metrics that are not there yet."""
        widths, classes = description
        for name, width in widths.items():
            self.features.setdefault(name, FeatureSpectrum(width))
        if classes is not None and self.predictions is None:
            self.predictions = PredictionCollapse(classes)

    def compute(self) -> dict[str, Tensor]:
        """Ranks by layer, and those of the predictions."""
        values: dict[str, Tensor] = {}
        self.undefined = {}
        for layer, metric in self.features.items():
            values |= {f"{name}/{layer}": value for name, value in metric.compute().items()}
            self.undefined |= {f"{name}/{layer}": why for name, why in metric.undefined.items()}
        if self.predictions is not None:
            values |= self.predictions.compute()
            self.undefined |= self.predictions.undefined
        return values

    def _metrics(self) -> list[FeatureSpectrum | PredictionCollapse]:
        return [*self.features.values(), *([] if self.predictions is None else [self.predictions])]
