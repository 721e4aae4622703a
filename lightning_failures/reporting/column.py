"""What a report needs to know of one noun: its terms, its rules, and what it shows of a run."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NamedTuple

from lightning_failures.records.rule import Rule
from lightning_failures.records.run_record import RunRecord
from lightning_failures.records.term import Term

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["Chart", "Column", "Tile"]


class Tile(NamedTuple):
    """One figure in large type."""

    name: str
    value: str
    note: str
    course: Sequence[float] = ()  # its values over the run, for a line below


class Chart(NamedTuple):
    """One picture of a run at its end.

    Args:
        name: of the picture, unique in the report; a word.
        caption: what is seen, in plain sentences.
        label: what a screen reader says of a run's picture; None where the run logged nothing to be drawn.
        draw: draws it.
    """

    name: str
    caption: str
    label: Callable[[RunRecord], str | None]
    draw: "Callable[[RunRecord], Figure]"


class Column(NamedTuple):
    """One noun.

    Args:
        noun: second part of its logged keys.
        terms: what its figures mean; their keys are those behind ``failures/<noun>/``.
        rules: what counts as a failure.
        charts: pictures of a run.
        tiles: figures that describe a run at a glance, those that it logged.
        rows: of a table that compares runs, one column for each run: label -> what is told of a run, or nothing.
    """

    noun: str
    terms: tuple[Term, ...]
    rules: tuple[Rule, ...] = ()
    charts: tuple[Chart, ...] = ()
    tiles: Callable[[RunRecord], list[Tile]] = lambda record: []
    rows: tuple[tuple[str, Callable[[RunRecord], str]], ...] = ()
