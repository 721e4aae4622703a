"""Forward hooks that record what passes through submodules, and always come off."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

__all__ = ["Call", "Taps"]


class Call(NamedTuple):
    """One call of a tapped module: its first tensor argument and its first tensor output, detached."""

    name: str
    input: Tensor | None
    output: Tensor | None


class Taps:
    """Records the calls of some submodules, in the order in which they happened.

    Nothing is replaced and nothing is kept of the autograd graph. Use as a context manager, or call :meth:`remove`.

    Example:
        >>> net = nn.Sequential(nn.Linear(3, 2), nn.ReLU())
        >>> with Taps({"0": net[0]}) as taps:
        ...     _ = net(torch.zeros(5, 3))
        ...     [(call.name, tuple(call.input.shape), tuple(call.output.shape)) for call in taps.calls]
        [('0', (5, 3), (5, 2))]
        >>> len(net[0]._forward_hooks)
        0
    """

    def __init__(self, modules: Mapping[str, nn.Module]) -> None:
        self.calls: list[Call] = []
        self._listening = True
        self._handles: list[RemovableHandle] = []
        for name, module in modules.items():
            if not isinstance(module, torch.jit.ScriptModule):  # these refuse hooks
                self._handles.append(module.register_forward_hook(self._hook(name), with_kwargs=True))

    def __enter__(self) -> "Taps":
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
            if self._listening:
                self.calls.append(Call(name, first_tensor((*args, *kwargs.values())), first_tensor(output)))

        return torch.compiler.disable(record)  # inside a compiled module a plain hook runs into the recompile limit


def first_tensor(value: Any) -> Tensor | None:
    """The first tensor of an argument or an output, detached: itself, or in a sequence, a mapping or an attribute."""
    if isinstance(value, Tensor):
        return value.detach()
    if isinstance(value, Mapping):
        value = tuple(value.values())
    if isinstance(value, tuple | list):
        return next((tensor for tensor in map(first_tensor, value) if tensor is not None), None)
    logits = getattr(value, "logits", None)
    return logits.detach() if isinstance(logits, Tensor) else None
