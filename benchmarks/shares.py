"""Shares of runs with their intervals, and tables of them in markdown."""

from collections.abc import Iterable, Sequence

import torch

from lightning_failures.functional import wilson

__all__ = ["middle", "share", "table"]


def share(holds: Iterable[bool]) -> str:
    """How many of how many, and the share with Wilson's 95% interval.

    Example:
        >>> share([True] * 9 + [False])
        '9 of 10: 90% (60% to 98%)'
        >>> share([])
        'none'
    """
    answers = list(holds)
    if not answers:
        return "none"
    right, seen = sum(answers), len(answers)
    low, high = (float(end) for end in wilson(torch.tensor(right), torch.tensor(seen)))
    return f"{right} of {seen}: {right / seen:.0%} ({low:.0%} to {high:.0%})"


def middle(numbers: Iterable[float | None]) -> str:
    """Median with the least and the greatest; empty where none is known.

    Example:
        >>> middle([3, None, 1, 8]), middle([2]), middle([None])
        ('3 (1 to 8)', '2', '')
    """
    known = sorted(number for number in numbers if number is not None)
    if not known:
        return ""
    half = f"{known[(len(known) - 1) // 2]:g}"
    return half if known[0] == known[-1] else f"{half} ({known[0]:g} to {known[-1]:g})"


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table in markdown; a bar in a cell is written so that it does not end the cell.

    Example:
        >>> print(table(["case", "detected"], [["a", "1 of 2"]]))
        | case | detected |
        |---|---|
        | a | 1 of 2 |
    """
    rows = [[cell.replace("|", "\\|") for cell in row] for row in (head, *rows)]
    lines = ["| " + " | ".join(row) + " |" for row in rows]
    return "\n".join([lines[0], "|" + "---|" * len(head), *lines[1:]])
