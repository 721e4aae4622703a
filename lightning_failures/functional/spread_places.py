"""A few places spread over the pixels of an image, in rows and in columns."""

import math

import torch
from torch import Tensor

__all__ = ["spread_places"]

GOLDEN = (math.sqrt(5) - 1) / 2  # share of the pixels from one place to the next, so that all parts are met early


def spread_places(pixels: int, most: int, device: torch.device | None = None) -> Tensor:
    """Some places of a flattened image, always the same ones, in many rows and columns; all where it has no more.

    The step from one to the next has no divisor in common with the pixels, so that none is met twice. Equal parts would
    meet one column alone wherever a part is a multiple of the width: of 32 x 32 pixels each of 16 places would lie at
    the left edge, which is black in many an image.

    Args:
        pixels: of the image, at least 1.
        most: places, at least 1.
        device: on which they are wanted; made there, without waiting for it.

    Returns:
        Numbers from 0 to ``pixels - 1``, ascending, no two alike; (k), int64.

    Example:
        >>> places = spread_places(8 * 8, 4)
        >>> places // 8, places % 8
        (tensor([0, 2, 5, 7]), tensor([0, 2, 1, 3]))
    """
    step = max(1, round(GOLDEN * pixels))
    while math.gcd(step, pixels) > 1:
        step += 1
    return (torch.arange(min(pixels, most), device=device) * step % pixels).sort().values
