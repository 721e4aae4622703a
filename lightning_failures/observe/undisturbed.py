"""Running a user's model while it trains or validates, leaving nothing behind."""

import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from contextvars import ContextVar
from typing import Any, Literal

import torch
from torch import Tensor, nn

from lightning_failures.observe.module_state import module_state_kept, random_state_kept

__all__ = ["ordinary", "undisturbed", "unwrapped"]

#: Modules that run undisturbed at this moment.
_inside: ContextVar[frozenset[nn.Module]] = ContextVar("_inside", default=frozenset())


@contextmanager
def undisturbed(
    model: Callable[..., Any],
    device: torch.device,
    precision: Callable[[], AbstractContextManager[object]] = nullcontext,
    mode: Literal["eval", "own"] = "eval",
    hooks: Literal["all", "own"] = "all",
) -> Iterator[None]:
    """Run a model inside, in ``eval`` and uncompiled, with gradients at hand; outside, nothing of it is changed.

    The one way in which a user's model is run by us. It works inside ``inference_mode`` as well. Modes, parameters and
    their gradients, buffers, plain attributes with all that they hold, the random states of torch, numpy and Python,
    and the cache of mixed precision are bitwise the same after, also when an error is raised; inside, a LightningModule
    logs nothing, and our own hooks are off. See :func:`.module_state_kept` for what is kept.

    Inside use :func:`torch.autograd.grad`, never ``backward``; or ``torch.no_grad()`` where no gradient is wanted.
    Where a model is run many times, one such context around all of them keeps its state once; those inside it then
    cost next to nothing.

    Args:
        model: a module, which is used itself and not copied, or any function, which has neither modes nor buffers.
        device: where it runs, whose random state is kept.
        precision: makes the context of mixed precision, for example ``trainer.precision_plugin.forward_context``.
        mode: ``"eval"``: all modules in evaluation mode; ``"own"``: each in the mode that it is in.
        hooks: which of the hooks on the modules are called: ``"all"``; or ``"own"``: those of torch and of the modules
            themselves, but none that others have put on them.

    Raises:
        DiscoveryError: a script holds a state that cannot be read, or inside, a forward takes from an iterator.

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
        stack.enter_context(random_state_kept(device))
        stack.enter_context(_without_cache(device.type))
        stack.enter_context(precision())
        if "torch._dynamo" in sys.modules:  # else nothing can have been compiled, and its import takes seconds
            stack.enter_context(torch.compiler.set_stance("force_eager"))
        if isinstance(model, nn.Module):
            inside = _inside.get()
            new = [module for module in model.modules() if module not in inside]
            if new:  # within another one, their state is kept already
                stack.enter_context(module_state_kept(new, hear=hooks == "all"))
                token = _inside.set(inside.union(new))
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
