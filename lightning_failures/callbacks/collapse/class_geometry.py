"""How the features that enter the classifier lie: neural collapse, and whether their main subspace stays."""

import torch
from torch import Tensor

from lightning_failures.functional.similarity import overlap_since
from lightning_failures.metrics.neural_collapse import NeuralCollapse
from lightning_failures.observe.layers import PENULTIMATE

__all__ = ["ClassGeometry"]

MOST_FEATURES = 1024  # eigenvectors take longer than eigenvalues
DIRECTIONS = 4
NOT_LOGGED = ("images", "unlabelled", "non_finite", "classes")  # the layer's spectrum and the predictions have them
FIRST = "no evaluation before this one, or fewer than 4 dimensions vary in one of the two"


class ClassGeometry:
    """Neural collapse of the penultimate layer, and the overlap of its subspace with that of the previous evaluation.

    ``subspace_overlap`` is of the 4 leading principal directions, from the same sums, and ``subspace_overlap_null``
    what random ones would have; both only for at most 1024 features.

    Args:
        num_classes: number of classes c.
        num_features: number of features d.
        previous: subspace of an evaluation before a resume; (d k).
    """

    def __init__(self, num_classes: int, num_features: int, previous: Tensor | None = None) -> None:
        self.collapse = NeuralCollapse(num_classes, num_features)
        self.undefined: dict[str, str] = {}
        self.previous = previous

    def reset(self) -> None:
        """Begin an evaluation."""
        self.collapse.reset()

    def update(self, rows: Tensor, labels: Tensor) -> None:
        """Add a batch; (n d) and (n)."""
        self.collapse.to(rows.device).update(rows, labels)

    def compute(self, head: Tensor | None) -> dict[str, Tensor]:
        """Every statistic of the layer; of all ranks.

        Args:
            head: weight of the classifier's last layer; one that is no linear map of the features is left out.
        """
        shape = (self.collapse.num_classes, self.collapse.num_features)
        flat = head.detach().flatten(1) if isinstance(head, Tensor) and head.ndim > 1 else None
        self.collapse.head = flat if flat is not None and tuple(flat.shape) == shape else None
        found = {key: value for key, value in self.collapse.compute().items() if key not in NOT_LOGGED}
        reasons = self.collapse.undefined
        if self.collapse.num_features <= MOST_FEATURES:
            found |= self._overlap()
            if found["subspace_overlap"].isnan():
                reasons["subspace_overlap"] = FIRST
        self.undefined = {f"{key}/{PENULTIMATE}": why for key, why in reasons.items()}
        return {f"{key}/{PENULTIMATE}": value for key, value in found.items()}

    def _overlap(self) -> dict[str, Tensor]:
        width = self.collapse.num_features
        k = min(DIRECTIONS, width)
        moments = self.collapse.moments  # of all ranks
        assert moments is not None
        overlap, self.previous = overlap_since(moments, k, self.previous)
        return {"subspace_overlap": overlap, "subspace_overlap_null": torch.full_like(overlap, k / width)}
