"""How many images it takes to tell a difference of two error rates."""

import math

import torch

__all__ = ["images_needed"]


def images_needed(
    error: float, difference: float = 0.2, *, others: float = torch.inf, power: float = 0.8, level: float = 0.05
) -> int:
    """Images of a kind that are needed to see, with some probability, that they are wrong so much more often.

    The normal approximation of the test of two proportions: Fleiss, Levin and Paik, "Statistical Methods for Rates and
    Proportions" (2003), 4.2, without continuity correction.

    Args:
        error: error rate on the other images; in [0, 1].
        difference: how much higher the error rate on images of the kind is; what would go beyond 1 is taken as 1.
        others: number of the other images over that of the kind; infinite: there are many more.
        power: probability of seeing it.
        level: of the two-sided test.

    Example:
        >>> images_needed(0.1), images_needed(0.1, 0.05), images_needed(0.1, others=1.0)
        (24, 316, 62)
    """
    higher = min(1.0, error + difference)
    sides = torch.tensor([1 - level / 2, power], dtype=torch.float64)
    reach, found = (float(deviate) for deviate in torch.special.ndtri(sides))
    share = 1 / others
    mean = (higher * share + error) / (1 + share)
    alike = math.sqrt(mean * (1 - mean) * (1 + share))
    apart = math.sqrt(higher * (1 - higher) + error * (1 - error) * share)
    needed = ((reach * alike + found * apart) / max(higher - error, 1e-3)) ** 2
    return max(2, math.ceil(needed))
