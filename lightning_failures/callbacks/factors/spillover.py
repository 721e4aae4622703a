"""Whether a factor lost what it had at its own best epoch, image by image, while the other images got better."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from lightning_failures.callbacks.ranks import gather
from lightning_failures.metrics.paired import FactorSetback

__all__ = ["Spillover"]

BEST = "spillover_best"
NOTHING_BEFORE = "no earlier evaluation to compare with"
OTHER_IMAGES = "these images are of another dataset than those that the run validates on"
OTHER_ORDER = "the validation images came in another order than before"


class Best(NamedTuple):
    """The best evaluation of each factor so far, with an entry for each of its images on all ranks."""

    epochs: list[int]  # of each factor
    errors: Tensor  # (f) int64, on the images of each factor
    images: int  # of all ranks
    turns: int  # 0: an entry is a row of the dataset; else ranks of an order of their own, whose images take turns
    wrong: Tensor  # (m f) bool, at the best epoch of each factor
    target: Tensor  # (m) int32, -1 where there is no image


class Spillover:
    """Compares each factor with the evaluation at which it had fewest errors, on the same images.

    Each factor has a best evaluation of its own: the best one over all images may be late, when the factor has long
    lost what it had. Images are paired by their row in the dataset, or by their place in the evaluation where the
    loader has an order of its own. Where the targets show that another order came, nothing is compared; such an
    evaluation, and one of fewer images, becomes the best of every factor. All ranks keep the best evaluations of all
    ranks, so that a run goes on with them on another number of them.

    Args:
        factors: names, in the order of the columns.
    """

    def __init__(self, factors: Sequence[str]) -> None:
        self.metric = FactorSetback(list(factors))
        self.best: Best | None = None
        self.why_not: str | None = None
        self._images = 0  # of all ranks at the last compute
        self._now: list[tuple[Tensor, Tensor, Tensor]] = []  # wrong (n), target (n), factors (n f)
        self._groups: list[Tensor] = []  # (n) each, of the same images; none where they are independent
        self._rows: list[Tensor | None] = []  # of the dataset, of the same images
        self._rank, self._ranks = 0, 1

    def begin(self, device: torch.device) -> None:
        """Start an evaluation."""
        self.metric.to(device).reset()
        self._now, self._rows, self._groups = [], [], []

    def update(
        self,
        wrong: Tensor,
        target: Tensor,
        factors: Tensor,
        rows: Tensor | None = None,
        groups: Tensor | None = None,
    ) -> None:
        """Keep one batch.

        Args:
            wrong: which images are misclassified; (n), bool.
            target: the true classes, below 0 where there is none: such images do not count; (n), int64.
            factors: which factors each image carries; (n f), bool.
            rows: of the dataset; (n), int64, on the CPU; None: the loader has an order of its own.
            groups: which images belong together; (n), int64; None: images are independent.
        """
        self._now.append((wrong, target, factors))
        if groups is not None:
            self._groups.append(groups)
        self._rows.append(rows)

    def conclude(self, rank: int = 0, ranks: int = 1) -> None:
        """Count the images that one, the other or both get wrong; of this rank alone.

        Args:
            rank: of this process.
            ranks: number of processes.
        """
        self.why_not = None
        self._rank, self._ranks = rank, ranks
        self._leave_out_unlabelled()
        if self.best is None or not self._now:
            self.why_not = NOTHING_BEFORE
            return
        ((wrong, target, factors),) = self._now
        entries, turns = self._entries()
        inside = turns == self.best.turns and not bool((entries >= len(self.best.target)).any())
        if not inside or not torch.equal(target.cpu().int(), self.best.target[entries]):
            self.why_not = OTHER_ORDER
            return
        groups = self._groups[0] if self._groups else None
        self.metric.update(wrong, self.best.wrong[entries].to(wrong.device), factors, groups)

    def _leave_out_unlabelled(self) -> None:
        """Keep the images that have a label, as one batch: here, where a device may be asked how many these are."""
        if self._now:
            parts = [torch.cat(part) for part in zip(*self._now, strict=True)]
            known = parts[1] >= 0
            wrong, target, factors = (part[known] for part in parts)
            rows = [each for each in self._rows if each is not None]
            whole = len(rows) == len(self._rows)
            if self._groups:
                self._groups = [torch.cat(self._groups)[known.to(self._groups[0].device)]]
            self._now, self._rows = [(wrong, target, factors)], [torch.cat(rows)[known.cpu()] if whole else None]

    def refuse(self) -> None:
        """Compare nothing at this evaluation, which is of other images, though their targets may be the same."""
        self.why_not = OTHER_IMAGES

    def compute(self) -> dict[str, Tensor]:
        """Statistics of all ranks; every rank must call it."""
        said = [(images, why) for images, why in gather((self._seen, self.why_not)) if images]
        self._images = sum(images for images, _ in said)
        self.why_not = next((why for _, why in said if why), None) if said else NOTHING_BEFORE
        if self.why_not is not None:
            self.metric.reset()  # another rank may have found its images where this one did not
        values: dict[str, Tensor] = self.metric.compute()
        known = self.best is not None and self.why_not is None
        epochs = self.best_epoch if known else [torch.nan] * len(self.metric.factors)
        for name, epoch in zip(self.metric.factors, epochs, strict=True):
            values[f"{BEST}/{name}"] = torch.tensor(float(epoch), dtype=torch.float64)
        return values

    def remember(self, errors: Tensor, epoch: int) -> None:
        """Keep this evaluation for the factors that have no more errors than ever; every rank calls it after compute.

        Args:
            errors: of this evaluation on the images of each factor, of all ranks; (f), int64.
            epoch: of this evaluation.
        """
        if not self._images:
            return
        errors, before = errors.cpu(), self.best
        if before is None or self.why_not is not None or self._images != before.images:
            wrong, target, turns = self._of_all_ranks(0)
            each = wrong[:, None].repeat(1, len(errors))
            self.best = Best([epoch] * len(errors), errors, self._images, turns, each, target)
            return
        better = errors <= before.errors
        if bool(better.any()):
            wrong, _, _ = self._of_all_ranks(len(before.target))
            self.best = before._replace(
                epochs=[epoch if new else old for new, old in zip(better.tolist(), before.epochs, strict=True)],
                errors=torch.where(better, errors, before.errors),
                wrong=torch.where(better, wrong[:, None], before.wrong),
            )

    @property
    def best_epoch(self) -> list[int]:
        """The epoch at which each factor had fewest errors; empty before any evaluation."""
        return [] if self.best is None else self.best.epochs

    @property
    def _seen(self) -> int:
        """Images of this rank."""
        return sum(len(wrong) for wrong, _, _ in self._now)

    def _entries(self) -> tuple[Tensor, int]:
        """Where the images of this rank stand in :class:`Best` (n), and its ``turns``."""
        if all(rows is not None for rows in self._rows):
            return torch.cat([rows for rows in self._rows if rows is not None]), 0
        return torch.arange(self._seen) * self._ranks + self._rank, self._ranks

    def _of_all_ranks(self, least: int) -> tuple[Tensor, Tensor, int]:
        """Errors (m) and targets (m) of this evaluation, with ``least`` entries or more, and their ``turns``."""
        mine = None
        if self._now:
            wrong, target, _ = (torch.cat(parts) for parts in zip(*self._now, strict=True))
            mine = (wrong.cpu(), target.cpu().int(), *self._entries())
        parts = [part for part in gather(mine) if part is not None]
        length = max(least, *(1 + int(entries.max()) for _, _, entries, _ in parts))
        every_wrong, every_target = torch.zeros(length).bool(), torch.full((length,), -1).int()
        for wrong, target, entries, _ in parts:
            every_wrong[entries], every_target[entries] = wrong, target
        return every_wrong, every_target, parts[0][3]

    # -- resume

    def state_dict(self) -> dict[str, Any]:
        """The best evaluations so far; plain containers, empty where there is none."""
        return {} if self.best is None else {"factors": list(self.metric.factors), **self.best._asdict()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on where the checkpoint stood; from the start where it was of other factors."""
        mine = bool(state) and list(state["factors"]) == list(self.metric.factors)
        self.best = Best(**{key: state[key] for key in Best._fields}) if mine else None

    @property
    def undefined(self) -> dict[str, str]:
        """Why each nan of the last :meth:`compute` is nan."""
        reasons = self.metric.undefined
        if self.why_not is not None:
            reasons |= {f"{BEST}/{name}": self.why_not for name in self.metric.factors}
        return {key: self.why_not or why for key, why in reasons.items()}
