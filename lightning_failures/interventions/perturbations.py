"""Factors made by hand: the same images darker, turned, zoomed, covered or blurred, for data without annotations.

Each changes one thing by a fixed amount and draws no random number, so that an image and its changed twin can be
compared at every evaluation. Named after the factors of ImageNet-X (Idrissi et al., arXiv 2211.01866) that they
imitate.
"""

from collections.abc import Callable, Sequence
from functools import partial

import torch
from torch import Tensor

from lightning_failures.errors import InputError, UnknownNameError
from lightning_failures.functional.empty_batches import never_empty
from lightning_failures.interventions.changes import Change, RawUnits

__all__ = ["PERTURBATIONS", "perturbations"]


def _brightness(images: Tensor, factor: float) -> Tensor:
    return images * factor  # exposure multiplies; kornia's adjust_brightness adds


def _turn(images: Tensor, degrees: float) -> Tensor:
    from kornia.geometry.transform import rotate

    return rotate(images, torch.full((len(images),), degrees).to(images), padding_mode="border")


def _zoom(images: Tensor, factor: float) -> Tensor:
    from kornia.geometry.transform import scale

    return scale(images, torch.full((len(images), 2), factor).to(images), padding_mode="border")


def _corner(images: Tensor, share: float) -> Tensor:
    """The upper left part of the image at full size, as if the rest lay outside the frame."""
    from kornia.geometry.transform import resize

    height, width = (max(1, round(side * share)) for side in images.shape[-2:])
    size = (images.shape[-2], images.shape[-1])
    return resize(images[..., :height, :width], size, interpolation="bilinear")


def _cover(images: Tensor, share: float) -> Tensor:
    """The middle of the image behind a patch of the image's mean colour."""
    covered = images.clone()
    height, width = images.shape[-2:]
    tall, wide = (max(1, round(side * share)) for side in (height, width))
    top, left = (height - tall) // 2, (width - wide) // 2
    covered[..., top : top + tall, left : left + wide] = images.mean((2, 3), keepdim=True)
    return covered


def _grey(images: Tensor) -> Tensor:
    """All channels at their mean, so that only intensity is left."""
    return images.mean(1, keepdim=True).expand_as(images).clone()


def _blur(images: Tensor, sigma: float) -> Tensor:
    from kornia.filters import gaussian_blur2d

    width = min(2 * round(3 * sigma) + 1, *(side - 1 + side % 2 for side in images.shape[-2:]))
    return gaussian_blur2d(images, (width, width), (sigma, sigma), border_type="replicate")


#: What can be done to images, by the name of the factor that it imitates.
PERTURBATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "brighter": partial(_brightness, factor=1.5),
    "darker": partial(_brightness, factor=0.5),
    "pose": partial(_turn, degrees=30.0),
    "smaller": partial(_zoom, factor=0.5),
    "larger": partial(_zoom, factor=2.0),
    "partial_view": partial(_corner, share=2 / 3),
    "object_blocking": partial(_cover, share=0.5),
    "color": _grey,
    "blur": partial(_blur, sigma=1.0),
}


def perturbations(
    names: Sequence[str], units: RawUnits | None = None, where: str = "perturbations"
) -> dict[str, Change]:
    """Functions from a model's inputs to the same images with one thing changed.

    *brighter* and *darker*: 1.5 and 0.5 times the light; *pose*: turned by 30 degrees; *smaller* and *larger*: at half
    and twice the size; *partial_view*: the upper left two thirds of each side alone; *object_blocking*: the middle half
    of each side covered by the mean colour; *color*: all channels at their mean; *blur*: Gaussian of 1 pixel.

    Args:
        names: some of :data:`PERTURBATIONS`.
        units: how raw units, in which 0 is no light, follow from the inputs; None: the inputs are raw.
        where: the public name to put into an error.

    Returns:
        One function a name; (n b h w) to (n b h w).

    Raises:
        UnknownNameError: a name that is none of them.
        InputError: a name stands twice; in a function, images that are not (n b h w).

    Example:
        >>> dark = perturbations(["darker"])["darker"]
        >>> dark(torch.full((1, 1, 1, 2), 0.4))
        tensor([[[[0.2000, 0.2000]]]])
    """
    unknown = [name for name in names if name not in PERTURBATIONS]
    if unknown:
        fix = f"Use some of {', '.join(PERTURBATIONS)}."
        raise UnknownNameError(where, "there is no such perturbation", ", ".join(unknown), fix)
    if len(set(names)) < len(names):
        raise InputError(where, "a name stands twice", ", ".join(names), "Name each one once.")

    def change(images: Tensor, name: str) -> Tensor:
        if images.ndim != 4:
            given = f"{tuple(images.shape)}"
            raise InputError(where, "inputs are no images", given, "Use them on images (n b h w).")
        alter = never_empty(PERTURBATIONS[name])
        return alter(images) if units is None else units.to_inputs(alter(units.to_raw(images)))

    return {name: partial(change, name=name) for name in names}
