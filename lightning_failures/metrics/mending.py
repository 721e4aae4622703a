"""What undoing a cause mends, streamed: the metric over :mod:`lightning_failures.functional.mending`."""

from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor

from lightning_failures.errors import InputError, UnknownNameError
from lightning_failures.functional.mending import MendingCounts, count_mending, mending
from lightning_failures.functional.paired_accuracy import count_pairs
from lightning_failures.metrics.base import ALL_GROUPS, GroupedMetric, check_groups
from lightning_failures.metrics.checks import check_factor_names, describe
from lightning_failures.records.term import Term

__all__ = ["MENDING_TERMS", "MendedAccuracy"]

_NO_IMAGES = "the experiment was not made: nothing was found to undo, or there was no time"
_ACCURACY = ("0 to 1", "higher is better")
_GAIN = "-1 to 1"

#: Of one experiment.
MENDING_TERMS = (
    Term("before", "Accuracy as it is", "Accuracy before anything is undone.", *_ACCURACY, when_nan=_NO_IMAGES),
    Term(
        "before_low",
        "Accuracy as it is, lower end",
        "Lower end of its 95% interval.",
        *_ACCURACY,
        when_nan=_NO_IMAGES,
    ),
    Term(
        "before_high",
        "Accuracy as it is, upper end",
        "Upper end of its 95% interval.",
        *_ACCURACY,
        when_nan=_NO_IMAGES,
    ),
    Term(
        "after",
        "Accuracy with the cause undone",
        "Accuracy on the same images when one thing is undone.",
        *_ACCURACY,
        when_nan=_NO_IMAGES,
    ),
    Term(
        "after_low",
        "Accuracy with the cause undone, lower end",
        "Lower end of its 95% interval.",
        *_ACCURACY,
        when_nan=_NO_IMAGES,
    ),
    Term(
        "after_high",
        "Accuracy with the cause undone, upper end",
        "Upper end of its 95% interval.",
        *_ACCURACY,
        when_nan=_NO_IMAGES,
    ),
    Term(
        "gain",
        "Gain by undoing the cause",
        "Accuracy after minus accuracy before, on the same images.",
        _GAIN,
        "above 0: undoing it helps",
        when_nan=_NO_IMAGES,
    ),
    Term(
        "gain_low",
        "Gain by undoing the cause, lower end",
        "Lower end of its paired 95% interval.",
        _GAIN,
        "above 0: undoing it helps beyond chance",
        when_nan=_NO_IMAGES,
    ),
    Term(
        "gain_high",
        "Gain by undoing the cause, upper end",
        "Upper end of its paired 95% interval.",
        _GAIN,
        "below 0: undoing it harms beyond chance",
        when_nan=_NO_IMAGES,
    ),
)


class MendedAccuracy(GroupedMetric[MendingCounts]):
    """Accuracy before and after one thing is undone, for several experiments on the same kind of images.

    ``compute()`` gives for each experiment E ``before/E``, ``after/E``, ``gain/E`` and the ends of their 95% intervals,
    ``before_low/E``, ``before_high/E`` and so on; see :func:`.mending`. Where groups are given, intervals count groups,
    ``groups/all`` says how many there are, and ``gain_low_of_images/E`` is the lower end as it would be if images were
    independent: what holds for the images that were asked.

    Args:
        experiments: their names.
        kwargs: passed on to :class:`torchmetrics.Metric`.

    Raises:
        InputError: names that stand twice; in ``update``, predictions and target of different images.
        UnknownNameError: in ``update``, an experiment of another name.

    Example:
        >>> metric = MendedAccuracy(["scale"])
        >>> metric.update("scale", torch.tensor([0, 0, 1]), torch.tensor([0, 1, 1]), torch.tensor([0, 1, 1]))
        >>> values = metric.compute()
        >>> round(float(values["before/scale"]), 2), float(values["after/scale"]), round(float(values["gain/scale"]), 2)
        (0.67, 1.0, 0.33)
    """

    counts_groups = ("before_low", "before_high", "after_low", "after_high", "gain_low", "gain_high")

    terms: ClassVar[tuple[Term, ...]] = (
        *(term.of("{}/*") for term in MENDING_TERMS),
        Term(
            "gain_low_of_images/*",
            "Gain by undoing the cause, lower end on these very images",
            "Lower end of its paired 95% interval where images count and not groups. Given only where groups are.",
            _GAIN,
            "above 0: undoing it helps, beyond the chance of single images",
            when_nan=_NO_IMAGES,
        ),
        ALL_GROUPS,
    )

    def __init__(self, experiments: Sequence[str], **kwargs: Any) -> None:
        names = check_factor_names(type(self).__name__, experiments)
        super().__init__(MendingCounts.zero(len(names)), **kwargs)
        self.experiments = names

    def update(
        self, experiment: str, before: Tensor, after: Tensor, target: Tensor, groups: Tensor | None = None
    ) -> None:
        """Add one batch of one experiment.

        Args:
            experiment: its name.
            before: predicted classes; (n), int.
            after: predicted classes of the same images with the cause undone; (n), int.
            target: true classes, below 0 where there is none; (n), int.
            groups: which images belong together; (n), int. None: images are independent. With every batch or with none.

        Raises:
            UnknownNameError: no such experiment.
            InputError: labels or groups that are not of the same images.
        """
        where = "MendedAccuracy.update"
        check_groups(where, groups, len(target))
        if experiment not in self.experiments:
            fix = f"Use one of {', '.join(self.experiments)}."
            raise UnknownNameError(where, "no such experiment", repr(experiment), fix)
        if not before.shape == after.shape == target.shape or target.ndim != 1:
            given, fix = describe(before=before, after=after, target=target), "Pass labels (n) of the same images."
            raise InputError(where, "before, after and target are not of the same images", given, fix)
        one = torch.zeros(len(self.experiments), dtype=torch.int64, device=target.device)
        one[self.experiments.index(experiment)] = 1
        self.add(MendingCounts(*(one * count for count in count_mending(before, after, target))))
        answers = (after == target)[None], (before == target)[None], (target >= 0)[None]
        self.add_groups(groups, len(target), lambda: [count[:, None] * one for count in count_pairs(*answers)])

    def compute(self) -> dict[str, Tensor]:
        """The statistics of all experiments."""
        sums, by_group = self.sums_on_cpu, self.by_group
        found = mending(sums, by_group)._asdict()
        if by_group is not None:
            found["gain_low_of_images"] = mending(sums).gain_low
        values = {
            f"{key}/{name}": value
            for key, column in found.items()
            for name, value in zip(self.experiments, column, strict=True)
        }
        if by_group is not None:
            values["groups/all"] = (torch.stack(list(by_group)).sum((0, 2)) > 0).sum()
        return values
