"""Properties that every image has, as one number each: what images of a kind are told by where nobody annotated them.

All are of the *grey image*, the mean over the channels, but for what is of colours or spectra. Units are those of the
inputs: of standardised inputs, standard deviations. Each property is compared with that of other images, never with an
absolute value, so that a scale and a shift of the inputs do not matter.
"""

from typing import NamedTuple

import torch
from einops import rearrange
from torch import Tensor

from lightning_failures.errors import InputError

__all__ = ["PROPERTIES", "PropertyEdges", "carries", "image_properties", "property_edges", "spectral_angle"]

#: Each property, and what images are called that have least and most of it; "": that side is not asked for.
PROPERTIES: dict[str, tuple[str, str]] = {
    "brightness": ("dark", "bright"),
    "contrast": ("low contrast", "high contrast"),
    "sharpness": ("blurred", "sharp"),
    "colourfulness": ("pale", "colourful"),
    "noise": ("", "noisy"),
    "object_size": ("small object", "large object"),
    "spectral_angle": ("", "unusual spectrum"),
}

#: Channels from which an image has a spectrum.
SPECTRUM = 5
#: Share of the training images on either side.
TENTH = 0.1
_SIDE = 32  # pixels along each side, at most, on which the object is told from the background
_BINS = 32  # of grey values for Otsu's threshold


def image_properties(images: Tensor) -> dict[str, Tensor]:
    """Brightness, contrast, sharpness, colourfulness, noise, and the size of the object.

    - ``brightness``: mean grey value.
    - ``contrast``: standard deviation of the grey values: RMS contrast (Peli, JOSA A 7, 1990).
    - ``sharpness``: variance of the Laplacian over the variance of the grey values (Pech-Pacheco et al., ICPR 2000; the
      quotient makes it another thing than contrast). Noise raises it too.
    - ``colourfulness``, of three channels: Hasler and Suesstrunk, "Measuring colourfulness in natural images" (2003).
    - ``noise``: standard deviation of pixel noise, after Immerkaer, "Fast noise variance estimation", Computer Vision
      and Image Understanding 64 (1996).
    - ``object_size``: share of the pixels on that side of Otsu's threshold (IEEE Transactions on Systems, Man, and
      Cybernetics 9, 1979) which holds the smaller part of the image's border; of larger images on every second, third,
      ... pixel.

    Args:
        images: (n b h w), any number.

    Convention:
        All are at least 0 but for ``brightness``; ``object_size`` is at most 1. ``nan`` where an image is not finite,
        and ``sharpness`` and ``object_size`` where it is constant. What needs a neighbourhood is left out below three
        pixels along a side, and colours where there are not three channels.

    Returns:
        Name -> one number per image; (n), float32.

    Raises:
        InputError: the inputs are no images.

    Example:
        >>> image = torch.zeros(1, 1, 4, 4)
        >>> image[0, 0, 1:3, 1:3] = 8
        >>> found = image_properties(image)
        >>> [round(float(found[name]), 3) for name in ("brightness", "contrast", "object_size")]
        [2.0, 3.464, 0.25]
    """
    if images.ndim != 4:
        fix = "Pass images (n b h w); spectra and tables have none of these properties."
        raise InputError("image_properties", "the inputs are no images", f"shape {tuple(images.shape)}", fix)
    if not len(images):
        return {name: value[:0] for name, value in image_properties(images.new_zeros(1, *images.shape[1:])).items()}
    images = images.float()
    grey = images.mean(1)
    h, w = grey.shape[1:]
    brightness, variance = _moments(grey)
    found = {"brightness": brightness, "contrast": variance.sqrt()}
    if min(h, w) >= 3:
        across, down = _second_differences(grey, 2), _second_differences(grey, 1)
        laplacian, differences = across[:, 1:-1] + down[:, :, 1:-1], _second_differences(across, 1)
        found["sharpness"] = _moments(laplacian)[1] / _positive(variance)
        found["noise"] = differences.abs().mean((1, 2)) * (torch.pi / 2) ** 0.5 / 6
        found["object_size"] = _object_size(grey)
    if images.shape[1] == 3:
        red, green, blue = images.unbind(1)
        (one, of_one), (other, of_other) = _moments(red - green), _moments((red + green) / 2 - blue)
        found["colourfulness"] = (of_one + of_other).sqrt() + 0.3 * (one.square() + other.square()).sqrt()
    finite = brightness.isfinite()  # a mean is as soon as all values are
    return {name: torch.where(finite, value, torch.nan) for name, value in found.items()}


def spectral_angle(spectra: Tensor, reference: Tensor) -> Tensor:
    """Angle between spectra and a reference spectrum, which their brightness does not change; (n), float32, radians.

    The spectral angle mapper of Kruse et al., Remote Sensing of Environment 44 (1993).

    Args:
        spectra: mean spectra of images; (n b).
        reference: such as the mean over the training images; (b).

    Convention:
        0 to pi; 0: the same shape. ``nan`` for a spectrum of zeros.

    Example:
        >>> spectral_angle(torch.tensor([[0.0, 5.0], [2.0, 0.0]]), torch.tensor([3.0, 3.0]))
        tensor([0.7854, 0.7854])
    """
    one, other = spectra.float(), reference.float()
    apart = one / _positive(one.norm(dim=1, keepdim=True)) - other / _positive(other.norm())
    angle: Tensor = 2 * (apart.norm(dim=1) / 2).clamp(max=1).asin()  # exact for small angles, which a cosine is not
    return angle


class PropertyEdges(NamedTuple):
    """Which values of a property make an image carry a factor."""

    name: str
    factor: str
    edge: float
    above: bool  # whether images above the edge carry it; else those below


def property_edges(values: dict[str, Tensor]) -> list[PropertyEdges]:
    """Edges that a tenth of the images are beyond, on either side.

    Args:
        values: of the training images; name -> (n), float.

    Returns:
        One for each factor. None for a property that too many images share a value of, so that the share beyond the
        edge is not between a fiftieth and a fifth, or that is nan for more than half of the images.

    Example:
        >>> edges = property_edges({"brightness": torch.arange(101.0)})
        >>> [(edge.factor, edge.edge, edge.above) for edge in edges]
        [('dark', 10.0, False), ('bright', 90.0, True)]
    """
    found = []
    for name, (low, high) in PROPERTIES.items():
        if name not in values:
            continue
        known = values[name][values[name].isfinite()].double().cpu()
        if len(known) * 2 < len(values[name]) or not len(known):
            continue
        for factor, share, above in ((low, TENTH, False), (high, 1 - TENTH, True)):
            if not factor:
                continue
            edge = PropertyEdges(name, factor, float(known.quantile(share)), above)
            beyond = float(carries({name: known}, [edge])[:, 0].double().mean())
            if TENTH / 5 <= beyond <= 2 * TENTH:
                found.append(edge)
    return found


def carries(values: dict[str, Tensor], edges: list[PropertyEdges]) -> Tensor:
    """Which images carry each factor; (n f), bool; an image whose property is nan does not.

    Args:
        values: of the images; name -> (n), float.
        edges: of the factors.

    Example:
        >>> edge = PropertyEdges("brightness", "dark", 0.2, False)
        >>> carries({"brightness": torch.tensor([0.1, 0.5])}, [edge])
        tensor([[ True],
                [False]])
    """
    columns = [values[edge.name] > edge.edge if edge.above else values[edge.name] < edge.edge for edge in edges]
    return torch.stack(columns, 1)


def _second_differences(grey: Tensor, dim: int) -> Tensor:
    """Neighbours along an axis less twice the pixel between them."""
    inner = grey.narrow(dim, 1, grey.shape[dim] - 2)
    return grey.narrow(dim, 0, inner.shape[dim]) - 2 * inner + grey.narrow(dim, 2, inner.shape[dim])


def _moments(maps: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and variance of each map; (n), of maps (n h w)."""
    flat = maps.flatten(1)
    mean = flat.mean(1)
    return mean, (flat - mean[:, None]).square().mean(1)


def _positive(values: Tensor) -> Tensor:
    """Nan where a value is 0, or rounding alone."""
    return torch.where(values > torch.finfo(torch.float32).tiny, values, torch.nan)


def _object_size(grey: Tensor) -> Tensor:
    """Share of the pixels on the side of Otsu's threshold that holds the smaller part of the border; (n)."""
    h, w = grey.shape[1:]
    grey = grey[:, :: -(-h // _SIDE), :: -(-w // _SIDE)]
    edge = torch.ones(grey.shape[1:], device=grey.device)
    edge[1:-1, 1:-1] = 0
    flat = rearrange(grey, "n h w -> n (h w)")
    low, high = flat.amin(1, keepdim=True), flat.amax(1, keepdim=True)
    places = ((flat - low) / _positive(high - low) * _BINS).nan_to_num(nan=0.0).long().clamp(0, _BINS - 1)
    counts = torch.zeros(len(flat), _BINS, device=grey.device)
    counts.scatter_add_(1, places, torch.ones_like(flat))
    below = counts.cumsum(1)[:, :-1]
    centres = torch.arange(_BINS, device=grey.device, dtype=torch.float32)
    moment = (counts * centres).cumsum(1)
    above = flat.shape[1] - below
    means = moment[:, :-1] / below.clamp(min=1), (moment[:, -1:] - moment[:, :-1]) / above.clamp(min=1)
    threshold = (below * above * (means[0] - means[1]).square()).argmax(1, keepdim=True)
    bright = places > threshold
    bright_edge = bright.float() @ edge.flatten() / (2 * sum(edge.shape) - 4)
    share = bright.float().mean(1)
    size = torch.where(bright_edge <= 0.5, share, 1 - share)
    return torch.where((high > low)[:, 0], size, torch.nan)
