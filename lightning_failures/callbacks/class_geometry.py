"""How the features that enter the classifier lie: neural collapse, and whether their main subspace stays."""

from torch import Tensor

from lightning_failures.metrics.neural_collapse import NeuralCollapse
from lightning_failures.metrics.similarity import SubspaceOverlap
from lightning_failures.probes.observe import PENULTIMATE

__all__ = ["ClassGeometry"]

MOST_FEATURES = 1024  # eigenvectors take longer than eigenvalues
DIRECTIONS = 4
NOT_LOGGED = ("images", "unlabelled", "non_finite", "classes")  # the layer's spectrum and the predictions have them


class ClassGeometry:
    """Neural collapse of the penultimate layer, and the overlap of its subspace with that of the previous evaluation.

    ``subspace_overlap`` is of the 4 leading principal directions, ``subspace_overlap_null`` what random ones would
    have; both only for at most 1024 features.

    Args:
        num_classes: number of classes c.
        num_features: number of features d.
    """

    def __init__(self, num_classes: int, num_features: int) -> None:
        self.collapse = NeuralCollapse(num_classes, num_features)
        narrow = num_features <= MOST_FEATURES
        self.overlap = SubspaceOverlap(num_features, min(DIRECTIONS, num_features)) if narrow else None
        self.undefined: dict[str, str] = {}

    def reset(self) -> None:
        """Begin an evaluation."""
        self.collapse.reset()
        if self.overlap is not None:
            self.overlap.reset()

    def update(self, rows: Tensor, labels: Tensor) -> None:
        """Add a batch; (n d) and (n)."""
        self.collapse.to(rows.device).update(rows, labels)
        if self.overlap is not None:
            self.overlap.to(rows.device).update(rows)

    def compute(self, head: Tensor | None) -> dict[str, Tensor]:
        """Every statistic of the layer; of all ranks.

        Args:
            head: weight of the classifier's last layer; one that is no linear map of the features is left out.
        """
        shape = (self.collapse.num_classes, self.collapse.num_features)
        flat = None if head is None or head.ndim < 2 else head.detach().flatten(1)
        self.collapse.head = flat if flat is not None and tuple(flat.shape) == shape else None
        found = {key: value for key, value in self.collapse.compute().items() if key not in NOT_LOGGED}
        reasons = self.collapse.undefined
        if self.overlap is not None:
            overlap = self.overlap.compute()
            found |= {"subspace_overlap": overlap["overlap"], "subspace_overlap_null": overlap["null"]}
            reasons |= {f"subspace_{key}": why for key, why in self.overlap.undefined.items()}
        self.undefined = {f"{key}/{PENULTIMATE}": why for key, why in reasons.items()}
        return {f"{key}/{PENULTIMATE}": value for key, value in found.items()}
