"""What every process of a run knows, on all of them."""

from typing import Any

import torch.distributed

__all__ = ["gather"]


def gather(mine: Any) -> list[Any]:
    """What each process passed, in the order of their ranks; every process must call it."""
    if not (torch.distributed.is_available() and torch.distributed.is_initialized()):
        return [mine]
    said: list[Any] = [None] * torch.distributed.get_world_size()
    torch.distributed.all_gather_object(said, mine)
    return said
