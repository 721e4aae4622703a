"""A model's accuracy by factor among published models of the same accuracy.

The raw error ratio moves with accuracy itself, in healthy models too. Across published models the accuracy on a factor
is close to a line in the overall accuracy, both as log odds; the distance from that line does not move with accuracy.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from lightning_failures.functional.factors import FactorCounts

__all__ = ["ProfileLine", "fit_profile", "matched_residual"]


class ProfileLine(NamedTuple):
    """log odds of accuracy on a factor = slope * log odds of accuracy + offset, with a spread between models."""

    slope: Tensor  # (f) float64
    offset: Tensor  # (f) float64
    variance: Tensor  # (f) float64, between models, without the noise of the images


def fit_profile(accuracy: Tensor, factor_accuracy: Tensor, images: Tensor | None = None) -> ProfileLine:
    """Least squares over published models.

    Args:
        accuracy: of each model over all images; (m), float.
        factor_accuracy: of each model on each factor; (m f), float. A value of 0 or 1 has no log odds and is left out.
        images: how many images carry each factor, to tell the noise that these give from the spread between models;
            (f), int. None: all of the spread is taken to be between models.

    Returns:
        One line per factor; ``nan`` with fewer than three usable models, or all of one accuracy.
    """
    x = accuracy.double().logit()[:, None].expand_as(factor_accuracy)
    y = factor_accuracy.double().logit()
    used = x.isfinite() & y.isfinite()
    m = used.sum(0).double()
    x, y = torch.where(used, x, 0.0), torch.where(used, y, 0.0)
    x_0, y_0 = x.sum(0) / m, y.sum(0) / m
    dx, dy = torch.where(used, x - x_0, 0.0), torch.where(used, y - y_0, 0.0)
    slope = (dx * dy).sum(0) / dx.square().sum(0)
    variance = (dy - slope * dx).square().sum(0) / (m - 2)
    if images is not None:
        a = factor_accuracy.double()
        noise = torch.where(used, 1 / (images.double() * a * (1 - a)), 0.0).sum(0) / m
        variance = (variance - noise).clamp(min=0)
    few = m < 3
    line = ProfileLine(slope, y_0 - slope * x_0, variance)
    return ProfileLine(*(torch.where(few, torch.nan, value) for value in line))


def matched_residual(line: ProfileLine, counts: FactorCounts) -> Tensor:
    """How far the accuracy on each factor is from that of published models of the same overall accuracy.

    Convention:
        In standard deviations of the spread between models and the noise of the images together: 0 is typical at this
        accuracy, below -2 is unusually bad, above 2 unusually good. ``nan``: no image carries the factor, nothing or
        everything is misclassified there or over all, or the line is undefined.

    Args:
        line: from :func:`fit_profile`, for the same factors.
        counts: the counts of the model.

    Returns:
        One deviate per factor; (f), float64.
    """
    a = 1 - counts.wrong.double() / counts.seen.double()
    accuracy = 1 - counts.all_wrong.double() / counts.all_seen.double()
    noise = 1 / (counts.seen.double() * a * (1 - a))
    z = (a.logit() - line.slope * accuracy.logit() - line.offset) / (line.variance + noise).sqrt()
    return torch.where(a.logit().isfinite() & accuracy.logit().isfinite(), z, torch.nan)
