"""How often factors occur, among all images and among the misclassified ones, after ImageNet-X (arXiv:2211.01866)."""

from torch import Tensor

from lightning_failures.functional.factors import FactorCounts

__all__ = ["misclassification_shift", "prevalence"]


def prevalence(counts: FactorCounts) -> Tensor:
    """Share of each factor in all the factors that the images carry.

    Convention:
        From 0 to 1; sums to 1 over the factors. ``nan``: no image carried any factor.

    Returns:
        One share per factor; (f), float64.
    """
    return counts.seen.double() / counts.seen.sum().double()


def misclassification_shift(counts: FactorCounts) -> Tensor:
    """How much more prevalent each factor is among the misclassified images than among all, relative to all.

    Convention:
        0 is typical and 1 is twice as prevalent; at least -1. ``nan``: no image carried the factor, or no
        misclassified image carried any.

    Returns:
        One shift per factor; (f), float64.

    Example:
        >>> import torch
        >>> counts = FactorCounts(torch.tensor([2, 0]), torch.tensor([2, 2]), torch.tensor(2), torch.tensor(4))
        >>> misclassification_shift(counts)
        tensor([ 1., -1.], dtype=torch.float64)
    """
    usual = prevalence(counts)
    among_wrong = counts.wrong.double() / counts.wrong.sum().double()
    return (among_wrong - usual) / usual
