"""Scores of a batch with bands of channels replaced: ablation, permutation, Shapley values."""

from collections.abc import Iterable, Iterator
from itertools import islice

import torch
from einops import rearrange, repeat
from torch import Tensor

from lightning_failures.attribution.first_layer import ChannelInput, channel_input, find_stem
from lightning_failures.attribution.replacement import Baseline, Conditional, Replacement, Shuffle, donors
from lightning_failures.attribution.task import Changes, Task, spread
from lightning_failures.functional.shapley import shapley_plan, shapley_values

__all__ = ["FEW", "ablation", "conditional_permutation", "permutation", "score_sets", "shapley"]

#: States below which the checks of the cached first layer cost more than it saves.
FEW = 6


def ablation(task: Task) -> Changes:
    """Each band replaced by the baseline."""
    return _each_band(task, [Baseline(task.baseline, task.axis)])


def permutation(task: Task) -> Changes:
    """Each band replaced by another image's."""
    return _each_band(task, [Shuffle(task.inputs, task.axis, donor) for donor in _drawn(task)])


def conditional_permutation(task: Task) -> Changes:
    """Of each band, what the other channels do not predict replaced by another image's."""
    fitted = Conditional(task.inputs, task.axis, where=task.where)
    return _each_band(task, [fitted.shuffled(donor) for donor in _drawn(task)])


def shapley(task: Task) -> Changes:
    """Each band's part in what is lost with all of them replaced by the baseline."""
    plan = shapley_plan(len(task.members), task.draws, task.generator)
    scores, way = score_sets(task, plan.replaced)
    own, *null = rearrange(scores, "s (n k) -> k s n", k=1 + task.null_heads)
    values, sampling = shapley_values(plan, own)
    every = int(plan.replaced.all(1).nonzero()[0])
    kind = "all sets of bands" if plan.exact else f"{len(plan.replaced)} sets of bands"
    floors = [shapley_values(plan, other)[0].nanmean(0) for other in null]
    return Changes(values, sampling, own[0] - own[every], f"{way}; {kind}", torch.stack(floors) if floors else None)


def score_sets(task: Task, replaced: Tensor) -> tuple[Tensor, str]:
    """Score of each image with each set of bands replaced by the baseline; (s n), float64; and the way that was taken.

    Args:
        task: the batch.
        replaced: the bands of each set; (s g), bool, in an order in which neighbours differ little.
    """
    sets = replaced.to(task.members.device).float() @ task.members.float() > 0  # (s C)
    replacement = Baseline(task.baseline, task.axis)
    inputs, way = _inputs(task, len(sets))
    parts = [_scores(task, given, chunk, _walk(given, chunk, sets, replacement)) for given, chunk in inputs]
    return torch.cat(parts, 1), way


def _each_band(task: Task, replacements: list[Replacement]) -> Changes:
    """Each band replaced by itself, in each of the ways."""
    parts = []
    inputs, way = _inputs(task, len(task.members) * len(replacements))
    for given, chunk in inputs:
        start = _scores(task, given, chunk, [given.start])
        drawn = []
        for replacement in replacements:
            differs: list[Tensor] = []
            scores = _scores(task, given, chunk, _single(given, chunk, task, replacement, differs))
            changed = repeat(differs, "g n -> g (n k)", k=1 + task.null_heads).to(start.device)
            drawn.append(torch.where(changed, start - scores, 0.0))
        parts.append(rearrange(drawn, "m g (n k) -> m n k g", k=1 + task.null_heads))
    changes = torch.cat(parts, 1)  # (m n k g), the own head first
    own, null = changes[:, :, 0], changes[:, :, 1:].mean(0).nanmean(0)
    nothing = own.new_full((own.shape[1],), torch.nan)
    return Changes(own.mean(0), spread(own.nanmean(1)), nothing, way, null if task.null_heads else None)


def _inputs(task: Task, states: int) -> tuple[Iterator[tuple[ChannelInput, slice]], str]:
    """The images of one forward after the other, their first layer cached where that is right; and the way taken."""
    stem, way = None, f"the plain way: the checks of a faster one cost more than {states} forwards"
    if states >= FEW:
        first = next(task.chunks)
        stem, way = find_stem(task.model, task.inputs[first], task.baseline[first], task.axis, task.chunk_size)
    inputs = (channel_input(task.model, task.inputs[chunk], task.axis, stem, task.chunk_size) for chunk in task.chunks)
    return zip(inputs, task.chunks, strict=True), way


def _scores(task: Task, given: ChannelInput, chunk: slice, states: Iterable[Tensor]) -> Tensor:
    """Score of each image in each state, as many states in one forward as the chunk allows; (s n), float64."""
    pending = iter(states)
    scores = []
    while batch := list(islice(pending, given.copies)):
        scores += [task.score(logits, chunk) for logits in given.logits(batch)]
    return torch.stack(scores)


def _single(
    given: ChannelInput, chunk: slice, task: Task, replacement: Replacement, differs: list[Tensor]
) -> Iterator[Tensor]:
    """The state with each band replaced, and whether that changes an image at all: else its change is exactly 0."""
    for group in task.groups:
        values = replacement(chunk, group)
        changed = values != given.inputs.index_select(task.axis, group)
        differs.append(rearrange(changed, "n ... -> n (...)").any(1))
        yield given.replace(given.start, group, values)


def _walk(given: ChannelInput, chunk: slice, sets: Tensor, replacement: Replacement) -> Iterator[Tensor]:
    """The state with each set of channels replaced, each from the one before or from the start, whichever is nearer."""
    state, held = given.start, torch.zeros_like(sets[0])
    for wanted in sets:
        if (wanted ^ held).sum() >= wanted.sum():
            state, held = given.start, torch.zeros_like(wanted)
        off = (held & ~wanted).nonzero().flatten()
        if len(off):
            state = given.restore(state, off, replacement(chunk, off))
        on = (wanted & ~held).nonzero().flatten()
        if len(on):
            state = given.replace(state, on, replacement(chunk, on))
        held = wanted
        yield state


def _drawn(task: Task) -> list[Tensor]:
    count = len(task.inputs)
    return [donors(count, task.generator).to(task.inputs.device) for _ in range(task.draws)]
