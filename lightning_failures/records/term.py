"""What one logged figure means."""

from typing import NamedTuple

__all__ = ["Term"]


class Term(NamedTuple):
    """What one logged figure means."""

    pattern: str  # of the logged key
    name: str
    meaning: str
    range: str
    direction: str
