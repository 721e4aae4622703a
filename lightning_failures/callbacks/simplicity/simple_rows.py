"""The rows that simple models see of a batch: features of each image or of a few pixels, with labels and cues."""

from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor

from lightning_failures.errors import InputError
from lightning_failures.functional.ladder import ladder_features, pixel_ladder_features
from lightning_failures.interventions.changes import RawUnits
from lightning_failures.metrics.base import NO_FLOAT64
from lightning_failures.observe.pixels import draw_positions, pixel_rows

__all__ = ["SimpleRows", "as_floats", "home_of", "simple_rows"]

PIXELS = 16  # rows an image, where pixels are labelled


class SimpleRows(NamedTuple):
    """What the rungs of the ladder need of one batch; m rows."""

    features: dict[str, Tensor]  # name -> (m k)
    cues: dict[str, Tensor]  # name -> (m), the standard ones and the user's
    target: Tensor  # (m) int64
    logits: Tensor | None  # (m c)


def as_floats(inputs: Tensor) -> Tensor:
    """Inputs in float32, or float64 as they are."""
    return inputs if inputs.dtype == torch.float64 else inputs.float()


def simple_rows(
    inputs: Tensor,
    target: Tensor,
    logits: Tensor | None,
    cues: Mapping[str, Tensor],
    units: RawUnits | None,
    standard: tuple[str, ...],
    seed: int = 0,
) -> SimpleRows:
    """One row an image, or 16 pixels of each where the labels are those of pixels.

    Args:
        inputs: as the model sees them; (n b h w), (n b t) or (n b).
        target: (n), or (n h w) for pixels; int64.
        logits: (n c), or (n c h w); None in training.
        cues: the user's; name -> (n) or (n h w).
        units: raw units of the inputs; None: the inputs are raw.
        standard: names of rungs of one number that are cues too.
        seed: of the places of pixels.

    Raises:
        InputError: labels of neither one an image nor one a pixel.
    """
    images = as_floats(inputs)
    raw = images if units is None else units.to_raw(images)
    if target.ndim == 1:
        features = ladder_features(images, raw=raw)
        for name, values in cues.items():
            if values.ndim > 1:
                given = f"{tuple(values.shape)} for labels {tuple(target.shape)}"
                fix = "Give one number an image where an image has one label."
                raise InputError("SimplicityBiasMonitor(cues=...)", f"the cue {name!r} is one of pixels", given, fix)
        named = dict(cues)
    elif target.ndim == 3 and images.ndim == 4 and (logits is None or logits.ndim == 4):
        places = draw_positions(len(images), PIXELS, seed)
        size = (len(images), *images.shape[2:])
        whole = pixel_ladder_features(images, raw=raw)
        features = {k: pixel_rows(rows.unflatten(0, size).movedim(-1, 1), places) for k, rows in whole.items()}
        named = {
            name: pixel_rows(values, places) if values.ndim > 1 else values.repeat_interleave(PIXELS)
            for name, values in cues.items()
        }
        target = pixel_rows(target, places)
        logits = None if logits is None else pixel_rows(logits, places)
    else:
        given = f"labels {tuple(target.shape)} for inputs {tuple(inputs.shape)}"
        fix = "Use it on classification, or on segmentation with a label a pixel."
        raise InputError("SimplicityBiasMonitor", "targets are labels of neither images nor pixels", given, fix)
    home = home_of(images.device)
    features = {name: rows.to(home) for name, rows in features.items()}
    found = {name: features[name][:, 0].double() for name in standard if name in features}
    return SimpleRows(features, found | named, target.to(home), None if logits is None else logits.to(home))


def home_of(device: torch.device) -> torch.device:
    """Where rows and their sums live: on the device itself, or on the CPU for one without float64."""
    return torch.device("cpu") if device.type in NO_FLOAT64 else device
