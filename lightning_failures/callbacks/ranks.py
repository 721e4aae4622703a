"""What every process of a run knows, on all of them, and whether all of them are well."""

from typing import Any

import torch.distributed

from lightning_failures.callbacks.error_guard import ErrorGuard

__all__ = ["Agreement", "gather"]


def gather(mine: Any) -> list[Any]:
    """What each process passed, in the order of their ranks; every process must call it."""
    if not (torch.distributed.is_available() and torch.distributed.is_initialized()):
        return [mine]
    said: list[Any] = [None] * torch.distributed.get_world_size()
    torch.distributed.all_gather_object(said, mine)
    return said


class Agreement:
    """What the processes of a run agree on; where one of them failed, all retire.

    Args:
        guard: knows whether this process failed.
    """

    def __init__(self, guard: ErrorGuard) -> None:
        self.guard = guard
        self.retired = False

    def first(self, mine: Any) -> Any:
        """What the first rank that has something says; every rank takes part, and one that failed retires them all."""
        said = gather((self.guard.failure, mine))
        failures = [failure for failure, _ in said if failure]
        if failures and not self.retired:
            self.retired = True
            self.guard.failure = self.guard.failure or f"it stepped aside on another rank: {failures[0]}"
        return next((word for _, word in said if word is not None), None)
