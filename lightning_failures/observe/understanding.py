"""What one step shows of a module: its task, and where its labels, scores and features come from."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from torch import Tensor, nn

from lightning_failures.observe.batch_fields import Field, discover_targets, read_field
from lightning_failures.observe.discovery import (
    Source,
    discover_encoder,
    discover_entry,
    discover_head,
    is_closed,
    is_head,
    is_rows,
    returned_scores,
)
from lightning_failures.observe.entry import Entry
from lightning_failures.observe.hooks import Call
from lightning_failures.observe.logits import find_logits
from lightning_failures.observe.loss_facts import LossFacts, StepTensors, fits, loss_facts, unexplained
from lightning_failures.observe.loss_listener import same_memory, trace_back
from lightning_failures.observe.task import Kind, Task, task_of_shapes

__all__ = ["Named", "Understanding", "scaled", "understand"]

_NOT_GIVEN = "{} takes what no layer gave"
_NOT_HEARD = "no loss of labels was heard, and no layer's output fits the labels"


class Named(NamedTuple):
    """What the user named."""

    targets: Field | None = None
    logits: Field | None = None
    task: Kind | None = None
    ignore_index: int | None = None


@dataclass(frozen=True)
class Understanding:
    """What one step shows of a module.

    Args:
        task: that it is trained for.
        source: of the scores; None: they are not read.
        target: path of the labels in the batch; None: none was found.
        layer: submodule that gives the scores too, where the source is a field that only some steps return.
        head: submodule whose input is the penultimate layer.
        encoder: submodule whose output is the features, where a head has none.
        entry: the way in; None: the module's own ``forward``.
        called: submodules that the step called.
        sure: whether it was heard or named, and not seen by shapes alone.
        guess: whether labels are looked for by shape in each batch.
        blocked: whether a loss of labels was heard whose scores or labels nobody gave, so that shapes would mislead.
    """

    task: Task
    source: Source | None = None
    target: Any = None
    layer: str | None = None
    head: str | None = None
    encoder: str | None = None
    entry: Entry | None = None
    called: tuple[str, ...] = ()
    sure: bool = False
    guess: bool = False
    blocked: bool = False

    def fits(self, scores: Tensor) -> bool:
        """Whether a tensor can be scores of this task."""
        return fits(scores, self.task)


def understand(
    step: StepTensors,
    outputs: Any,
    batch: Any,
    modules: Mapping[str, nn.Module],
    named: Named,
    feeds: Collection[int] | None,
    final: bool,
    where: str,
) -> Understanding | None:
    """What a step shows; None where it shows nothing and later ones may.

    Args:
        step: its tensors.
        outputs: what it returned.
        batch: its batch.
        modules: the submodules that were listened to, by name.
        named: what the user named.
        feeds: places of the calls that its loss was computed from; None: not known.
        final: whether no step that shows more will come.
        where: the public name to put into an error.
    """
    path = next((at for at, leaf in step.leaves if leaf is step.inputs or same_memory(leaf, step.inputs)), None)
    called = tuple(dict.fromkeys(call.name for call in step.calls if call.name))
    facts = loss_facts(step, named.targets)
    if facts is None or not (final or _tells(facts)):
        chosen = _chosen(step)
        facts = chosen if chosen is not None else facts
    if named.logits is not None:
        found = _named_logits(step, outputs, batch, modules, named, facts, path, where)
    elif facts is not None and (final or _tells(facts)):
        found = _heard(step, outputs, batch, facts, path)
    else:
        found = _seen(step, outputs, batch, modules, named, feeds, final, path)
    if found is None:
        return None
    return _with_features(replace(found, called=called), step, outputs, modules, named, feeds or (), path)


def _tells(facts: LossFacts) -> bool:
    """Whether what was heard will do, though later steps may show more."""
    return bool(facts.layers or facts.field) or facts.task.kind == "embedding"


def _chosen(step: StepTensors) -> LossFacts | None:
    """What the one tensor says of whose columns the largest was asked for; None where there is none, or several."""
    found = set()
    for passage in step.passages:
        scores = passage.before
        if passage.step != "classes" or not scores.is_floating_point() or len(scores) != step.images:
            continue
        if scores.ndim not in (2, 4) or scores.shape[1] < 2:
            continue
        kind: Kind = "multiclass" if scores.ndim == 2 else "pixel_multiclass"
        origins = trace_back(scores, step.passages, ("cast", "softmax"))
        task, twice = Task(kind, scores.shape[1]), step.views()
        layers = [call.name for call in step.givers(origins) if call.name and call.name not in twice]
        fitting = {call.name for call in step.calls if call.logits is not None and fits(call.logits, task)}
        layers = [name for name in layers if name in fitting]
        if layers:
            found.add(LossFacts(task, None, tuple(dict.fromkeys(layers))))
    return found.pop() if len(found) == 1 else None


def _named_logits(
    step: StepTensors,
    outputs: Any,
    batch: Any,
    modules: Mapping[str, nn.Module],
    named: Named,
    facts: LossFacts | None,
    inputs: Any,
    where: str,
) -> Understanding | None:
    """The task of the logits that the user named."""
    is_layer = isinstance(named.logits, str) and named.logits in modules
    source = Source(layer=str(named.logits)) if is_layer else Source(field=named.logits)
    if is_layer:
        mine = [call for call in step.calls if call.name == source.layer]
        scores = mine[0].logits if len(mine) == 1 else None
    else:
        scores = find_logits(read_field(outputs, source.field, f"{where}(logits=...)"))
    if scores is None:
        return Understanding(Task(named.task or "unknown"), source, sure=True, guess=True)
    heard = facts is not None and facts.task.kind == (named.task or facts.task.kind) and fits(scores, facts.task)
    if heard and facts is not None and facts.task.classifies:
        return Understanding(scaled(facts.task, scores), source, facts.target, sure=True, guess=facts.target is None)
    task, target = _by_shapes(step, batch, named, scores, inputs)
    task = task or Task("unknown", why="the logits that were named fit no labels")
    return Understanding(task, source, target, sure=True, guess=True)


def _heard(step: StepTensors, outputs: Any, batch: Any, facts: LossFacts, inputs: Any) -> Understanding:
    """What a loss, or the choice of a class, says."""
    task, heard = facts.task, facts.task.loss is not None
    source = None if facts.field is None else Source(field=facts.field)
    layer = facts.layers[0] if facts.layers else None
    if task.classifies or task.kind == "multilabel":
        returned = returned_scores(outputs, step.images)
        value = None if returned is None else read_field(outputs, returned.field)
        if value is not None and fits(value, task):
            source = returned
    source = source or (None if layer is None else Source(layer=layer))
    scores = _scores(source, step, outputs)
    if source is None and task.kind not in ("embedding", "unknown") and task.why is None:
        task = replace(task, why=_NOT_GIVEN.format(task.loss or "the choice of a class"))
    if scores is not None:
        task = scaled(task, scores, step)
    sure = heard and task.kind != "unknown"
    guess = task.classifies and facts.target is None
    target = discover_targets(batch, step.images, inputs, task) if guess else facts.target
    return Understanding(task, source, target, layer, sure=sure, guess=guess)


def _seen(
    step: StepTensors,
    outputs: Any,
    batch: Any,
    modules: Mapping[str, nn.Module],
    named: Named,
    feeds: Collection[int] | None,
    final: bool,
    inputs: Any,
) -> Understanding | None:
    """What names and shapes say, where nothing was heard."""
    returned = returned_scores(outputs, step.images)
    if returned is not None:
        task, target = _by_shapes(step, batch, named, read_field(outputs, returned.field), inputs)
        if task is not None:
            head = discover_head(step.calls, modules, step.images, feeds)
            return Understanding(
                task, returned, target, layer=None if head is None else head.name, sure=True, guess=True
            )
    if not final:
        return None
    if (loss := unexplained(step)) is not None:
        return Understanding(Task("unknown", loss=loss, why=_NOT_GIVEN.format(loss)), blocked=True)
    head = discover_head(step.calls, modules, step.images, feeds)
    name, twice = None if head is None else head.name, step.views()
    if head is not None and head.logits is not None and name not in twice:
        task, target = _by_shapes(step, batch, named, head.logits, inputs)
        if task is not None and (target is not None or named.targets is not None or named.task is not None):
            return Understanding(task, Source(layer=head.name), target, head.name, guess=True)
    if discover_encoder(step.calls, modules, _floats(step), feeds or ()) is not None:
        return Understanding(Task("embedding"), layer=name)
    return Understanding(Task("unknown", why=_NOT_HEARD), layer=name)


def _by_shapes(step: StepTensors, batch: Any, named: Named, scores: Tensor, inputs: Any) -> tuple[Task | None, Any]:
    """The task that scores and labels say by their shapes, and the path of the labels."""
    if not is_rows(scores, step.images):
        return None, None
    several = next((leaf for at, leaf in step.leaves if at != inputs and leaf.shape == scores.shape), None)
    if isinstance(named.targets, str):
        several = dict(step.leaves).get(named.targets, several)
    pixels = next((leaf for at, leaf in step.leaves if at != inputs and leaf.ndim == 3), None)
    task = task_of_shapes(scores, pixels if scores.ndim == 4 else several, named.ignore_index)
    if named.task is not None and (task is None or task.kind != named.task):
        task = Task(named.task, task.classes if task is not None else None, named.ignore_index)
    if task is None:
        return None, None
    if task.classifies:
        return scaled(task, scores), discover_targets(batch, step.images, inputs, task)
    return task, next((at for at, leaf in step.leaves if at != inputs and leaf.shape == scores.shape), None)


def _with_features(
    found: Understanding,
    step: StepTensors,
    outputs: Any,
    modules: Mapping[str, nn.Module],
    named: Named,
    feeds: Collection[int],
    inputs: Any,
) -> Understanding:
    """The same with the head or the encoder, the way in, and what the user said of the task."""
    task = found.task
    if named.ignore_index is not None:
        task = replace(task, ignore_index=named.ignore_index)
    if named.task is not None and named.task != task.kind:
        task = Task(named.task, task.classes, task.ignore_index, task.loss, task.one_score, task.scale, task.why)
    scores = _scores(found.source, step, outputs)
    entry = None
    if step.inputs is not None and scores is not None:
        entry = discover_entry(step.calls, step.inputs, scores)
    head = encoder = None
    built_again = task.kind == "regression" and found.target is not None and found.target == inputs
    if built_again:
        encoder = _narrowest(step, modules, feeds)
    elif task.kind == "embedding":
        encoder = discover_encoder(step.calls, modules, _floats(step), feeds, heard=True)
    elif task.kind == "unknown":
        head = None if found.layer in step.views() else found.layer
    else:
        head = _head(found, step, modules, feeds, scores)
    return replace(found, task=task, entry=entry, head=head, encoder=encoder)


def _head(
    found: Understanding,
    step: StepTensors,
    modules: Mapping[str, nn.Module],
    feeds: Collection[int],
    scores: Tensor | None,
) -> str | None:
    """The layer that makes scores of features: the one that gave them, or the last one before they were pooled."""
    twice = step.views()
    for call in step.calls:
        mine = scores is not None and same_memory(call.logits, scores)
        mine = mine or (call.name == found.layer)
        if mine and call.name not in twice and _is_head(modules.get(call.name), call):
            return call.name
    known = [call for place, call in enumerate(step.calls) if not feeds or place in feeds]
    heads = [c for c in known if c.name not in twice and is_head(modules.get(c.name)) and c.logits is not None]
    columns = None if scores is None or scores.ndim < 2 else scores.shape[1]
    fitting = [c for c in heads if columns is not None and c.logits is not None and c.logits.shape[1:2] == (columns,)]
    last: Call | None = next(reversed(fitting or heads), None)
    if last is None or last.input is None or not is_rows(last.input, step.images):
        return None
    return last.name


def _is_head(module: nn.Module | None, call: Call) -> bool:
    """Whether a submodule maps features to scores by a weight."""
    if module is None or call.input is None:
        return False
    weight = getattr(module, "weight", None)
    columns = None if call.logits is None or call.logits.ndim < 2 else call.logits.shape[1]
    weighs = isinstance(weight, Tensor) and weight.ndim > 1 and len(weight) == columns
    return (is_head(module) or (weighs and not is_closed(module))) and call.input.ndim > 1


def _narrowest(step: StepTensors, modules: Mapping[str, nn.Module], feeds: Collection[int]) -> str | None:
    """The layer of an autoencoder that holds the fewest numbers per image."""
    twice = step.views()
    widths: dict[str, int] = {
        call.name: call.output[0].numel()
        for place, call in enumerate(step.calls)
        if (not feeds or place in feeds)
        and is_head(modules.get(call.name))
        and call.name not in twice
        and call.output is not None
        and call.output.ndim > 1
        and is_rows(call.output, step.images)
    }
    narrowest: str | None = min(widths, key=widths.__getitem__, default=None)
    return narrowest


def _floats(step: StepTensors) -> list[Tensor]:
    return [leaf for _, leaf in step.leaves if leaf.is_floating_point()]


def _scores(source: Source | None, step: StepTensors, outputs: Any) -> Tensor | None:
    if source is None:
        return None
    if source.layer is not None:
        mine = [call.logits for call in step.calls if call.name == source.layer]
        return mine[0] if len(mine) == 1 else None
    found = find_logits(read_field(outputs, source.field))
    return None if found is None else found.detach()


def scaled(task: Task, scores: Tensor, step: StepTensors | None = None) -> Task:
    """The task with what its scores are, logits or probabilities; looks at values, once."""
    if not task.classifies:
        return task
    if task.one_score:
        sigmoids = [] if step is None else [each.after for each in step.passages if each.step == "sigmoid"]
        between = bool(((scores >= 0) & (scores <= 1)).all())
        of_sigmoid = any(same_memory(scores, each) for each in sigmoids) or task.loss == "binary_cross_entropy"
        return replace(task, scale="probabilities" if between and of_sigmoid else "logits")
    sums = scores.float().sum(1)
    likely = bool((scores >= 0).all() & ((sums - 1).abs() < 1e-2).all())
    return replace(task, scale="probabilities" if likely else "logits")
