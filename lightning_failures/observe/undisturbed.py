"""Running a user's model while it trains or validates, leaving nothing behind."""

import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from contextvars import ContextVar
from typing import Any, Literal

import torch
from torch import Tensor, nn

__all__ = ["ordinary", "undisturbed", "unwrapped"]

#: Models that run undisturbed at this moment.
_inside: ContextVar[tuple[nn.Module, ...]] = ContextVar("_inside", default=())


@contextmanager
def undisturbed(
    model: Callable[..., Any],
    device: torch.device,
    precision: Callable[[], AbstractContextManager[object]] = nullcontext,
    mode: Literal["eval", "own"] = "eval",
) -> Iterator[None]:
    """Run a model inside, in ``eval`` and uncompiled, with gradients at hand; outside, nothing of it is changed.

    The one way in which a user's model is run by us. It works inside ``inference_mode`` as well. Modes, buffers,
    parameters and their gradients, torch's random state and the cache of mixed precision are bitwise the same after,
    also when an error is raised. Inside use :func:`torch.autograd.grad`, never ``backward``; or ``torch.no_grad()``
    where no gradient is wanted. Where a model is run many times, one such context around all of them keeps its tensors
    once; those inside it then cost next to nothing.

    Args:
        model: a module, which is used itself and not copied, or any function, which has neither modes nor buffers.
        device: where it runs, whose random state is kept.
        precision: makes the context of mixed precision, for example ``trainer.precision_plugin.forward_context``.
        mode: ``"eval"``: all modules in evaluation mode; ``"own"``: each in the mode that it is in.

    Example:
        >>> net = nn.Sequential(nn.Linear(3, 2), nn.Dropout(0.5)).train()
        >>> with torch.inference_mode(), undisturbed(net, torch.device("cpu")):
        ...     inputs = torch.ones(1, 3, requires_grad=True)
        ...     (gradient,) = torch.autograd.grad(net(inputs).sum(), inputs)
        >>> torch.equal(gradient[0], net[0].weight.sum(0)), net[1].training, net[0].weight.grad
        (True, True, None)
    """
    with ExitStack() as stack:
        stack.enter_context(torch.inference_mode(False))
        stack.enter_context(torch.enable_grad())
        # By default all devices, with a warning where they are many
        stack.enter_context(torch.random.fork_rng([device] if device.type == "cuda" else []))
        stack.enter_context(_without_cache(device.type))
        stack.enter_context(precision())
        if "torch._dynamo" in sys.modules:  # else nothing can have been compiled, and its import takes seconds
            stack.enter_context(torch.compiler.set_stance("force_eager"))
        if isinstance(model, nn.Module):
            if model not in _inside.get():  # within another one, its tensors are kept already
                stack.enter_context(_own_tensors(model))
                token = _inside.set((*_inside.get(), model))
                stack.callback(_inside.reset, token)
            stack.enter_context(_modes_kept(model))
            if mode == "eval":
                for module in model.modules():
                    module.training = False  # by the flag, since a model's own ``train`` may do more
        yield


def unwrapped(model: nn.Module) -> nn.Module:
    """The user's module inside ``DistributedDataParallel`` or ``DataParallel``, whose forward would synchronise."""
    while isinstance(model, nn.parallel.DistributedDataParallel | nn.DataParallel):
        model = model.module
    return model


def ordinary(tensor: Tensor) -> Tensor:
    """The tensor without its graph, copied where it is out of ``inference_mode``, so that it can be differentiated."""
    with torch.inference_mode(False):
        return tensor.clone() if tensor.is_inference() else tensor.detach()


def _without_cache(kind: str) -> AbstractContextManager[object]:
    """The autocast that is on, without its cache: what is cast under ``no_grad`` here is not for the user's step."""
    dtype, on = torch.get_autocast_dtype(kind), torch.is_autocast_enabled(kind)
    return torch.autocast(kind, dtype=dtype, enabled=on, cache_enabled=False)


@contextmanager
def _modes_kept(model: nn.Module) -> Iterator[None]:
    """Each module's own mode afterwards."""
    modes = [(module, module.training) for module in model.modules()]
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training


@contextmanager
def _own_tensors(model: nn.Module) -> Iterator[None]:
    """Copies in place of all buffers, which a forward may write to, and of parameters made in ``inference_mode``."""
    copies: dict[int, Tensor] = {}
    before: list[tuple[dict[str, Any], dict[str, Any]]] = []
    scripted: list[tuple[Tensor, Tensor]] = []

    def copy(tensor: Tensor) -> Tensor:
        if id(tensor) not in copies:
            cloned = tensor.detach().clone()
            copies[id(tensor)] = nn.Parameter(cloned) if isinstance(tensor, nn.Parameter) else cloned
        return copies[id(tensor)]

    try:
        for module in model.modules():
            if isinstance(module, torch.jit.ScriptModule):  # these refuse tensors other than their own
                own = [buffer for buffer in module.buffers(recurse=False) if not buffer.is_inference()]
                scripted += [(buffer, buffer.detach().clone()) for buffer in own]
                continue
            tables: tuple[dict[str, Any], ...] = (module._buffers, module._parameters)
            for held, every in zip(tables, (True, False), strict=True):
                before.append((held, dict(held)))
                held.update({n: copy(t) for n, t in held.items() if t is not None and (every or t.is_inference())})
        yield
    finally:
        for held, tensors in before:
            held.clear()
            held.update(tensors)
        for buffer, tensor in scripted:
            if not torch.equal(buffer, tensor):
                buffer.copy_(tensor)
