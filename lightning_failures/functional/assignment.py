"""Who goes with whom at the least cost: the linear assignment problem.

The one file of this floor that knows scipy, whose solver (Crouse, "On implementing 2D rectangular assignment
algorithms", IEEE Transactions on Aerospace and Electronic Systems 52, 2016) takes a second where one of tensors would
take minutes. It is imported where something has to be assigned, which a healthy run never asks for.
"""

import torch
from torch import Tensor

__all__ = ["best_assignment"]


def best_assignment(cost: Tensor) -> Tensor:
    """The column of each row, no column twice, so that the costs together are least; (n), int64.

    Of equally good assignments any may be given.

    Args:
        cost: of each pair, finite; (n n), float.

    Example:
        >>> best_assignment(torch.tensor([[1.0, 2.0], [1.0, 9.0]]))
        tensor([1, 0])
    """
    from scipy.optimize import linear_sum_assignment

    columns = linear_sum_assignment(cost.detach().cpu().double().numpy())[1]
    return torch.from_numpy(columns).to(cost.device)
