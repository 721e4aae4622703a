"""Radial bands of spatial frequency that hold equal energy, and images without one of them.

Abello, Hirata and Wang, "Dissecting the high-frequency bias in convolutional neural networks" (2021).
"""

from typing import NamedTuple

import torch
from torch import Tensor

from lightning_failures.errors import InputError
from lightning_failures.functional.empty_batches import never_empty
from lightning_failures.functional.moments import finite_images

__all__ = ["RingEnergy", "frequency_radius", "radial_energy", "remove_ring", "ring_edges"]

_BINS = 256
_LARGEST = 0.5**0.5  # cycles a pixel, at the corner of the spectrum


class RingEnergy(NamedTuple):
    """Energy of images by radius in the spectrum, the mean left out; adds up across batches and across ranks."""

    energy: Tensor  # (256) float64, in bins of equal width from 0 to sqrt(1/2) cycles a pixel

    @classmethod
    def zero(cls) -> "RingEnergy":
        """The energy of no images."""
        return cls(torch.zeros(_BINS, dtype=torch.float64))


def radial_energy(images: Tensor) -> RingEnergy:
    """Energy of one batch by radius, summed over images and channels; the mean of each channel is left out.

    Images that hold NaN or infinity are left out.

    Args:
        images: (n b h w), any float.

    Example:
        >>> stripes = torch.tensor([1.0, -1.0]).repeat(8, 4)[None, None]
        >>> radial_energy(stripes).energy.nonzero()  # half a cycle a pixel
        tensor([[181]])
    """
    usable = torch.where(finite_images(images)[:, None, None, None], images.detach().float(), 0.0)
    spectrum = never_empty(torch.fft.fft2)(usable, norm="ortho")
    power = spectrum.abs().double().square().sum((0, 1))
    radius = frequency_radius(images)
    place = (radius / _LARGEST * _BINS).long().clamp(max=_BINS - 1)
    energy = torch.zeros(_BINS, dtype=torch.float64, device=images.device)
    return RingEnergy(energy.index_add_(0, place.reshape(-1), torch.where(radius > 0, power, 0.0).reshape(-1)))


def ring_edges(sums: RingEnergy, rings: int = 8) -> Tensor:
    """Radii that cut the spectrum into rings of equal energy; ring k holds radii in [edges[k], edges[k + 1]).

    Args:
        sums: energy of the training images.
        rings: number of rings R.

    Convention:
        Cycles a pixel, from 0 to beyond sqrt(1/2). Edges lie between the bins that hold energy; where one radius holds
        more than a share of it, as in small images, rings between two equal edges are empty. ``nan`` without energy.

    Returns:
        Edges, ascending; (R + 1), float64.

    Raises:
        InputError: fewer than one ring.
    """
    if rings < 1:
        raise InputError("ring_edges", "no rings", f"rings={rings}", "Pass 1 or more.")
    cumulated = sums.energy.cumsum(0) / sums.energy.sum()
    levels = torch.arange(1, rings, dtype=torch.float64, device=cumulated.device) / rings
    # the edge that leaves the energy below it closest to its level
    closest = (cumulated[None] - levels[:, None]).abs().argmin(1)
    inner = torch.where(cumulated[closest] > 0, closest + 1, 0)  # below the lowest frequency there is nothing
    edges = torch.cat([inner.new_tensor([0]), inner, inner.new_tensor([_BINS + 1])]).double() * (_LARGEST / _BINS)
    return torch.where(sums.energy.sum() > 0, edges, torch.nan)


@never_empty
def remove_ring(images: Tensor, low: float, high: float) -> Tensor:
    """Images without the spatial frequencies in a ring; the mean of each channel stays.

    Args:
        images: (n b h w), float.
        low: smallest radius that is removed, in cycles a pixel.
        high: radius from which frequencies stay again.

    Returns:
        As the images; (n b h w).
    """
    spectrum = torch.fft.fft2(images.float())
    radius = frequency_radius(images)
    removed = (radius >= low) & (radius < high) & (radius > 0)
    changed: Tensor = torch.fft.ifft2(spectrum.masked_fill(removed, 0)).real
    return changed.to(images.dtype)


def frequency_radius(images: Tensor) -> Tensor:
    """Radius of each Fourier coefficient of images of this size, in cycles a pixel from 0 to sqrt(1/2); (h w), float64.

    Example:
        >>> frequency_radius(torch.zeros(1, 1, 1, 4))
        tensor([[0.0000, 0.2500, 0.5000, 0.2500]], dtype=torch.float64)
    """
    h, w = images.shape[-2:]
    vertical = torch.fft.fftfreq(h, dtype=torch.float64, device=images.device)
    horizontal = torch.fft.fftfreq(w, dtype=torch.float64, device=images.device)
    return torch.hypot(vertical[:, None], horizontal)
