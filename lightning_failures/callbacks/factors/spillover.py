"""Whether a factor lost what it had at its own best epoch, image by image, while the other images got better."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from lightning_failures.callbacks.ranks import gather
from lightning_failures.metrics.paired import FactorSetback

__all__ = ["Spillover"]

BEST = "spillover_best"


class Best(NamedTuple):
    """The best evaluation of each factor so far, with an entry for each of its images on all ranks."""

    fewest: Tensor  # (f) int64, errors on the images of each factor, of all ranks
    epochs: list[int]  # of each factor
    turns: int  # 0: an entry is a row of the dataset; else ranks of an order of their own, whose images take turns
    wrong: Tensor  # (m f) bool, at the best epoch of each factor
    target: Tensor  # (m) int32, -1 where there is no image


class Spillover:
    """Compares each factor with the evaluation at which it had fewest errors, on the same images.

    Each factor has a best evaluation of its own: the best one over all images may be late, when the factor has long
    lost what it had. Images are paired by their row in the dataset, or by their place in the evaluation where the
    loader has an order of its own; where the targets show that another order came, nothing is compared, and the
    evaluation becomes the best of every factor. All ranks keep the images of all ranks, so that a run goes on with
    them on another number of ranks.

    Args:
        factors: names, in the order of the columns.
    """

    def __init__(self, factors: Sequence[str]) -> None:
        self.metric = FactorSetback(list(factors))
        self.best: Best | None = None
        self.why_not: str | None = None
        self._now: list[tuple[Tensor, Tensor, Tensor]] = []  # wrong (n), target (n), factors (n f)
        self._rows: list[Tensor | None] = []  # of the dataset, of the same images
        self._rank, self._ranks = 0, 1

    def begin(self, device: torch.device) -> None:
        """Start an evaluation."""
        self.metric.to(device).reset()
        self._now, self._rows = [], []

    def update(self, wrong: Tensor, target: Tensor, factors: Tensor, rows: Tensor | None = None) -> None:
        """Keep one batch.

        Args:
            wrong: which images are misclassified; (n), bool.
            target: the true classes; (n), int64.
            factors: which factors each image carries; (n f), bool.
            rows: of the dataset; (n), int64, on the CPU; None: the loader has an order of its own.
        """
        self._now.append((wrong, target, factors))
        self._rows.append(rows)

    def conclude(self, rank: int = 0, ranks: int = 1) -> None:
        """Count the images that one, the other or both get wrong; of this rank alone.

        Args:
            rank: of this process.
            ranks: number of processes.
        """
        self.why_not = None
        self._rank, self._ranks = rank, ranks
        if self.best is None:
            self.why_not = "no earlier evaluation to compare with"
            return
        if not self._now:
            return
        wrong, target, factors = (torch.cat(parts) for parts in zip(*self._now, strict=True))
        entries, turns = self._entries()
        inside = turns == self.best.turns and not bool((entries >= len(self.best.target)).any())
        if not inside or not torch.equal(target.cpu().int(), self.best.target[entries]):
            self.why_not = "the validation images came in another order than before"
            return
        self.metric.update(wrong, self.best.wrong[entries].to(wrong.device), factors)

    def compute(self, errors: Tensor, epoch: int) -> dict[str, Tensor]:
        """Statistics of all ranks, and what the next evaluation is compared with; every rank must call it.

        Args:
            errors: of this evaluation on the images of each factor, of all ranks; (f), int64.
            epoch: of this evaluation.
        """
        values = self.metric.compute()
        reasons = [why for why in gather(self.why_not) if why is not None]
        self.why_not = reasons[0] if reasons else None
        known = [float(best) for best in self.best.epochs] if self.best and not reasons else [torch.nan] * len(errors)
        for name, best in zip(self.metric.factors, known, strict=True):
            values[f"{BEST}/{name}"] = torch.tensor(best, dtype=torch.float64)
        self._remember(errors.cpu(), epoch)
        return values

    def _remember(self, errors: Tensor, epoch: int) -> None:
        """Let this evaluation be the best of each factor that has no more errors than ever; of all where none is."""
        fresh = self.best is None or self.why_not is not None
        anew = torch.ones_like(errors, dtype=torch.bool) if fresh else errors <= self.best.fewest
        if not bool(anew.any()):
            return
        now = self._gathered()
        if now is None:
            return
        wrong, target, turns = now
        each = wrong[:, None].expand(len(wrong), len(errors)).clone()
        if self.best is None or fresh or len(target) != len(self.best.target):
            self.best = Best(errors, [epoch] * len(errors), turns, each, target)
            return
        epochs = [epoch if new else old for new, old in zip(anew.tolist(), self.best.epochs, strict=True)]
        fewest = torch.where(anew, errors, self.best.fewest)
        self.best = Best(fewest, epochs, turns, torch.where(anew, each, self.best.wrong), target)

    def _entries(self) -> tuple[Tensor, int]:
        """Where the images of this rank stand in :class:`Best` (n), and its ``turns``."""
        if all(rows is not None for rows in self._rows):
            return torch.cat([rows for rows in self._rows if rows is not None]), 0
        images = sum(len(wrong) for wrong, _, _ in self._now)
        return torch.arange(images) * self._ranks + self._rank, self._ranks

    def _gathered(self) -> tuple[Tensor, Tensor, int] | None:
        """Which images of all ranks are wrong (m), their targets (m), and the turns; None where there is no image."""
        mine = None
        if self._now:
            wrong, target, _ = (torch.cat(parts) for parts in zip(*self._now, strict=True))
            mine = (wrong.cpu(), target.cpu().int(), *self._entries())
        parts = [part for part in gather(mine) if part is not None]
        if not parts:
            return None
        images = 1 + max(int(entries.max()) for _, _, entries, _ in parts)
        all_wrong, all_target = torch.zeros(images).bool(), torch.full((images,), -1).int()
        for wrong, target, entries, _ in parts:
            all_wrong[entries], all_target[entries] = wrong, target
        return all_wrong, all_target, parts[0][3]

    # -- resume

    def state_dict(self) -> dict[str, Any]:
        """The best evaluation of each factor so far; plain containers, empty where there is none."""
        return {} if self.best is None else self.best._asdict()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on where the checkpoint stood."""
        self.best = Best(**state) if state else None

    @property
    def undefined(self) -> dict[str, str]:
        """Why each nan of the last :meth:`compute` is nan."""
        reasons = self.metric.undefined
        if self.why_not is not None:
            reasons |= {f"{BEST}/{name}": self.why_not for name in self.metric.factors}
        return {key: self.why_not or why for key, why in reasons.items()}
