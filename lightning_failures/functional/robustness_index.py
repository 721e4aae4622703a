"""Whether neighbours of an image are of its class or of its laboratory: the robustness index.

After PathoROB: Koemen et al., "Towards robust foundation models for digital pathology", Nature Communications 17
(2026). Among the nearest neighbours of each image only those count that share its class or its group, and not both.
"""

import torch
from torch import Tensor

__all__ = ["robustness_index", "standard_normal_variate"]


def robustness_index(rows: Tensor, target: Tensor, group: Tensor, k: int = 10) -> Tensor:
    """Neighbours of the same class and another group, over these and neighbours of another class and the same group.

    Args:
        rows: features of images; (n d), any float.
        target: their classes; (n), int64.
        group: the group that each is of; (n), int64.
        k: neighbours of each image, by Euclidean distance; the image itself is none.

    Convention:
        In [0, 1]: near 1: the class decides which images are alike; near 0: the group does. ``nan`` where no neighbour
        counts, such as of one group or one class.

    Returns:
        (), float64.

    Example:
        >>> rows = torch.tensor([[0.0], [0.1], [5.0], [5.1]])
        >>> robustness_index(rows, torch.tensor([0, 0, 1, 1]), torch.tensor([0, 1, 0, 1]), k=1)
        tensor(1., dtype=torch.float64)
        >>> robustness_index(rows, torch.tensor([0, 1, 0, 1]), torch.tensor([0, 0, 1, 1]), k=1)
        tensor(0., dtype=torch.float64)
    """
    class_alone = group_alone = torch.zeros((), dtype=torch.int64)
    rows = rows.double()
    for start in range(0, len(rows), 512):
        some = slice(start, start + 512)
        apart = torch.cdist(rows[some], rows)
        own = torch.arange(len(apart))
        apart[own, own + start] = torch.inf
        near = apart.topk(min(k, len(rows) - 1), largest=False).indices
        alike, together = target[near] == target[some, None], group[near] == group[some, None]
        class_alone = class_alone + (alike & ~together).sum()
        group_alone = group_alone + (~alike & together).sum()
    return class_alone.double() / (class_alone + group_alone)


def standard_normal_variate(spectra: Tensor) -> Tensor:
    """Each spectrum with mean 0 and deviation 1 over its channels (Barnes et al., Applied Spectroscopy 43, 1989).

    Args:
        spectra: (n b), any float.

    Convention:
        Zeros where a spectrum is constant.

    Example:
        >>> standard_normal_variate(torch.tensor([[1.0, 3.0], [2.0, 2.0]]))
        tensor([[-1.,  1.],
                [ 0.,  0.]])
    """
    centred = spectra - spectra.mean(1, keepdim=True)
    deviation = centred.square().mean(1, keepdim=True).sqrt()
    return torch.where(deviation > 0, centred / deviation, 0.0)
