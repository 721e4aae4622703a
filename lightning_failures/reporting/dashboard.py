"""The specification of a dashboard: sections of panels, made from what the columns declare of their figures."""

from collections.abc import Iterable, Mapping, Sequence
from itertools import chain
from typing import Any, Literal, NamedTuple

from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from lightning_failures.records.term import Term
from lightning_failures.reporting.column import Column, Medium

__all__ = ["DashboardSection", "Panel", "as_data", "curve", "medium_panel", "print_dashboard", "sections_of"]

#: Columns of a terminal from which on there is room for the whole table.
WIDE = 130
#: What a panel shows, in words.
KINDS = {"curve": "curve", "picture": "pictures", "table": "table", "summary": "words, one for each run"}


class Panel(NamedTuple):
    """One panel.

    Args:
        title: in plain words.
        kind: a curve of one key, or of all that a star stands for; pictures; a table; or words of a run's summary.
        key: that was logged; a star at its end stands for any one name.
        unit: what it counts; empty: dimensionless.
        range: which values it takes, in words.
        direction: which values are good or bad.
        meaning: what it is, in plain sentences.
        bounds: the ends of the axis; None: open.
    """

    title: str
    kind: Literal["curve", "picture", "table", "summary"]
    key: str
    unit: str = ""
    range: str = ""
    direction: str = ""
    meaning: str = ""
    bounds: tuple[float | None, float | None] = (None, None)

    @property
    def axis(self) -> str:
        """What stands beside the axis: unit and range."""
        return ", ".join(filter(None, (self.unit, self.range)))


class DashboardSection(NamedTuple):
    """Panels below one title."""

    title: str
    panels: tuple[Panel, ...]


def curve(term: Term) -> Panel:
    """The panel of a figure, whose term stands under its whole key.

    Example:
        >>> curve(Term("failures/kept", "Kept", "A share.", "0 to 1", "higher is better")).bounds
        (0.0, 1.0)
    """
    return Panel(term.name, "curve", term.key, term.unit, term.range, term.direction, term.meaning, term.bounds)


def medium_panel(medium: Medium, folder: str) -> Panel:
    """The panel of a picture or a table that is logged below a folder such as ``failures/images``.

    Example:
        >>> medium_panel(Medium("worst", "picture", "Images that the model gets wrong"), "failures/images").key
        'failures/images/worst'
    """
    return Panel(medium.title, medium.kind, f"{folder}/{medium.key}")


def sections_of(
    columns: Iterable[Column],
    detail: Literal["headline", "full"] = "headline",
    named: Mapping[str, str] | None = None,
) -> list[DashboardSection]:
    """One section for each column that logs something, headlines first, then pictures and tables, then details.

    Args:
        columns: in their order.
        detail: ``"headline"``: what is logged by default; ``"full"``: also what ``detail="full"`` of a monitor logs.
        named: name -> noun of monitors with names of their own, each of which gets a section behind that of its noun.

    Example:
        >>> term = Term("kept/*", "What a layer kept", "A share.", "0 to 1", "")._replace(headline=True, short="kept")
        >>> column = Column("collapse", (term._replace(worst="min"),), media=(Medium("layers", "picture", "Layers"),))
        >>> (section,) = sections_of([column])
        >>> [(panel.title, panel.key) for panel in section.panels]
        [('What a layer kept, the smallest', 'failures/kept'), ('Layers', 'failures/collapse/layers')]
    """
    found = []
    for column in columns:
        names = [column.noun, *(name for name, noun in (named or {}).items() if noun == column.noun)]
        for name in names:
            panels = _panels(column, name, detail)
            if panels:
                title = column.noun.capitalize() + ("" if name == column.noun else f" ({name})")
                found.append(DashboardSection(title, panels))
    return found


def _panels(column: Column, name: str, detail: Literal["headline", "full"]) -> tuple[Panel, ...]:
    folder = f"failures/{name}"
    above = "failures" if name == column.noun else folder
    headlines = [term for term in column.terms if term.headline]
    first = [curve(_short(term, above) if term.short else term.of(f"{folder}/{{}}")) for term in headlines]
    media = [medium_panel(each, folder) for each in column.media]
    # a headline with a short name has its own key among the details
    rest = [term for term in column.terms if term.short or not term.headline]
    details = [curve(term.of(f"{folder}/{{}}")) for term in rest] if detail == "full" else []
    return _once([*first, *media, *details])


def _short(term: Term, above: str) -> Term:
    """A headline under its short name; of a star the worst of its names."""
    end = f", the {'smallest' if term.worst == 'min' else 'largest'}" if term.key.endswith("*") else ""
    return term._replace(key=f"{above}/{term.short}", name=f"{term.name}{end}")


def _once(panels: Iterable[Panel]) -> tuple[Panel, ...]:
    """One panel for each key; terms that share a short name, of which a run has the one or the other, share a panel."""
    by_key: dict[str, Panel] = {}
    for panel in panels:
        first = by_key.get(panel.key, panel)
        title = first.title if first.title == panel.title else f"{first.title}, or {_lower(panel.title)}"
        both = first.bounds if first.bounds == panel.bounds else (None, None)
        by_key[panel.key] = first._replace(title=title, bounds=both)
    return tuple(by_key.values())


def _lower(title: str) -> str:
    return title[:1].lower() + title[1:]


def as_data(sections: Sequence[DashboardSection]) -> list[dict[str, Any]]:
    """The specification as plain data, for programs."""
    plain = [[panel._asdict() | {"bounds": list(panel.bounds)} for panel in section.panels] for section in sections]
    return [{"title": section.title, "panels": panels} for section, panels in zip(sections, plain, strict=True)]


def print_dashboard(
    sections: Sequence[DashboardSection], written: Mapping[str, str] | None = None, console: Console | None = None
) -> None:
    """Print the specification as a table, one row for each panel.

    Args:
        sections: in their order.
        written: what was written -> its address; nothing: that this was a dry run.
        console: where to print; by default the terminal.
    """
    out = console or Console(highlight=False)
    table = Table(box=None, pad_edge=False, show_edge=False)
    heads = ("panel", "key", "unit and range", "shows", "good or bad")
    shown = len(heads) if out.width >= WIDE else 3
    for head in heads[:shown]:
        table.add_column(head, overflow="fold", header_style="dim")
    for place, section in enumerate(sections):
        if place:
            table.add_row()
        table.add_row(Text(section.title, style="bold"))
        for panel in section.panels:
            cells = (panel.key, panel.axis or KINDS[panel.kind], KINDS[panel.kind], panel.direction)
            table.add_row(Padding(Text(panel.title), (0, 0, 0, 2)), *map(Text, cells[: shown - 1]))
    out.print(table)
    count = len(list(chain.from_iterable(section.panels for section in sections)))
    end = "" if written else "; nothing was written"
    out.print(f"{len(sections)} sections, {count} panels{end}.")
    for what, address in (written or {}).items():
        out.print(Text(f"{what.capitalize()}: {address}"), soft_wrap=True)
