"""The report of one or more runs: two JSON files for machines and ``report.html``, one file, for people."""

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lightning_failures.errors import InputError
from lightning_failures.records.picture import pictures_of
from lightning_failures.records.run_record import RunRecord, write_records
from lightning_failures.records.strict_json import write_json
from lightning_failures.records.written_file import write_file
from lightning_failures.reporting import explanation, sentences
from lightning_failures.reporting.column import Column, Section, views
from lightning_failures.reporting.figure_style import close, to_svg
from lightning_failures.reporting.glossary import glossary
from lightning_failures.reporting.page import page_template
from lightning_failures.reporting.summary import comparison, sparkline, tiles
from lightning_failures.version import __version__

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["findings_data", "write_findings", "write_report"]

TITLE = "Failure report"


def write_report(
    folder: str | Path,
    records: Sequence[RunRecord],
    columns: Sequence[Column],
    title: str = TITLE,
    where: str = "write_report",
) -> Path:
    """Write ``findings.json``, ``records.json`` and ``report.html`` into a folder, which is made if need be.

    The page needs nothing but itself: no script, no font, no picture from elsewhere. It follows the reader's light or
    dark theme and prints on paper.

    Args:
        folder: where they go; ``records.json`` holds all that was logged, so that the page can be written again.
        records: the runs; two or three stand side by side.
        columns: what is known of each noun: its terms, its pictures, its tiles.
        title: heading of the page.
        where: the public name to put into an error.

    Returns:
        Path of the page.

    Raises:
        InputError: no run was given, two have one name, or a file cannot be written.
        MissingPackageError: jinja2 or matplotlib is not installed; the other two are written all the same.
    """
    write_findings(folder, records, where)
    write_records(Path(folder) / "records.json", records, where)
    template = page_template(where, "lightning_failures.reporting", "report.html", sparkline=sparkline)
    page = template.render(
        title=title,
        words=sentences,
        explanation=explanation,
        pictures_of=pictures_of,
        sparkline=sparkline,
        runs=_runs(records, columns),
        comparison=comparison(records, columns) if len(records) > 1 else [],
        sections=_sections(records, columns),
        glossary=glossary((key for record in records for key in record.last_values()), columns, records),
    )
    return write_file(where, Path(folder) / "report.html", page)


def write_findings(folder: str | Path, records: Sequence[RunRecord], where: str = "write_report") -> Path:
    """Write ``findings.json``: all findings, and of each run its epochs, time and last values; strict JSON."""
    return write_json(where, Path(folder) / "findings.json", findings_data(records, where))


def findings_data(records: Sequence[RunRecord], where: str = "write_report") -> dict[str, Any]:
    """What ``findings.json`` holds, as plain containers.

    Raises:
        InputError: no run was given, or two have one name.
    """
    names = [record.name for record in records]
    if not names or len(set(names)) < len(names):
        given = ", ".join(map(repr, names)) or "none"
        raise InputError(where, "the runs cannot be told apart", given, "Pass runs with different names.")
    return {
        "findings": [finding.to_dict() | {"run": record.name} for record in records for finding in record.findings],
        "runs": {
            record.name: {
                "epochs": record.epochs,
                "evaluations": len(record.evaluations),
                "seconds": record.seconds,
                "monitor_share": record.monitor_share,
                "shares_by_monitor": record.shares_by_monitor,
                "budget": record.budget,
                "last": {key: float(value) for key, value in record.last_values().items()},
                "undefined": record.undefined,
                "not_watched": record.not_watched,
                "no_validation": record.no_validation,
                "evaluated": record.evaluated,
            }
            for record in records
        },
        "version": __version__,
    }


def _runs(records: Sequence[RunRecord], columns: Sequence[Column]) -> list[dict[str, Any]]:
    """What the page shows of each run."""
    figures: list[list[tuple[Any, str]]] = [[] for _ in records]
    for column in columns:
        for name, seen in views(column, records):
            for chart in column.charts:
                for place, (record, make) in enumerate(zip(seen, chart.of(seen), strict=True)):
                    watched = not name or name in records[place].columns
                    if watched and make is not None:
                        svg = _draw(make, _identifier(chart.name, name, place), chart.label(record) or "")
                        caption = chart.caption_of(record)
                        figures[place].append((svg, f"{name}: {caption}" if name else caption))
    return [_run(record, columns) | {"figures": figures[place]} for place, record in enumerate(records)]


def _run(record: RunRecord, columns: Sequence[Column]) -> dict[str, Any]:
    """What the page says of one run."""
    undefined = {key: why for key, why in record.undefined.items() if math.isnan(record.last(key))}
    reasons: dict[str, list[str]] = {}
    for key, why in undefined.items():
        reasons.setdefault(why, []).append(key)
    return {
        "record": record,
        "headline": sentences.headline(record, columns),
        "findings": [*record.standing, *(finding for finding in record.findings if not finding.standing)],
        "tiles": tiles(record, columns),
        "undefined": reasons,
        "values": sorted(record.last_values().items()),
    }


def _sections(records: Sequence[RunRecord], columns: Sequence[Column]) -> list[dict[str, Any]]:
    """The parts in which runs stand beside each other, one for each monitor that logged something for it."""
    found = []
    for column in columns:
        for name, seen in views(column, records):
            found += [_section(section, seen, name) for section in column.sections]
    return [section for section in found if section["tables"]]


def _section(section: Section, records: Sequence[RunRecord], monitor: str) -> dict[str, Any]:
    tables = [(record, table) for record in records if (table := section.table(record)) is not None]
    figures = []
    for first in range(0, len(tables), section.together):
        shown = [record for record, _ in tables[first : first + section.together]]
        identifier = _identifier(section.name, monitor, first)
        figures.append(_draw(lambda shown=shown: section.draw(shown), identifier, section.label(shown)))  # type: ignore[misc]
    title = f"{section.title}, {monitor}" if monitor else section.title
    return {"title": title, "caption": section.caption, "note": section.note, "figures": figures, "tables": tables}


def _identifier(name: str, monitor: str, place: int) -> str:
    """A prefix for the ids of a picture, which no other picture has."""
    return f"{name}{place}" if not monitor else f"{name}{place}-{monitor.encode().hex()}-"


def _draw(figure: "Callable[[], Figure]", name: str, label: str) -> Any:
    from markupsafe import Markup

    drawn = figure()
    svg = to_svg(drawn, name, label)
    close(drawn)
    return Markup(svg)  # our own, with names escaped by matplotlib and to_svg
