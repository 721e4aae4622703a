"""What a linear model makes of each layer's features, against the network itself."""

from collections.abc import Mapping

import torch
from torch import Tensor

from lightning_failures.metrics.layer_probes import FEW, LayerProbes

__all__ = ["UntappedLayers"]

WIDEST = 1024  # features, above which sums of products take longer than an evaluation may


class UntappedLayers:
    """Closed-form linear models of the layers that the probe listens to.

    ``compute`` returns ``layer_reach/<layer>``, the accuracy of a linear model of the layer's features, and
    ``layer_difference/<layer>``, that minus the network's accuracy: above 0 the layers behind it waste what is there.
    Fitted on every other image of the evaluation and tested on the rest; see
    :class:`.LayerProbes`. Layers of more than 1024 features are left out.

    Args:
        num_classes: number of classes c.
    """

    def __init__(self, num_classes: int) -> None:
        self.num_classes = num_classes
        self.probes: LayerProbes | None = None
        self.undefined: dict[str, str] = {}

    def begin(self) -> None:
        """Forget all images."""
        if self.probes is not None:
            self.probes.reset()

    def update(self, features: Mapping[str, Tensor], target: Tensor, places: Tensor | None) -> None:
        """Add a batch of rows (n d) by layer with their classes (n); see the probes for the places."""
        widths = {name: rows.shape[1] for name, rows in features.items() if rows.ndim == 2 and rows.shape[1] <= WIDEST}
        self.build(widths)
        if self.probes is not None:
            self.probes.update(features, target, places)

    @property
    def widths(self) -> dict[str, int] | None:
        """Features of each layer; None before the first batch."""
        return None if self.probes is None else {name: m.num_features for name, m in self.probes.fitted.items()}

    def build(self, widths: Mapping[str, int] | None) -> None:
        """Make the sums, also on a rank that saw no batch."""
        if self.probes is None and widths:
            self.probes = LayerProbes(widths, self.num_classes)

    def compute(self, accuracy: Tensor) -> dict[str, Tensor]:
        """Reach of each layer, of all ranks.

        Args:
            accuracy: the network's; ().
        """
        if self.probes is None:
            return {}
        found = self.probes.compute()
        reach = {name: found[f"probe_accuracy/{name}"] for name in self.probes.fitted}
        values = {f"layer_reach/{name}": value for name, value in reach.items()}
        values |= {f"layer_difference/{name}": value - accuracy.to(value) for name, value in reach.items()}
        self.undefined = {key: FEW for key, value in values.items() if bool(torch.isnan(value))}
        return values
