"""Errors of each group of images that belong together, and of groups that training has not seen."""

from collections.abc import Collection, Mapping
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor

from lightning_failures.functional.factors import FactorCounts, error_difference, error_rates
from lightning_failures.functional.intervals import error_difference_interval
from lightning_failures.metrics.base import ALL_GROUPS, GroupedMetric, check_groups
from lightning_failures.metrics.checks import STRAY, check_confidence, check_stray, find_mistakes
from lightning_failures.records.term import Term

__all__ = ["NEW_GROUPS", "NOT_IN_TRAINING", "ErrorCounts", "GroupErrors"]

#: What all groups together are called that training has not seen.
NEW_GROUPS = "all groups that are not in training"

#: What is put behind the name of such a group.
NOT_IN_TRAINING = ", not in training"

_NONE_SEEN = "no image was seen"
_NOT_HELD = "the group has no image, or no other group has one"
_NO_LIMITS = "the group has no image, or no other group has one; of all new groups, also fewer than four of either kind"


class ErrorCounts(NamedTuple):
    """Errors and images; adds up across batches and across ranks."""

    wrong: Tensor  # () int64
    seen: Tensor  # () int64


class GroupErrors(GroupedMetric[ErrorCounts]):
    """Error rate of each group that was named, against all other groups, and of groups that training has not seen.

    ``compute()`` gives for each named group G ``error/G``, ``error_without/G``, ``difference/G`` with its interval
    ``difference_low/G``, ``difference_high/G``, see :func:`.error_difference`, and ``images/G``. The interval is of the
    images of this group, which is fixed, and its confidence is adjusted for the number of named groups. Where some
    groups are new, the same of all new groups against all others, by groups: see :func:`.error_difference_interval`.
    Over all: ``error/all``, ``groups/all``, and ``new_groups``.

    Args:
        confidence: probability that all intervals cover.
        kwargs: passed on to :class:`torchmetrics.Metric`.

    Raises:
        InputError: a confidence of 0 or less, or of 1 or more.

    Example:
        >>> metric = GroupErrors()
        >>> metric.names = {7: "old scanner"}
        >>> groups = torch.tensor([7, 7, 3, 3])
        >>> metric.update(torch.tensor([0, 0, 1, 1]), torch.tensor([1, 1, 1, 1]), groups)
        >>> metric.compute()["difference/old scanner"]
        tensor(1., dtype=torch.float64)
    """

    stray: Tensor

    terms: ClassVar[tuple[Term, ...]] = (
        Term(
            "error/*",
            "Error rate of a group",
            "Share of the images of the group that are misclassified.",
            "0 to 1",
            "lower is better",
            when_nan="the group has no image",
        ),
        Term(
            "error_without/*",
            "Error rate of the other groups",
            "Share of the images of all other groups that are misclassified.",
            "0 to 1",
            "the reference for the error rate of the group",
            when_nan="no other group has an image",
        ),
        Term(
            "difference/*",
            "Difference of a group from the others",
            "Error rate of the group minus that of all other groups.",
            "-1 to 1",
            "lower is better; 0: as good as on the others; 1: wrong on all of its images and on no other",
            when_nan=_NOT_HELD,
        ),
        Term(
            "difference_low/*",
            "Difference of a group from the others, lower end",
            "Lower end of its interval; all intervals hold together with 95%.",
            "-1 to 1",
            "above 0: the group is harder beyond chance",
            when_nan=_NO_LIMITS,
        ),
        Term(
            "difference_high/*",
            "Difference of a group from the others, upper end",
            "Upper end of its interval; all intervals hold together with 95%.",
            "-1 to 1",
            "below 0: the group is easier beyond chance",
            when_nan=_NO_LIMITS,
        ),
        Term("images/*", "Images of a group", "Images of the group.", "0 upwards", "describes", "images"),
        Term(
            "error/all",
            "Error rate",
            "Share of all images that are misclassified.",
            "0 to 1",
            "lower is better",
            when_nan=_NONE_SEEN,
        ),
        Term("images/all", "Images", "All images that were counted.", "0 upwards", "describes", "images"),
        ALL_GROUPS,
        Term(
            "new_groups",
            "Groups that training has not seen",
            "Groups of the evaluated images of which no training image was seen.",
            "0 upwards",
            "0: how good the network is on new groups is not measured",
            "groups",
            when_nan="it is not known which groups training has seen: they go by row, or no whole epoch was seen",
        ),
    )

    def __init__(self, *, confidence: float = 0.95, **kwargs: Any) -> None:
        check_confidence(type(self).__name__, confidence)
        zero = torch.zeros((), dtype=torch.int64)
        super().__init__(ErrorCounts(zero, zero), STRAY, **kwargs)
        self.confidence = confidence
        self.names: Mapping[int, str] = {}  #: of the groups that are told of one by one; set before ``compute``
        self.in_training: Collection[int] | None = None  #: groups that training has seen; None: not known

    def update(self, preds: Tensor, target: Tensor, groups: Tensor, known: Tensor | None = None) -> None:
        """Count a batch.

        Args:
            preds: predicted classes; (n), int, or scores; (n c), float.
            target: the true classes; (n), int.
            groups: which images belong together, any number for each group; (n), int.
            known: which images have a label; the others count nowhere; (n), bool; None: all have one.
        """
        where = f"{type(self).__name__}.update"
        mistakes = find_mistakes(where, preds, target, known=known)
        check_groups(where, groups, len(target))
        seen = torch.ones_like(mistakes.wrong) if known is None else known
        self.add(ErrorCounts(mistakes.wrong.sum(), seen.sum()), stray=mistakes.stray)
        self.add_groups(groups, len(target), lambda: ErrorCounts(mistakes.wrong.long(), seen.long()))

    def compute(self) -> dict[str, Tensor]:
        """The statistics of all images so far, divided once, in float64 on the CPU."""
        check_stray(f"{type(self).__name__}.compute", self.stray)
        overall, found = self.sums_on_cpu, self.grouped()
        none = torch.zeros(0, dtype=torch.int64)
        ids, sums = (none, ErrorCounts(none, none)) if found is None else found
        ids, sums = ids[sums.seen > 0], ErrorCounts(*(each[sums.seen > 0] for each in sums))
        rows = {int(group): row for row, group in enumerate(ids.tolist())}
        wrong, seen = (torch.cat([each, torch.zeros(1, dtype=torch.int64)]) for each in sums)  # the last: not here
        chosen = torch.tensor([rows.get(group, len(rows)) for group in self.names], dtype=torch.int64)
        counts = FactorCounts(wrong[chosen], seen[chosen], overall.wrong, overall.seen)
        each = 1 - (1 - self.confidence) / max(1, int((counts.seen > 0).sum()))
        values = _told(list(self.names.values()), counts, error_difference_interval(counts, each))
        in_training = self.in_training
        new = [] if in_training is None else [row for group, row in rows.items() if group not in in_training]
        if new and len(new) < len(rows):
            carried = torch.zeros(len(ids), 1, dtype=torch.bool)
            carried[new] = True
            by_group = FactorCounts(sums.wrong[:, None] * carried, sums.seen[:, None] * carried, sums.wrong, sums.seen)
            together = FactorCounts(*(value.sum(0) for value in by_group))
            limits = error_difference_interval(together, self.confidence, by_group)
            values |= _told([NEW_GROUPS], together, limits)
        return values | {
            "error/all": overall.wrong.double() / overall.seen.double(),
            "images/all": overall.seen,
            "groups/all": torch.tensor(len(ids)),
            "new_groups": torch.tensor(torch.nan if in_training is None else float(len(new)), dtype=torch.float64),
        }


def _told(names: list[str], counts: FactorCounts, limits: tuple[Tensor, Tensor]) -> dict[str, Tensor]:
    """The figures of some groups by key."""
    error, without = error_rates(counts)
    found = {
        "error": error,
        "error_without": without,
        "difference": error_difference(counts),
        "difference_low": limits[0],
        "difference_high": limits[1],
        "images": counts.seen,
    }
    return {f"{key}/{name}": values[k] for key, values in found.items() for k, name in enumerate(names)}
