"""The name under which a checkpoint keeps what a callback knows."""

import hashlib

from lightning.pytorch import Callback

__all__ = ["state_key"]


def state_key(callback: Callback, configuration: str) -> str:
    """A short name, one a configuration: Lightning also makes file names of it, in ``AdvancedProfiler`` for one.

    Args:
        callback: whose state it is.
        configuration: in text, all that tells it from others of its class.

    Example:
        >>> state_key(Callback(), "val_loss <= 2")
        'Callback-f636a1b7'
    """
    return f"{type(callback).__qualname__}-{hashlib.sha256(configuration.encode()).hexdigest()[:8]}"
