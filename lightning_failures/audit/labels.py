"""Whether held-out labels stand for other classes than those of training."""

from typing import NamedTuple

from torch import Tensor

from lightning_failures.functional.estimate import Estimate
from lightning_failures.metrics.label_matching import LabelMatching

__all__ = ["LabelNames", "label_names"]


class LabelNames(NamedTuple):
    """What a small network reaches as held-out labels stand, and with each predicted class under its best name."""

    before: Estimate  # accuracy as they stand
    after: Estimate  # each class renamed as fits one half of the images, judged on the other half
    gain: Estimate  # the difference, paired
    renamed: int  # classes that another label fits best
    shift: int | None  # by how much each label is higher, where that is the same for all


def label_names(scores: Tensor, target: Tensor) -> LabelNames:
    """Compare the names of classes among predictions and held-out labels.

    Args:
        scores: of a network that was fitted on training labels; (m c).
        target: held-out labels; (m).

    Example:
        >>> import torch
        >>> predicted = torch.arange(300) % 3
        >>> noise = torch.rand(300, 3, generator=torch.Generator().manual_seed(0))
        >>> found = label_names(torch.nn.functional.one_hot(predicted, 3) + 0.1 * noise, (predicted + 1) % 3)
        >>> found.before.value, found.after.value, found.renamed, found.shift
        (0.0, 1.0, 3, 1)
    """
    matching = LabelMatching(scores.shape[1])
    matching.update(scores, target)
    values = {name: float(value) for name, value in matching.compute().items()}
    before, after, gain = (
        Estimate(*(values[name + end] for end in ("", "_low", "_high"))) for name in ("before", "after", "gain")
    )
    return LabelNames(before, after, gain, matching.renamed, matching.shift)
