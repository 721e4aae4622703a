"""One batch whose channels are to be attributed: its checks, what every method needs of it, and what a method finds."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from einops import rearrange
from torch import Tensor, nn

from lightning_failures.attribution.replacement import baseline_inputs
from lightning_failures.errors import InputError
from lightning_failures.functional.channels import Output, target_scores
from lightning_failures.observe.logits import logits_of
from lightning_failures.observe.undisturbed import ordinary, undisturbed, unwrapped
from lightning_failures.spectrum.axes import spectral_axis
from lightning_failures.spectrum.bands import Bands, BandsLike, resolve_bands, windows

__all__ = ["WINDOW", "Changes", "Task", "check_inputs", "class_indices", "open_task", "resolve_groups", "spread"]

#: Channels of a window, where the caller does not say.
WINDOW = 5


class Task(NamedTuple):
    """One batch, its bands and the score that is attributed."""

    model: nn.Module
    inputs: Tensor
    target: Tensor
    output: Output
    axis: int
    members: Tensor  # (g C) bool, on the inputs' device
    baseline: Tensor  # of the inputs' shape
    baseline_name: str
    draws: int
    chunk_size: int
    generator: torch.Generator
    rounding: Tensor  # () float64, size of a mean change that rounding of the logits alone gives
    where: str  # the public name to put into an error
    null_heads: int = 0  # heads beside the model's own, whose logits follow its own

    @property
    def chunks(self) -> Iterator[slice]:
        """The images of one forward after the other."""
        count, size = len(self.inputs), self.chunk_size
        return (slice(first, min(first + size, count)) for first in range(0, count, size))

    @property
    def groups(self) -> list[Tensor]:
        """Channels of each band; (k), int64."""
        return [row.nonzero().flatten() for row in self.members]

    def score(self, logits: Tensor, chunk: slice) -> Tensor:
        """Score of some of the images; (n), float64; with null heads (n k+1), flattened."""
        parts = logits.chunk(1 + self.null_heads, 1) if self.null_heads else (logits,)
        target = self.target[chunk]
        scores = [target_scores(part, target, self.output, where=self.where) for part in parts]
        return rearrange(scores, "k n -> (n k)")


class Changes(NamedTuple):
    """What a method finds."""

    changes: Tensor  # (n g) float64
    sampling: Tensor  # (g) float64, variance of the mean over images by random draws
    total: Tensor  # (n) float64, change with all bands replaced; nan where the method does not give it
    way: str
    null: Tensor | None = None  # (k g) float64, mean changes of the null heads
    warning: str = ""


def spread(means: Tensor) -> Tensor:
    """Variance of the mean over draws; (g), float64; 0 for one draw, whose spread the images show.

    Args:
        means: mean change over images of each draw; (m g), float64.
    """
    return means.var(0) / len(means) if len(means) > 1 else torch.zeros_like(means[0])


@contextmanager
def open_task(
    model: nn.Module,
    inputs: Tensor,
    targets: Tensor | None,
    members: Tensor,
    axis: int,
    *,
    baseline: str | float | Tensor = "mean",
    output: Output = "cross_entropy",
    draws: int = 1,
    chunk_size: int = 64,
    seed: int = 0,
    where: str = "open_task",
) -> Iterator[Task]:
    """A task inside, with the model in ``eval`` under ``no_grad``; outside, nothing of the model is changed.

    Args:
        model: gives the logits.
        inputs: images; any shape, images first, float.
        targets: class of each image or pixel; None: what the model predicts.
        members: channels of each band; (g C), bool.
        axis: axis of the channels, from the front.
        baseline: see :func:`.baseline_inputs`.
        output: the score.
        draws: number of random draws, or of points.
        chunk_size: the most images in one forward.
        seed: of the random draws.
        where: the public name to put into an error.

    Raises:
        InputError: the model does not take the inputs, or the targets or the baseline do not fit.
    """
    model = unwrapped(model)
    with undisturbed(model, inputs.device), torch.no_grad():
        kept = ordinary(inputs)
        try:
            few = logits_of(model(kept[:2].clone()), where)
        except RuntimeError as error:
            raise InputError(
                where,
                "the model does not take these inputs",
                f"inputs {tuple(inputs.shape)} with {inputs.shape[axis]} channels on axis {axis}; "
                f"it says: {str(error).splitlines()[0]}",
                "Put the channels on the axis where the model expects them, and name it: channel_axis=1.",
            ) from error
        classes = few.shape[1] if few.ndim > 1 and few.shape[1] > 1 else 2
        targets = None if targets is None else class_indices(targets, few, where)
        if targets is not None and not bool((targets < classes).all() & ((targets >= 0) | (targets == -100)).all()):
            raise InputError(
                where,
                "targets name classes that the model does not have",
                f"targets from {targets.min()} to {targets.max()}, {classes} classes",
                f"Give targets from 0 to {classes - 1}, and -100 where none counts.",
            )
        base, name = baseline_inputs(kept, axis, baseline, where)
        yield Task(
            model=model,
            inputs=kept,
            target=_predict(model, kept, chunk_size) if targets is None else ordinary(targets).to(inputs.device),
            output=output,
            axis=axis,
            members=members.to(inputs.device),
            baseline=base,
            baseline_name=name,
            draws=draws,
            chunk_size=chunk_size,
            generator=torch.Generator().manual_seed(seed),
            rounding=8 * torch.finfo(few.dtype).eps * few.abs().max().cpu().double() / len(kept) ** 0.5,
            where=where,
        )


def class_indices(targets: Tensor, logits: Tensor, where: str = "class_indices") -> Tensor:
    """Targets as one class per image or pixel; one-hot classes, which have the shape of the logits, become indices.

    Args:
        targets: (n) or (n h w), or one-hot (n c) or (n c h w); any type.
        logits: of some of the images, (n c), (n c h w), or without an axis of classes where there is one logit.
        where: the public name to put into an error.

    Raises:
        InputError: fractions, or several classes per image.

    Example:
        >>> class_indices(torch.tensor([[0, 1, 0], [1, 0, 0]]), torch.zeros(2, 3))
        tensor([1, 0])
    """
    by_class = targets.ndim == logits.ndim > 1 and targets.shape[1:] == logits.shape[1:] and logits.shape[1] > 1
    if by_class and bool(((targets == 0) | (targets == 1)).all() & (targets.sum(1) == 1).all()):
        return targets.long().argmax(1)
    several = by_class and logits.ndim != 3  # (n h w) may be one logit per pixel
    if several or (targets.is_floating_point() and not bool((targets == targets.round()).all())):
        raise InputError(
            where,
            "targets are not one class each",
            f"targets {tuple(targets.shape)} {targets.dtype} for logits (n, {', '.join(map(str, logits.shape[1:]))})",
            "Give whole numbers, one class per image (n) or pixel (n h w), or one-hot classes; of smoothed or mixed "
            "labels give targets.argmax(1), of several labels per image one after the other, with its logit alone.",
        )
    return targets


def check_inputs(
    inputs: Tensor, channel_axis: int, method: str, draws: int | None, chunk_size: int, where: str = "check_inputs"
) -> int:
    """The channel axis, counted from the front; ``where`` is the public name to put into an error.

    Raises:
        InputError: no float images, no such axis, too few images for a shuffle, or a count below 1.
    """
    given = f"inputs {tuple(inputs.shape)} {inputs.dtype}"
    if not inputs.is_floating_point() or inputs.ndim < 2 or not inputs.numel():
        raise InputError(
            where,
            "inputs are not float images",
            given,
            "Give a float tensor (n C h w) of an image or more.",
        )
    if not -inputs.ndim < channel_axis < inputs.ndim or channel_axis == 0:
        raise InputError(
            where,
            f"there is no channel axis {channel_axis}",
            given,
            f"Choose from 1 to {inputs.ndim - 1}; axis 0 holds the images.",
        )
    if len(inputs) < 2 and ("permutation" in method or method == "expected_gradients"):
        raise InputError(
            where,
            f"{method!r} takes channels from other images",
            "one image",
            "Pass two images or more, or use method='ablation'.",
        )
    if chunk_size < 1 or (draws is not None and draws < 1):
        raise InputError(
            where,
            "draws and chunk_size count from 1",
            f"draws={draws}, chunk_size={chunk_size}",
            "Give whole numbers of at least 1.",
        )
    return channel_axis % inputs.ndim


def resolve_groups(
    inputs: Tensor,
    axis: int,
    bands: BandsLike,
    wavelengths: Any,
    unit: str | None,
    method: str = "ablation",
    where: str = "resolve_groups",
) -> Bands:
    """The bands of some inputs; for a method of windows, one around each channel."""
    channels = inputs.shape[axis]
    scale = None if wavelengths is None else spectral_axis(wavelengths, unit, channels, inputs.shape, where)
    if method == "window_conditional_permutation" and (bands is None or isinstance(bands, int)):
        return windows(channels, min(WINDOW, channels) if bands is None else bands, scale, where)
    return resolve_bands(bands, channels, scale, where)


def _predict(model: nn.Module, inputs: Tensor, chunk_size: int) -> Tensor:
    logits = torch.cat([logits_of(model(part.clone())) for part in inputs.split(chunk_size)])
    if logits.ndim == 1 or logits.shape[1] == 1:
        return (logits > 0).long() if logits.ndim == 1 else (logits[:, 0] > 0).long()
    return logits.argmax(1)
