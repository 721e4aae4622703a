"""Gradients by the input, at one point or along paths to it, gathered by band."""

from collections.abc import Callable

import torch
from einops import rearrange
from torch import Tensor, nn

from lightning_failures.attribution.replacement import donors
from lightning_failures.attribution.task import Changes, Task, spread
from lightning_failures.errors import DiscoveryError
from lightning_failures.observe.logits import logits_of

__all__ = ["expected_gradients", "gradient_x_input", "input_gradient", "integrated_gradients"]

#: Points of the path at first, and at most, where the caller does not say.
LEAST, MOST = 8, 648
#: Share of its size by which the mean total may be missed.
COMPLETE = 1e-3


def input_gradient(
    model: nn.Module, inputs: Tensor, score: Callable[[Tensor], Tensor], where: str = "input_gradient"
) -> tuple[Tensor, Tensor]:
    """Gradient of each image's score by its own input, and the scores.

    Args:
        model: gives the logits; in ``eval``, so that an image's score depends on its own input only.
        inputs: any shape, images first.
        score: from logits to one score per image; (n).
        where: the public name to put into an error.

    Raises:
        DiscoveryError: the model cuts the graph between its input and its logits.
    """
    leaf = inputs.detach().requires_grad_()
    scores = score(logits_of(model(leaf), where))
    if not scores.requires_grad:
        raise DiscoveryError(
            where,
            "the logits have no gradient by the inputs",
            "a model that detaches, or that runs under no_grad itself",
            "Use method='ablation' or 'permutation', which need none.",
        )
    (gradient,) = torch.autograd.grad(scores.nansum(), leaf, allow_unused=True)
    return torch.zeros_like(inputs) if gradient is None else gradient, scores.detach()


def gradient_x_input(task: Task) -> Changes:
    """What replacing each band by the baseline loses, to first order."""
    parts = []
    for chunk in task.chunks:
        inputs = task.inputs[chunk]
        parts.append(_by_band(task, (inputs - task.baseline[chunk]) * _gradient(task, inputs, chunk)))
    changes = torch.cat(parts)
    nothing = changes.new_full((len(changes),), torch.nan)
    return Changes(changes, torch.zeros_like(changes[0]), nothing, "one gradient")


def integrated_gradients(task: Task) -> Changes:
    """The mean gradient over midpoints of the straight path from the baseline, kept as a running sum."""
    runs = [_integrate(task, chunk) for chunk in task.chunks]
    channels, totals, points = (torch.cat(parts) for parts in zip(*runs, strict=True))
    changes = channels @ task.members.to(channels).T
    way = f"{int(points.max())} points of the path"
    missed, size = _missed(channels, totals)
    warning = f"integrated gradients miss {float(missed):.2g} of {float(size):.2g}; {way} are too few: pass more draws."
    found = Changes(changes, torch.zeros_like(changes[0]), totals, way)
    return found._replace(warning=warning) if bool(missed > COMPLETE * size) else found


def _missed(channels: Tensor, totals: Tensor) -> tuple[Tensor, Tensor]:
    """By how much the mean total is missed, and its size, at least a tenth of that of the totals where they cancel."""
    size = totals.nanmean().abs().maximum(totals.abs().nanmean() / 10)
    return (channels.sum(1) - totals).nanmean().abs(), size


def _integrate(task: Task, chunk: slice) -> tuple[Tensor, Tensor, Tensor]:
    """Changes by channel and their total for some images, and how many points that took.

    Three times as many midpoints contain the ones before, so that nothing is computed twice.
    """
    inputs = task.inputs[chunk]
    step = (inputs - task.baseline[chunk]) * _moved(task)
    origin = inputs - step
    total = _score(task, inputs, chunk) - _score(task, origin, chunk)
    # Ranks that share parameters must run equally often
    sharded = any(hasattr(parameter, "device_mesh") for parameter in task.model.parameters())
    points = task.draws or (LEAST * 9 if sharded else LEAST)
    places = [(point + 0.5) / points for point in range(points)]
    summed = torch.zeros_like(inputs)
    while True:
        for place in places:
            summed += _gradient(task, origin + place * step, chunk)
        changes = _by_channel(task, step * summed / points)
        missed, size = _missed(changes, total)
        if task.draws or sharded or points * 3 > MOST or bool(missed <= COMPLETE * size):
            return changes, total, torch.tensor([points])
        places = [(point + part) / points for point in range(points) for part in (1 / 6, 5 / 6)]
        points *= 3


def expected_gradients(task: Task) -> Changes:
    """Gradients at points between each image and others, one for each draw, the points stratified."""
    count = len(task.inputs)
    strata = torch.stack([torch.randperm(task.draws, generator=task.generator) for _ in range(count)], 1)
    points = ((strata + torch.rand(strata.shape, generator=task.generator, dtype=torch.float64)) / task.draws).to(
        task.inputs
    )
    drawn = torch.stack([donors(count, task.generator) for _ in range(task.draws)]).to(task.inputs.device)
    parts = []
    for chunk in task.chunks:
        inputs = task.inputs[chunk]
        each = []
        for donor, point in zip(drawn, points, strict=True):
            step = (inputs - task.inputs[donor[chunk]]) * _moved(task)
            away = (1 - point[chunk]).view(-1, *[1] * (inputs.ndim - 1)) * step
            each.append(_by_band(task, step * _gradient(task, inputs - away, chunk)))
        parts.append(torch.stack(each))
    changes = torch.cat(parts, 1)  # (m n g)
    scores = torch.cat([_score(task, task.inputs[chunk], chunk) for chunk in task.chunks])
    return Changes(changes.mean(0), spread(changes.nanmean(1)), _lost(task, scores, drawn), f"{task.draws} paths")


def _lost(task: Task, scores: Tensor, drawn: Tensor) -> Tensor:
    """Score of each image minus its mean score with the bands of its donors."""
    total = torch.zeros_like(scores)
    for donor in drawn:
        moved = _moved(task)
        given = task._replace(inputs=task.inputs + (task.inputs[donor] - task.inputs) * moved)
        total += torch.cat([_score(given, given.inputs[chunk], chunk) for chunk in task.chunks])
    return scores - total / len(drawn)


def _gradient(task: Task, inputs: Tensor, chunk: slice) -> Tensor:
    with torch.enable_grad():
        return input_gradient(task.model, inputs, lambda logits: task.score(logits, chunk), task.where)[0]


def _score(task: Task, inputs: Tensor, chunk: slice) -> Tensor:
    return task.score(logits_of(task.model(inputs.clone()), task.where), chunk)


def _moved(task: Task) -> Tensor:
    """1 for channels of any band, 0 for the others, which stay as they are; broadcasts over the inputs."""
    shape = [1] * task.inputs.ndim
    shape[task.axis] = -1
    return task.members.any(0).to(task.inputs.dtype).view(shape)


def _by_channel(task: Task, values: Tensor) -> Tensor:
    """Sums over the pixels of each channel; (n C), float64."""
    values = values.cpu() if values.device.type == "mps" else values  # which has no float64
    return rearrange(values.movedim(task.axis, 1), "n c ... -> n c (...)").sum(2, dtype=torch.float64)


def _by_band(task: Task, values: Tensor) -> Tensor:
    """Sums over the pixels and channels of each band; (n g), float64."""
    channels = _by_channel(task, values)
    return channels @ task.members.to(channels).T
