"""Whether images of one kind, of a factor or of a group, are prepared as the others, and what undoing it mends."""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from lightning_failures.callbacks.causes.answers import answers
from lightning_failures.callbacks.causes.experiments import LEAST_GAP
from lightning_failures.callbacks.causes.preparation import Preparation
from lightning_failures.functional.input_statistics import InputSums, input_sums, merge_inputs
from lightning_failures.metrics.mending import MENDING_TERMS, MendedAccuracy
from lightning_failures.observe.group_reader import add_up_groups

__all__ = ["CONSTANT", "FEWEST_WITH", "TURNED", "InputsByKind", "KindSums", "largest_groups"]

#: Images of a kind, and others, below which nothing is said of how both differ.
FEWEST_WITH = 8

#: Groups that are compared: those with most images among the kept ones.
MOST_GROUPS = 12

#: Why nothing is said of a kind, by family.
FEW = {
    "factor": f"fewer than {FEWEST_WITH} images with this factor, or without it, are among those that are kept",
    "group": f"fewer than {FEWEST_WITH} images of this group, or of others, are among those that are kept",
}


#: Place of an experiment among those that are made, as it is logged.
TURNED, CONSTANT = 2, 3


class KindSums(NamedTuple):
    """Of the inputs of the images of a kind, such as those that carry a factor, and of the others."""

    carrying: InputSums
    others: InputSums

    @classmethod
    def of(cls, images: Tensor, carried: Tensor) -> "list[KindSums]":
        """Those of each kind; every image is gone through once, however many kinds there are.

        Args:
            images: (n b ...), at least one.
            carried: which kinds each image is of; (n f), bool.

        Example:
            >>> first, second = KindSums.of(torch.ones(3, 1, 2), torch.tensor([[True, False]] * 2 + [[False, False]]))
            >>> int(first.carrying.seen), int(first.others.seen), int(second.carrying.seen)
            (2, 1, 0)
        """
        patterns, which = carried.unique(dim=0, return_inverse=True)
        parts = [input_sums(images[which == place]) for place in range(len(patterns))]
        none = InputSums.zero(images.shape[1])

        def joined(chosen: Tensor) -> InputSums:
            return merge_inputs([none, *(part for part, taken in zip(parts, chosen.tolist(), strict=True) if taken)])

        return [cls(joined(pattern), joined(~pattern)) for pattern in patterns.T]


class InputsByKind:
    """Compares, kind by kind, the inputs of its images with those of the others.

    Intervals are of these very images and count images: those of one kind are few of the kept ones, and those of a
    group are of one group.

    Args:
        names: of the factors, or of the groups.
        family: ``"factor"`` or ``"group"``, which the keys begin with.

    Raises:
        KeyError: another family.
    """

    def __init__(self, names: Sequence[str], family: str = "factor") -> None:
        self.names, self.family = tuple(names), family
        self.preparations: dict[str, Preparation | None] | None = None  #: of each kind; None: of too few images
        self.mapped = MendedAccuracy(names)
        self.reordered = MendedAccuracy(names)
        self.turned = MendedAccuracy(names)
        self.spoilt = MendedAccuracy(names)  # of the others: before, with the one value of a channel; after, as is
        self.own = MendedAccuracy(names)  # nothing is changed: before and after are one
        self.others = MendedAccuracy(names)  # likewise
        self.undefined: dict[str, str] = {}
        self._few = FEW[family]
        self._why = self._few  # nothing is said of a kind

    def begin(self, device: torch.device) -> None:
        """Forget the evaluation before."""
        for metric in (self.mapped, self.reordered, self.turned, self.spoilt, self.own, self.others):
            metric.to(device).reset()

    def compare(self, parts: Sequence[Sequence[KindSums]]) -> None:
        """Compare the kinds, as the processes hold them.

        Args:
            parts: of each process that has some images, one part for each kind.
        """
        self.preparations, self._why = {}, self._few
        for name, groups in zip(self.names, zip(*parts, strict=True), strict=True):
            carrying = merge_inputs([group.carrying for group in groups])
            others = merge_inputs([group.others for group in groups])
            enough = min(int(carrying.seen), int(others.seen)) >= FEWEST_WITH
            self.preparations[name] = Preparation.of(others, carrying) if enough else None

    def leave_out(self, why: str) -> None:
        """Compare nothing, and say why."""
        self.preparations, self._why = {}, why

    @property
    def apart(self) -> dict[str, Preparation]:
        """How the inputs of both differ, by the kinds whose images do so in a way that an experiment can tell of."""
        known = {name: each for name, each in (self.preparations or {}).items() if each is not None}
        return {name: each for name, each in known.items() if each.undoings() or bool(each.is_constant.any())}

    def passes(self, carried: Tensor | None) -> float:
        """How often an image is run on average; 0 where nothing differs."""
        if carried is None or not len(carried):
            return 0.0
        shares: dict[str, float] = dict(zip(self.names, carried.double().mean(0).tolist(), strict=True))
        passes = 0.0
        for name, each in self.apart.items():
            passes += shares[name] * len(each.undoings() | each.turning())
            passes += (1 - shares[name]) * bool(each.is_constant.any())
        return passes

    def examine(
        self,
        model: Callable[[Tensor], Tensor],
        images: Tensor,
        target: Tensor,
        logits: Tensor,
        carried: Tensor,
    ) -> None:
        """Ask the network for the images of the kinds that differ, prepared as the others.

        A channel that does not vary in the images of a kind is put into the others, see :meth:`.Experiments.train`.

        Args:
            model: as the step runs it, in evaluation mode: an image's logits do not depend on the images beside it.
            images: (n b ...).
            target: (n) or (n h w).
            logits: of these images as they are; (n c ...).
            carried: which kinds each image is of; (n f), bool.
        """
        if not images.is_floating_point():
            return
        for name, preparation in self.apart.items():
            with_it = carried[:, self.names.index(name)].to(images.device)
            for chosen, as_it_is in ((with_it, self.own), (~with_it, self.others)):
                if not bool(chosen.any()):
                    continue
                before, labels = answers(logits[chosen], target[chosen])
                as_it_is.update(name, before, before, labels)
                if as_it_is is self.others:
                    if bool(preparation.is_constant.any()):
                        given = preparation.with_constants(images[chosen])
                        self.spoilt.update(name, answers(model(given), target[chosen])[0], before, labels)
                    continue
                metrics = {"input_scale": self.mapped, "channel_order": self.reordered, "input_turned": self.turned}
                for experiment, undo in (preparation.undoings() | preparation.turning()).items():
                    after = answers(model(undo(images[chosen])), target[chosen])[0]
                    metrics[experiment].update(name, before, after, labels)

    def compute(self) -> dict[str, Tensor]:
        """All figures; :attr:`undefined` says why some are nan where that is not for want of a comparison."""
        own, others = self.own.compute(), self.others.compute()
        made = [metric.compute() for metric in (self.mapped, self.reordered, self.turned, self.spoilt)]
        values, self.undefined = {}, {}
        nan = torch.tensor(torch.nan, dtype=torch.float64)
        for name in self.names:
            preparation = (self.preparations or {}).get(name)
            if preparation is None:
                values[f"{self.family}_channels/{name}"] = nan
                if self.preparations is not None:
                    self.undefined[f"{self.family}_channels/{name}"] = self._why
                continue
            found = {"channels": preparation.apart.sum().double(), **_of_faults(preparation)}
            if name in self.apart:
                accuracy, of_others = own[f"before/{name}"], others[f"before/{name}"]
                each = [{term.key: of_all[f"{term.key}/{name}"] for term in MENDING_TERMS} for of_all in made]
                shares = _shares(accuracy, of_others, each)
                undone = _most([share.nan_to_num(nan=-1.0) for share in shares], [one["gain"] for one in each])
                found |= each[undone] | {
                    "own": accuracy,
                    "others": of_others,
                    "share": shares[undone],
                    "undone": torch.tensor(float(undone), dtype=torch.float64) + 0 * each[undone]["gain"],
                    "moved": preparation.moved_channels.double(),
                    **_of_worst(preparation, undone),
                    **preparation.of_constant(),
                }
            values |= {f"{self.family}_{key}/{name}": value for key, value in found.items()}
        return values


def _shares(own: Tensor, others: Tensor, made: Sequence[Mapping[str, Tensor]]) -> list[Tensor]:
    """Share of the gap between both that each experiment closes; the last one spoils the others instead."""
    gap = others - own
    *mended, spoilt = made
    shares = [*(each["gain"] / gap for each in mended), 1 - (spoilt["before"] - own).abs() / gap]
    return [torch.where(gap > LEAST_GAP, share, torch.nan) for share in shares]


def _most(shares: Sequence[Tensor], gains: Sequence[Tensor]) -> int:
    """The experiment that closes most of the gap; where there is none, the first that was made."""
    made = [place for place, gain in enumerate(gains) if not bool(gain.isnan())]
    return max(made, key=lambda place: float(shares[place])) if made else 0


def _of_worst(preparation: Preparation, undone: int) -> dict[str, Tensor]:
    """What is logged of the channel that differs most, with the mapping of what was undone."""
    return {key.removeprefix("input_"): value for key, value in preparation.of_worst(undone == TURNED).items()}


def _of_faults(preparation: Preparation) -> dict[str, Tensor]:
    """What is logged of channels with a fault; nothing where there is none."""
    faults = preparation.faults._asdict()
    faulty = torch.stack(list(faults.values())).any(0)
    if not bool(faulty.any()):
        return {}
    counts = {kind: which.sum().double() for kind, which in faults.items()}
    first = torch.tensor(float(faulty.int().argmax()))
    return {"faulty": faulty.sum().double(), "faulty_channel": first} | counts


def largest_groups(parts: Sequence[Mapping[int, tuple[int, str]]]) -> dict[int, str]:
    """Numbers and names of the groups that can be compared: 12 at most, those with most images among the kept ones.

    Groups of one name cannot be told apart in a key; the larger one is taken.

    Args:
        parts: of each process, how many of its images are of each group, and what that is called.

    Example:
        >>> largest_groups([{7: (5, "Ann"), 3: (2, "Bob")}, {7: (4, "Ann"), 1: (9, "Cid")}])
        {7: 'Ann', 1: 'Cid'}
    """
    names: dict[str, int] = {}
    for group, (count, name) in add_up_groups(parts).items():
        if count >= FEWEST_WITH:
            names.setdefault(name, group)
    return {group: name for name, group in list(names.items())[:MOST_GROUPS]}
