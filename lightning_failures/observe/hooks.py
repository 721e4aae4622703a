"""Forward hooks that record what passes through submodules, and always come off."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from types import MappingProxyType
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from lightning_failures.observe.batch_fields import tensors_of
from lightning_failures.observe.logits import find_logits

__all__ = ["Call", "CallRecorder"]


class Call(NamedTuple):
    """One call of a module: its tensors, detached; None where it has none, or where they were not to be kept."""

    name: str
    input: Tensor | None  # the first tensor among the arguments
    output: Tensor | None  # the first tensor of what it returned
    logits: Tensor | None  # the logits in what it returned, which is the same but for outputs with several fields
    arguments: Mapping[int | str, Any] = MappingProxyType({})  # as it was called, by position and keyword
    kind: str = ""  # name of its class
    ignore_index: int | None = None  # label that it leaves out, where it is a loss that has one
    node: Any = None  # of the autograd graph, that gave the output
    returned: tuple[tuple[str, Tensor], ...] = ()  # all tensors of what it returned, by their paths


class CallRecorder:
    """Records the calls of some submodules, in the order in which they ended, the outermost last.

    Nothing is replaced and nothing is kept of the autograd graph. Use as a context manager, or call :meth:`remove`.

    Args:
        modules: what is listened to, by name.
        keep: of how many calls to keep the tensors, the first ones; of the others only the name; None: of all.
        whole: whether to keep all arguments of each call, and where in the autograd graph it stands.

    Example:
        >>> net = nn.Sequential(nn.Linear(3, 2), nn.ReLU())
        >>> with CallRecorder({"0": net[0]}) as recorder:
        ...     _ = net(torch.zeros(5, 3))
        ...     [(call.name, tuple(call.input.shape), tuple(call.output.shape)) for call in recorder.calls]
        [('0', (5, 3), (5, 2))]
        >>> len(net[0]._forward_hooks)
        0
    """

    def __init__(self, modules: Mapping[str, nn.Module], keep: int | None = None, *, whole: bool = False) -> None:
        self.calls: list[Call] = []
        self.error: Exception | None = None  #: of our own, for who reads the calls
        self._keep, self.whole = keep, whole
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

    def _call(
        self, name: str, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any
    ) -> Call:
        if self._keep is not None and len(self.calls) >= self._keep:
            return Call(name, None, None, None)
        first = first_tensor(output)
        found = output if isinstance(output, Tensor) else find_logits(output)
        logits = None if found is None else found.detach()
        call = Call(name, first_tensor((*args, *kwargs.values())), first, logits)
        if not self.whole:
            return call
        ignored = getattr(module, "ignore_index", None)
        return call._replace(
            arguments={**dict(enumerate(args)), **kwargs},
            kind=type(module).__name__,
            ignore_index=ignored if isinstance(ignored, int) else None,
            node=None if found is None else found.grad_fn,
            returned=tuple((path, value.detach()) for path, value in tensors_of(output)),
        )

    def _hook(self, name: str) -> Any:
        def record(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> None:
            if not self._listening:
                return
            try:
                self.calls.append(self._call(name, module, args, kwargs, output))
            except Exception as error:  # a guest's fault must not stop somebody's step
                self.error = self.error or error

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
