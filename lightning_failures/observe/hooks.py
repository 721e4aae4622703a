"""Forward hooks that record what passes through submodules, and always come off."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from lightning_failures.observe.logits import find_logits

__all__ = ["Call", "CallRecorder"]


class Call(NamedTuple):
    """One call of a module: its tensors, detached; None where it has none, or where they were not to be kept."""

    name: str
    input: Tensor | None  # the first tensor among the arguments
    output: Tensor | None  # the first tensor of what it returned
    logits: Tensor | None  # the logits in what it returned, which is the same but for outputs with several fields


class CallRecorder:
    """Records the calls of some submodules, in the order in which they ended, the outermost last.

    Nothing is replaced and nothing is kept of the autograd graph. Use as a context manager, or call :meth:`remove`.

    Args:
        modules: what is listened to, by name.
        keep: of how many calls to keep the tensors, the first ones; of the others only the name; None: of all.

    Example:
        >>> net = nn.Sequential(nn.Linear(3, 2), nn.ReLU())
        >>> with CallRecorder({"0": net[0]}) as recorder:
        ...     _ = net(torch.zeros(5, 3))
        ...     [(call.name, tuple(call.input.shape), tuple(call.output.shape)) for call in recorder.calls]
        [('0', (5, 3), (5, 2))]
        >>> len(net[0]._forward_hooks)
        0
    """

    def __init__(self, modules: Mapping[str, nn.Module], keep: int | None = None) -> None:
        self.calls: list[Call] = []
        self._keep = keep
        self._listening = True
        self._handles: list[RemovableHandle] = []
        for name, module in modules.items():
            if not isinstance(module, torch.jit.ScriptModule):  # these refuse hooks
                self._handles.append(module.register_forward_hook(self._hook(name), with_kwargs=True))

    def __enter__(self) -> "CallRecorder":
        return self

    def __exit__(self, *_: object) -> None:
        self.remove()

    def remove(self) -> None:
        """Take every hook off and forget what was recorded; calling it twice does no harm."""
        for handle in self._handles:
            handle.remove()
        self._handles.clear()
        self.calls.clear()

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Record nothing inside, so that a monitor's own forward passes are not taken for the user's."""
        before, self._listening = self._listening, False
        try:
            yield
        finally:
            self._listening = before

    def _hook(self, name: str) -> Any:
        def record(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> None:
            if not self._listening:
                return
            if self._keep is not None and len(self.calls) >= self._keep:
                self.calls.append(Call(name, None, None, None))
                return
            first = first_tensor(output)
            found = first if isinstance(output, Tensor) else find_logits(output)
            logits = None if found is None else found.detach()
            self.calls.append(Call(name, first_tensor((*args, *kwargs.values())), first, logits))

        return torch.compiler.disable(record)  # inside a compiled module a plain hook runs into the recompile limit


def first_tensor(value: Any) -> Tensor | None:
    """The first tensor of an argument or an output, detached: itself, or in a sequence, a mapping or its logits."""
    if isinstance(value, Tensor):
        return value.detach()
    if isinstance(value, Mapping):
        value = tuple(value.values())
    if isinstance(value, tuple | list):
        return next((tensor for tensor in map(first_tensor, value) if tensor is not None), None)
    logits = find_logits(value)
    return None if logits is None else logits.detach()
