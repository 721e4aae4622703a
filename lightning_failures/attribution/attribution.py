"""What a model loses on a batch when channels are replaced: one call, eight methods.

Integrated gradients: Sundararajan, Taly and Yan (2017). Expected gradients: Erion et al. (2021). Permutation
importance: Breiman (2001); Fisher, Rudin and Dominici (2019). Conditional permutation: Strobl et al. (2008).
"""

import warnings
from collections.abc import Callable
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn

from lightning_failures.attribution.ablation import ablation, conditional_permutation, permutation, shapley
from lightning_failures.attribution.null_models import (
    LEAST_RISE,
    NULL_HEADS,
    Null,
    check_null,
    null_heads,
    shuffled_head,
    widened,
)
from lightning_failures.attribution.path_gradients import expected_gradients, gradient_x_input, integrated_gradients
from lightning_failures.attribution.task import Changes, Task, check_inputs, open_task, resolve_groups
from lightning_failures.errors import FailuresWarning, InputError, UnknownNameError
from lightning_failures.functional.channels import ChannelProfile, Output
from lightning_failures.functional.moments import finite_images
from lightning_failures.spectrum.bands import BandsLike

__all__ = ["Method", "attribute_channels"]

Method = Literal[
    "ablation",
    "shapley",
    "permutation",
    "conditional_permutation",
    "window_conditional_permutation",
    "gradient_x_input",
    "integrated_gradients",
    "expected_gradients",
]

#: Random orders, shuffles, or points of the path, where the caller does not say.
DRAWS = {
    "ablation": 1,
    "shapley": 8,
    "permutation": 1,
    "conditional_permutation": 1,
    "window_conditional_permutation": 1,
    "gradient_x_input": 1,
    "integrated_gradients": 0,  # as many as it takes
    "expected_gradients": 64,
}
#: Points of the path for a null, where a tenth is near enough.
NULL_POINTS = 24


def attribute_channels(
    model: nn.Module,
    inputs: Tensor,
    targets: Tensor | None,
    method: Method = "ablation",
    bands: BandsLike = None,
    baseline: str | float | Tensor = "mean",
    wavelengths: Any = None,
    unit: str | None = None,
    *,
    output: Output = "cross_entropy",
    draws: int | None = None,
    null: Null | None = None,
    channel_axis: int = 1,
    chunk_size: int = 64,
    seed: int = 0,
    where: str = "attribute_channels",
) -> ChannelProfile:
    """What a model loses without each channel, or band of channels, of a batch.

    The model runs in ``eval`` and nothing of it is changed: gradients, modes, buffers and random state stay bitwise as
    they are. Under distributed training the module inside the wrapper runs on this rank's images alone.

    Args:
        model: gives logits (n c), or (n c h w) for each pixel.
        inputs: images (n C h w), or with any other axes, images first; float.
        targets: class of each image (n) or pixel (n h w), -100 where none counts; whole numbers. One-hot classes,
            (n c) or (n c h w), are taken too. None: what the model predicts.
        method: ``"ablation"``: each band replaced by the baseline. ``"shapley"``: its mean over the orders in which
            bands are replaced. ``"permutation"``: by another image's. ``"conditional_permutation"``: only what the
            other channels do not predict, by another image's. ``"window_conditional_permutation"``: the same for a
            window around each channel. ``"gradient_x_input"``: to first order. ``"integrated_gradients"``,
            ``"expected_gradients"``: along paths from the baseline, or from other images.
        bands: see :func:`.resolve_bands`; for windows their width, 5 by default.
        baseline: ``"mean"``: each channel's mean over this batch and its pixels; ``"zero"``; a number; or a tensor of
            one value per channel (C), of one image, or of the inputs.
        wavelengths: place of each channel on the axis, strictly monotone; (C).
        unit: ``"nm"``, ``"um"`` or ``"cm-1"``.
        output: the score: ``"cross_entropy"`` or the target's ``"logit"``.
        draws: random sets of bands, over the number of bands less one (8); shuffles (1); paths to other images (64); or
            points of the path from the baseline: by default from 8 up, until what they miss is below a thousandth.
        null: what becomes the profile's floor, which is otherwise what rounding gives. ``"images"``: the rise that
            chance gives some band, see :func:`.chance_floor`, and at least 0.05 nats; it costs no forward. Or the
            largest rise of a model or inputs that know nothing: ``"head"``: the last layer's weights shuffled, at next
            to no cost where bands are replaced; ``"channels"``: the channels of the inputs shuffled, at twice the cost.
        channel_axis: axis of the channels.
        chunk_size: the most images in one forward, which bounds the memory.
        seed: of the random draws, which leave the global random state alone.
        where: the public name to put into an error.

    Convention:
        ``values`` are the score with the band minus without: the rise of the mean cross-entropy in nats, or the drop of
        the mean logit. 0: no dependence; a channel that is constant has exactly 0. It says what *the model* depends on;
        read it beside the pattern of what carries the signal. Images that hold NaN or infinity are left out: their
        ``changes`` are ``nan`` and count nowhere, and a warning says how many there are.

    Raises:
        InputError: channels not where expected, too few finite images, a baseline or targets that do not fit.
        UnknownNameError: no such method, band or unit.
        DiscoveryError: the model gives no logits, or no gradient where the method needs one.

    Example:
        >>> model = nn.Linear(3, 2, bias=False)
        >>> _ = nn.init.constant_(model.weight, 0.0)
        >>> _ = nn.init.constant_(model.weight[1:, :2], 2.0)
        >>> inputs, targets = torch.tensor([[1.0, 0.0, 5.0], [0.0, 1.0, 5.0]]), torch.tensor([1, 1])
        >>> profile = attribute_channels(model, inputs, targets, baseline="zero", output="logit")
        >>> profile.values, profile.share
        (tensor([1., 1., 0.], dtype=torch.float64), tensor([0.5000, 0.5000, 0.0000], dtype=torch.float64))
    """
    if method not in get_args(Method):
        raise UnknownNameError(where, "no such method", repr(method), f"Choose from {get_args(Method)}.")
    check_null(null, where)
    axis = check_inputs(inputs, channel_axis, method, draws, chunk_size, where)
    usable = finite_images(inputs)
    left_out = int((~usable).sum())
    if left_out:
        if targets is not None and len(targets) == len(inputs):
            targets = targets[usable.to(targets.device)]
        if isinstance(baseline, Tensor) and baseline.ndim == inputs.ndim and len(baseline) == len(inputs):
            baseline = baseline[usable.to(baseline.device)]
        inputs = inputs[usable]
        _check_enough(len(inputs), left_out, method, where)
    bands = resolve_groups(inputs, axis, bands, wavelengths, unit, method, where)
    with open_task(
        model,
        inputs,
        targets,
        bands.members,
        axis,
        baseline=baseline,
        output=output,
        draws=DRAWS[method] if draws is None else draws,
        chunk_size=chunk_size,
        seed=seed,
        where=where,
    ) as task:
        found, floor = _with_floor(task, _METHODS[method], null)
    if found.warning:
        warnings.warn(f"{where}: {found.warning}", FailuresWarning, stacklevel=2)
    changes = found.changes.cpu()
    if left_out:
        said = f"{left_out} of {len(usable)} images hold NaN or infinity and are left out."
        warnings.warn(f"{where}: {said}", FailuresWarning, stacklevel=2)
        rows = torch.full((len(usable), changes.shape[1]), torch.nan, dtype=changes.dtype)
        changes = rows.index_copy_(0, usable.cpu().nonzero()[:, 0], changes)
    return ChannelProfile(
        names=bands.names,
        changes=changes,
        members=bands.members,
        sampling=found.sampling.cpu(),
        positions=bands.positions,
        total=found.total.nanmean().cpu(),
        least=floor.cpu().maximum(task.rounding.cpu()),
        method=method,
        output=output,
        baseline="other images" if method in _SHUFFLES else task.baseline_name,
        target="predicted" if targets is None else "true",
        way=found.way,
        chance=null == "images",
    )


def _check_enough(images: int, left_out: int, method: str, where: str) -> None:
    """A finite image, and two where channels are taken from others."""
    least = 2 if method in _SHUFFLES else 1
    if images < least:
        given = f"{images + left_out} images, of which {left_out} hold NaN or infinity"
        fix = "Mend the images, or pass others; look first where such values come from."
        raise InputError(where, "too few images are finite" if images else "no image is finite", given, fix)


def _with_floor(task: Task, method: Callable[[Task], Changes], null: Null | None) -> tuple[Changes, Tensor]:
    """What a method finds, and the least floor of a null: of a model that knows nothing, its largest rise."""
    floor = torch.zeros((), dtype=torch.float64)
    own = torch.Generator().manual_seed(task.generator.initial_seed() + 1)  # values are the same with and without
    if null == "channels":
        order = torch.randperm(task.inputs.shape[task.axis], generator=own).to(task.inputs.device)
        inputs, base = (part.index_select(task.axis, order) for part in (task.inputs, task.baseline))
        return method(task), method(task._replace(inputs=inputs, baseline=base)).changes.nanmean(0).max()
    if null == "images":  # the chance of the images is for whoever has all of them
        return method(task), floor + (LEAST_RISE if task.output == "cross_entropy" else 0.0)
    if null is None:
        return method(task), floor
    heads = null_heads(task.model, task.inputs, own, task.where)
    if method not in (gradient_x_input, integrated_gradients, expected_gradients):
        with widened(heads, task.model, task.inputs) as together:
            if together:
                found = method(task._replace(null_heads=NULL_HEADS))
                assert found.null is not None
                return found, found.null.max()
    found = method(task)
    task = task._replace(draws=task.draws or NULL_POINTS)
    for which in range(NULL_HEADS):
        with shuffled_head(heads, which):
            floor = floor.maximum(method(task).changes.nanmean(0).max().cpu())
    return found, floor


_METHODS: dict[str, Callable[[Task], Changes]] = {
    "ablation": ablation,
    "shapley": shapley,
    "permutation": permutation,
    "conditional_permutation": conditional_permutation,
    "window_conditional_permutation": conditional_permutation,
    "gradient_x_input": gradient_x_input,
    "integrated_gradients": integrated_gradients,
    "expected_gradients": expected_gradients,
}
_SHUFFLES = ("permutation", "conditional_permutation", "window_conditional_permutation", "expected_gradients")
