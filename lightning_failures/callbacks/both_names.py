"""Lightning is installed under two names, ``lightning.pytorch`` and ``pytorch_lightning``: callbacks for both.

The hooks are the same, and a Trainer calls them by name; but each package asks whether a callback is of its classes.
Its own ``Checkpoint`` runs last, is meant by ``ckpt_path="best"``, and takes the place of the one made by default; and
older versions refuse a callback that is not of their ``Callback``. Which Trainer a callback will meet is not known when
it is made, so it is of both.
"""

import sys
from typing import Any, Self

__all__ = ["TheirCallback", "TheirCheckpoint"]

_THEIRS = "pytorch_lightning.callbacks"


class _Last:
    """Ends the constructors of ``lightning``: the other package's classes stand behind it and are asked for nothing."""

    def __init__(self) -> None:
        pass


class TheirCallback(_Last):
    """Last base of a callback of ``lightning``: it is one of ``pytorch_lightning`` too, where that was imported.

    It is so from the import of this module on, or else from the next such callback on that is made. Nothing that the
    callback does changes, since all that it inherits from ``lightning`` comes first; and nobody who never imports the
    other package waits for it.
    """

    def __new__(cls, *args: Any, **options: Any) -> Self:
        """An ordinary instance."""
        _join()
        return object.__new__(cls)


class TheirCheckpoint(TheirCallback):
    """The same for a ``ModelCheckpoint``."""


def _join() -> None:
    """Put the other package's classes behind ours, where they are known by now.

    The classes themselves are changed, not copied, so that there is one of each name for ``isinstance``, subclasses,
    pickles and the states in checkpoints.
    """
    package = sys.modules.get(_THEIRS)
    for ours, name in ((TheirCallback, "Callback"), (TheirCheckpoint, "ModelCheckpoint")):
        theirs = getattr(package, name, None)
        if theirs is not None and not issubclass(ours, theirs):
            ours.__bases__ = (*ours.__bases__, theirs)


_join()
