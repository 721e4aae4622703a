"""How the features that enter the classifier lie: neural collapse, and whether their main subspace stays."""

from einops import rearrange
from torch import Tensor

from lightning_failures.functional.similarity import overlap_since
from lightning_failures.metrics.neural_collapse import NeuralCollapse
from lightning_failures.observe.layers import PENULTIMATE

__all__ = ["ClassGeometry"]

#: Statistics of neural collapse that are logged. Counts stand with the layer and the predictions, and the
#: class-distance normalised variance says what NC1 says.
CLASS_STATISTICS = ("nc1", "nc2_norms", "nc2_angles", "nc3")
MOST_FEATURES = 1024  # eigenvectors take longer than eigenvalues
DIRECTIONS = 4
FIRST = "no evaluation before this one, or fewer than 4 dimensions vary in one of the two"


class ClassGeometry:
    """Neural collapse of the penultimate layer, and the overlap of its subspace with that of the previous evaluation.

    ``subspace_overlap`` is of the 4 leading principal directions, from the same sums; random ones would have 4 over the
    number of features. Only for at most 1024 features.

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
        """Every statistic of the layer that is logged; of all ranks.

        Args:
            head: weight of the classifier's last layer; one that is no linear map of the features is left out.
        """
        shape = (self.collapse.num_classes, self.collapse.num_features)
        flat = rearrange(head.detach(), "c d ... -> c (d ...)") if isinstance(head, Tensor) and head.ndim > 1 else None
        self.collapse.head = flat if flat is not None and tuple(flat.shape) == shape else None
        computed = self.collapse.compute()
        found = {key: computed[key] for key in CLASS_STATISTICS}
        reasons = {key: why for key, why in self.collapse.undefined.items() if key in found}
        if self.collapse.num_features <= MOST_FEATURES:
            found["subspace_overlap"] = self._overlap()
            if found["subspace_overlap"].isnan():
                reasons["subspace_overlap"] = FIRST
        self.undefined = {f"{key}/{PENULTIMATE}": why for key, why in reasons.items()}
        return {f"{key}/{PENULTIMATE}": value for key, value in found.items()}

    def _overlap(self) -> Tensor:
        moments = self.collapse.moments  # of all ranks
        assert moments is not None
        overlap, self.previous = overlap_since(moments, min(DIRECTIONS, self.collapse.num_features), self.previous)
        return overlap
