"""Whether images that carry a factor are prepared as the others: how their inputs differ, and what undoing it mends."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from lightning_failures.callbacks.causes.answers import answers
from lightning_failures.callbacks.causes.experiments import LEAST_GAP
from lightning_failures.callbacks.causes.preparation import Preparation
from lightning_failures.functional.input_statistics import InputSums, input_sums, merge_inputs
from lightning_failures.metrics.mending import MENDING_TERMS, MendedAccuracy

__all__ = ["FEWEST_WITH", "FactorInputs", "GroupSums"]

#: Images with a factor, and without it, below which nothing is said of how both differ.
FEWEST_WITH = 8

FEW = f"fewer than {FEWEST_WITH} images with this factor, or without it, are among those that are kept"


class GroupSums(NamedTuple):
    """Of the inputs of the images that carry a factor, and of those that do not."""

    carrying: InputSums
    others: InputSums

    @classmethod
    def of(cls, images: Tensor, carried: Tensor) -> "list[GroupSums]":
        """Those of each factor; every image is gone through once, however many factors there are.

        Args:
            images: (n b ...), at least one.
            carried: which factors each image carries; (n f), bool.

        Example:
            >>> first, second = GroupSums.of(torch.ones(3, 1, 2), torch.tensor([[True, False]] * 2 + [[False, False]]))
            >>> int(first.carrying.seen), int(first.others.seen), int(second.carrying.seen)
            (2, 1, 0)
        """
        patterns, which = carried.unique(dim=0, return_inverse=True)
        parts = [input_sums(images[which == place]) for place in range(len(patterns))]
        none = InputSums.zero(images.shape[1])

        def joined(chosen: Tensor) -> InputSums:
            return merge_inputs([none, *(part for part, taken in zip(parts, chosen.tolist(), strict=True) if taken)])

        return [cls(joined(pattern), joined(~pattern)) for pattern in patterns.T]


class FactorInputs:
    """Compares, factor by factor, the inputs of the images that carry it with those of the others.

    Args:
        factors: their names.
    """

    def __init__(self, factors: Sequence[str]) -> None:
        self.factors = tuple(factors)
        self.preparations: dict[str, Preparation | None] | None = None  #: of each factor; None: of too few images
        self.mapped = MendedAccuracy(factors)
        self.reordered = MendedAccuracy(factors)
        self.others = MendedAccuracy(factors)  # nothing is changed: before and after are one
        self.undefined: dict[str, str] = {}
        self._why = FEW  # nothing is said of a factor

    def begin(self, device: torch.device) -> None:
        """Forget the evaluation before."""
        for metric in (self.mapped, self.reordered, self.others):
            metric.to(device).reset()

    def compare(self, parts: Sequence[Sequence[GroupSums]]) -> None:
        """Compare the groups, as the processes hold them.

        Args:
            parts: of each process that has some images, a part a factor.
        """
        self.preparations, self._why = {}, FEW
        for name, groups in zip(self.factors, zip(*parts, strict=True), strict=True):
            carrying = merge_inputs([group.carrying for group in groups])
            others = merge_inputs([group.others for group in groups])
            enough = min(int(carrying.seen), int(others.seen)) >= FEWEST_WITH
            self.preparations[name] = Preparation.of(others, carrying) if enough else None

    def leave_out(self, why: str) -> None:
        """Compare nothing, and say why."""
        self.preparations, self._why = {}, why

    @property
    def apart(self) -> dict[str, Preparation]:
        """How the inputs of both differ, by the factors whose images do."""
        known = self.preparations or {}
        return {name: each for name, each in known.items() if each is not None and each.undoings()}

    def passes(self, carried: Tensor | None) -> float:
        """How often an image is run on average; 0 where nothing differs."""
        if carried is None or not len(carried):
            return 0.0
        shares: list[float] = carried.double().mean(0).tolist()
        times = [len(self.apart[name].undoings()) if name in self.apart else 0 for name in self.factors]
        return sum(share * n for share, n in zip(shares, times, strict=True))

    def examine(
        self,
        model: Callable[[Tensor], Tensor],
        images: Tensor,
        target: Tensor,
        logits: Tensor,
        carried: Tensor,
    ) -> None:
        """Ask the network for the images of the factors that differ, prepared as the others.

        Args:
            model: as the step runs it, in evaluation mode: an image's logits do not depend on the images beside it.
            images: (n b ...).
            target: (n) or (n h w).
            logits: of these images as they are; (n c ...).
            carried: which factors each image carries; (n f), bool.
        """
        if not images.is_floating_point():
            return
        for name, preparation in self.apart.items():
            with_it = carried[:, self.factors.index(name)].to(images.device)
            if not bool(with_it.all()):
                before, labels = answers(logits[~with_it], target[~with_it])
                self.others.update(name, before, before, labels)
            if not bool(with_it.any()):
                continue
            before, labels = answers(logits[with_it], target[with_it])
            metrics = {"input_scale": self.mapped, "channel_order": self.reordered}
            for experiment, undo in preparation.undoings().items():
                after = answers(model(undo(images[with_it])), target[with_it])[0]
                metrics[experiment].update(name, before, after, labels)

    def compute(self) -> dict[str, Tensor]:
        """All figures; :attr:`undefined` says why some are nan where that is not for want of a comparison."""
        mapped, reordered, others = self.mapped.compute(), self.reordered.compute(), self.others.compute()
        values, self.undefined = {}, {}
        nan = torch.tensor(torch.nan, dtype=torch.float64)
        for name in self.factors:
            preparation = (self.preparations or {}).get(name)
            if preparation is None:
                values[f"factor_channels/{name}"] = nan
                if self.preparations is not None:
                    self.undefined[f"factor_channels/{name}"] = self._why
                continue
            values[f"factor_channels/{name}"] = preparation.apart.sum().double()
            if name not in self.apart:
                continue
            of_order, of_scale = reordered[f"gain/{name}"], mapped[f"gain/{name}"]
            by_order = bool(of_scale.isnan()) or bool(of_order > of_scale)
            made = reordered if by_order else mapped
            found = {term.key: made[f"{term.key}/{name}"] for term in MENDING_TERMS}
            gap = others[f"before/{name}"] - found["before"]
            found |= {
                "others": others[f"before/{name}"],
                "share": torch.where(gap > LEAST_GAP, found["gain"] / gap, nan),
                "by_order": torch.tensor(float(by_order), dtype=torch.float64) + 0 * found["gain"],
                "moved": preparation.moved_channels.double(),
                **{key.removeprefix("input_"): value for key, value in preparation.of_worst().items()},
            }
            values |= {f"factor_{key}/{name}": value for key, value in found.items()}
        return values
