"""Gradients by the input, at one point or along paths to it, gathered by band."""

import torch
from torch import Tensor

from lightning_failures.probes.channel_task import Changes, Task, spread
from lightning_failures.probes.gradients import input_gradient, logits_of
from lightning_failures.probes.replacement import donors

__all__ = ["expected_gradients", "gradient_x_input", "integrated_gradients"]


def gradient_x_input(task: Task) -> Changes:
    """What replacing each band by the baseline loses, to first order."""
    parts = []
    for rows in task.rows:
        inputs = task.inputs[rows]
        parts.append(_by_band(task, (inputs - task.baseline[rows]) * _gradient(task, inputs, rows)))
    changes = torch.cat(parts)
    nothing = changes.new_full((len(changes),), torch.nan)
    return Changes(changes, torch.zeros_like(changes[0]), nothing, "one gradient")


def integrated_gradients(task: Task) -> Changes:
    """The mean gradient over midpoints of the straight path from the baseline, kept as a running sum."""
    parts, totals = [], []
    for rows in task.rows:
        inputs, origin = task.inputs[rows], task.baseline[rows]
        step = inputs - origin
        total = torch.zeros_like(inputs)
        for point in range(task.draws):
            total += _gradient(task, origin + (point + 0.5) / task.draws * step, rows)
        parts.append(_by_band(task, step * total / task.draws))
        totals.append(_score(task, inputs, rows) - _score(task, origin, rows))
    changes = torch.cat(parts)
    return Changes(changes, torch.zeros_like(changes[0]), torch.cat(totals), f"{task.draws} points of the path")


def expected_gradients(task: Task) -> Changes:
    """Gradients at points between each image and others, one for each draw, the points stratified."""
    count = len(task.inputs)
    strata = torch.stack([torch.randperm(task.draws, generator=task.generator) for _ in range(count)], 1)
    points = ((strata + torch.rand(strata.shape, generator=task.generator)) / task.draws).to(task.inputs)
    drawn = torch.stack([donors(count, task.generator) for _ in range(task.draws)]).to(task.inputs.device)
    parts = []
    for rows in task.rows:
        inputs = task.inputs[rows]
        each = []
        for donor, point in zip(drawn, points, strict=True):
            step = inputs - task.inputs[donor[rows]]
            away = (1 - point[rows]).view(-1, *[1] * (inputs.ndim - 1)) * step
            each.append(_by_band(task, step * _gradient(task, inputs - away, rows)))
        parts.append(torch.stack(each))
    changes = torch.cat(parts, 1)  # (m n g)
    scores = torch.cat([_score(task, task.inputs[rows], rows) for rows in task.rows])
    return Changes(changes.mean(0), spread(changes.nanmean(1)), _lost(task, scores, drawn), f"{task.draws} paths")


def _lost(task: Task, scores: Tensor, drawn: Tensor) -> Tensor:
    """Score of each image minus the mean score, for its target, of its donors."""
    total = torch.zeros_like(scores)
    for donor in drawn:
        given = task._replace(inputs=task.inputs[donor])
        total += torch.cat([_score(given, given.inputs[rows], rows) for rows in task.rows])
    return scores - total / len(drawn)


def _gradient(task: Task, inputs: Tensor, rows: slice) -> Tensor:
    with torch.enable_grad():
        return input_gradient(task.model, inputs, lambda logits: task.score(logits, rows))[0]


def _score(task: Task, inputs: Tensor, rows: slice) -> Tensor:
    return task.score(logits_of(task.model(inputs.clone())), rows)


def _by_band(task: Task, values: Tensor) -> Tensor:
    """Sums over the pixels and channels of each band; (n g), float64."""
    channels = values.movedim(task.axis, 1).flatten(2) if values.ndim > 2 else values.movedim(task.axis, 1).unsqueeze(2)
    return channels.sum(2, dtype=torch.float64) @ task.members.double().T
