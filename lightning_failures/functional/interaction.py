"""Factors that occur together: how they correlate, how hard a pair is, and what each adds to the error rate alone."""

from typing import NamedTuple

import torch
from torch import Tensor

from lightning_failures.functional.one_thread import one_thread

__all__ = ["InteractionCounts", "count_interactions", "pair_error_ratio", "phi", "risk_difference"]


class InteractionCounts(NamedTuple):
    """Products of the factor matrix X and the errors e; adds up across batches and across ranks."""

    together: Tensor  # (f f) int64, X'X: images that carry both factors; the diagonal: that carry one
    together_wrong: Tensor  # (f f) int64, X' diag(e) X: misclassified images that carry both
    all_wrong: Tensor  # () int64, misclassified images
    all_seen: Tensor  # () int64, images

    @classmethod
    def zero(cls, num_factors: int) -> "InteractionCounts":
        """The counts of no images."""
        pairs, overall = torch.zeros(num_factors, num_factors, dtype=torch.int64), torch.zeros((), dtype=torch.int64)
        return cls(pairs, pairs.clone(), overall, overall.clone())


def count_interactions(wrong: Tensor, factors: Tensor) -> InteractionCounts:
    """Count a batch.

    Args:
        wrong: which images are misclassified; (n), bool.
        factors: which factors each image carries; (n f), bool or int of 0 and 1.
    """
    X, e = factors.bool(), wrong.bool()
    # a matrix product of floats would be rounded under autocast, and one of integers is not there on every device
    both = X[:, :, None] & X[:, None, :]
    return InteractionCounts(
        both.sum(0), (both & e[:, None, None]).sum(0), e.sum(), torch.full((), len(e), device=e.device)
    )


def phi(counts: InteractionCounts) -> Tensor:
    """Correlation of the factors.

    Convention:
        From -1 (never together) over 0 (independent) to 1 (always together). ``nan``: all images or none carry one.

    Returns:
        One coefficient per pair; (f f), float64, symmetric.

    Example:
        >>> factors = torch.tensor([[1, 1], [1, 1], [0, 0], [0, 1]])
        >>> phi(count_interactions(torch.zeros(4), factors))[0, 1]
        tensor(0.5774, dtype=torch.float64)
    """
    N, n = counts.all_seen.double(), counts.together.diagonal().double()
    spread = (n * (N - n)).sqrt()
    return (N * counts.together.double() - torch.outer(n, n)) / torch.outer(spread, spread)


def pair_error_ratio(counts: InteractionCounts) -> Tensor:
    """Error rate on the images that carry both factors, over the error rate on all images.

    Convention:
        1 is typical; the diagonal is :func:`.error_ratio`. ``nan``: no image carries both, or nothing is misclassified.

    Returns:
        One ratio per pair; (f f), float64, symmetric.
    """
    error = counts.together_wrong.double() / counts.together.double()
    overall = counts.all_wrong.double() / counts.all_seen.double()
    return torch.where(counts.all_wrong > 0, error / overall, torch.nan)


def risk_difference(counts: InteractionCounts) -> Tensor:
    """What each factor adds to the error rate while all others are held: least squares of the errors on the factors.

    Convention:
        In units of error rate, 0: nothing. ``nan`` for a factor that is a linear combination of the others, such as
        one of several that together cover each image once, or one that no image carries.

    Returns:
        One coefficient per factor; (f), float64.

    Example:
        >>> factors = torch.tensor([[0, 0], [1, 0], [0, 1], [1, 1]])
        >>> risk_difference(count_interactions(torch.tensor([0, 1, 0, 1]), factors)).round(decimals=6)
        tensor([1., 0.], dtype=torch.float64)
    """
    n = counts.together.diagonal().double()
    wrong = torch.cat([counts.all_wrong.reshape(1), counts.together_wrong.diagonal()]).double()
    normal = torch.cat([n[None], counts.together.double()])
    normal = torch.cat([torch.cat([counts.all_seen.double().reshape(1), n])[:, None], normal], 1)
    scale = normal.diagonal().clamp(min=1).rsqrt()  # a rare factor is not taken for an absent one
    scaled = scale[:, None] * normal * scale
    with one_thread():
        inverse = torch.linalg.pinv(scaled, rtol=1e-10, hermitian=True)
    estimable = ((inverse @ scaled).diagonal() - 1).abs() < 1e-6
    coefficients = scale * (inverse @ (scale * wrong))
    return torch.where(estimable, coefficients, torch.nan)[1:]
