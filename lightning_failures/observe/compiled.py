"""Which parts of a module are compiled by torch, so that no hook may stand inside them."""

import sys
from typing import Any

from torch import nn

__all__ = ["STEPS", "is_compiled", "listenable", "uncompiled"]

#: Methods of a LightningModule that run its network, and that Lightning compiles where it is compiled as a whole.
STEPS = ("training_step", "validation_step", "test_step", "predict_step")


def listenable(module: nn.Module) -> dict[str, nn.Module]:
    """Every submodule that hooks may stand on, by name, as ``named_modules`` gives them, itself first.

    A hook inside of what is compiled would become part of it, cut its graph and change its results. So of a compiled
    part only its outside is listened to: what it takes and what it gives.

    Example:
        >>> net = nn.Sequential(nn.Sequential(nn.Linear(3, 3), nn.ReLU()), nn.Linear(3, 2))
        >>> list(listenable(net))
        ['', '0', '0.0', '0.1', '1']
        >>> net[0].compile()
        >>> list(listenable(net))
        ['', '0', '1']
    """
    parts = [name for name, child in module.named_modules() if is_compiled(child)]
    return {
        name: child
        for name, child in module.named_modules()
        if not any(part != name and (not part or name.startswith(f"{part}.")) for part in parts)
    }


def is_compiled(module: nn.Module) -> bool:
    """Whether a module is compiled: by ``torch.compile``, by its own ``compile``, or in its ``forward`` or step."""
    return (
        _is_wrapped(module)
        or module._compiled_call_impl is not None
        or any(_is_compiled_function(getattr(module, name, None)) for name in ("forward", *STEPS))
    )


def uncompiled(module: nn.Module) -> nn.Module:
    """The module of the user's that ``torch.compile`` has wrapped; itself where it has wrapped none."""
    return module._orig_mod if _is_wrapped(module) else module  # type: ignore[return-value]


def _is_wrapped(module: nn.Module) -> bool:
    dynamo = sys.modules.get("torch._dynamo")  # else nothing can have been compiled, and its import takes seconds
    return dynamo is not None and isinstance(module, dynamo.OptimizedModule)


def _is_compiled_function(value: Any) -> bool:
    """Whether it is what ``torch.compile`` gives for a function, and not what ``torch.compiler.disable`` gives."""
    value = getattr(value, "__func__", value)
    return hasattr(value, "_torchdynamo_orig_callable") and not getattr(value, "_torchdynamo_disable", False)
