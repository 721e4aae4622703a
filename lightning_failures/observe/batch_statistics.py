"""Batch norm with the statistics of the batch at hand, as in training, in a network that else runs as in evaluation."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

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
    """Inside, these norms use the statistics of their batch; run it within :func:`.undisturbed`, for they update too.

    Args:
        norms: as :func:`trained_norms` gives them.
    """
    modes = [(norm, norm.training) for norm in norms]
    try:
        for norm, _ in modes:
            norm.training = True
        yield
    finally:
        for norm, training in modes:
            norm.training = training
