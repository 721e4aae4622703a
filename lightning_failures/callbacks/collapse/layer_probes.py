"""How well a linear model tells the classes apart from each layer's features: where information is lost."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from lightning_failures.metrics.simplicity import LinearReference, UntappedInformation

__all__ = ["LayerProbes"]

MOST_TESTED = 2048  # images of a rank, whose features are kept until the evaluation ends
FEW = "too few images, or fewer than two classes"


class LayerProbes:
    """Closed-form linear probes of each layer, fitted on every other image of an evaluation and tested on the rest.

    Every other one by its row in the dataset, so that any number of processes splits them alike. No image is both
    fitted and tested. The moments of the fitted images are summed over all of them and all ranks; of
    the others, the first 2048 of each rank are tested. Where neighbouring images share their content, as overlapping
    patches and video frames do, accuracies read too high; their order over the layers still stands.

    ``compute`` returns ``probe_accuracy/<layer>``, and for each but the first ``probe_change/<layer>``: its accuracy
    minus that of the layer before on the same images, with the paired 95% limits ``probe_change_low/<layer>`` and
    ``probe_change_high/<layer>``.

    Args:
        layers: number of features of each layer, in the order of the network.
        num_classes: number of classes c.
    """

    def __init__(self, layers: Mapping[str, int], num_classes: int) -> None:
        self.fitted = {name: LinearReference(num_classes, width) for name, width in layers.items()}
        self.tested = {name: UntappedInformation() for name in layers}
        self.num_classes = num_classes
        self.undefined: dict[str, str] = {}
        self.lost: str | None = None
        self._rows: dict[str, list[Tensor]] = {name: [] for name in layers}
        self._labels: list[Tensor] = []
        self._seen = self._kept = 0

    def reset(self) -> None:
        """Forget all images."""
        for name in self.fitted:
            self.fitted[name].reset()
            self.tested[name].reset()
        self._rows = {name: [] for name in self.fitted}
        self._labels = []
        self._seen = self._kept = 0

    def update(self, features: Mapping[str, Tensor], target: Tensor, places: Tensor | None = None) -> None:
        """Add a batch.

        Args:
            features: rows (n d) by layer, of which the first n count.
            target: classes; (n), int64.
            places: row of the dataset of each image, on the CPU; (n), int64; None: they are counted.
        """
        target = torch.where(target < self.num_classes, target, -1)
        if places is None or len(target) % max(1, len(places)):
            places = self._seen + torch.arange(len(target))
        places = places.repeat_interleave(len(target) // max(1, len(places)))  # pixels of one image stand together
        even, odd = ((places % 2 == side).nonzero().squeeze(1).to(target.device, non_blocking=True) for side in (0, 1))
        room = MOST_TESTED - self._kept
        for name, reference in self.fitted.items():
            rows = features[name][: len(target)]
            reference.to(rows.device).update(rows[even], target[even])
            if room > 0:
                self._rows[name].append(rows[odd][:room].float())
        if room > 0:
            self._labels.append(target[odd][:room])
            self._kept += len(self._labels[-1])
        self._seen += len(target)

    def compute(self) -> dict[str, Tensor]:
        """Accuracy of each layer, and what it gained or lost; of all ranks."""
        predictions = {name: self._predict(name) for name in self.fitted}
        target = torch.cat(self._labels) if self._labels else torch.empty(0, dtype=torch.int64)
        values: dict[str, Tensor] = {}
        before: str | None = None
        for name, metric in self.tested.items():
            own = predictions[name]
            metric.to(own.device).update(own if before is None else predictions[before], own, target.to(own.device))
            found = metric.compute()
            values[f"probe_accuracy/{name}"] = found["reference_accuracy"]
            if before is not None:
                values[f"probe_change/{name}"] = found["difference"]
                values[f"probe_change_low/{name}"] = found["low"]
                values[f"probe_change_high/{name}"] = found["high"]
            before = name
        self.undefined = {key: FEW for key, value in values.items() if bool(value.isnan())}
        self.lost = _most_lost(values, list(self.fitted)[1:])
        return values

    def _predict(self, name: str) -> Tensor:
        discriminant = self.fitted[name].fit()  # every rank takes part
        rows = self._rows[name]
        if not rows:
            return torch.empty(0, dtype=torch.int64, device=discriminant.weight.device)
        return discriminant.predict(torch.cat(rows))


def _most_lost(values: Mapping[str, Tensor], layers: Sequence[str]) -> str | None:
    """The layer that loses most, among those that lose for sure."""
    lost = [name for name in layers if bool(values[f"probe_change_high/{name}"] < 0)]
    return min(lost, key=lambda name: float(values[f"probe_change/{name}"]), default=None)
