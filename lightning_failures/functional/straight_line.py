"""A straight line through points, by weighted least squares, with the interval of its slope."""

from typing import NamedTuple

import torch
from torch import Tensor

from lightning_failures.functional.proportions import normal_quantile

__all__ = ["StraightLine", "straight_line"]


class StraightLine(NamedTuple):
    """A line and how sure its slope is; scalars, float64."""

    slope: Tensor
    low: Tensor  # of the slope's interval
    high: Tensor
    mean: Tensor  # weighted mean of the points' heights
    length: Tensor  # from the first point to the last


def straight_line(x: Tensor, y: Tensor, weight: Tensor | None = None, confidence: float = 0.95) -> StraightLine:
    """The line through points with the least sum of weighted squares.

    The interval is Student's, from the scatter of the points about the line, which are taken to be independent; its
    quantile is that of the expansion by Cornish and Fisher, to 1 in 100 from three degrees of freedom on.

    Convention:
        All nan with fewer than two places; the interval is nan with fewer than three points.

    Args:
        x: places; (n).
        y: heights; (n).
        weight: of each point, such as how many it is the mean of; (n). None: all alike.
        confidence: of the interval.

    Example:
        >>> line = straight_line(torch.tensor([0.0, 1.0, 2.0, 3.0]), torch.tensor([4.0, 3.1, 1.9, 1.0]))
        >>> [round(float(each), 2) for each in line]
        [-1.02, -1.18, -0.86, 2.5, 3.0]
    """
    x, y = x.double(), y.double()
    w = torch.ones_like(x) if weight is None else weight.double()
    nothing = torch.tensor(torch.nan, dtype=torch.float64)
    if not len(x):
        return StraightLine(*(nothing,) * 5)
    across, mean = (w * x).sum() / w.sum(), (w * y).sum() / w.sum()
    spread = (w * (x - across) ** 2).sum()
    slope = torch.where(spread > 0, (w * (x - across) * (y - mean)).sum() / spread, torch.nan)
    free = len(x) - 2
    length = x.max() - x.min()
    if free < 1:
        return StraightLine(slope, nothing, nothing, mean, length)
    left = y - mean - slope * (x - across)
    error = ((w * left**2).sum() / free / spread).sqrt()
    width = _student(normal_quantile(confidence), free) * error
    return StraightLine(slope, slope - width, slope + width, mean, length)


def _student(z: Tensor, free: int) -> Tensor:
    """Quantile of Student's distribution from that of the normal one."""
    return z + (z**3 + z) / (4 * free) + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * free**2)
