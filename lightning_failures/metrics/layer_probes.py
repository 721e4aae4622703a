"""Linear probes of the layers of a network, streamed: where in a network information on the labels is lost."""

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor
from torchmetrics.wrappers.abstract import WrapperMetric

from lightning_failures.errors import InputError, UnknownNameError
from lightning_failures.functional.layer_probes import count_probes, halves, most_lost, probe_statistics
from lightning_failures.metrics.base import check_rows, check_target
from lightning_failures.metrics.simplicity import LinearReference, UntappedInformation
from lightning_failures.records.term import Term, why_nan

__all__ = ["FEW", "MOST_TESTED", "LayerProbes"]

MOST_TESTED = 2048  # images of a rank, whose features are kept until a reset
FEW = "too few images, or fewer than two classes"


class LayerProbes(WrapperMetric):
    """Closed-form linear probes of each layer, fitted on every other image of an evaluation and tested on the rest.

    Every other one by its row in the dataset, so that any number of processes splits them alike. No image is both
    fitted and tested. The moments of the fitted images are summed over all of them and all ranks, and no rows are kept.
    Of the others the rows are kept until :meth:`reset`, up to 2048 images per rank, 4 bytes per feature, and only
    these are tested: a probe is known only when all fitted images were seen. Inside a distributed run every rank must
    call ``compute``.

    ``compute`` returns the keys of :func:`.probe_statistics`: ``probe_accuracy/<layer>``, and for each but the first
    ``probe_change/<layer>`` with ``probe_change_low/<layer>`` and ``probe_change_high/<layer>``.

    Args:
        layers: number of features of each layer, in the order of the network.
        num_classes: number of classes c.
        kwargs: passed on to :class:`torchmetrics.Metric`.

    Raises:
        InputError: in ``update`` rows or labels that do not fit.
        UnknownNameError: in ``update`` a layer without rows.

    Example:
        >>> probes = LayerProbes({"early": 1, "late": 1}, num_classes=2)
        >>> target = torch.tensor([0, 0, 1, 1]).repeat(10)
        >>> early = target[:, None] + torch.linspace(0, 0.5, 40)[:, None]
        >>> probes.update({"early": early, "late": early % 0.5}, target)
        >>> probes.compute()["probe_accuracy/early"], probes.lost
        (tensor(1., dtype=torch.float64), 'late')
    """

    #: See :attr:`.SumMetric.terms`.
    terms: ClassVar[tuple[Term, ...]] = (
        Term(
            "probe_accuracy/*",
            "Probe of a layer",
            "Accuracy of a closed-form linear model of the layer's features, fitted on every other image and tested on "
            "the rest.",
            "0 to 1",
            "where it drops from one layer to the next, information is lost",
            when_nan=FEW,
        ),
        Term(
            "probe_change/*",
            "Change of the probe from the layer before",
            "Accuracy of the layer's probe minus that of the layer before, image by image on the same images.",
            "-1 to 1",
            "below 0: information is lost from one layer to the next",
            when_nan=FEW,
        ),
        Term(
            "probe_change_low/*",
            "Change of the probe from the layer before, lower end",
            "Lower end of the paired 95% interval of that change.",
            "-1 to 1",
            "above 0: the layer gains beyond chance",
            when_nan=FEW,
        ),
        Term(
            "probe_change_high/*",
            "Change of the probe from the layer before, upper end",
            "Upper end of the paired 95% interval of that change.",
            "-1 to 1",
            "below 0: the layer loses beyond chance",
            when_nan=FEW,
        ),
    )

    def __init__(self, layers: Mapping[str, int], num_classes: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        # plain dictionaries: a layer's name may hold a dot, which a module's name may not
        self.fitted = {name: LinearReference(num_classes, width, **kwargs) for name, width in layers.items()}
        self.tested = {name: UntappedInformation(**kwargs) for name in layers}
        self.num_classes = num_classes
        self.undefined: dict[str, str] = {}  # why each nan of the last `compute` is nan
        self.lost: str | None = None  # the layer that loses most, for sure, at the last `compute`
        self._rows: dict[str, list[Tensor]] = {name: [] for name in layers}
        self._labels: list[Tensor] = []
        self._seen = self._kept = 0

    def reset(self) -> None:
        """Forget all images."""
        super().reset()
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
            target: classes, one outside [0, c) is no label; (n), int64.
            places: row of the dataset of each image, on the CPU; (n), int64; None: they are counted.

        Raises:
            UnknownNameError: a layer without rows.
            InputError: rows of another width, fewer rows than labels, or a target that is not one class for each.
        """
        where = "LayerProbes.update"
        check_target(where, target, len(target))
        for name, reference in self.fitted.items():
            if name not in features:
                given = ", ".join(features) or "none"
                raise UnknownNameError(where, f"the layer {name!r} has no rows", given, "Pass rows of every layer.")
            check_rows(where, features[name], reference.num_features, f"features of {name}")
            if len(features[name]) < len(target):
                given = f"{len(features[name])} rows of {name} for {len(target)} labels"
                raise InputError(where, "rows and labels differ in number", given, "Pass one row per label.")
        target = torch.where(target < self.num_classes, target, -1)
        if places is None or len(target) % max(1, len(places)):
            places = self._seen + torch.arange(len(target))
        places = places.repeat_interleave(len(target) // max(1, len(places)))  # pixels of one image stand together
        even, odd = (half.to(target.device, non_blocking=True) for half in halves(places))
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
        counts = {}
        for name, pairs in count_probes(predictions, target).items():
            metric = self.tested[name].to(pairs.both.device)
            metric.reset()
            metric.add(pairs)
            with metric.sync_context():
                counts[name] = metric.sums
        values = probe_statistics(counts)
        self.undefined = why_nan(self.terms, values)
        self.lost = most_lost(values, list(self.fitted))
        return values

    def _predict(self, name: str) -> Tensor:
        discriminant = self.fitted[name].fit()  # every rank takes part
        rows = self._rows[name]
        if not rows:
            return torch.empty(0, dtype=torch.int64, device=discriminant.weight.device)
        return discriminant.predict(torch.cat(rows))
