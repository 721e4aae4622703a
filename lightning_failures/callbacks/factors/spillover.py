"""Whether a factor falls behind the best epoch so far, image by image, while the network as a whole gets better."""

from collections.abc import Sequence

import torch
from torch import Tensor

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


class Spillover:
    """Compares each evaluation with the best one so far on the same images of this rank.

    A better evaluation takes its place only when no factor got worse against it, so that a finding can persist, and
    ends when the factor has caught up. Images are paired by their place in the evaluation; where the
    targets show that another order came, nothing is compared.

    Args:
        factors: names, in the order of the columns.
    """

    def __init__(self, factors: Sequence[str]) -> None:
        self.metric = PairedErrorRatio(list(factors))
        self.best_error: float | None = None
        self.best_epoch: int | None = None
        self.why_not: str | None = None
        self._best: tuple[Tensor, Tensor] | None = None  # wrong (n) and target (n)
        self._now: list[tuple[Tensor, Tensor, Tensor]] = []  # wrong (n), target (n), factors (n f)

    def begin(self, device: torch.device) -> None:
        """Start an evaluation."""
        self.metric.to(device).reset()
        self._now = []

    def update(self, wrong: Tensor, target: Tensor, factors: Tensor) -> None:
        """Keep one batch; (n) bool, (n) int64 and (n f) bool."""
        self._now.append((wrong, target, factors))

    def conclude(self) -> None:
        """Count the images that one, the other or both get wrong; of this rank alone."""
        self.why_not = None
        if self._best is None or not self._now:
            self.why_not = "no earlier evaluation to compare with"
            return
        wrong, target, factors = (torch.cat(parts) for parts in zip(*self._now, strict=True))
        before, same = self._best
        if not torch.equal(target.cpu(), same):
            self.why_not = "the validation images came in another order than before"
            return
        right = torch.zeros_like(target)
        self.metric.update(wrong.long(), before.to(wrong.device).long(), right, factors)

    def compute(self, error: Tensor, epoch: int) -> dict[str, Tensor]:
        """Statistics of all ranks, and what the next evaluation is compared with.

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
        if self.best_error is None or (float(error) < self.best_error and not behind):
            self.best_error, self.best_epoch = float(error), epoch
            if self._now:
                wrong, target, _ = (torch.cat(parts) for parts in zip(*self._now, strict=True))
                self._best = (wrong.cpu(), target.cpu())
        return values

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
