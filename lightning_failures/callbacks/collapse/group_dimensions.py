"""How many dimensions the penultimate features of each class, and of the images with each factor, fill."""

import torch
from einops import repeat
from torch import Tensor

from lightning_failures.callbacks.collapse.layers import Shape
from lightning_failures.metrics.grouped_dimension import GroupedDimension
from lightning_failures.observe.dataset_rows import DatasetRows
from lightning_failures.observe.factor_reader import FactorReader
from lightning_failures.observe.observation import Observation
from lightning_failures.records.term import find_term

__all__ = ["GroupDimensions"]

MOST_NAMED = 32  # classes that are logged one by one; of more, the smallest and the median


class GroupDimensions:
    """Unbiased participation ratio of each group's features, by class and by factor.

    ``compute`` returns ``class_dimension/<class>`` for up to 32 classes, ``class_dimension/smallest`` and ``/median``,
    and ``factor_dimension/<factor>``; see :class:`.GroupedDimension`.

    Args:
        num_classes: number of classes c; None: not by class.
        num_features: number of features d.
        reader: of the factors that images carry; None: not by factor.
    """

    def __init__(self, num_classes: int | None, num_features: int, reader: FactorReader | None = None) -> None:
        self.num_features = num_features
        self.reader = reader
        self.classes: GroupedDimension | None = None
        self.factors: GroupedDimension | None = None
        self.undefined: dict[str, str] = {}
        if num_classes is not None:
            self.classes = GroupedDimension([str(label) for label in range(num_classes)], num_features)

    @classmethod
    def of(cls, shape: Shape | None, num_classes: int | None, reader: FactorReader | None) -> "GroupDimensions | None":
        """Of the penultimate layer, where a step calls it once and there is something to group by."""
        if shape is None or shape.views != 1 or (num_classes is None and reader is None):
            return None
        return cls(num_classes, shape.width, reader)

    def reset(self) -> None:
        """Begin an evaluation."""
        for metric in (self.classes, self.factors):
            if metric is not None:
                metric.reset()

    def build(self, names: tuple[str, ...] | None) -> None:
        """Make the metric of the factors, whose names the first batch may have to say."""
        if self.factors is None and names is not None:
            self.factors = GroupedDimension(names, self.num_features)

    def update(
        self, features: Tensor, labels: Tensor | None, seen: Observation, rows: DatasetRows, batch_idx: int
    ) -> None:
        """Add a batch.

        Args:
            features: one row per image, or k an image that stand together; (k*n d).
            labels: class of each row; (k*n), int64.
            seen: the batch, which the factors are read from.
            rows: dataset rows of the loader's batches.
            batch_idx: which batch it is.
        """
        if self.classes is not None and labels is not None:
            self.classes.to(features.device).update(features, labels)
        if self.reader is not None:
            members = seen.of_batch(self.reader.read(seen.batch, seen.batch_images, rows, batch_idx))
            self.build(self.reader.names)
            assert self.factors is not None
            pixels = len(features) // max(1, len(members))  # of one image stand together
            members = repeat(members, "n f -> (n pixels) f", pixels=pixels)
            self.factors.to(features.device).update(features, members)

    def compute(self) -> dict[str, Tensor]:
        """Dimensions by group; of all ranks."""
        values: dict[str, Tensor] = {}
        self.undefined = {}
        for kind, metric in (("class", self.classes), ("factor", self.factors)):
            if metric is None:
                continue
            found = metric.compute()
            own = {name: found[f"dimension/{name}"] for name in metric.groups}
            summary = {"smallest": found["dimension/smallest"], "median": torch.stack(list(own.values())).nanmedian()}
            shown = own if kind == "factor" else summary | (own if len(own) <= MOST_NAMED else {})
            values |= {f"{kind}_dimension/{name}": value for name, value in shown.items()}
            term = find_term(metric.terms, "dimension/*")
            why = "" if term is None else term.when_nan
            self.undefined |= {f"{kind}_dimension/{name}": why for name, value in shown.items() if bool(value.isnan())}
        return values
