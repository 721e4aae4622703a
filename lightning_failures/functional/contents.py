"""One kind of content of an image exchanged for that of another image: its level, colour, texture, border, a channel.

Each function takes receivers and donors, row by row, and gives the receivers with one thing of the donors; everything
else stays the receiver's. An image that is its own donor stays as it is. The other side, a receiver that keeps one
thing and takes all else from the donor, is the same function with both arguments changed round.

Exchange as an intervention: Geiger, Lu, Icard and Potts, "Causal abstractions of neural networks" (2021). Mean and
deviation of the channels: Reinhard, Ashikhmin, Gooch and Shirley, "Color transfer between images" (2001). Amplitude and
phase: Oppenheim and Lim, "The importance of phase in signals" (1981).
"""

from collections.abc import Callable

import torch
from torch import Tensor

from lightning_failures.errors import InputError
from lightning_failures.functional.empty_batches import never_empty

__all__ = [
    "TRANSPLANTS",
    "border_mask",
    "cell_mask",
    "content_size",
    "frequency_radius",
    "low_frequency_radius",
    "transplant_amplitude",
    "transplant_channel_statistics",
    "transplant_channels",
    "transplant_colour",
    "transplant_level",
    "transplant_low_frequencies",
    "transplant_region",
]


#: Waves along the shorter side that are slow: little of an object, and a wave over the image.
WAVES = 1.5


def transplant_level(receivers: Tensor, donors: Tensor) -> Tensor:
    """Receivers moved, all values by the same amount, to the donors' mean over all channels and pixels.

    Args:
        receivers: in raw units where they are known, so that all channels count alike; (n b ...), any number.
        donors: one per receiver; (n b ...), the same shape.

    Returns:
        Float32 where the receivers are integers; (n b ...).

    Raises:
        InputError: receivers and donors of different shapes.

    Example:
        >>> transplant_level(torch.tensor([[0.0, 2.0]]), torch.tensor([[5.0, 5.0]]))
        tensor([[4., 6.]])
    """
    own, theirs = _pairs("transplant_level", receivers, donors)
    axes = tuple(range(1, own.ndim))
    return _as_given(own + theirs.mean(axes, keepdim=True) - own.mean(axes, keepdim=True), receivers)


def transplant_channel_statistics(receivers: Tensor, donors: Tensor) -> Tensor:
    """Receivers whose channels have the donors' means and standard deviations over the pixels.

    The unit of a channel does not matter. A channel that is constant in the receiver has no deviation to scale: it
    becomes constant at the donor's mean.

    Args:
        receivers: (n b ...) with one axis of pixels or more, any number.
        donors: one per receiver; (n b ...), the same shape.

    Returns:
        Float32 where the receivers are integers; (n b ...).

    Raises:
        InputError: receivers and donors of different shapes, or without pixels.

    Example:
        >>> transplant_channel_statistics(torch.tensor([[[-1.0, 1.0]]]), torch.tensor([[[2.0, 8.0]]]))
        tensor([[[2., 8.]]])
    """
    own, theirs = _pairs("transplant_channel_statistics", receivers, donors, fewest_axes=3)
    axes = tuple(range(2, own.ndim))
    mean, their_mean = own.mean(axes, keepdim=True), theirs.mean(axes, keepdim=True)
    deviation, their_deviation = (
        (x - x.mean(axes, keepdim=True)).square().mean(axes, keepdim=True).sqrt() for x in (own, theirs)
    )
    rounding = 16 * torch.finfo(own.dtype).eps * own.abs().amax(axes, keepdim=True)
    ratio = torch.where(deviation > rounding, their_deviation / deviation, 0.0)
    return _as_given((own - mean) * ratio + their_mean, receivers)


def transplant_colour(receivers: Tensor, donors: Tensor) -> Tensor:
    """Receivers whose channels have the donors' mean proportions, with the intensity of every pixel kept.

    The intensity of a pixel is its sum over the channels, the proportions of an image are its mean spectrum over the
    total of that: every pixel moves by its intensity times the difference of the two proportions. An image of one
    colour becomes exactly its intensity in the donor's colour.

    Args:
        receivers: in raw units, in which 0 is no light; (n b ...), any number.
        donors: one per receiver; (n b ...), the same shape. One that is black, whose total is not above 0, has no
            colour, and its receiver stays as it is; so does a black receiver.

    Returns:
        Float32 where the receivers are integers; (n b ...).

    Raises:
        InputError: receivers and donors of different shapes.

    Example:
        >>> red, blue = torch.tensor([[0.5, 0.0, 0.0]]), torch.tensor([[0.0, 0.0, 0.25]])
        >>> transplant_colour(red, blue)
        tensor([[0.0000, 0.0000, 0.5000]])
    """
    own, theirs = _pairs("transplant_colour", receivers, donors)
    axes = tuple(range(2, own.ndim))
    spectrum, their_spectrum = (x.mean(axes, keepdim=True) if axes else x for x in (own, theirs))
    total, their_total = spectrum.sum(1, keepdim=True), their_spectrum.sum(1, keepdim=True)
    move = own.sum(1, keepdim=True) * (their_spectrum / their_total - spectrum / total)
    return _as_given(own + torch.where((total > 0) & (their_total > 0), move, 0.0), receivers)


def transplant_low_frequencies(receivers: Tensor, donors: Tensor, radius: float = 0.1) -> Tensor:
    """Receivers with the donors' Fourier coefficients up to a radius, the mean of each channel among them.

    Args:
        receivers: (n b h w), any number.
        donors: one per receiver; (n b h w).
        radius: largest that is exchanged, in cycles per pixel; 0: the means alone.

    Returns:
        Float32 where the receivers are integers; (n b h w).

    Raises:
        InputError: receivers and donors of different shapes, or not images.

    Example:
        >>> flat, stripes = torch.zeros(1, 1, 1, 4), torch.tensor([2.0, 0.0, 2.0, 0.0]).reshape(1, 1, 1, 4)
        >>> transplant_low_frequencies(flat, stripes).flatten()
        tensor([1., 1., 1., 1.])
    """
    own, theirs = _pairs("transplant_low_frequencies", receivers, donors, images=True)
    low = frequency_radius(own) <= radius
    change = never_empty(torch.fft.ifft2)(never_empty(torch.fft.fft2)(theirs - own) * low).real
    return _as_given(own + change, receivers)


def transplant_amplitude(receivers: Tensor, donors: Tensor) -> Tensor:
    """Receivers with the donors' Fourier amplitudes, in each channel, and their own phases: the donors' texture.

    The mean of a channel is the donor's with its sign, so that the unit of a channel does not matter. Where a receiver
    has no amplitude, and so no phase, the phase is 0.

    Args:
        receivers: (n b h w), any number.
        donors: one per receiver; (n b h w).

    Returns:
        Float32 where the receivers are integers; (n b h w).

    Raises:
        InputError: receivers and donors of different shapes, or not images.

    Example:
        >>> wave, steep = torch.tensor([1.0, 0.0, -1.0, 0.0]), torch.tensor([0.0, 3.0, 0.0, -3.0])
        >>> transplant_amplitude(wave.reshape(1, 1, 1, 4), steep.reshape(1, 1, 1, 4)).flatten().round()
        tensor([ 3.,  0., -3.,  0.])
    """
    own, theirs = _pairs("transplant_amplitude", receivers, donors, images=True)
    spectrum, their_spectrum = (never_empty(torch.fft.fft2)(x) for x in (own, theirs))
    amplitude, their_amplitude = spectrum.abs(), their_spectrum.abs()
    # the phase of a coefficient that only rounding made is noise
    known = amplitude > 16 * torch.finfo(own.dtype).eps * amplitude.amax((-2, -1), keepdim=True)
    mixed = torch.where(known, spectrum * (their_amplitude / torch.where(known, amplitude, 1.0)), their_amplitude)
    mixed[..., 0, 0] = their_spectrum[..., 0, 0]
    return _as_given(never_empty(torch.fft.ifft2)(mixed).real, receivers)


def transplant_region(receivers: Tensor, donors: Tensor, mask: Tensor) -> Tensor:
    """Receivers with the donors' pixels in a region, bit by bit.

    Args:
        receivers: (n b h w), any number.
        donors: one per receiver; (n b h w).
        mask: where pixels are the donor's, such as :func:`border_mask` or :func:`cell_mask`; (h w), bool.

    Returns:
        As the receivers; (n b h w).

    Raises:
        InputError: receivers and donors of different shapes, or not images; a mask of another size.

    Example:
        >>> transplant_region(torch.zeros(1, 1, 1, 3), torch.ones(1, 1, 1, 3), torch.tensor([[True, False, False]]))
        tensor([[[[1., 0., 0.]]]])
    """
    where = "transplant_region"
    _check(where, receivers, donors, 4, images=True)
    if mask.shape != receivers.shape[2:] or mask.dtype != torch.bool:
        given = f"mask {tuple(mask.shape)} {mask.dtype} for images {tuple(receivers.shape)}"
        raise InputError(where, "the mask does not fit the images", given, "Pass (h w), bool.")
    return torch.where(mask.to(receivers.device), donors, receivers)


def transplant_channels(receivers: Tensor, donors: Tensor, members: Tensor) -> Tensor:
    """Receivers with the donors' values in one channel, or in a band of them, bit by bit.

    Args:
        receivers: (n b ...), any number.
        donors: one per receiver; (n b ...), the same shape.
        members: which channels are the donor's; (b), bool.

    Returns:
        As the receivers; (n b ...).

    Raises:
        InputError: receivers and donors of different shapes; not one value of ``members`` a channel.

    Example:
        >>> transplant_channels(torch.zeros(1, 3), torch.ones(1, 3), torch.tensor([False, True, False]))
        tensor([[0., 1., 0.]])
    """
    where = "transplant_channels"
    _check(where, receivers, donors, 2)
    if members.shape != receivers.shape[1:2] or members.dtype != torch.bool:
        given = f"members {tuple(members.shape)} {members.dtype} for images {tuple(receivers.shape)}"
        raise InputError(where, "members do not fit the channels", given, "Pass one value per channel: (b), bool.")
    return torch.where(members.to(receivers.device).reshape(-1, *[1] * (receivers.ndim - 2)), donors, receivers)


def border_mask(height: int, width: int, share: float = 0.125) -> Tensor:
    """The pixels along the edge of an image; their complement is its centre.

    Args:
        height: of the image h.
        width: of the image w.
        share: how wide the border is on each edge, as a share of the side; a pixel at least.

    Returns:
        True on the border; (h w), bool. Everywhere where a side has fewer than three pixels.

    Example:
        >>> border_mask(3, 4).int()
        tensor([[1, 1, 1, 1],
                [1, 0, 0, 1],
                [1, 1, 1, 1]], dtype=torch.int32)
    """
    rows, columns = (_edge(side, share) for side in (height, width))
    return rows[:, None] | columns


def cell_mask(height: int, width: int, grid: int, row: int, column: int) -> Tensor:
    """The pixels of one cell of a grid; the cells of a grid part an image, also one of odd size.

    Args:
        height: of the image h.
        width: of the image w.
        grid: cells along each side; a cell holds no pixel where a side has fewer pixels than cells.
        row: of the cell, from 0.
        column: of the cell, from 0.

    Returns:
        True in the cell; (h w), bool.

    Example:
        >>> cell_mask(2, 5, grid=2, row=0, column=1).int()
        tensor([[0, 0, 1, 1, 1],
                [0, 0, 0, 0, 0]], dtype=torch.int32)
    """
    rows, columns = (_part(side, grid, place) for side, place in ((height, row), (width, column)))
    return rows[:, None] & columns


def content_size(receivers: Tensor, donors: Tensor, transplanted: Tensor) -> Tensor:
    """How much of what tells donors from receivers was exchanged: the size of a content.

    A large content carries the decision of every model, so that a share of predictions is to be judged beside it.

    Args:
        receivers: (n b ...), float.
        donors: one per receiver; (n b ...).
        transplanted: the receivers with something of the donors; (n b ...).

    Convention:
        Sum of the squared changes over the sum of the squared differences of donors and receivers. In [0, 1] for a
        region, channels, frequencies and the level: 0: nothing was exchanged; 1: all was. It may be above 1 where the
        result lies on no way from one to the other, as for an amplitude. Values that are not finite are left out.
        ``nan`` where receivers are the donors.

    Returns:
        (), float64.

    Example:
        >>> receivers, donors = torch.zeros(1, 4), torch.ones(1, 4)
        >>> content_size(receivers, donors, torch.tensor([[1.0, 0.0, 0.0, 0.0]]))
        tensor(0.2500, dtype=torch.float64)
    """
    changes, differences = transplanted.double() - receivers.double(), donors.double() - receivers.double()
    known = changes.isfinite() & differences.isfinite()
    moved, apart = (torch.where(known, x, 0.0).square().sum() for x in (changes, differences))
    return moved / apart


def frequency_radius(images: Tensor) -> Tensor:
    """Radius of each Fourier coefficient of images of this size, in cycles per pixel; (h w), float64."""
    h, w = images.shape[-2:]
    vertical = torch.fft.fftfreq(h, dtype=torch.float64, device=images.device)
    horizontal = torch.fft.fftfreq(w, dtype=torch.float64, device=images.device)
    return torch.hypot(vertical[:, None], horizontal)


def low_frequency_radius(height: int, width: int) -> float:
    """The largest radius of a slow wave over such images: one and a half waves along the shorter side; cycles a pixel.

    Args:
        height: of the image h.
        width: of the image w.

    Example:
        >>> low_frequency_radius(30, 60)
        0.05
    """
    return WAVES / max(1, min(side for side in (height, width) if side > 1 or height == width == 1))


def _edge(side: int, share: float) -> Tensor:
    places = torch.arange(side)
    width = max(1, round(share * side))
    return (places < width) | (places >= side - width)


def _part(side: int, grid: int, place: int) -> Tensor:
    places = torch.arange(side)
    return (places >= place * side // grid) & (places < (place + 1) * side // grid)


def _pairs(
    where: str, receivers: Tensor, donors: Tensor, fewest_axes: int = 2, images: bool = False
) -> tuple[Tensor, Tensor]:
    """Both as floats in which an exchange is not rounded away."""
    _check(where, receivers, donors, fewest_axes, images)
    exact = torch.float64 if receivers.dtype == torch.float64 else torch.float32
    return receivers.to(exact), donors.to(exact)


def _check(where: str, receivers: Tensor, donors: Tensor, fewest_axes: int, images: bool = False) -> None:
    given = f"receivers {tuple(receivers.shape)}, donors {tuple(donors.shape)}"
    if receivers.shape != donors.shape:
        raise InputError(where, "receivers and donors are no pairs", given, "Pass as many of both, of one shape.")
    if images and receivers.ndim != 4:
        raise InputError(where, "receivers are no images", given, "Pass images (n b h w).")
    if receivers.ndim < fewest_axes:
        fix = "Pass (n b h w), or at least an axis of channels" + (" and one of pixels." if fewest_axes > 2 else ".")
        raise InputError(where, "receivers lack an axis", given, fix)


def _as_given(images: Tensor, receivers: Tensor) -> Tensor:
    return images.to(receivers.dtype) if receivers.is_floating_point() else images


def _slow_waves(receivers: Tensor, donors: Tensor) -> Tensor:
    _check("transplant_low_frequencies", receivers, donors, 4, images=True)
    height, width = receivers.shape[2:]
    return transplant_low_frequencies(receivers, donors, low_frequency_radius(height, width))


def _border(receivers: Tensor, donors: Tensor) -> Tensor:
    _check("transplant_region", receivers, donors, 4, images=True)
    height, width = receivers.shape[2:]
    return transplant_region(receivers, donors, border_mask(height, width))


def _centre(receivers: Tensor, donors: Tensor) -> Tensor:
    return _border(donors, receivers)


#: Kind of content -> receivers with the donors' content of that kind; for images of any size.
TRANSPLANTS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "level": transplant_level,
    "colour": transplant_colour,
    "channel_statistics": transplant_channel_statistics,
    "texture": transplant_amplitude,
    "low_frequencies": _slow_waves,
    "border": _border,
    "centre": _centre,
}
