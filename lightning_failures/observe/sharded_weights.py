"""Weights that are spread over the processes of a run, as FSDP does it: whether they are, and one of them whole."""

import sys
from typing import Any

from torch import Tensor, nn

from lightning_failures.errors import DiscoveryError

__all__ = ["gathered", "refuse_sharded"]


def gathered(weight: Any) -> Any:
    """A weight as one tensor, of all processes, each of which must call this; anything else as it is.

    Args:
        weight: a parameter, or what stands in its place.

    Example:
        >>> gathered(None) is None
        True
    """
    return weight.full_tensor() if _is_sharded(weight) else weight


def refuse_sharded(module: nn.Module) -> None:
    """Raise where a forward pass of our own would wait for other processes, which might never come to run it.

    Each pass of a module whose weights are spread gathers them from all processes. How many images a process has, and
    whether the module can be run again there, is for it alone to see; so one that passes would wait for ever.

    Args:
        module: the user's module.

    Raises:
        DiscoveryError: its weights are spread over the processes.
    """
    sharded = next((name for name, weight in module.named_parameters() if _is_sharded(weight)), None)
    if sharded is not None:
        raise DiscoveryError(
            "rerun",
            "the module's weights are spread over several processes, so it is not run on further inputs",
            f"the parameter {sharded!r}, of which each process has a part",
            "Examine a checkpoint of it on one process: Trainer(devices=1).validate(...).",
        )


def _is_sharded(weight: Any) -> bool:
    """Whether it is a DTensor, of FSDP2 or tensor parallelism, or a part of FSDP's flat weights."""
    if not isinstance(weight, Tensor):
        return False
    tensors = sys.modules.get("torch.distributed.tensor")  # where nobody imported it there is none, and it is heavy
    flat = getattr(weight, "_is_flat_param", False)
    return bool(flat) or (tensors is not None and isinstance(weight, tensors.DTensor))
