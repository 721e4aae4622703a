"""All that a module's forward may change, kept while it is run by us and put back afterwards.

Buffers are the smallest part of it: a forward counts in plain attributes, appends to lists and queues, draws from
generators, updates metrics. Nothing of that may be felt by the user's own run.
"""

import copy
import random
import sys
import weakref
from collections import OrderedDict, deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from itertools import count
from types import BuiltinFunctionType, FunctionType, MethodType, ModuleType
from typing import Any

import torch
from torch import Tensor, nn

from lightning_failures.errors import DiscoveryError
from lightning_failures.observe.hooks import CompiledCall, HooksBeside

__all__ = ["module_state_kept", "random_state_kept"]

#: Values that never change, which most attributes are.
_PLAIN = (
    *(bool, int, float, complex, str, bytes, type(None), type, range, slice),
    *(ModuleType, BuiltinFunctionType, torch.dtype, torch.device, torch.layout, torch.memory_format),
)

#: The same for most of them, found faster.
_USUAL = frozenset((bool, int, float, str, type(None)))

#: Our hooks, as they stand on modules.
_OURS = (HooksBeside, CompiledCall)

_FUNCTIONS = (FunctionType, MethodType, weakref.ref)

#: Packages whose objects are no part of a module's state, though a module may hold them: trainers, loaders, loggers.
_OTHERS = frozenset(
    (
        *("torch", "lightning", "lightning_fabric", "pytorch_lightning", "torchmetrics", "lightning_failures"),
        *("logging", "threading", "multiprocessing", "asyncio", "concurrent", "subprocess", "socket", "io", "_io"),
        *("enum", "pathlib", "datetime", "pandas", "wandb", "PIL"),
    )
)

#: Iterators that can be copied, so that the copy takes nothing from the user's.
_COPIED: tuple[type, ...] = (count, type(iter([])), type(iter(())), type(iter("")), type(iter(range(0))))

_TABLES = (
    *("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks"),
    *("_forward_hooks_with_kwargs", "_forward_hooks_always_called", "_forward_pre_hooks_with_kwargs"),
)


@contextmanager
def random_state_kept(device: torch.device) -> Iterator[None]:
    """The random states of torch, of numpy where it is used, and of Python, as they were afterwards."""
    numpy = sys.modules.get("numpy")
    python, theirs = random.getstate(), None if numpy is None else numpy.random.get_state()
    try:
        # By default all devices, with a warning where they are many
        with torch.random.fork_rng([device] if device.type == "cuda" else []):
            yield
    finally:
        random.setstate(python)
        if numpy is not None:
            numpy.random.set_state(theirs)


@contextmanager
def module_state_kept(modules: Iterable[nn.Module], *, hear: bool = True) -> Iterator[None]:
    """The state of some modules as it was afterwards, also when an error is raised; inside, a copy of what it holds.

    Kept are buffers, parameters that were made in ``inference_mode``, and plain attributes: numbers, tensors, arrays,
    lists, dicts, sets, queues, generators of random numbers, and the attributes of objects of the user's. Inside, our
    own hooks are off, and ``log`` of a LightningModule says nothing.

    Args:
        modules: whose state it is.
        hear: whether hooks are called that others have put on the modules. Those of torch's own, and those that belong
            to the modules, since they are bound to them or to what they hold, are called in any case.

    Raises:
        DiscoveryError: a script holds a state that cannot be read, or inside, the forward takes from an iterator.
    """
    keeper = _Keeper()
    try:
        for module in modules:
            keeper.keep_module(module)
        if not hear:
            keeper.silence()
        yield
    finally:
        keeper.put_back()


class _Keeper:
    """What was found, with how to put it back."""

    def __init__(self) -> None:
        self.modules: list[nn.Module] = []
        self._copies: dict[int, Any] = {}  # of the object at an address
        self._alive: list[Any] = []  # so that no other object comes to stand at such an address
        self._back: list[Callable[[], None]] = []
        self._tables: list[tuple[dict[str, Any], dict[str, Any]]] = []  # of modules, with what was in them
        self._empty: list[Any] = []  # containers that were; a module has a dozen of them

    def put_back(self) -> None:
        for back in reversed(self._back):
            back()
        for container in self._empty:
            if container:
                container.clear()
        for table, before in self._tables:
            if len(table) != len(before):
                for name in table.keys() - before.keys():
                    del table[name]
            for name, value in before.items():
                if name not in table or table[name] is not value:
                    table[name] = value

    def keep_module(self, module: nn.Module) -> None:
        if id(module) in self._copies:
            return
        self._known(module, module)
        self.modules.append(module)
        if isinstance(module, torch.jit.ScriptModule):
            self._keep_script(module)
            return
        own = module.__dict__
        self._tables.append((own, own.copy()))
        for name, value in list(own.items()):
            if type(value) in _USUAL:
                continue
            if isinstance(value, _OURS):
                own[name] = value.own
            elif name in _TABLES:
                continue
            elif name == "_modules":
                self._tables.append((value, value.copy()))
            elif name in ("_parameters", "_buffers") and value:
                self._keep_tensors(value, every=name == "_buffers")
            else:
                self._set(own, name, value)
        if hasattr(type(module), "log_dict") and hasattr(type(module), "training_step"):  # a LightningModule
            own["log"] = own["log_dict"] = _say_nothing

    def silence(self) -> None:
        """Leave off hooks that are neither torch's own nor the modules'."""
        tables: list[Any] = [module.__dict__.get(name) for module in self.modules for name in _TABLES[:4]]
        whole = torch.nn.modules.module
        tables += [whole._global_forward_hooks, whole._global_forward_pre_hooks]
        for table in tables:
            strange = [key for key, hook in (table or {}).items() if not self._belongs(hook)]
            if strange:
                self._back.append(_put_back_dict(table))
                for key in strange:
                    del table[key]

    def _belongs(self, hook: Any, depth: int = 3) -> bool:
        """Whether it is torch's own, or bound to a module or to what one holds, itself or in what it calls."""
        if (getattr(hook, "__module__", None) or type(hook).__module__).split(".")[0] in _OTHERS:
            return True
        parts = [getattr(hook, "__self__", None), getattr(hook, "func", None), *getattr(hook, "args", ())]
        for cell in getattr(hook, "__closure__", None) or ():
            try:
                parts.append(cell.cell_contents)
            except ValueError:  # it is empty
                continue
        if any(id(part) in self._copies for part in (hook, *parts) if not isinstance(part, (*_PLAIN, tuple))):
            return True
        within = [part for part in parts if isinstance(part, FunctionType | MethodType | partial)]
        return depth > 0 and any(self._belongs(part, depth - 1) for part in within)

    # -- tensors and scripts

    def _keep_tensors(self, table: dict[str, Any], *, every: bool) -> None:
        self._tables.append((table, table.copy()))
        table.update({n: self._copy(t) for n, t in table.items() if t is not None and (every or t.is_inference())})

    def _copy(self, tensor: Tensor) -> Tensor:
        if id(tensor) not in self._copies:
            cloned = tensor.detach().clone()
            self._known(tensor, nn.Parameter(cloned) if isinstance(tensor, nn.Parameter) else cloned)
        return self._copies[id(tensor)]  # type: ignore[no-any-return]

    def _keep_script(self, module: torch.jit.ScriptModule) -> None:
        """Scripts refuse tensors other than their own, so theirs are written back."""
        tensors = dict(module.named_buffers(recurse=False))
        kind = getattr(module, "_concrete_type", None)  # what is only traced has none, and holds nothing else
        for name, (_, parameter) in ({} if kind is None else kind.get_attributes()).items():
            value = None if parameter else module._c.getattr(name)
            if isinstance(value, Tensor):
                tensors[name] = value
            elif isinstance(value, dict | list | tuple) and not _all_plain(value):
                raise _cannot(f"a script that holds more than numbers in {name!r}")
            elif isinstance(value, bool | int | float | str | list | tuple):
                self._back.append(_put_back_attribute(module, name, value))
            elif value is not None:
                raise _cannot(f"a script that holds a {type(value).__name__}, {name!r}")
        for tensor in tensors.values():
            if not tensor.is_inference():
                self._back.append(_put_back_tensor(tensor, tensor.detach().clone()))

    # -- plain attributes

    def _known(self, value: Any, replaced: Any) -> Any:
        self._copies[id(value)] = replaced
        self._alive.append(value)
        return replaced

    def _set(self, table: Any, key: Any, value: Any) -> None:
        kept = self._keep(value)
        if kept is not value:
            table[key] = kept

    def _keep(self, value: Any) -> Any:
        """What stands for a value inside; its contents are put back afterwards."""
        if type(value) in weakref.ProxyTypes or isinstance(value, _PLAIN):
            return value
        if id(value) in self._copies:
            return self._copies[id(value)]
        if type(value) in (dict, OrderedDict, list, set, deque) and not value:
            self._empty.append(value)
            return self._known(value, value)
        if isinstance(value, Tensor):
            return value if isinstance(value, nn.Parameter) and not value.is_inference() else self._copy(value)
        if isinstance(value, nn.Module):
            for module in value.modules():
                self.keep_module(module)
            return value
        if isinstance(value, torch.Generator):
            self._back.append(_put_back_generator(value))
            return self._known(value, value)
        if isinstance(value, _FUNCTIONS):
            return value
        if isinstance(value, bytearray) or type(value).__module__ in ("numpy", "array"):
            return self._known(value, copy.copy(value))
        if isinstance(value, _COPIED):
            return self._known(value, copy.copy(value))
        if hasattr(type(value), "__next__") and (not hasattr(value, "__dict__") or _is_of_others(type(value))):
            return self._known(value, _NotGiven(type(value).__name__))
        if isinstance(value, tuple):
            return self._known(value, self._tuple(value))
        self._known(value, value)
        self._keep_inside(value)
        return value

    def _tuple(self, value: tuple[Any, ...]) -> Any:
        """The same with copies of what it holds, where it holds any."""
        kept = [self._keep(held) for held in value]
        if all(one is other for one, other in zip(kept, value, strict=True)):
            return value
        return value._make(kept) if hasattr(value, "_make") else tuple(kept)

    def _keep_inside(self, value: Any) -> None:
        """The contents of a container, and the attributes of an object."""
        if isinstance(value, dict):
            self._back.append(_put_back_dict(value))
            for key, held in () if _all_plain(value.values()) else list(_kind(value).items(value)):
                self._set(_Plain(value), key, held)
        elif isinstance(value, list | deque):
            self._back.append(_put_back_sequence(value))
            for place, held in () if _all_plain(value) else enumerate(list(value)):
                self._set(value, place, held)
        elif isinstance(value, set):
            self._back.append(_put_back_set(value))
        elif type(value).__module__.startswith("numpy.random"):
            self._keep_numpy(value)
        elif isinstance(value, random.Random):
            self._back.append(_put_back_python(value))
        elif not _is_of_others(type(value)):
            for name, held in _slots(value):
                kept = self._keep(held)
                self._back.append(_put_back_slot(value, name, held))
                if kept is not held:
                    object.__setattr__(value, name, kept)
        own = getattr(value, "__dict__", None)
        if isinstance(own, dict) and not isinstance(value, type) and not _is_of_others(type(value)):
            self._back.append(_put_back_dict(own))
            for name, held in list(own.items()):
                self._set(own, name, held)

    def _keep_numpy(self, value: Any) -> None:
        drawn = getattr(value, "bit_generator", value)  # a Generator, or a RandomState
        if hasattr(drawn, "state"):
            state = drawn.state
            self._back.append(lambda: setattr(drawn, "state", state))
        elif hasattr(drawn, "get_state"):
            state = drawn.get_state()
            self._back.append(lambda: drawn.set_state(state))


class _NotGiven:
    """Stands for an iterator that cannot be copied: whoever takes from it is stopped."""

    def __init__(self, kind: str) -> None:
        self.__dict__["kind"] = kind

    def __next__(self) -> Any:
        raise _cannot(f"a forward that uses a {self.kind}")

    def __iter__(self) -> Any:
        raise _cannot(f"a forward that uses a {self.kind}")

    def __getattr__(self, name: str) -> Any:
        raise _cannot(f"a forward that uses {name!r} of a {self.kind}")


class _Plain:
    """A dict that is written to as a dict, whatever its class makes of it."""

    def __init__(self, table: dict[Any, Any]) -> None:
        self.table = table

    def __setitem__(self, key: Any, value: Any) -> None:
        _kind(self.table).__setitem__(self.table, key, value)


def _all_plain(values: Iterable[Any]) -> bool:
    """Whether nothing of it can change; quick, where a list is long."""
    return all(issubclass(kind, _PLAIN) for kind in set(map(type, values)))


def _kind(table: dict[Any, Any]) -> Any:
    return OrderedDict if isinstance(table, OrderedDict) else dict


def _put_back_dict(table: dict[Any, Any]) -> Callable[[], None]:
    kind = _kind(table)
    before = list(kind.items(table))

    def back() -> None:
        now = list(kind.items(table))
        if len(now) == len(before) and all(a is c and b is d for (a, b), (c, d) in zip(now, before, strict=True)):
            return
        for key in [key for key, _ in now]:
            kind.__delitem__(table, key)
        for key, value in before:
            kind.__setitem__(table, key, value)

    return back


def _put_back_sequence(value: Any) -> Callable[[], None]:
    before = list(value)

    def back() -> None:
        if len(value) != len(before) or any(a is not b for a, b in zip(value, before, strict=True)):
            value.clear()
            value.extend(before)

    return back


def _put_back_set(value: set[Any]) -> Callable[[], None]:
    before = set(value)

    def back() -> None:
        if value != before:
            value.clear()
            value.update(before)

    return back


def _put_back_generator(value: torch.Generator) -> Callable[[], None]:
    state = value.get_state()

    def back() -> None:
        value.set_state(state)

    return back


def _put_back_python(value: random.Random) -> Callable[[], None]:
    state = value.getstate()
    return lambda: value.setstate(state)


def _put_back_slot(value: Any, name: str, held: Any) -> Callable[[], None]:
    return lambda: object.__setattr__(value, name, held)


def _put_back_attribute(module: torch.jit.ScriptModule, name: str, value: Any) -> Callable[[], None]:
    def back() -> None:
        if module._c.getattr(name) != value:
            module._c.setattr(name, value)

    return back


def _put_back_tensor(tensor: Tensor, before: Tensor) -> Callable[[], None]:
    def back() -> None:
        if not torch.equal(tensor, before):
            tensor.copy_(before)

    return back


def _slots(value: Any) -> Iterator[tuple[str, Any]]:
    for kind in type(value).__mro__:
        names = kind.__dict__.get("__slots__", ())
        for name in (names,) if isinstance(names, str) else names:
            if name not in ("__dict__", "__weakref__") and hasattr(value, name):
                yield name, getattr(value, name)


def _is_of_others(kind: type) -> bool:
    return any(base.__module__.split(".")[0] in _OTHERS for base in kind.__mro__)


def _say_nothing(*_: Any, **__: Any) -> None:
    """In place of the ``log`` of a LightningModule."""


def _cannot(given: str) -> DiscoveryError:
    return DiscoveryError(
        "rerun",
        "the module cannot be run again, since its state could not be put back",
        given,
        "Keep what changes in buffers, attributes or lists, and take nothing from iterators or files in forward.",
    )
