"""How many dimensions a spectrum fills.

RankMe: Garrido et al. 2023 (arXiv 2210.02885). Effective rank: Roy and Vetterli 2007, here of eigenvalues.
Alpha: Agrawal et al. 2022 (arXiv 2202.05808). Noise edge: Marchenko and Pastur 1967.
"""

import math

import torch
from torch import Tensor

__all__ = [
    "alpha",
    "effective_rank",
    "marchenko_pastur_median",
    "marchenko_pastur_rank",
    "participation_ratio",
    "rankme",
    "stable_rank",
    "top1_share",
]


def effective_rank(spectrum: Tensor) -> Tensor:
    """Exponential of the entropy of the eigenvalues' shares; ().

    Convention:
        A number of dimensions in [1, d]; k for k equal eigenvalues, 0 where all are zero (constant features).

    Args:
        spectrum: eigenvalues of a covariance; (d), at least 0.

    Example:
        >>> round(effective_rank(torch.tensor([2.0, 2.0, 0.0], dtype=torch.float64)).item(), 9)
        2.0
    """
    share = spectrum / spectrum.sum()
    return _zero_if_constant(torch.special.entr(share).sum().exp(), spectrum)


def participation_ratio(spectrum: Tensor) -> Tensor:
    """Squared sum of the eigenvalues over the sum of their squares; ().

    Convention:
        A number of dimensions in [1, d]; k for k equal eigenvalues, 0 for constant features. Biased downwards by few
        rows: see :func:`.participation_ratio_unbiased`.

    Args:
        spectrum: eigenvalues of a covariance; (d), at least 0.

    Example:
        >>> participation_ratio(torch.tensor([3.0, 1.0], dtype=torch.float64))
        tensor(1.6000, dtype=torch.float64)
    """
    return _zero_if_constant(spectrum.sum().square() / spectrum.square().sum(), spectrum)


def stable_rank(spectrum: Tensor) -> Tensor:
    """Sum of the eigenvalues over the largest; ().

    Convention:
        A number of dimensions in [1, d]; k for k equal eigenvalues, 0 for constant features.

    Args:
        spectrum: eigenvalues of a covariance; (d), at least 0.

    Example:
        >>> stable_rank(torch.tensor([3.0, 1.0], dtype=torch.float64))
        tensor(1.3333, dtype=torch.float64)
    """
    return _zero_if_constant(spectrum.sum() / spectrum.amax(), spectrum)


def top1_share(spectrum: Tensor) -> Tensor:
    """Share of the variance along the first principal direction; ().

    Convention:
        In [1/d, 1]; 1 is one dimension. nan for constant features: there is no variance to share.

    Args:
        spectrum: eigenvalues of a covariance; (d), at least 0.

    Example:
        >>> top1_share(torch.tensor([3.0, 1.0], dtype=torch.float64))
        tensor(0.7500, dtype=torch.float64)
    """
    return spectrum.amax() / spectrum.sum()


def rankme(spectrum: Tensor) -> Tensor:
    """RankMe: exponential of the entropy of the singular values' shares; ().

    Convention:
        A number of dimensions in [1, d], of the features as they are, not centred; 0 where all features are zero.
        Zero singular values are dropped and no epsilon is added. Rounding to bfloat16 alone raises it (exact rank 1
        reads about 1.5): compare it with published figures, and judge collapse by the covariance.

    Args:
        spectrum: eigenvalues of the second moment ``sum x x'``, the squares of the features' singular values; (d).

    Example:
        >>> round(rankme(torch.tensor([4.0, 4.0, 0.0], dtype=torch.float64)).item(), 9)
        2.0
    """
    return effective_rank(spectrum.sqrt())


def alpha(spectrum: Tensor, first: int = 10, last: int = 99) -> tuple[Tensor, Tensor]:
    """Exponent with which the eigenvalues decay, and the R^2 of that fit; (), ().

    Convention:
        Minus the slope of log eigenvalue on log rank, from rank ``first`` to ``last``, both included: about 1 is the
        decay of rich representations, 0 is a flat spectrum, larger is steeper. Eigenvalues that are 0 are left out;
        nan where fewer than ten are left.

    Args:
        spectrum: eigenvalues of a covariance in descending order; (d).
        first: first rank of the fit, counted from 1.
        last: last rank of the fit.

    Example:
        >>> slope, r2 = alpha(1 / torch.arange(1, 129, dtype=torch.float64) ** 2)
        >>> round(slope.item(), 6), round(r2.item(), 6)
        (2.0, 1.0)
    """
    values = spectrum[first - 1 : last]
    ranks = torch.arange(first, first + len(values), dtype=torch.float64, device=spectrum.device)
    used = values > 0
    x, y = torch.where(used, ranks.log(), 0.0), torch.where(used, values, 1.0).log()
    number = used.sum()
    x, y = x - used * x.sum() / number, y - used * y.sum() / number
    slope = (x @ y) / (x @ x)
    enough = number >= 10
    explained = (x @ y).square() / ((x @ x) * (y @ y))
    return torch.where(enough, -slope, torch.nan), torch.where(enough, explained, torch.nan)


def marchenko_pastur_median(ratio: float) -> float:
    """Median of the Marchenko-Pastur law of unit variance.

    Args:
        ratio: features over rows, in (0, 1].

    Example:
        >>> round(marchenko_pastur_median(1.0), 4)
        0.6528
    """
    # with x = 1 + ratio + 2 sqrt(ratio) cos(angle) the density is smooth in the angle
    steps = 1 << 14
    angle = (torch.arange(steps, dtype=torch.float64) + 0.5) * (math.pi / steps)
    mass = angle.sin().square() / (1 + ratio + 2 * math.sqrt(ratio) * angle.cos())
    below = mass.flip(0).cumsum(0)  # the mass up to the lower edge of each step, from the smallest eigenvalue on
    step = int(torch.searchsorted(below, below[-1] / 2))
    inside = (below[-1] / 2 - (below[step - 1] if step else 0.0)) / (below[step] - (below[step - 1] if step else 0.0))
    return 1 + ratio + 2 * math.sqrt(ratio) * math.cos(math.pi - (step + float(inside)) * math.pi / steps)


def marchenko_pastur_rank(spectrum: Tensor, count: Tensor) -> Tensor:
    """Number of eigenvalues above what noise of equal variance would give; ().

    The noise's variance is the median eigenvalue over the median of the Marchenko-Pastur law: right where fewer than
    half of the dimensions carry signal.

    Convention:
        A number of dimensions in [0, d]; 0 for constant features, and seldom more for pure noise; nan with
        fewer than two rows.

    Args:
        spectrum: eigenvalues of a covariance; (d).
        count: number of rows n; ().

    Example:
        >>> noise = torch.full((20,), 1.0, dtype=torch.float64)
        >>> marchenko_pastur_rank(torch.cat([torch.tensor([9.0, 5.0]), noise]), torch.tensor(500))
        tensor(2., dtype=torch.float64)
    """
    d, freedom = len(spectrum), int(count) - 1
    if freedom < 1:
        return torch.full((), torch.nan, dtype=torch.float64, device=spectrum.device)
    # of more features than rows, all but n - 1 eigenvalues are zero; the others follow the law of the transpose
    values = spectrum.sort(descending=True).values[:freedom]
    ratio = d / freedom
    centre = marchenko_pastur_median(min(ratio, 1 / ratio)) * max(1.0, ratio)
    edge = values.quantile(0.5) / centre * (1 + math.sqrt(ratio)) ** 2
    return torch.where(spectrum.isnan().any(), torch.nan, (spectrum > edge).sum().double())


def _zero_if_constant(rank: Tensor, spectrum: Tensor) -> Tensor:
    return torch.where(spectrum.sum() == 0, 0.0, rank)
