"""Whether the label is read of a group that was not seen, such as of another study, slide or scanner."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from lightning_failures.audit.sample import Sample
from lightning_failures.functional.clusters import add_by_group, clustered_rate
from lightning_failures.functional.estimate import Estimate, add_sums
from lightning_failures.functional.leave_one_group_out import leave_out, read_groups
from lightning_failures.functional.moments import ClassMoments, class_moments, widen_classes
from lightning_failures.functional.paired_accuracy import accuracy_difference, count_pairs
from lightning_failures.functional.proportions import wilson
from lightning_failures.functional.robustness_index import robustness_index, standard_normal_variate
from lightning_failures.records.strict_json import strict

__all__ = ["GroupAudit", "GroupRecord", "LeftOut", "feature_of"]

#: Groups that stand each by itself; of more, some are left out together.
MOST = 20
#: Random parts in which groups are mixed.
PARTS = 8
#: Rows that are kept to be scored, and of these, those whose neighbours are looked at.
KEPT, NEIGHBOURS = 8192, 2048
#: Group means of inputs that are so many times another's are on another scale.
SCALE = 3.0


class LeftOut(NamedTuple):
    """One group, or some together, that a linear model has not seen."""

    name: str
    images: int  # in the data
    scored: int  # on which the accuracies are measured
    alone: int  # of the sample, whose class stands in no other group, and which nothing could predict
    accuracy: Estimate  # of a model of all other groups
    mixed: Estimate  # on the same images, of a model of all groups, these images' random part left out
    difference: Estimate  # the first minus the second, paired
    level: float  # mean of the inputs of the group
    others: float  # mean of the inputs of all other groups

    @property
    def other_scale(self) -> bool:
        """Whether its inputs are on another scale than those of the others."""
        one, other = abs(self.level), abs(self.others)
        return min(one, other) > 0 and max(one, other) / min(one, other) >= SCALE


class GroupAudit(NamedTuple):
    """What :meth:`GroupRecord.audit` found."""

    rung: str  # the linear model's features
    number: int  # of groups
    together: bool  # whether some are left out together, since there are too many
    left_out: tuple[LeftOut, ...]  # the worst first
    accuracy: Estimate  # on left-out groups, all of them; the interval counts groups
    mixed: Estimate  # where groups are mixed
    difference: Estimate  # the first minus the second, paired; the interval counts groups
    read: Estimate  # whose group a linear model reads
    chance: float  # of naming the largest group
    read_within: Estimate  # the same among images of one class
    chance_within: float
    robustness: float  # robustness index of the features
    robustness_snv: float  # of each spectrum with mean 0 and deviation 1
    both: int | None  # groups that stand in training and among the held out; None: the split is drawn at random
    held: int | None  # groups among the held out

    @property
    def worst(self) -> LeftOut | None:
        """The group of which least is read; None where none could be scored."""
        known = [one for one in self.left_out if one.scored]
        return min(known, key=lambda one: one.accuracy.value) if known else None

    def to_dict(self) -> dict[str, Any]:
        """Plain containers."""
        plain = self._asdict() | {"left_out": [one._asdict() for one in self.left_out]}
        return {key: _plain(value) for key, value in plain.items()}


def feature_of(widths: Mapping[str, int], channels: int) -> str:
    """The features of the linear model: mean spectra of five channels and more, else low frequencies of the image."""
    if channels < 5 and "low_frequencies" in widths:
        return "low_frequencies"
    return "mean_spectrum"


class GroupRecord:
    """Sums of features by group, and a sample of their rows; the same however the batches are cut."""

    def __init__(self) -> None:
        self.groups: dict[int, int] = {}  # its number, in the order in which they came -> images
        self.parts: list[ClassMoments] = []  # of random parts
        self.folds: list[ClassMoments] = []  # of groups
        self.sample = Sample(KEPT)
        self.sides: tuple[set[int], set[int]] = set(), set()  # training, held out
        self._places: dict[int, int] = {}

    def add(
        self, features: Tensor, target: Tensor, group: Tensor, part: Tensor, priority: Tensor, held: Tensor
    ) -> None:
        """Add rows of a batch that are labelled and finite.

        Args:
            features: (m d).
            target: classes; (m), int64.
            group: what groups are called by; (m), int64.
            part: a random number in [0, 1) for each row; (m).
            priority: by which rows are kept; (m).
            held: which are held out; (m), bool.
        """
        if not len(target):
            return
        for one in group.tolist():
            self._places.setdefault(one, len(self._places))
        ids, counts = group.unique(return_counts=True)
        for one, count in zip(ids.tolist(), counts.tolist(), strict=True):
            self.groups[one] = self.groups.get(one, 0) + count
        for side, some in zip(self.sides, (~held, held), strict=True):
            side.update(group[some].unique().tolist())
        classes = int(target.max()) + 1
        place = torch.tensor([self._places[one] for one in group.tolist()]) % MOST
        for sums, of in ((self.parts, (part * PARTS).long()), (self.folds, place)):
            self._sum(sums, features.double(), target, of, classes)
        self.sample.add(
            priority,
            {"rows": features.float(), "target": target, "group": group, "fold": place, "part": (part * PARTS).long()},
        )

    def _sum(self, sums: list[ClassMoments], rows: Tensor, target: Tensor, of: Tensor, classes: int) -> None:
        most = max([classes, *(len(part.counts) for part in sums)])
        sums.extend(ClassMoments.zero(most, rows.shape[1]) for _ in range(int(of.max()) + 1 - len(sums)))
        sums[:] = [widen_classes(part, most) for part in sums]
        for place in of.unique().tolist():
            some = of == place
            sums[place] = add_sums([sums[place], class_moments(rows[some], target[some], most)])

    def audit(self, names: Mapping[int, str], rung: str, split: bool) -> GroupAudit:
        """What is read of groups that were not seen, and of the groups themselves.

        Args:
            names: of the groups.
            rung: the features.
            split: whether the split is drawn at random from one loader.
        """
        kept = self.sample.rows
        rows, target, group, fold, part = (kept[name] for name in ("rows", "target", "group", "fold", "part"))
        unseen = leave_out(self.folds, rows, fold) == target
        mixed = leave_out(self.parts, rows, part) == target
        elsewhere = torch.stack([sums.counts for sums in self.folds])
        alone = (elsewhere.sum(0) - elsewhere)[fold, target] == 0
        scored = ~alone
        found = []
        for place in range(len(self.folds)):
            mine = fold == place
            called = [names.get(one, str(one)) for one, at in self._places.items() if at % MOST == place]
            images = sum(count for one, count in self.groups.items() if self._places[one] % MOST == place)
            levels = [
                float(part.totals.sum() / (part.counts.sum() * part.totals.shape[1]))
                for part in (
                    self.folds[place],
                    add_sums([p for at, p in enumerate(self.folds) if at != place] or [self.folds[place]]),
                )
            ]
            some = mine & scored
            found.append(
                LeftOut(
                    ", ".join(called[:3]) + f" and {len(called) - 3} more" * (len(called) > 3),
                    images,
                    int(some.sum()),
                    int((mine & alone).sum()),
                    _accuracy(unseen[some]),
                    _accuracy(mixed[some]),
                    _difference(unseen[some], mixed[some]),
                    levels[0],
                    levels[1],
                )
            )
        found.sort(key=lambda one: (one.scored == 0, one.accuracy.value))
        _, number = group.unique(return_inverse=True)
        reading = read_groups(rows, target, number)
        near = slice(0, NEIGHBOURS)
        return GroupAudit(
            rung,
            len(self.groups),
            len(self.groups) > MOST,
            tuple(found),
            _of_groups(unseen[scored], group[scored]),
            _of_groups(mixed[scored], group[scored]),
            _difference(unseen[scored], mixed[scored], group[scored]),
            _accuracy(reading.right),
            float(reading.chance),
            _accuracy(reading.within[reading.among]),
            float(reading.within_chance),
            float(robustness_index(rows[near], target[near], group[near])),
            float(robustness_index(standard_normal_variate(rows[near]), target[near], group[near])),
            None if split else len(self.sides[0] & self.sides[1]),
            None if split else len(self.sides[1]),
        )


def _level(sums: ClassMoments) -> float:
    """Mean over all rows and features; nan without rows."""
    return float(sums.totals.sum() / (sums.counts.sum() * sums.totals.shape[1]))


def _accuracy(right: Tensor) -> Estimate:
    low, high = wilson(right.sum(), torch.tensor(len(right)))
    return Estimate(float(right.double().mean()) if len(right) else torch.nan, float(low), float(high))


def _of_groups(right: Tensor, group: Tensor) -> Estimate:
    """An accuracy whose interval counts groups; without ends where there are too few."""
    _, sums = add_by_group(torch.stack([right.long(), torch.ones_like(group)], 1), group)
    rate = clustered_rate(sums[:, 0], sums[:, 1])
    return Estimate(float(rate.value), float(rate.low), float(rate.high))


def _difference(one: Tensor, other: Tensor, group: Tensor | None = None) -> Estimate:
    """Accuracy of one model minus that of the other on the same rows, with its paired interval."""
    everything = torch.ones_like(one)
    counts = [count.double() for count in count_pairs(one, other, everything)]
    by_group: Sequence[Tensor] | None = None
    if group is not None:
        kinds = (one & other, one & ~other, ~one & other, ~one & ~other)
        _, sums = add_by_group(torch.stack([kind.long() for kind in kinds], 1), group)
        by_group = list(sums.unbind(1))
    return Estimate(*(float(value) for value in accuracy_difference(*counts[:4], by_group=by_group)))


def _plain(value: Any) -> Any:
    if isinstance(value, Estimate):
        return [strict(end) for end in value]
    if isinstance(value, dict):
        return {key: _plain(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_plain(each) for each in value]
    return strict(value) if isinstance(value, float) else value
