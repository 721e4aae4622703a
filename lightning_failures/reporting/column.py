"""What a report needs to know of one noun: its terms, its rules, and what it shows of a run."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from lightning_failures.records.finding import Finding
from lightning_failures.records.rule import Rule
from lightning_failures.records.run_record import RunRecord
from lightning_failures.records.term import Term

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = [
    "Chart",
    "Column",
    "Drawing",
    "Medium",
    "ProgressNote",
    "Proof",
    "Reference",
    "Row",
    "Section",
    "Table",
    "Tile",
    "last_figure",
    "views",
]


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
        caption: what is seen, in plain sentences; or what gives them for a run, where they depend on what it logged.
        label: what a screen reader says of a run's picture; None where the run logged nothing to be drawn.
        draw: draws a run; where there is a ``scale``, a run and the scale.
        scale: what the pictures of all runs share, such as the limits of an axis.
        marks_findings: whether findings are marked in it, so that it is logged anew whenever they change.
    """

    name: str
    caption: str | Callable[[RunRecord], str]
    label: Callable[[RunRecord], str | None]
    draw: "Callable[..., Figure]"
    scale: Callable[[Sequence[RunRecord]], Any] | None = None
    marks_findings: bool = False

    def of(self, records: Sequence[RunRecord]) -> "list[Callable[[], Figure] | None]":
        """What draws each of some runs, on one scale; None where a run logged nothing to be drawn."""
        given = () if self.scale is None else (self.scale(records),)
        return [None if self.label(record) is None else partial(self.draw, record, *given) for record in records]

    def caption_of(self, record: RunRecord) -> str:
        """What is seen in the picture of a run."""
        return self.caption if isinstance(self.caption, str) else self.caption(record)


class Drawing(NamedTuple):
    """One picture, yet to be drawn.

    Args:
        caption: what is seen, in plain sentences.
        label: what a screen reader says of it: what it shows, with its figures.
        draw: draws it.
    """

    caption: str
    label: str
    draw: "Callable[[], Figure]"


class Proof(NamedTuple):
    """The one picture that proves what findings of some rules say.

    A rule that no proof of its column names is proven by the course of its first indicator against its threshold.

    Args:
        rules: by their names.
        of: from a run and a finding of it to the picture; None where the run logged nothing to be drawn. None in place
            of a function: a picture would show no more than the sentence says.
        images: whether images that were drawn in the run for the finding stand in its place where there are any.
    """

    rules: tuple[str, ...]
    of: Callable[[RunRecord, Finding], Drawing | None] | None
    images: bool = False


class Row(NamedTuple):
    """One row of a table; a marked one stands out."""

    cells: tuple[str, ...]
    marked: bool = False


class Table(NamedTuple):
    """A table of one run: heads of its columns, and rows whose first cell names them."""

    heads: tuple[str, ...]
    rows: tuple[Row, ...]


class Section(NamedTuple):
    """A part of the report of its own, in which runs stand beside each other.

    Args:
        name: of the part, unique in the report; a word.
        title: of the part.
        caption: what is seen in its picture, in plain sentences.
        label: what a screen reader says of the picture of some runs.
        draw: draws some runs in one picture.
        note: what the marks of the table mean.
        table: of one run; None where the run logged nothing for it, which leaves it out of the picture too.
        together: how many runs a picture holds at most.
    """

    name: str
    title: str
    caption: str
    label: Callable[[Sequence[RunRecord]], str]
    draw: "Callable[[Sequence[RunRecord]], Figure]"
    note: str
    table: Callable[[RunRecord], Table | None]
    together: int = 2


class Medium(NamedTuple):
    """A picture or a table that the logger gets beside the figures.

    Args:
        key: what stands behind ``failures/<noun>/`` in its logged key.
        kind: a table of the run, or a picture.
        title: in plain words.
    """

    key: str
    kind: Literal["picture", "table"]
    title: str


class Reference(NamedTuple):
    """An accuracy that the model's own is compared with, on the same images."""

    statistic: str  # its key behind ``failures/<noun>/``
    name: str  # of what reaches it, in words
    sees: str = ""  # what it is a model of, to be said behind its name


class ProgressNote(NamedTuple):
    """What a progress bar says after an evaluation."""

    item: str  # what the bar calls it; a word
    subject: str  # what it is about; cut where the bar has no room
    value: str


class Column(NamedTuple):
    """One noun.

    What it draws and tells of a run looks for keys that begin with ``failures/<noun>/``; of a monitor with a name of
    its own it is asked through :func:`views`.

    Args:
        noun: second part of its logged keys.
        terms: what its figures mean; their keys are those behind ``failures/<noun>/``.
        rules: what counts as a failure.
        title: what it looks at, in words, as the heading of its evidence; empty: the noun.
        proofs: the picture that proves each finding, for those rules that have one of their own.
        charts: pictures of a run.
        tiles: figures that describe a run at a glance, those that it logged.
        rows: of a table that compares runs, one column for each run: label -> what is told of a run, or nothing.
        sections: parts of the report in which runs stand beside each other.
        reference: what the accuracy of a run is compared with.
        progress: what a progress bar says after an evaluation, from its values behind ``failures/<name>/``; None
            where there is nothing to be said.
        media: the pictures and tables that the logger gets.
    """

    noun: str
    terms: tuple[Term, ...]
    rules: tuple[Rule, ...] = ()
    title: str = ""
    proofs: tuple[Proof, ...] = ()
    charts: tuple[Chart, ...] = ()
    tiles: Callable[[RunRecord], list[Tile]] = lambda record: []
    rows: tuple[tuple[str, Callable[[RunRecord], str]], ...] = ()
    sections: tuple[Section, ...] = ()
    reference: Reference | None = None
    progress: Callable[[Mapping[str, float]], ProgressNote | None] = lambda values: None
    media: tuple[Medium, ...] = ()


def last_figure(key: str, form: str) -> Callable[[RunRecord], str]:
    """What gives the last value of a key in figures; nothing where none is known.

    Args:
        key: that was logged.
        form: of the figure, such as ``".3f"``.

    Example:
        >>> from lightning_failures.records.run_record import Evaluation
        >>> told = last_figure("val_acc", ".1%")
        >>> told(RunRecord("run", [Evaluation(0, 1, {"val_acc": 0.91})])), told(RunRecord("run"))
        ('91.0%', '')
    """

    def told(record: RunRecord) -> str:
        value = record.last(key)
        return "" if math.isnan(value) else format(value, form)

    return told


def views(column: Column, records: Sequence[RunRecord]) -> Iterator[tuple[str, list[RunRecord]]]:
    """All runs as one monitor of a noun saw them, for each name under which such monitors logged in any of them.

    Yields:
        What tells the monitor's figures from those of others in a title: nothing, or its name; and the runs, in which
        its keys begin with ``failures/<noun>/``.
    """
    for name in dict.fromkeys(name for record in records for name in record.names_of(column.noun)):
        yield "" if name == column.noun else name, [record.seen_by(name, column.noun) for record in records]
