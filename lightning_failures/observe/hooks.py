"""Forward hooks that record what passes through submodules, and always come off."""

import copy
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, MutableMapping
from contextlib import contextmanager
from operator import getitem
from types import MappingProxyType
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

from lightning_failures.observe.batch_fields import tensors_of
from lightning_failures.observe.compiled import STEPS
from lightning_failures.observe.logits import find_logits

__all__ = ["Call", "CallRecorder"]

Hook = Callable[[nn.Module, tuple[Any, ...], dict[str, Any], Any], None]


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

    Nothing is replaced and nothing is kept of the autograd graph. A copy of a module that is listened to, a pickled one
    and a scripted one hold none of these hooks. A compiled module is listened to from outside of what is compiled; see
    :func:`.listenable`. Use as a context manager, or call :meth:`remove`.

    Args:
        modules: what is listened to, by name.
        keep: of how many calls to keep the tensors, the first ones; of the others only the name; None: of all.
        whole: whether to keep all arguments of each call, and where in the autograd graph it stands.
        steps_of: a LightningModule, whose steps alone are listened to, and no calls that callbacks make between them;
            None: all calls.

    Example:
        >>> net = nn.Sequential(nn.Linear(3, 2), nn.ReLU())
        >>> with CallRecorder({"0": net[0]}) as recorder:
        ...     _ = net(torch.zeros(5, 3))
        ...     [(call.name, tuple(call.input.shape), tuple(call.output.shape)) for call in recorder.calls]
        [('0', (5, 3), (5, 2))]
        >>> len(net[0]._forward_hooks)
        0
    """

    def __init__(
        self,
        modules: Mapping[str, nn.Module],
        keep: int | None = None,
        *,
        whole: bool = False,
        steps_of: nn.Module | None = None,
    ) -> None:
        self.calls: list[Call] = []
        self.error: Exception | None = None  #: of our own, for who reads the calls
        self._steps_of = steps_of
        self._keep, self.whole = keep, whole
        self._listening = True
        self._modules: list[nn.Module] = []
        for name, module in modules.items():
            if not isinstance(module, torch.jit.ScriptModule):  # these refuse hooks
                self._modules.append(module)
                _put_on(module, self, self._hook(name))

    def __enter__(self) -> "CallRecorder":
        return self

    def __exit__(self, *_: object) -> None:
        self.remove()

    def remove(self) -> None:
        """Take every hook off and forget what was recorded; calling it twice does no harm."""
        for module in self._modules:
            _take_off(module, self)
        self._modules.clear()
        self.calls.clear()

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Record nothing inside, so that a monitor's own forward passes are not taken for the user's."""
        before, self._listening = self._listening, False
        try:
            yield
        finally:
            self._listening = before

    def _call(self, name: str, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> Call:
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
            arguments=dict([*enumerate(args), *kwargs.items()]),
            kind=type(module).__name__,
            ignore_index=ignored if isinstance(ignored, int) else None,
            node=None if found is None else found.grad_fn,
            returned=tuple((path, value.detach()) for path, value in tensors_of(output)),
        )

    def _hook(self, name: str) -> Hook:
        def record(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> None:
            if not self._listening or is_between_steps(self._steps_of) or _is_traced((*args, *kwargs.values(), output)):
                return
            try:
                with torch._C.DisableTorchFunction():  # our own work is none of the step's
                    self.calls.append(self._call(name, module, args, kwargs, output))
            except Exception as error:  # a guest's fault must not stop somebody's step
                self.error = self.error or error

        return record


def is_between_steps(module: nn.Module | None) -> bool:
    """Whether a Trainer is in a hook of a LightningModule and its callbacks, rather than in its step."""
    hook = getattr(module, "_current_fx_name", None)
    return hook is not None and hook not in STEPS


def _is_traced(values: tuple[Any, ...]) -> bool:
    """Whether a call with these values is traced, exported or compiled: no step of the user's, nor to hold our work."""
    proxies = any(isinstance(value, torch.fx.Proxy) for value in values)
    return proxies or torch.compiler.is_compiling() or torch._C._get_tracing_state() is not None


class HooksBeside(OrderedDict[Any, Any]):
    """A module's table of hooks with ours beside the user's: a call finds both, whatever copies the table the user's.

    Hooks in the module's own table would go with every copy of it, and stop ``pickle`` and ``torch.jit.script``. So
    while we listen, this stands in the table's place. All that is written goes on into the user's own table, which is
    put back afterwards; only ``items``, by which a call finds its hooks, and ``in``, by which it learns how to call
    them, tell of ours.

    Args:
        own: the module's own table.
    """

    def __init__(self, own: MutableMapping[Any, Any]) -> None:
        super().__init__(own)  # for torch.compile, which does not ask the methods below for the length
        self.own = own
        self.ours: dict[Any, Any] = {}
        self.written = False

    def items(self) -> Any:
        return {**self.own, **self.ours}.items()

    def __bool__(self) -> bool:
        return bool(self.own) or bool(self.ours)

    def __contains__(self, key: object) -> bool:
        return key in self.own or key in self.ours

    def __len__(self) -> int:
        return len(self.own)

    def __iter__(self) -> Iterator[Any]:
        return iter(self.own)

    def keys(self) -> Any:
        return self.own.keys()

    def values(self) -> Any:
        return self.own.values()

    def __getitem__(self, key: Any) -> Any:
        return self.own[key]

    def __setitem__(self, key: Any, value: Any) -> None:
        super().__setitem__(key, value)
        if hasattr(self, "own"):  # not yet while it is made
            self.own[key], self.written = value, True

    def __delitem__(self, key: Any) -> None:
        del self.own[key]
        super().pop(key, None)

    def clear(self) -> None:
        self.own.clear()
        super().clear()

    def pop(self, key: Any, *default: Any) -> Any:
        super().pop(key, None)
        return self.own.pop(key, *default)

    def move_to_end(self, key: Any, last: bool = True) -> None:
        super().move_to_end(key, last)
        if isinstance(self.own, OrderedDict):
            self.own.move_to_end(key, last)

    def __reduce__(self) -> Any:
        # the user's own table, by a function that is there wherever it is loaded
        return getitem, ((self.own,), 0)

    def __reduce_ex__(self, _: object) -> Any:
        return self.__reduce__()

    def __copy__(self) -> Any:
        return copy.copy(self.own)

    def __deepcopy__(self, memo: dict[int, Any]) -> Any:
        return copy.deepcopy(self.own, memo)


class CompiledCall:
    """What calls a module that ``module.compile`` compiled, and tells our hooks of it from outside.

    Torch takes a module's compiled call off every copy of it, and so this goes on none.
    """

    def __init__(self, module: nn.Module, own: Callable[..., Any]) -> None:
        self.module, self.own = module, own
        self.ours: dict[Any, Hook] = {}

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        output = self.own(*args, **kwargs)
        for hook in list(self.ours.values()):
            hook(self.module, args, kwargs, output)
        return output


_TABLES = ("_forward_hooks", "_forward_hooks_with_kwargs")

#: Tables that were written to while they stood in: handles of the user's find their hooks by them.
_written: WeakKeyDictionary[nn.Module, dict[str, HooksBeside]] = WeakKeyDictionary()


def _put_on(module: nn.Module, owner: object, hook: Hook) -> None:
    call = module._compiled_call_impl
    if call is not None:
        if not isinstance(call, CompiledCall):
            call = module.__dict__["_compiled_call_impl"] = CompiledCall(module, call)
        call.ours[owner] = hook
        return
    for name, entry in zip(_TABLES, (hook, True), strict=True):
        table = module.__dict__[name]
        if not isinstance(table, HooksBeside):
            known = _written.get(module, {}).get(name)
            again = known is not None and known.own is table and not known.ours
            table = known if again else HooksBeside(table)
            module.__dict__[name] = table
        table.ours[owner] = entry


def _take_off(module: nn.Module, owner: object) -> None:
    call = module._compiled_call_impl
    if isinstance(call, CompiledCall):
        call.ours.pop(owner, None)
        if not call.ours:
            module.__dict__["_compiled_call_impl"] = call.own
    for name in _TABLES:
        table = module.__dict__[name]
        if not isinstance(table, HooksBeside):
            continue
        table.ours.pop(owner, None)
        if not table.ours:
            module.__dict__[name] = table.own
            if table.written:
                _written.setdefault(module, {})[name] = table


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
