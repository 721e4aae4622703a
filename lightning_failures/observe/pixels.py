"""A few pixels of each image, for models that say something about every pixel."""

import torch
from einops import rearrange, repeat
from torch import Tensor

from lightning_failures.observe.observation import Observation

__all__ = ["draw_positions", "pixel_rows", "rows_of"]


def draw_positions(images: int, pixels: int, seed: int) -> Tensor:
    """Positions in the unit square, drawn with replacement; (n k 2), the same for the same seed on every device.

    Draws nothing from the global generators.

    Args:
        images: number of images n.
        pixels: positions per image, k.
        seed: another seed gives other positions.
    """
    return torch.rand(images, pixels, 2, generator=torch.Generator().manual_seed(seed))


def pixel_rows(maps: Tensor, positions: Tensor) -> Tensor:
    """What maps hold at some positions, one row per position; maps of another size are read at the same places.

    Args:
        maps: (n d h w), or (n h w) for one value per pixel.
        positions: in [0, 1); (n k 2), height before width.

    Returns:
        (n*k d), or (n*k); those of one image stand together.

    Example:
        >>> maps = torch.arange(8).reshape(1, 2, 2, 2)
        >>> pixel_rows(maps, torch.tensor([[[0.0, 0.9], [0.9, 0.9]]]))
        tensor([[1, 5],
                [3, 7]])
    """
    size = torch.tensor(maps.shape[-2:])
    places = (positions * size).long().to(maps.device, non_blocking=True)
    images = torch.arange(len(maps), device=maps.device)[:, None]
    channels_last = rearrange(maps, "n d h w -> n h w d") if maps.ndim == 4 else maps
    return rearrange(channels_last[images, places[..., 0], places[..., 1]], "n k ... -> (n k) ...")


def rows_of(seen: Observation, seed: int = 0, pixels: int = 16) -> Observation:
    """The observation as rows: of maps, that is of segmentation, some pixels of each image.

    Logits (n c h w) without one label per pixel are left out. Logits, labels and features are read at the same places.

    Args:
        seen: what one batch showed.
        seed: of the places; the batch's index, so that batches differ and evaluations do not.
        pixels: places per image.
    """
    labels, logits = seen.targets, seen.logits
    maps = logits is not None and logits.ndim == 4 and labels is not None and labels.ndim == 3
    if logits is not None and logits.ndim != 2 and not maps:
        logits = None
    if not maps and all(value.ndim == 2 for value in seen.features.values()):
        return Observation(seen.batch, seen.inputs, labels, logits, seen.features, seen.keep, seen.errors)
    places = draw_positions(seen.images, pixels, seed)

    def read(value: Tensor) -> Tensor:
        views = len(value) // max(1, len(places))
        return pixel_rows(value, repeat(places, "n k place -> (views n) k place", views=views))

    features = {name: read(value) if value.ndim == 4 else value for name, value in seen.features.items()}
    if logits is None or labels is None or not maps:
        return Observation(seen.batch, seen.inputs, None, None, features)
    return Observation(seen.batch, None, read(labels), read(logits), features)
