"""What the logged figures about channels and bands mean."""

from lightning_failures.reporting.terms import Term

__all__ = ["CHANNELS"]

_HERE = "failures/channels/"

CHANNELS: tuple[Term, ...] = ()
