"""Changed images, streamed: the accuracy that is kept."""

from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor

from lightning_failures.errors import InputError
from lightning_failures.functional.retention import (
    RetainedPairs,
    RetentionCounts,
    count_retention,
    retained,
    retention_of_images,
)
from lightning_failures.metrics.base import ALL_GROUPS, GroupedMetric, check_groups
from lightning_failures.records.term import Term

__all__ = ["Retention"]

_NO_LABEL = "no image with a label"
_NO_CHANGED = "no image with a label and a changed version"


class Retention(GroupedMetric[RetentionCounts]):
    """How much accuracy a model keeps on images with something removed.

    ``compute`` returns ``accuracy`` and ``chance``, and for each change ``changed_accuracy/<name>``,
    ``retained/<name>``, ``lost/<name>``, ``lost_low/<name>`` and ``lost_high/<name>``; see
    :func:`.retained`. Where groups are given, intervals count groups, and ``groups/all`` says how many there are.

    Args:
        changes: names of the changes, one per column of the changed predictions.
        num_classes: number of classes c.
        kwargs: passed on to :class:`torchmetrics.Metric`.

    Example:
        >>> import torch
        >>> metric = Retention(["shuffled_pixels"], num_classes=2)
        >>> labels = torch.tensor([0, 1, 0, 1])
        >>> metric.update(labels, torch.tensor([[0], [1], [0], [0]]), labels)
        >>> metric.compute()["retained/shuffled_pixels"]
        tensor(0.5000, dtype=torch.float64)
    """

    counts_groups = ("lost_low", "lost_high")

    terms: ClassVar[tuple[Term, ...]] = (
        Term(
            "accuracy",
            "Accuracy",
            "Share of the images with a label that are predicted right as they are.",
            "0 to 1",
            "higher is better",
            when_nan=_NO_LABEL,
        ),
        Term(
            "chance",
            "Chance",
            "Share of the most frequent label: the accuracy of naming it always.",
            "1 over the number of classes, to 1",
            "the reference for the accuracy",
            when_nan=_NO_LABEL,
        ),
        Term(
            "changed_accuracy/*",
            "Accuracy on changed images",
            "Accuracy on images with one part of their information removed, such as pixels in random order or without "
            "one ring of spatial frequencies.",
            "0 to 1",
            "near the accuracy: what was removed does not matter",
            when_nan=_NO_CHANGED,
        ),
        Term(
            "retained/*",
            "Retained by changed images",
            "What these images keep of the accuracy above chance.",
            "1 keeps all, 0 leaves chance, below 0 misleads",
            "describes what the network uses",
            when_nan=f"{_NO_CHANGED}, or an accuracy that is not above chance",
        ),
        Term(
            "lost/*",
            "Lost on changed images",
            "Accuracy minus the one on these images.",
            "-1 to 1",
            "describes what the network uses",
            when_nan=_NO_CHANGED,
        ),
        Term(
            "lost_low/*",
            "Lost on changed images, lower end",
            "Lower end of the paired 95% interval of that loss.",
            "-1 to 1",
            "above 0: the network uses what was removed, beyond chance",
            when_nan=_NO_CHANGED,
        ),
        Term(
            "lost_high/*",
            "Lost on changed images, upper end",
            "Upper end of the paired 95% interval of that loss.",
            "-1 to 1",
            "near 0: the network hardly uses what was removed",
            when_nan=_NO_CHANGED,
        ),
        ALL_GROUPS,
    )

    def __init__(self, changes: Sequence[str], num_classes: int, **kwargs: Any) -> None:
        self.changes = tuple(changes)
        none = torch.zeros(len(self.changes), dtype=torch.int64)
        of_group = RetainedPairs(none, none, none, none)
        super().__init__(RetentionCounts.zero(len(self.changes), num_classes), of_group=of_group, **kwargs)
        self.num_classes = num_classes

    def update(self, preds: Tensor, changed_preds: Tensor, target: Tensor, groups: Tensor | None = None) -> None:
        """Add the labels that were predicted before and after; a label of -1 leaves the image out.

        Among the changed ones it leaves it out for that change alone.

        Args:
            preds: predicted classes of the images as they are; (n), or (n h w) of pixels; int64.
            changed_preds: of the images after each change, one column per change; (n k) or (n h w k), int64.
            target: true classes; the shape of ``preds``, int64.
            groups: which images belong together, any number for each group; (n), int. None: images are independent.
                With every batch or with none.

        Raises:
            InputError: shapes that are not of the same images and of these changes.
        """
        check_groups("Retention.update", groups, len(target))
        if preds.shape != target.shape or changed_preds.shape != (*target.shape, len(self.changes)):
            raise InputError(
                "Retention.update",
                "predictions and target are not of the same images and changes",
                f"preds {tuple(preds.shape)}, changed_preds {tuple(changed_preds.shape)}, target {tuple(target.shape)} "
                f"for {', '.join(self.changes)}",
                "Pass one label per image, and one column a change: (n), (n k) and (n).",
            )
        self.add(count_retention(preds, changed_preds, target, self.num_classes))
        self.add_groups(
            groups, len(target), lambda: retention_of_images(preds, changed_preds, target, self.num_classes)
        )

    def compute(self) -> dict[str, Tensor]:
        """Every statistic by name and change."""
        found = self.grouped()
        by_group: RetainedPairs | None = None if found is None else found[1]
        result = retained(self.sums if by_group is None else self.sums_on_cpu, by_group)
        by_change = {
            "changed_accuracy": result.changed,
            "retained": result.retained,
            "lost": result.lost,
            "lost_low": result.lost_low,
            "lost_high": result.lost_high,
        }
        values = {f"{key}/{name}": value[k] for key, value in by_change.items() for k, name in enumerate(self.changes)}
        if by_group is not None:
            values["groups/all"] = (torch.stack(list(by_group)).sum((0, 2)) > 0).sum()
        return {"accuracy": result.accuracy, "chance": result.chance, **values}
