"""What features kept of their best evaluation, streamed: the metric over :mod:`lightning_failures.functional.kept`."""

from typing import Any, ClassVar

import torch
from torch import Tensor

from lightning_failures.functional.kept import Best, better, kept
from lightning_failures.metrics.collapse import FeatureSpectrum
from lightning_failures.records.term import Term

__all__ = ["FeaturesKept"]

_NOTHING = "no earlier evaluation to compare with, fewer than two finite rows, or features without {} from the start"


class FeaturesKept(FeatureSpectrum):
    """What the features of a layer kept of the most that they had at an earlier evaluation: near 0 they collapsed.

    ``compute`` returns the keys of :class:`.FeatureSpectrum`, and ``dimensions_kept``, ``spread_kept`` and ``kept``,
    see :func:`.kept`. Set :attr:`label_rank` before, where there are labels. An evaluation ends with :meth:`reset`:
    what was computed then counts among those that later ones are compared with, in :attr:`best`; a reset without a
    ``compute`` changes nothing. The best are two numbers and no sums: they stay on this object, and no state dictionary
    has them.

    Args:
        num_features: number of features d.
        kwargs: passed on to :class:`.FeatureSpectrum`.

    Example:
        >>> metric = FeaturesKept(num_features=2)
        >>> round_one = torch.tensor([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0], [0.0, -1.0]])
        >>> for rows in (round_one, round_one * torch.tensor([1.0, 0.0])):
        ...     metric.reset()
        ...     metric.update(rows)
        ...     values = metric.compute()
        >>> values["dimensions_kept"].round(decimals=9)
        tensor(0., dtype=torch.float64)
    """

    terms: ClassVar[tuple[Term, ...]] = (
        *FeatureSpectrum.terms,
        Term(
            "dimensions_kept",
            "Dimensions that a layer kept",
            "Effective rank of the features above 1, over the most that it was at an earlier evaluation, and not more "
            "than the labels need. Features on a line keep none.",
            "0 to 1",
            "higher is better; near 0: the representation collapsed",
            when_nan=_NOTHING.format("variance"),
        ),
        Term(
            "spread_kept",
            "Angular spread that a layer kept",
            "1 minus the mean cosine of the features, over the most that it was at an earlier evaluation.",
            "0 to 1",
            "near 0: all features point one way",
            when_nan=_NOTHING.format("a spread"),
        ),
        Term(
            "kept",
            "What a layer kept",
            "Geometric mean of two shares: of the dimensions above the first that the layer had at an earlier "
            "evaluation, and not more than the labels need; and of the most angular spread that its features had.",
            "0 to 1",
            "higher is better; near 0: the representation collapsed",
            when_nan=_NOTHING.format("variance"),
        ),
    )

    def __init__(self, num_features: int, **kwargs: Any) -> None:
        super().__init__(num_features, **kwargs)
        self.best = Best.nothing(1)
        self._label_rank = torch.nan
        self._last: tuple[Tensor, Tensor] | None = None  # of the last compute, until a reset

    @property
    def label_rank(self) -> float:
        """Effective rank of the labels, which no layer has to exceed; nan, the default, without labels."""
        return self._label_rank

    @label_rank.setter
    def label_rank(self, value: float) -> None:
        self._label_rank, self._computed = float(value), None  # a kept result is that of another rank

    def compute(self) -> dict[str, Tensor]:
        """Every statistic by name."""
        values = super().compute()
        self._last = values["effective_rank"].cpu()[None], values["mean_cosine"].cpu()[None]
        shares = kept(*self._last, self.best, self._label_rank)
        names = {"dimensions_kept": shares.dimensions, "spread_kept": shares.spread, "kept": shares.kept}
        return values | {name: share[0] for name, share in names.items()}

    def reset(self) -> None:
        """Begin the next evaluation."""
        if self._last is not None:
            self.best, self._last = better(self.best, *self._last), None
        super().reset()
