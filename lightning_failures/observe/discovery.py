"""Finding the head, the encoder and the way in of a module that nobody changed, from the calls that one step made."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from lightning_failures.errors import DiscoveryError, few
from lightning_failures.observe.compiled import is_compiled, listenable, uncompiled
from lightning_failures.observe.entry import Entry
from lightning_failures.observe.hooks import Call
from lightning_failures.observe.logits import named_logits
from lightning_failures.observe.loss_listener import same_memory

__all__ = [
    "Source",
    "candidate_modules",
    "discover_encoder",
    "discover_entry",
    "discover_head",
    "feeding",
    "no_logits",
    "returned_scores",
]

#: Classes whose output can be scores, and whose input is then the penultimate layer.
HEADS = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.LazyLinear)

#: Names of a returned field that holds one score per image; under others it may be a class or a probability.
_ONE_SCORE = ("logits", "logit")


@dataclass(frozen=True)
class Source:
    """Where scores come from: a submodule's output, or a field of what the step returned."""

    layer: str | None = None
    field: Any = None

    def __str__(self) -> str:
        if self.layer is not None:
            return f"output of {self.layer or 'the module itself'}"
        if callable(self.field):
            return "step output by a callable"
        return "step output" if self.field == "" else f"step output[{self.field!r}]"


def candidate_modules(module: nn.Module) -> dict[str, nn.Module]:
    """Every submodule that a first batch is listened to, by name; metrics are left out.

    Of a compiled part only its outside is listened to, see :func:`.listenable`: itself, ``""``, where it is compiled.
    """
    known = listenable(module)
    skip = [name for name, child in known.items() if is_metric(child)]
    return {
        name: child
        for name, child in known.items()
        if (name or is_compiled(module)) and not any(name == other or name.startswith(f"{other}.") for other in skip)
    }


def returned_scores(outputs: Any, images: int) -> Source | None:
    """The field of a step's output that holds scores, by a usual name; None where it returns none."""
    for name, value in named_logits(outputs):
        if is_scores(value, images) or (name in _ONE_SCORE and is_rows(value, images)):
            return Source(field=name)
    return None


def feeding(loss: Tensor, calls: Sequence[Call]) -> set[int]:
    """Places of the calls whose output the loss was computed from, by the autograd graph; empty without one."""
    wanted: dict[Any, list[int]] = {}
    for place, call in enumerate(calls):
        if call.node is not None:
            wanted.setdefault(call.node, []).append(place)
    found: set[int] = set()
    seen: set[Any] = set()
    pending: list[Any] = [loss.grad_fn]
    while pending:
        node = pending.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        found.update(wanted.get(node, ()))
        pending += [before for before, _ in node.next_functions]
    return found


def discover_head(
    calls: Sequence[Call], modules: Mapping[str, nn.Module], images: int, feeds: Collection[int] | None = None
) -> Call | None:
    """The last linear layer or convolution that gives something of each image.

    None where that is a guess: where another such layer takes the same features, so that either may be the one. Where
    the last layer lies within what is compiled, it is the compiled module.

    Args:
        calls: of the step.
        modules: the submodules, by name.
        images: number of images n.
        feeds: places of the calls that the loss was computed from; None: not known.
    """
    known = [call for place, call in enumerate(calls) if not feeds or place in feeds]
    heads = [call for call in known if is_head(modules.get(call.name)) and is_rows(call.logits, images)]
    closed = [call for call in known if call.name in modules and is_closed(modules[call.name])]
    closed = [call for call in closed if is_rows(call.logits, images)]
    if closed and (not heads or same_memory(closed[-1].logits, calls[-1].logits)):
        return closed[-1]  # its head lies within what is compiled
    if not heads:
        return None
    last = heads[-1]
    axes = 0 if last.logits is None else last.logits.ndim
    alike = [call for call in heads if call.logits is not None and call.logits.ndim == axes and call.name != last.name]
    rivals = [call for call in alike if same_memory(call.input, last.input)]
    return None if rivals else last


def discover_encoder(
    calls: Sequence[Call],
    modules: Mapping[str, nn.Module],
    inputs: Sequence[Tensor],
    feeds: Collection[int],
    *,
    heard: bool = False,
) -> str | None:
    """The submodule whose output is the features of a module that compares views: the one that is trained.

    None where nothing takes two views, or a view that a teacher takes who is not trained.

    It takes inputs of the batch, is trained by the loss, and is the outermost whose output goes on into further layers;
    where there is none, the outermost that takes inputs at all.

    Args:
        calls: of the step.
        modules: the submodules, by name.
        inputs: float tensors of the batch.
        feeds: places of the calls that the loss was computed from; empty where that is not known.
        heard: whether a loss said that views are compared.
    """
    first: dict[str, list[Call]] = {}
    taken: list[str] = []
    for place, call in enumerate(calls):
        given = bool(call.name) and any(same_memory(call.input, each) for each in inputs)
        if given and _holds_weights(modules[call.name]):
            taken.append(call.name)
        if given and (not feeds or place in feeds) and call.output is not None and call.output.ndim > 1:
            first.setdefault(call.name, []).append(call)
    names = [call.name for call in calls]
    untrained = [name for name in taken if feeds and name not in first]
    if not heard and all(names.count(name) < 2 for name in taken) and not untrained:
        return None
    weighted = [name for name in first if _holds_weights(modules[name])]
    outermost = sorted(weighted, key=lambda name: name.count("."))
    for name in outermost:
        others = [call for call in calls if call.name and not _within(call.name, name)]
        others = [call for call in others if _holds_weights(modules[call.name])]
        goes_on = any(same_memory(call.input, mine.output) for call in others for mine in first[name])
        if goes_on and any(True for _ in modules[name].children()):
            return name
    return next(iter(outermost), None)


def discover_entry(calls: Sequence[Call], inputs: Tensor, scores: Tensor) -> Entry | None:
    """How the outermost submodule was called that took the inputs and gave the scores; None where there is none.

    Args:
        calls: of the step, with their arguments.
        inputs: of the batch, as it holds them.
        scores: that are watched, as they were given.
    """
    for call in reversed(calls):  # the outermost module returns last
        place = next((at for at, value in call.arguments.items() if _is(value, inputs)), None)
        path = next((path for path, value in call.returned if same_memory(value, scores)), None)
        if place is None or path is None:
            continue
        beside = {at: value for at, value in call.arguments.items() if at != place}
        return Entry(call.name, place, beside, len(inputs), path)
    return None


def no_logits(where: str, tried: Iterable[str], why: str | None = None) -> DiscoveryError:
    """The error for a module in which no scores were found.

    Args:
        where: the public name to put into the error.
        tried: submodules that were called.
        why: what was heard of them; None: nothing.
    """
    return DiscoveryError(
        where,
        "no logits were found",
        why or f"calls of {few(tried) or 'no submodule'}",
        "Return them as 'logits', or name their layer: logits='net.head'.",
    )


def is_rows(value: Any, images: int) -> bool:
    """Whether a tensor holds numbers per image: (n), (n d) or (n d h w)."""
    floats = isinstance(value, Tensor) and value.is_floating_point()
    return bool(floats and value.ndim in (1, 2, 3, 4, 5) and value.shape[0] == images)


def is_scores(value: Any, images: int) -> bool:
    """Whether a tensor holds scores of two classes or more an image or a pixel: (n c) or (n c h w)."""
    return is_rows(value, images) and value.ndim in (2, 4) and value.shape[1] >= 2


def is_metric(module: nn.Module) -> bool:
    """Whether a submodule counts, and is no part of the network."""
    return any(base.__name__ in ("Metric", "MetricCollection") for base in type(module).__mro__)


def is_head(module: nn.Module | None) -> bool:
    """Whether a module is of a class whose output can be scores and whose input features, compiled or not."""
    return module is not None and isinstance(uncompiled(module), HEADS)


def is_closed(module: nn.Module) -> bool:
    """Whether a module is compiled, and what enters it is not what enters the head within it."""
    return is_compiled(module) and not is_head(module)


def is_loss(module: nn.Module) -> bool:
    """Whether a submodule is a loss of :mod:`torch.nn`."""
    return any(base.__name__ == "_Loss" for base in type(module).__mro__)


def _is(value: Any, tensor: Tensor) -> bool:
    return isinstance(value, Tensor) and same_memory(value, tensor)


def _within(name: str, other: str) -> bool:
    return name == other or name.startswith(f"{other}.") or other.startswith(f"{name}.")


def _holds_weights(module: nn.Module) -> bool:
    return any(True for _ in module.parameters())
