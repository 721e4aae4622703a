"""Batch norm with the statistics of the batch at hand, as in training, in a network that else runs as in evaluation."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from torch import nn

__all__ = ["batch_statistics", "trained_norms"]


def trained_norms(module: nn.Module) -> list[nn.Module]:
    """The batch norms that use the statistics of their batch now and keep running ones for evaluation.

    Args:
        module: while it trains.

    Example:
        >>> net = nn.Sequential(nn.BatchNorm2d(3), nn.BatchNorm2d(3).eval(), nn.LayerNorm(3))
        >>> trained_norms(net) == [net[0]]
        True
    """
    norms = (child for child in module.modules() if isinstance(child, nn.modules.batchnorm._BatchNorm))
    return [norm for norm in norms if norm.training and norm.track_running_stats]


@contextmanager
def batch_statistics(norms: Iterable[nn.Module]) -> Iterator[None]:
    """Inside, these norms use the statistics of their batch and learn none; run it within :func:`.undisturbed`.

    Args:
        norms: as :func:`trained_norms` gives them.

    Example:
        >>> import torch
        >>> norm = nn.BatchNorm1d(1).eval()
        >>> with torch.no_grad(), batch_statistics([norm]):
        ...     float(norm(torch.tensor([[1.0], [3.0]]))[0].round())
        -1.0
        >>> float(norm.running_mean), norm.training, norm.momentum
        (0.0, False, 0.1)
    """
    kept: list[tuple[Any, bool, Any]] = [(norm, norm.training, norm.momentum) for norm in norms]
    try:
        for norm, _, _ in kept:
            norm.training, norm.momentum = True, 0.0
        yield
    finally:
        for norm, training, momentum in kept:
            norm.training, norm.momentum = training, momentum
