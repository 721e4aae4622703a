"""What simple models see of a batch: one sample per image, or a few pixels of each, with labels and cues."""

from collections.abc import Mapping
from typing import NamedTuple

import torch
from einops import rearrange, repeat
from torch import Tensor

from lightning_failures.callbacks.simplicity.cues import STANDARD_CUES, CueReader
from lightning_failures.errors import InputError
from lightning_failures.functional.ladder import ladder_features, pixel_ladder_features
from lightning_failures.interventions.changes import Denormalize, RawUnits, raw_units
from lightning_failures.metrics.base import NO_FLOAT64
from lightning_failures.observe.batch_fields import Field
from lightning_failures.observe.observation import Observation
from lightning_failures.observe.pixels import draw_positions, pixel_rows

__all__ = ["SampleReader", "Samples", "as_floats", "home_of"]

PIXELS = 16  # samples of an image, where pixels are labelled
_WHERE = "SimplicityBiasMonitor"


class Samples(NamedTuple):
    """What the rungs of the ladder need of one batch; m samples, those of one image together."""

    features: dict[str, Tensor]  # rung -> (m k)
    cues: dict[str, Tensor]  # name -> (m), the standard one and the user's
    target: Tensor  # (m) int64
    logits: Tensor | None  # (m c)


class SampleReader:
    """Reads the samples of a batch: one per image, or 16 pixels of each image where the labels are those of pixels.

    Args:
        cues: the user's: name -> path or callable into the batch.
        denormalize: ``(mean, std)`` or a callable, see :func:`.raw_units`; None: the inputs are raw.
    """

    def __init__(self, cues: Mapping[str, Field] | None = None, denormalize: Denormalize | None = None) -> None:
        self.cue_reader, self.denormalize = CueReader(cues), denormalize
        self.units: RawUnits | None = None  #: behind the inputs; None before the first batch

    @property
    def own_cues(self) -> tuple[str, ...]:
        """Names of the user's cues."""
        return tuple(self.cue_reader.cues)

    def read(self, seen: Observation, logits: Tensor | None = None, seed: int = 0) -> Samples:
        """The samples of one batch, on its device, or on the CPU for a device without float64.

        Args:
            seen: one batch, with inputs (n b h w), (n b t) or (n b), and targets (n), or (n h w) for pixels.
            logits: (n c), or (n c h w); None in training.
            seed: of the places of pixels.

        Raises:
            InputError: labels of neither one per image nor one per pixel; a cue of pixels where an image has one label.
        """
        inputs, target = seen.require_inputs(_WHERE), seen.require_targets(_WHERE)
        home, images = home_of(inputs.device), as_floats(inputs)
        if self.units is None:
            self.units = raw_units(self.denormalize, images, _WHERE)
        raw = images if self.denormalize is None else self.units.to_raw(images)
        cues = self.cue_reader.read(seen, home)
        if target.ndim == 1:
            features = ladder_features(images, raw=raw)
            for name, values in cues.items():
                if values.ndim > 1:
                    given = f"{tuple(values.shape)} for labels {tuple(target.shape)}"
                    fix = "Give one number per image where an image has one label."
                    raise InputError(f"{_WHERE}(cues=...)", f"the cue {name!r} is one of pixels", given, fix)
        elif target.ndim == 3 and images.ndim == 4 and (logits is None or logits.ndim == 4):
            places = draw_positions(len(images), PIXELS, seed)
            (n, _, h, w), whole = images.shape, pixel_ladder_features(images, raw=raw)
            maps = {name: rearrange(each, "(n h w) k -> n k h w", n=n, h=h, w=w) for name, each in whole.items()}
            features = {name: pixel_rows(each, places) for name, each in maps.items()}
            cues = {
                name: pixel_rows(values, places)
                if values.ndim > 1
                else repeat(values, "n -> (n pixels)", pixels=PIXELS)
                for name, values in cues.items()
            }
            target = pixel_rows(target, places)
            logits = None if logits is None else pixel_rows(logits, places)
        else:
            given = f"labels {tuple(target.shape)} for inputs {tuple(inputs.shape)}"
            fix = "Use it on classification, or on segmentation with one label per pixel."
            raise InputError(_WHERE, "targets are labels of neither images nor pixels", given, fix)
        features = {name: each.to(home) for name, each in features.items()}
        standard = STANDARD_CUES[1:] if inputs.shape[1] == 3 else STANDARD_CUES[:1]  # of three channels they agree
        found = {name: features[name][:, 0].double() for name in standard if name in features}
        return Samples(features, found | cues, target.to(home), None if logits is None else logits.to(home))


def as_floats(inputs: Tensor) -> Tensor:
    """Inputs in float32, or float64 as they are."""
    return inputs if inputs.dtype == torch.float64 else inputs.float()


def home_of(device: torch.device) -> torch.device:
    """Where samples and their sums live: on the device itself, or on the CPU for one without float64."""
    return torch.device("cpu") if device.type in NO_FLOAT64 else device
