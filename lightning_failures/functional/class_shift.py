"""Whether two samples of images differ by something that tells their classes, by the means of what was read of them.

Source: Dempster, "A high dimensional two sample significance test" (1958), here of all classes together.
"""

import torch
from torch import Tensor

__all__ = ["class_shift"]


def class_shift(rows: Tensor, target: Tensor, others: Tensor, others_target: Tensor) -> Tensor:
    """How far the class means of two samples are apart, over how far chance alone brings them.

    What all classes share, such as one logo in all images of a sample, is taken off first. The rest is Dempster's
    ratio, which needs no more rows than features: squared distances of the means, summed over classes, over what these
    are on average where both samples have one distribution.

    Args:
        rows: of the first sample; (n d), any number.
        target: class of each; (n), int64, below 0 where there is none.
        others: of the second sample; (m d).
        others_target: likewise; (m).

    Returns:
        About 1 where classes differ alike in both samples, larger where a class alone is changed; infinite where rows
        of a class do not vary and their means differ. nan where fewer than two classes have two rows on each side, or
        nothing differs at all; (), float64.

    Example:
        >>> rows, target = torch.tensor([[0.0], [2.0], [0.0], [2.0]]), torch.tensor([0, 0, 1, 1])
        >>> class_shift(rows, target, rows + 4 * target[:, None], target)
        tensor(4., dtype=torch.float64)
        >>> class_shift(rows, target, rows + 4, target)  # all alike
        tensor(0., dtype=torch.float64)
    """
    shifts, chances = [], []
    for label in sorted(set(target[target >= 0].tolist()) & set(others_target.tolist())):
        mine, theirs = rows[target == label].cpu().double(), others[others_target == label].cpu().double()
        n, m = len(mine), len(theirs)
        if min(n, m) < 2:
            continue
        squares = torch.stack([(each - each.mean(0)).square().sum() for each in (mine, theirs)]).sum()
        shifts.append(theirs.mean(0) - mine.mean(0))
        chances.append(squares / (n + m - 2) * (1 / n + 1 / m))
    if len(shifts) < 2:
        return torch.tensor(torch.nan, dtype=torch.float64)
    apart = torch.stack(shifts)
    chance = torch.stack(chances).sum() * (1 - 1 / len(shifts))
    return (apart - apart.mean(0)).square().sum() / chance
