"""Finding the classifier head of a module that nobody changed, from the calls that one step made."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from lightning_failures.errors import DiscoveryError, few
from lightning_failures.observe.compiled import is_compiled, listenable, uncompiled
from lightning_failures.observe.hooks import Call
from lightning_failures.observe.logits import named_logits
from lightning_failures.observe.observation import Observation

__all__ = ["Source", "candidate_modules", "describe", "discover_entry", "discover_logits", "returned_logits"]

#: Classes whose output can be logits: the last of them that is called is taken for the head.
HEADS = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.LazyLinear)


@dataclass(frozen=True)
class Source:
    """Where logits come from: a submodule's output, or a field of what the step returned."""

    layer: str | None = None
    field: Any = None

    def __str__(self) -> str:
        if self.layer is not None:
            return f"output of {self.layer or 'the module itself'}"
        return "step output" if self.field == "" else f"step output[{self.field!r}]"


def candidate_modules(module: nn.Module) -> dict[str, nn.Module]:
    """Every submodule that a first batch is listened to, by name; losses and metrics are left out.

    Of a compiled part only its outside is listened to, see :func:`.listenable`: itself, ``""``, where it is compiled.
    """
    known = listenable(module)
    skip = [name for name, child in known.items() if _is_bookkeeping(child)]
    return {
        name: child
        for name, child in known.items()
        if (name or is_compiled(module)) and not any(name == other or name.startswith(f"{other}.") for other in skip)
    }


def returned_logits(outputs: Any, images: int) -> Source | None:
    """The field of a step's output that holds logits, by a usual name; None where it returns none."""
    return next((Source(field=name) for name, value in named_logits(outputs) if _is_scores(value, images)), None)


def discover_logits(calls: Sequence[Call], modules: Mapping[str, nn.Module], images: int) -> Source | None:
    """The head: of the linear and convolutional layers, the last that was called with one row of scores an image."""
    heads = [call for call in calls if is_head(modules[call.name]) and _is_scores(call.logits, images)]
    if heads:
        return Source(layer=heads[-1].name)
    scores = [call for call in calls if call.logits is not None and call.logits.ndim == 2]
    scores = [call for call in scores if _is_scores(call.logits, images)]
    return Source(layer=scores[-1].name) if scores else None


def is_head(module: nn.Module) -> bool:
    """Whether a module is of a class whose output can be logits and whose input features, compiled or not."""
    return isinstance(uncompiled(module), HEADS)


def discover_entry(calls: Sequence[Call], inputs: Tensor, logits: Tensor) -> str | None:
    """The submodule that took the inputs and gave the logits, so that it can be run again on other inputs."""
    for call in reversed(calls):  # the outermost module returns last
        if same_tensor(call.input, inputs) and same_tensor(call.logits, logits):
            return call.name
    return None


def no_logits(where: str, tried: Iterable[str]) -> DiscoveryError:
    """The error for a module in which no head was found."""
    return DiscoveryError(
        where,
        "no logits were found",
        f"calls of {few(tried) or 'no submodule'}",
        "Return them as 'logits', or name their layer: logits='net.head'.",
    )


def describe(seen: Observation, source: Source | None, inputs: Any, targets: Any) -> str:
    """What was found, in one line.

    Args:
        seen: the first batch.
        source: where its logits came from.
        inputs: path of its inputs.
        targets: path of its targets.
    """

    def at(path: Any) -> str:
        return "a callable" if callable(path) else ("batch" if path == "" else f"batch[{path!r}]")

    parts = [
        f"inputs = {at(inputs)} {tuple(seen.inputs.shape)}" if seen.inputs is not None else "no inputs",
        f"targets = {at(targets)}" if seen.targets is not None else "no targets",
        f"logits = {source} {tuple(seen.logits.shape)}" if seen.logits is not None else "no logits",
        *(f"features = {name} {tuple(value.shape)}" for name, value in seen.features.items()),
    ]
    return "lightning-failures found " + ", ".join(parts)


def same_tensor(one: Tensor | None, other: Tensor | None) -> bool:
    """Whether both look at the same memory in the same shape; reads no values."""
    return (
        one is not None
        and other is not None
        and one.shape == other.shape
        and one.dtype == other.dtype
        and one.data_ptr() == other.data_ptr()
    )


def _is_scores(value: Any, images: int) -> bool:
    """Scores have a row an image and at least two classes on axis 1: (n c) or (n c h w)."""
    return (
        isinstance(value, Tensor)
        and value.is_floating_point()
        and value.ndim in (2, 4)
        and value.shape[0] == images
        and value.shape[1] >= 2
    )


def _is_bookkeeping(module: nn.Module) -> bool:
    return any(base.__name__ in ("Metric", "MetricCollection", "_Loss") for base in type(module).__mro__)
