"""One batch as every monitor sees it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from lightning_failures.errors import InputError

__all__ = ["PENULTIMATE", "Observation", "pool"]

#: Name of the features that enter the classifier head.
PENULTIMATE = "penultimate"


@dataclass(frozen=True)
class Observation:
    """What one batch showed; a field that the batch or the module does not have is None."""

    batch: Any
    inputs: Tensor | None = None  # (n b h w), or (n d)
    targets: Tensor | None = None  # (n) or (n h w), int64
    logits: Tensor | None = None  # (n c) or (n c h w)
    features: Mapping[str, Tensor] = field(default_factory=dict)  # layer -> (n d)

    def __post_init__(self) -> None:
        if self.targets is not None and self.logits is not None and len(self.targets) != len(self.logits):
            raise InputError(
                "Probe",
                "targets and logits differ in length",
                f"targets {tuple(self.targets.shape)}, logits {tuple(self.logits.shape)}",
                "Name the fields that belong together: targets='label', logits='net.head'.",
            )

    @property
    def images(self) -> int:
        """Number of images n."""
        return next((len(value) for value in (self.logits, self.inputs, self.targets) if value is not None), 0)

    def select(self, keep: Tensor) -> "Observation":
        """The images for which ``keep`` is true; (n), bool, on the CPU."""
        if bool(keep.all()):
            return self
        rows = keep.nonzero().squeeze(1)

        def take(value: Tensor | None) -> Tensor | None:
            return None if value is None else value[rows.to(value.device)]

        return Observation(
            self.batch,
            take(self.inputs),
            take(self.targets),
            take(self.logits),
            {name: value[rows.to(value.device)] for name, value in self.features.items()},
        )


def pool(value: Tensor, images: int, name: str) -> Tensor:
    """One row an image: maps (n d h w) and tokens (n t d) are averaged over their positions."""
    if value.ndim < 2 or len(value) != images:
        raise InputError(
            "Probe(layers=...)",
            f"the layer {name!r} does not give one row an image",
            f"{tuple(value.shape)} for {images} images",
            "Name a layer whose output keeps the images on its first axis.",
        )
    if value.ndim == 2:
        return value
    return value.float().mean(1) if value.ndim == 3 else value.float().flatten(2).mean(2)
