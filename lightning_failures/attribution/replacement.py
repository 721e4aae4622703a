"""What channels are replaced by: a baseline, another image's channels, or their residual given the other channels.

Conditional permutation: Strobl et al., "Conditional variable importance for random forests" (BMC Bioinformatics, 2008);
with residuals of a linear model, Watson and Wright, "Testing conditional independence in supervised learning" (2021).
"""

from typing import Protocol

import torch
from einops import rearrange
from torch import Tensor

from lightning_failures.errors import InputError

__all__ = ["Baseline", "Conditional", "Replacement", "Shuffle", "baseline_inputs", "donors"]


class Replacement(Protocol):
    """Gives the values of some channels, for some images of the inputs, in the layout of the inputs."""

    def __call__(self, chunk: slice, channels: Tensor) -> Tensor:
        """Values of ``channels`` (k), int64, for the images ``chunk``."""


class Baseline:
    """The same for every image: the values of a baseline."""

    def __init__(self, values: Tensor, axis: int) -> None:
        self.shape, self.axis = values.shape, axis
        for repeated in (a for a in range(values.ndim) if a != axis and values.stride(a) == 0):
            values = values.narrow(repeated, 0, 1)  # else selecting would write out every repetition
        self.values = values.contiguous()

    def __call__(self, chunk: slice, channels: Tensor) -> Tensor:
        """The baseline's channels."""
        values = self.values if len(self.values) == 1 else self.values[chunk]
        shape = list(self.shape)
        shape[0], shape[self.axis] = len(range(*chunk.indices(shape[0]))), len(channels)
        return values.index_select(self.axis, channels).expand(shape)


class Shuffle:
    """The channels of another image."""

    def __init__(self, inputs: Tensor, axis: int, donor: Tensor) -> None:
        self.inputs, self.axis, self.donor = inputs, axis, donor

    def __call__(self, chunk: slice, channels: Tensor) -> Tensor:
        """The donors' channels."""
        return self.inputs.index_select(self.axis, channels)[self.donor[chunk]]


class Conditional:
    """What the other channels do not predict of some channels, in every image.

    The prediction is a ridge regression on the other channels, fitted to all pixel spectra at once: with P the inverse
    of their covariance, the residual of the channels G is P_GG^-1 (P (x - mean))_G. Takes twice the memory of the
    inputs.

    Args:
        inputs: images; any shape, images first.
        axis: axis of the channels.
        ridge: added to the covariance's diagonal, as a share of its mean.
        where: the public name to put into an error.

    Raises:
        InputError: no more pixel spectra than channels, whose residuals would all vanish.
    """

    def __init__(self, inputs: Tensor, axis: int, ridge: float = 1e-6, where: str = "Conditional") -> None:
        self.inputs, self.axis = inputs, axis
        source = inputs.cpu() if inputs.device.type == "mps" else inputs  # which has no float64
        maps = source.movedim(axis, -1).double()
        spectra = rearrange(maps, "... c -> (...) c")
        if len(spectra) <= spectra.shape[1]:
            raise InputError(
                where,
                "conditional permutation needs more pixel spectra than channels",
                f"{len(spectra)} spectra of {spectra.shape[1]} channels",
                "Pass more images, or use method='ablation' with bands.",
            )
        centred = spectra - spectra.mean(0)
        covariance = centred.T @ centred / len(spectra)
        variance = covariance.diagonal().mean()
        covariance.diagonal().add_(torch.where(variance > 0, ridge * variance, 1.0))
        self.precision = torch.cholesky_inverse(torch.linalg.cholesky(covariance))
        self.scaled = (centred @ self.precision).view(maps.shape)

    def residual(self, channels: Tensor) -> Tensor:
        """Residual of some channels given all others, in the layout of the inputs."""
        group = channels.to(self.scaled.device)
        block = self.precision[group][:, group]
        spectra = rearrange(self.scaled[..., group], "... k -> (...) k")
        flat: Tensor = torch.linalg.solve(block, spectra.T).T
        return flat.view(*self.scaled.shape[:-1], len(group)).movedim(-1, self.axis)

    def shuffled(self, donor: Tensor) -> Replacement:
        """Channels as the others predict them, with the residual of a donor.

        Args:
            donor: which image gives its residual; (n), int64.
        """

        def values(chunk: slice, channels: Tensor) -> Tensor:
            residual = self.residual(channels)
            change = residual[donor.to(residual.device)[chunk]] - residual[chunk]
            return self.inputs[chunk].index_select(self.axis, channels) + change.to(self.inputs)

        return values


def baseline_inputs(
    inputs: Tensor, axis: int, baseline: str | float | Tensor, where: str = "baseline_inputs"
) -> tuple[Tensor, str]:
    """A baseline of the shape of the inputs, expanded without memory where it can be, and its name.

    Args:
        inputs: images; any shape, images first.
        axis: axis of the channels.
        baseline: ``"mean"``: each channel's mean over this batch and its pixels; ``"zero"``; a number; or a tensor of
            one value per channel (C), of one image, or of the inputs.
        where: the public name to put into an error.

    Raises:
        InputError: of another shape or name.
    """
    others = [a for a in range(inputs.ndim) if a != axis]
    if isinstance(baseline, str):
        if baseline not in ("mean", "zero"):
            raise InputError(where, "no such baseline", repr(baseline), "Use 'mean', 'zero', a number or a tensor.")
        if baseline == "zero":
            return inputs.new_zeros(()).expand_as(inputs), baseline
        wide = torch.float32 if inputs.device.type == "mps" else torch.float64  # exact where a channel is constant
        return inputs.mean(others, keepdim=True, dtype=wide).to(inputs.dtype).expand_as(inputs), baseline
    if not isinstance(baseline, Tensor):
        return inputs.new_full((), baseline).expand_as(inputs), f"{baseline:g}"
    given = baseline.detach().to(inputs)
    if given.shape == inputs.shape[axis : axis + 1]:
        shape = [1] * inputs.ndim
        shape[axis] = -1
        return given.view(shape).expand_as(inputs), "given"
    if given.shape not in (inputs.shape[1:], inputs.shape):
        raise InputError(
            where,
            "the baseline does not fit the inputs",
            f"baseline {tuple(baseline.shape)}, inputs {tuple(inputs.shape)}",
            "Give one value per channel, one image, or as many images as there are inputs.",
        )
    return given.expand_as(inputs), "given"


def donors(images: int, generator: torch.Generator) -> Tensor:
    """Another image for each, every image once, drawn at random; (n), int64.

    Example:
        >>> donor = donors(5, torch.Generator().manual_seed(0))
        >>> donor.sort().values.tolist(), bool((donor == torch.arange(5)).any())
        ([0, 1, 2, 3, 4], False)
    """
    order = torch.randperm(images, generator=generator)
    donor = torch.empty_like(order)
    donor[order] = order.roll(1)  # one cycle through all, so that none is its own donor
    return donor
