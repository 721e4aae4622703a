"""At which evaluations of a long run a picture or a table is logged anew, so that their count stays small."""

import math

__all__ = ["Thinning", "most_logged"]

#: The next one comes after a quarter more evaluations than there were at the last.
GROWTH = 1.25


class Thinning:
    """Says of each turn whether it is one to log at: the first turns are, later ones further and further apart.

    Args:
        dense: how many turns at the beginning are all logged, at least 1.

    Example:
        >>> thinning = Thinning(dense=2)
        >>> [turn for turn in range(1, 20) if thinning.due(turn) and thinning.logged(turn)]
        [1, 2, 3, 4, 5, 7, 9, 12, 15, 19]
    """

    def __init__(self, dense: int) -> None:
        self.dense = dense
        self._next = 1

    def due(self, turn: int) -> bool:
        """Whether to log at a turn; they are counted from 1."""
        return turn >= self._next

    def logged(self, turn: int) -> bool:
        """Note that it was logged at a turn; true."""
        self._next = turn + 1 if turn < self.dense else max(turn + 1, math.ceil(turn * GROWTH))
        return True


def most_logged(turns: int, dense: int) -> int:
    """How many times something is logged in so many evaluations at most, with one more time at the end of the run.

    Args:
        turns: evaluations.
        dense: see :class:`Thinning`.

    Example:
        >>> [most_logged(turns, dense=4) for turns in (4, 50, 1000, 10_000)]
        [5, 15, 28, 38]
    """
    thinning = Thinning(dense)
    return 1 + sum(thinning.due(turn) and thinning.logged(turn) for turn in range(1, turns + 1))
