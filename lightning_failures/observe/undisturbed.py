"""Gradients while training or validating, leaving nothing behind: modes, buffers and random state stay as they were."""

import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn

from lightning_failures.errors import DiscoveryError

__all__ = ["input_gradient", "logits_of", "ordinary", "undisturbed", "unwrapped"]


@contextmanager
def undisturbed(
    model: nn.Module, device: torch.device, precision: Callable[[], AbstractContextManager[object]] = nullcontext
) -> Iterator[None]:
    """Run a model in ``eval`` inside, with gradients at hand, uncompiled; outside, nothing of it is changed.

    It works inside ``inference_mode`` as well. Modes, buffers, parameters and their gradients, and torch's random state
    are bitwise the same after, also when an error is raised. Use :func:`torch.autograd.grad` inside, never
    ``backward``.

    Args:
        model: the model; its own modules are used, not copies.
        device: where it runs, whose random state is kept.
        precision: makes the context of mixed precision, for example ``trainer.precision_plugin.forward_context``.

    Example:
        >>> net = nn.Sequential(nn.Linear(3, 2), nn.Dropout(0.5)).train()
        >>> with torch.inference_mode(), undisturbed(net, torch.device("cpu")):
        ...     gradient, _ = input_gradient(net, torch.ones(1, 3), lambda output: output.sum(1))
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
        stack.enter_context(_own_tensors(model))
        stack.enter_context(_evaluating(model))
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


def logits_of(output: Any, where: str = "attribute_channels") -> Tensor:
    """The logits in what a model returns: a tensor, the first of a sequence, or the field ``logits`` or ``out``.

    Raises:
        DiscoveryError: there is no such tensor.
    """
    value = output
    if isinstance(value, Mapping):
        value = next((value[name] for name in ("logits", "out") if name in value), None)
    elif isinstance(getattr(value, "logits", None), Tensor):
        value = value.logits
    elif isinstance(value, tuple | list) and value:
        value = value[0]
    if not isinstance(value, Tensor):
        raise DiscoveryError(
            where,
            "the model returns no logits",
            f"a {type(output).__name__}"
            + (f" with {', '.join(map(str, output))}" if isinstance(output, Mapping) else ""),
            "Pass a module whose forward returns the logits, or a mapping with the key 'logits'.",
        )
    return value


def input_gradient(
    model: nn.Module, inputs: Tensor, score: Callable[[Tensor], Tensor], where: str = "attribute_channels"
) -> tuple[Tensor, Tensor]:
    """Gradient of each image's score by its own input, and the scores.

    Args:
        model: gives the logits; in ``eval``, so that an image's score depends on its own input only.
        inputs: any shape, images first.
        score: from logits to one score an image; (n).
        where: the public name to put into an error.

    Raises:
        DiscoveryError: the model cuts the graph between its input and its logits.
    """
    leaf = inputs.detach().requires_grad_()
    scores = score(logits_of(model(leaf), where))
    if not scores.requires_grad:
        raise DiscoveryError(
            where,
            "the logits have no gradient by the inputs",
            "a model that detaches, or that runs under no_grad itself",
            "Use method='ablation' or 'permutation', which need none.",
        )
    (gradient,) = torch.autograd.grad(scores.nansum(), leaf, allow_unused=True)
    return torch.zeros_like(inputs) if gradient is None else gradient, scores.detach()


def _without_cache(kind: str) -> AbstractContextManager[object]:
    """The autocast that is on, without its cache: what is cast under ``no_grad`` here is not for the user's step."""
    dtype, on = torch.get_autocast_dtype(kind), torch.is_autocast_enabled(kind)
    return torch.autocast(kind, dtype=dtype, enabled=on, cache_enabled=False)


@contextmanager
def _evaluating(model: nn.Module) -> Iterator[None]:
    """All modules in eval; by their flags, since a model's own ``train`` may do more."""
    modes = [(module, module.training) for module in model.modules()]
    try:
        for module, _ in modes:
            module.training = False
        yield
    finally:
        for module, training in modes:
            module.training = training


@contextmanager
def _own_tensors(model: nn.Module) -> Iterator[None]:
    """Copies in place of all buffers, which a forward may write to, and of parameters made in ``inference_mode``."""
    copies: dict[int, Tensor] = {}
    before: list[tuple[dict[str, Any], dict[str, Any]]] = []

    def copy(tensor: Tensor) -> Tensor:
        if id(tensor) not in copies:
            cloned = tensor.detach().clone()
            copies[id(tensor)] = nn.Parameter(cloned) if isinstance(tensor, nn.Parameter) else cloned
        return copies[id(tensor)]

    try:
        for module in model.modules():
            tables: tuple[dict[str, Any], ...] = (module._buffers, module._parameters)
            for held, every in zip(tables, (True, False), strict=True):
                before.append((held, dict(held)))
                held.update({n: copy(t) for n, t in held.items() if t is not None and (every or t.is_inference())})
        yield
    finally:
        for held, tensors in before:
            held.clear()
            held.update(tensors)
