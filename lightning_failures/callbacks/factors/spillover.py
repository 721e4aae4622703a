"""Whether a factor lost what it had at its own best epoch, image by image, while the other images got better."""

from collections.abc import Sequence

import torch
from torch import Tensor

from lightning_failures.metrics.paired import FactorSetback

__all__ = ["Spillover"]

BEST = "spillover_best"


class Spillover:
    """Compares each factor with the evaluation at which it had fewest errors, on the same images of this rank.

    Each factor has a best evaluation of its own: the best one over all images may be late, when the factor has long
    lost what it had. Images are paired by their place in the evaluation; where the targets show that another order
    came, nothing is compared, and the evaluation becomes the best of every factor.

    Args:
        factors: names, in the order of the columns.
    """

    def __init__(self, factors: Sequence[str]) -> None:
        self.metric = FactorSetback(list(factors))
        self.best_epoch: list[int] = []  # of each factor
        self.why_not: str | None = None
        self._fewest: Tensor | None = None  # (f) errors of each factor at its best epoch, of all ranks
        self._best: tuple[Tensor, Tensor] | None = None  # wrong at the best epoch of each factor (n f), and target (n)
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
        self.metric.update(wrong, before.to(wrong.device), factors)

    def compute(self, errors: Tensor, epoch: int) -> dict[str, Tensor]:
        """Statistics of all ranks, and what the next evaluation is compared with.

        Args:
            errors: of this evaluation on the images of each factor, of all ranks; (f), int64.
            epoch: of this evaluation.
        """
        values = self.metric.compute()
        compared = self.why_not is None and self._fewest is not None
        for name, best in zip(self.metric.factors, self.best_epoch or [0] * len(errors), strict=True):
            values[f"{BEST}/{name}"] = torch.tensor(float(best) if compared else torch.nan, dtype=torch.float64)
        errors = errors.cpu()
        anew = torch.ones(len(errors), dtype=torch.bool) if self._fewest is None else errors <= self._fewest
        if self.why_not is not None and self._now:
            anew = torch.ones_like(anew)
        self._fewest = errors if self._fewest is None else torch.where(anew, errors, self._fewest)
        was = self.best_epoch or [epoch] * len(errors)
        self.best_epoch = [epoch if new else old for new, old in zip(anew.tolist(), was, strict=True)]
        if self._now:
            wrong, target, _ = (torch.cat(parts).cpu() for parts in zip(*self._now, strict=True))
            each = wrong[:, None].expand(len(wrong), len(errors))
            kept = each if self._best is None or self.why_not is not None else torch.where(anew, each, self._best[0])
            self._best = (kept.clone(), target)
        return values

    @property
    def undefined(self) -> dict[str, str]:
        """Why each nan of the last :meth:`compute` is nan."""
        reasons = self.metric.undefined
        if self.why_not is not None:
            reasons |= {f"{BEST}/{name}": self.why_not for name in self.metric.factors}
        return {key: self.why_not or why for key, why in reasons.items()}
