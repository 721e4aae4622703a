"""Dimensions of each group, streamed: the metric over :mod:`lightning_failures.functional.grouped_dimension`."""

from collections.abc import Sequence
from typing import Any, ClassVar

from torch import Tensor

from lightning_failures.errors import InputError
from lightning_failures.functional.grouped_dimension import GroupSums, group_statistics, group_sums
from lightning_failures.functional.projection import gaussian_projection
from lightning_failures.metrics.base import NON_FINITE, SumMetric, check_rows
from lightning_failures.records.term import Term

__all__ = ["GroupedDimension"]

_DIMENSIONS = "0 for constant features, else about 1 upwards"
_FEW = "fewer than four finite rows, or more dimensions than the projection can tell"


class GroupedDimension(SumMetric[GroupSums]):
    """How many dimensions the features of each group of images fill, without the bias of few images.

    Groups are classes, or factors that images carry. A group has few images, so that features wider than ``projection``
    are first projected by a fixed Gaussian matrix, and the ratio is put back to what it was before: exact on average,
    within some 3% for 5 dimensions and 20% for 40 at the default of 64.

    Args:
        groups: names of the groups.
        num_features: number of features d.
        projection: dimensions k to project to where d is larger; None never projects. The sums take 8 k^2 bytes a
            group.
        seed: another seed gives another projection.
        kwargs: passed on to :class:`torchmetrics.Metric`.

    Raises:
        InputError: no names, two groups of one name, or a group called ``all`` or ``smallest``.

    Example:
        >>> import torch
        >>> metric = GroupedDimension(["cat", "dog"], num_features=2)
        >>> rows = torch.tensor([[1.0, 0], [-1, 0], [2, 0], [0, 0], [1, 1], [1, -1], [-1, 1], [-1, -1]])
        >>> metric.update(rows, torch.tensor([0, 0, 0, 0, 1, 1, 1, 1]))
        >>> values = metric.compute()
        >>> round(values["dimension/cat"].item(), 3), round(values["dimension/dog"].item(), 3)
        (1.0, 3.0)
    """

    terms: ClassVar[tuple[Term, ...]] = (
        Term(
            "dimension/*",
            "Dimensions of a group",
            "Participation ratio of the features of the group's images, without the bias of few images: how many "
            "dimensions they fill.",
            _DIMENSIONS,
            "far below that of other groups: these images look alike to the network",
            "dimensions",
            _FEW,
        ),
        Term(
            "dimension/all",
            "Dimensions of all images",
            "The same for the images of all groups and of none.",
            _DIMENSIONS,
            "the reference for the groups",
            "dimensions",
            _FEW,
        ),
        Term(
            "dimension/smallest",
            "Dimensions of the smallest group",
            "The smallest number among the groups.",
            _DIMENSIONS,
            "shrinks as groups become points, as classes do in neural collapse",
            "dimensions",
            _FEW,
        ),
        Term("images/*", "Images of a group", "Images in the group.", "0 upwards", "describes", "images"),
        Term("images/all", "Images", "Images of all groups and of none.", "0 upwards", "describes", "images"),
        NON_FINITE,
    )

    def __init__(
        self,
        groups: Sequence[str],
        num_features: int,
        *,
        projection: int | None = 64,
        seed: int = 0,
        **kwargs: Any,
    ) -> None:
        names = tuple(groups)
        if len(set(names)) != len(names) or not names or {"all", "smallest"} & set(names):
            fix = "Pass names that differ from each other and from 'all' and 'smallest'."
            raise InputError("GroupedDimension", "the names of the groups cannot be used", ", ".join(names), fix)
        projected = projection is not None and projection < num_features
        width = projection if projection is not None and projected else num_features
        super().__init__(GroupSums.zero(len(names), width), **kwargs)
        self.groups = names
        self.num_features = num_features
        self.width = width if projected else None
        matrix = gaussian_projection(num_features, width, seed) if projected else None
        self.register_buffer("projection", matrix, persistent=False)

    def update(self, features: Tensor, members: Tensor) -> None:
        """Add a batch.

        Args:
            features: one row per image; (n d), any float.
            members: index of the group of each row; (n), int64; or whether each row belongs to each group; (n g), bool
                or int.

        Raises:
            InputError: rows of another width, or members that are not of these rows and groups.
        """
        where, groups = "GroupedDimension.update", len(self.groups)
        check_rows(where, features, self.num_features)
        if members.shape not in {(len(features),), (len(features), groups)} or members.is_floating_point():
            given = f"{members.dtype} of shape {tuple(members.shape)} for {len(features)} rows and {groups} groups"
            fix = "Pass the index of each row's group, (n) int64, or one column per group, (n g) bool."
            raise InputError(where, "the members do not fit", given, fix)
        rows = features.detach().to(self.where).double()
        if isinstance(self.projection, Tensor):
            rows = rows @ self.projection
        self.add(group_sums(rows, members, groups))

    def compute(self) -> dict[str, Tensor]:
        """Dimensions and images of each group."""
        return group_statistics(self.sums, self.groups, self.width)
