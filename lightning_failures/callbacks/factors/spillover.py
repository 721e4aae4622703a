"""Whether a factor falls behind the best epoch so far, image by image, while the network as a whole gets better."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from lightning_failures.callbacks.ranks import gather
from lightning_failures.metrics.paired import PairedErrorRatio

__all__ = ["Spillover"]

#: Statistics of :class:`.PairedErrorRatio` that are logged, and their names here.
STATISTICS = {
    "ratio": "spillover_ratio",
    "low": "spillover_low",
    "high": "spillover_high",
    "risk_ratio": "spillover_risk",
    "mcnemar_p": "spillover_mcnemar_p",
    "spillover": "spillover",
}


class Best(NamedTuple):
    """The best evaluation so far, with an entry for each of its images on all ranks."""

    error: float  # rate over all images
    epoch: int
    turns: int  # 0: an entry is a row of the dataset; else ranks of an order of their own, whose images take turns
    wrong: Tensor  # (m) bool
    target: Tensor  # (m) int32, -1 where there is no image


class Spillover:
    """Compares each evaluation with the best one so far on the same images.

    A better evaluation takes its place only when no factor got worse against it, so that a finding can persist, and
    ends when the factor has caught up. Images are paired by their row in the dataset, or by their place in the
    evaluation where the loader has an order of its own; where the targets show that another order came, nothing is
    compared. All ranks keep the best evaluation of all ranks, so that a run goes on with it on another number of them.

    Args:
        factors: names, in the order of the columns.
    """

    def __init__(self, factors: Sequence[str]) -> None:
        self.metric = PairedErrorRatio(list(factors))
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
        if self.best is None or not self._now:
            self.why_not = "no earlier evaluation to compare with"
            return
        wrong, target, factors = (torch.cat(parts) for parts in zip(*self._now, strict=True))
        entries, turns = self._entries()
        inside = turns == self.best.turns and not bool((entries >= len(self.best.target)).any())
        if not inside or not torch.equal(target.cpu().int(), self.best.target[entries]):
            self.why_not = "the validation images came in another order than before"
            return
        before, right = self.best.wrong[entries], torch.zeros_like(target)
        self.metric.update(wrong.long(), before.to(wrong.device).long(), right, factors)

    def compute(self, error: Tensor, epoch: int) -> dict[str, Tensor]:
        """Statistics of all ranks, and what the next evaluation is compared with; every rank must call it.

        Args:
            error: error rate of this evaluation over all images and ranks; (), float64.
            epoch: of this evaluation.
        """
        paired = self.metric.compute()
        values = {key: paired[source] for key, source in self._sources.items()}
        behind = any(
            bool((values[f"spillover/{name}"] > 0) & (values[f"spillover_risk/{name}"] > 1))
            for name in self.metric.factors
        )
        if self.best is None or (float(error) < self.best.error and not behind):
            self.best = self._kept(float(error), epoch) or self.best
        return values

    def _entries(self) -> tuple[Tensor, int]:
        """Where the images of this rank stand in :class:`Best` (n), and its ``turns``."""
        if all(rows is not None for rows in self._rows):
            return torch.cat([rows for rows in self._rows if rows is not None]), 0
        images = sum(len(wrong) for wrong, _, _ in self._now)
        return torch.arange(images) * self._ranks + self._rank, self._ranks

    def _kept(self, error: float, epoch: int) -> Best | None:
        """This evaluation on all ranks; None where it saw no image."""
        mine = None
        if self._now:
            wrong, target, _ = (torch.cat(parts) for parts in zip(*self._now, strict=True))
            mine = (wrong.cpu(), target.cpu().int(), *self._entries())
        parts = [part for part in gather(mine) if part is not None]
        if not parts:
            return None
        images = 1 + max(int(entries.max()) for _, _, entries, _ in parts)
        best = Best(error, epoch, parts[0][3], torch.zeros(images).bool(), torch.full((images,), -1).int())
        for wrong, target, entries, _ in parts:
            best.wrong[entries], best.target[entries] = wrong, target
        return best

    # -- resume

    def state_dict(self) -> dict[str, Any]:
        """The best evaluation so far; plain containers, empty where there is none."""
        return {} if self.best is None else self.best._asdict()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on where the checkpoint stood."""
        self.best = Best(**state) if state else None

    @property
    def undefined(self) -> dict[str, str]:
        """Why each nan of the last :meth:`compute` is nan."""
        reasons = self.metric.undefined
        return {key: self.why_not or reasons[source] for key, source in self._sources.items() if source in reasons}

    @property
    def _sources(self) -> dict[str, str]:
        """Logged key -> key of the metric."""
        return {
            f"{ours}/{name}": f"{theirs}/{name}" for theirs, ours in STATISTICS.items() for name in self.metric.factors
        }
