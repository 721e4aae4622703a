"""One batch as every monitor sees it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from einops import rearrange
from torch import Tensor

from lightning_failures.errors import DiscoveryError
from lightning_failures.observe.task import LabelAnswers

__all__ = ["Observation"]


@dataclass(frozen=True)
class Observation:
    """What one batch showed; a field that the batch or the module does not have is None."""

    batch: Any
    inputs: Tensor | None = None  # (n b h w), or (n d)
    targets: Tensor | None = None  # (n) or (n h w), int64
    logits: Tensor | None = None  # (n c) or (n c h w)
    # layer -> (n d); (v n d) where it was called on v views; (n d h w) for the penultimate one of a segmentation model
    features: Mapping[str, Tensor] = field(default_factory=dict)
    keep: Tensor | None = None  # (n) bool, which images of the batch these are; None: all of them
    errors: Tensor | None = None  # (n) float32, where no one class an image is right or wrong; None: it is
    answers: LabelAnswers | None = None  # two of (n l), of several labels per image

    @property
    def images(self) -> int:
        """Number of images n."""
        return next((len(value) for value in (self.logits, self.inputs, self.targets) if value is not None), 0)

    @property
    def empty(self) -> bool:
        """Whether no image is left: the batch held none, or nothing but a sampler's padding."""
        held = (self.logits, self.inputs, self.targets, *self.features.values())
        return any(value is not None and not len(value) for value in held)

    @property
    def batch_images(self) -> int:
        """Number of images in the batch, before some were left out."""
        return self.images if self.keep is None else len(self.keep)

    def require_inputs(self, where: str) -> Tensor:
        """The inputs.

        Args:
            where: the public name that needs them, for the error.

        Raises:
            DiscoveryError: there are none; it says what to name.
        """
        if self.inputs is None:
            given = "a batch without a float or uint8 tensor of two or more axes"
            fix = "Name the field that holds them: inputs='image'."
            raise DiscoveryError(where, "no inputs were found", given, fix)
        return self.inputs

    def require_targets(self, where: str) -> Tensor:
        """The targets.

        Args:
            where: the public name that needs them, for the error.

        Raises:
            DiscoveryError: there are none; it says what to name.
        """
        if self.targets is None:
            fix = "Name the field that holds them: targets='label', or a callable that takes the batch."
            raise DiscoveryError(where, "no targets were found", "a batch without integer labels", fix)
        return self.targets

    def of_batch(self, values: Tensor) -> Tensor:
        """What a field of the batch, with one value per image, says of the images that are left; (n ...)."""
        return values if self.keep is None else values[self.keep.to(values.device)]

    def select(self, keep: Tensor) -> "Observation":
        """The images for which ``keep`` is true; (n), bool, on the CPU."""
        if bool(keep.all()):
            return self
        rows = keep.nonzero().squeeze(1)

        def take(value: Tensor | None) -> Tensor | None:
            return None if value is None else value[rows.to(value.device)]

        def take_views(value: Tensor) -> Tensor:
            firsts = torch.arange(0, len(value), len(keep))
            return value[rearrange(firsts[:, None] + rows, "v n -> (v n)").to(value.device)]

        return Observation(
            self.batch,
            take(self.inputs),
            take(self.targets),
            take(self.logits),
            {name: take_views(value) for name, value in self.features.items()},
            keep,
            take(self.errors),
            None if self.answers is None else LabelAnswers(*(value[rows.to(value.device)] for value in self.answers)),
        )


def take_rows(values: Tensor, rows: Tensor) -> Tensor:
    """Some rows of a tensor, without a gradient and without waiting for its device; (k ...).

    Args:
        values: one row per image; (n ...).
        rows: which ones; (k), int64, on the CPU.

    Example:
        >>> take_rows(torch.tensor([1.0, 2.0, 3.0]), torch.tensor([2, 0]))
        tensor([3., 1.])
    """
    return values[rows.to(values.device, non_blocking=True)].detach()
