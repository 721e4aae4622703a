"""What the losses of one step say of a module: its task, the labels in the batch, and who gives the scores."""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import NamedTuple

from torch import Tensor

from lightning_failures.observe.hooks import Call
from lightning_failures.observe.loss_listener import LossCall, LossListener, Step, Trail, same_memory, trace_back
from lightning_failures.observe.task import Kind, Scale, Task, is_one_hot, task_of_shapes

__all__ = ["LossFacts", "StepTensors", "fits", "loss_facts", "targets_of_losses", "unexplained"]

_OF_CLASSES = ("cross_entropy", "nll_loss")
_OF_ANSWERS = ("binary_cross_entropy", "binary_cross_entropy_with_logits", "multilabel_soft_margin_loss")
_OF_NUMBERS = ("mse_loss", "l1_loss", "smooth_l1_loss", "huber_loss", "gaussian_nll_loss", "poisson_nll_loss")

#: How a loss's target is followed back to a field of the batch, and its input to a submodule.
_TO_LABELS: tuple[Step, ...] = ("cast", "shape", "rows", "classes", "one hot")
_TO_SCORES: tuple[Step, ...] = ("cast", "shape", "rows")


class LossFacts(NamedTuple):
    """What one loss of a step says."""

    task: Task
    target: str | None  # path in the batch of its labels; None: no field of the batch holds them
    layers: tuple[str, ...] = ()  # submodules that were called once and gave its scores, the innermost first
    field: str | None = None  # field of what the step returned that holds its scores


class StepTensors(NamedTuple):
    """All tensors of a step that a loss's input or target may be."""

    heard: LossListener
    calls: Sequence[Call]
    leaves: Sequence[tuple[str, Tensor]]  # of the batch, by path
    returned: Sequence[tuple[str, Tensor]]  # that the step returned, by field
    inputs: Tensor | None
    images: int

    @property
    def passages(self) -> Trail:
        """Functions on the way."""
        return self.heard.passages

    def of_batch(self, origins: Sequence[Tensor]) -> str | None:
        """Path of the field of the batch that is one of some tensors."""
        return next((path for path, leaf in self.leaves if _among(leaf, origins)), None)

    def leaf(self, path: str | None) -> Tensor | None:
        """A field of the batch."""
        return None if path is None else dict(self.leaves)[path]

    def givers(self, origins: Sequence[Tensor]) -> list[Call]:
        """Calls that gave one of some tensors, the innermost first."""
        return [call for call in self.calls if _among(call.logits, origins) or _among(call.output, origins)]

    def views(self) -> set[str]:
        """Submodules that were called more than once."""
        names = [call.name for call in self.calls]
        return {name for name in names if names.count(name) > 1}


def loss_facts(step: StepTensors, wanted: object = None) -> LossFacts | None:
    """What the losses of a step say of its task; None where none was heard.

    Of several losses one of labels comes before one of numbers, and one whose target is a field of the batch before
    others. Where two heads answer the same labels, it is the one that the outermost submodule returned, else the first.

    Args:
        step: all that was heard and seen.
        wanted: path of the labels that the user named; None: any.
    """
    heard = [*step.heard.calls, *_loss_modules(step)]
    known = [(call, facts) for call in heard if (facts := _facts(call, step)) is not None]
    if not known:
        return None
    last = step.calls[-1].logits if step.calls else None

    def rank(place: int) -> tuple[int, ...]:
        call, facts = known[place]
        outermost = _among(last, trace_back(call.input, step.passages, _TO_SCORES))
        other = wanted is not None and facts.target != wanted
        read, unknown = bool(facts.layers or facts.field), facts.task.kind == "unknown"
        return (other, facts.target is None, unknown, not facts.task.classifies, not read, not outermost, place)

    return known[min(range(len(known)), key=rank)][1]


def targets_of_losses(heard: LossListener, leaves: Sequence[tuple[str, Tensor]]) -> set[str]:
    """Paths of the fields of a batch that losses were given as targets."""
    origins = [each for call in heard.calls for each in trace_back(call.target, heard.passages, _TO_LABELS)]
    return {path for path, leaf in leaves if _among(leaf, origins)}


def unexplained(step: StepTensors) -> str | None:
    """The loss of labels that was heard in a step of which :func:`loss_facts` knows nothing; None: none was heard."""
    of_labels = (*_OF_CLASSES, *_OF_ANSWERS)
    return next((call.function for call in step.heard.calls if call.function in of_labels), None)


def _loss_modules(step: StepTensors) -> Iterator[LossCall]:
    """Calls of submodules that are losses of whatever formula: of scores and labels they make one number."""
    for call in step.calls:
        tensors = [value for value in call.arguments.values() if isinstance(value, Tensor)]
        if call.output is None or call.output.ndim or len(tensors) < 2 or not tensors[0].is_floating_point():
            continue
        for target in tensors[1:]:
            if step.of_batch(trace_back(target, step.passages, _TO_LABELS)) is not None:
                yield LossCall(call.kind, tensors[0].detach(), target.detach(), call.ignore_index)
                break


def _facts(call: LossCall, step: StepTensors) -> LossFacts | None:
    if not call.input.ndim:
        return None
    origins = trace_back(call.target, step.passages, _TO_LABELS)
    target = step.of_batch(origins)
    if _among(step.inputs, origins) and call.function not in _OF_CLASSES:
        return LossFacts(Task("regression", loss=call.function), target, *_givers(call, step, _same_numbers(call)))
    labels = step.leaf(target)
    if labels is None:
        return _without_labels(call, step)
    if len(labels) != step.images:
        return LossFacts(Task(loss=call.function, why="its labels are not one per image"), None)
    of_logits = call.function in _OF_CLASSES or _of_class_columns(call, labels, step)
    steps: tuple[Step, ...] = (*_TO_SCORES, "softmax") if of_logits else _TO_SCORES
    found: Task | None = None
    for scores in trace_back(call.input, step.passages, steps):
        task = _task(call, scores, labels, step)
        if task is None:
            continue
        layers, field = _givers(call._replace(input=scores), step, partial(fits, task=task))
        if layers or field:
            return LossFacts(task, target, layers, field)
        found = found or task
    if found is None:
        return LossFacts(Task(loss=call.function, why=_odd(call, labels)), None)
    return LossFacts(found, target)


def _task(call: LossCall, scores: Tensor, labels: Tensor, step: StepTensors) -> Task | None:
    """The task of a loss, if some tensor is what it compares with some labels; None where it cannot be.

    Args:
        call: of the loss.
        scores: its input, or what that was made from.
        labels: a field of the batch.
        step: that called it.
    """
    name, n = call.function, step.images
    if not scores.ndim or len(scores) != n or (scores.ndim == 3 and labels.ndim != 3):
        return None
    if name in _OF_NUMBERS and not _of_class_columns(call, labels, step):
        return Task("regression", loss=name) if scores.numel() == labels.numel() or call.input.ndim == 1 else None
    if name in _OF_NUMBERS or name in _OF_CLASSES or name in _OF_ANSWERS or scores.ndim > 1:
        found = task_of_shapes(scores, labels, call.ignore_index)
    else:
        found = None
    if found is None:
        return None
    likely = name == "binary_cross_entropy" or (name in _OF_NUMBERS and _are_likelihoods(scores, step))
    scale: Scale = "probabilities" if likely else "logits"
    found = Task(found.kind, found.classes, found.ignore_index, name, found.one_score, scale)
    if found.kind == "multiclass" and name in _OF_CLASSES and scores.shape[1] < 2:
        return None
    if found.one_score and (name in _OF_CLASSES or not _of_two(labels)):
        return None if name in _OF_CLASSES else Task("regression", loss=name)
    if found.classifies and not _are_labels(labels, found):
        return None
    return found


def _without_labels(call: LossCall, step: StepTensors) -> LossFacts | None:
    """What a loss says whose target is no field of the batch."""
    if call.function in _OF_CLASSES:
        kept = (*_TO_SCORES, "softmax")
        for scores in trace_back(call.input, step.passages, kept):
            if scores.ndim not in (2, 4) or len(scores) != step.images or scores.shape[1] < 2:
                continue
            kind: Kind = "multiclass" if scores.ndim == 2 else "pixel_multiclass"
            if scores.ndim == 4 and call.target.ndim not in (3, 4):
                continue
            task = Task(kind, scores.shape[1], call.ignore_index, call.function)
            layers, field = _givers(call._replace(input=scores), step, partial(fits, task=task))
            if layers or field:  # mixed labels, or such as are made in the step
                return LossFacts(task, None, layers, field)
        square = call.input.ndim == 2 and call.input.shape[0] in (call.input.shape[1], call.input.shape[1] + 1)
        if square or step.views():
            return LossFacts(Task("embedding", loss=call.function), None)
    if call.function in _OF_NUMBERS and step.givers(trace_back(call.target, step.passages, _TO_SCORES)):
        return LossFacts(Task("embedding", loss=call.function), None)  # of a teacher, or of another view
    return None


def _givers(call: LossCall, step: StepTensors, fits: Callable[[Tensor], bool]) -> tuple[tuple[str, ...], str | None]:
    """Submodules that gave a loss its input in one call, the innermost first, and the field that the step returned."""
    origins = trace_back(call.input, step.passages, ("cast", "shape"))
    twice = step.views()
    layers = [
        each.name
        for each in step.givers(origins)
        if each.name and each.name not in twice and each.logits is not None and fits(each.logits)
    ]
    returned = (name for name, value in step.returned if _among(value, origins) and fits(value))
    return tuple(dict.fromkeys(layers)), next(returned, None)


def fits(scores: Tensor, task: Task) -> bool:
    """Whether a submodule's output is the loss's input in a shape that :func:`.logits_of_scores` takes."""
    pooled = scores.ndim > 1 and len(scores) > 0 and scores[0].numel() == scores.shape[1]
    if task.one_score and not task.pixels:
        return bool(scores.ndim == 1 or (pooled and scores.shape[1] == 1))
    if task.pixels and task.one_score:
        return scores.ndim == 3 or (scores.ndim == 4 and scores.shape[1] == 1)
    if task.pixels:
        return scores.ndim == 4 and scores.shape[1] == task.classes
    if task.kind == "regression":
        return True
    return bool(pooled and scores.shape[1] == task.classes)


def _same_numbers(call: LossCall) -> Callable[[Tensor], bool]:
    return lambda value: value.numel() == call.target.numel()


def _among(tensor: Tensor | None, origins: Sequence[Tensor]) -> bool:
    return any(same_memory(tensor, origin) for origin in origins)


def _of_class_columns(call: LossCall, labels: Tensor, step: StepTensors) -> bool:
    """Whether a loss of numbers is given one class per column, of the batch or made in the step; looks at values."""
    if labels.shape == call.input.shape:
        return labels.ndim == 2 and labels.shape[1] > 1 and len(labels) > 0 and is_one_hot(labels)
    if labels.is_floating_point() or labels.is_complex():
        return False
    origins = trace_back(call.target, step.passages, ("cast", "shape"))
    return any(each.step == "one hot" and _among(each.after, origins) for each in step.passages)


def _are_likelihoods(scores: Tensor, step: StepTensors) -> bool:
    """Whether scores were made by a softmax."""
    return any(each.step == "softmax" and same_memory(each.after, scores) for each in step.passages)


def _are_labels(labels: Tensor, task: Task) -> bool:
    """Whether a field of the batch holds one label per image, or per pixel, or one class per column."""
    whole = 3 if task.pixels else 1
    if labels.ndim == whole + 1 and labels.shape[1] == task.classes:
        return True
    shaped = labels.ndim == whole or (labels.ndim == whole + 1 and labels.shape[1] == 1)
    return shaped and (task.one_score or not (labels.is_floating_point() or labels.is_complex()))


def _of_two(labels: Tensor) -> bool:
    """Whether labels are 0 or 1, or -1 or 255 for none; looks at values."""
    known = (labels == 0) | (labels == 1) | (labels < 0) | (labels == 255)
    return bool(known.all())


def _odd(call: LossCall, labels: Tensor) -> str:
    given, held = tuple(call.input.shape), tuple(labels.shape)
    if labels.ndim == 2 and labels.shape[1] > 1 and call.function in _OF_CLASSES:
        return f"each image has a sequence of labels {held}"
    return f"its scores {given} for labels {held} are neither of images nor of pixels"
