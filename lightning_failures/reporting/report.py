"""The report of one or more runs: two JSON files for machines and ``report.html``, one file, for people."""

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lightning_failures.errors import InputError
from lightning_failures.records.finding import Finding
from lightning_failures.records.kind import MONITOR_ERROR
from lightning_failures.records.picture import Picture, pictures_of
from lightning_failures.records.run_record import RunRecord, write_records
from lightning_failures.records.strict_json import write_json
from lightning_failures.records.written_file import write_file
from lightning_failures.reporting import explanation, sentences
from lightning_failures.reporting.column import Column, Section, views
from lightning_failures.reporting.figure_style import close, share_glyphs, to_svg
from lightning_failures.reporting.glossary import glossary
from lightning_failures.reporting.page import page_template
from lightning_failures.reporting.proof import Shown, column_of, picture_of, proof_of
from lightning_failures.reporting.summary import comparison, provenance, sparkline, tiles
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

    The page begins with the verdict on each run in one sentence and the picture that proves it; then come the cause
    with its experiment, and what was excluded. Evidence, figures and terms are folded up below. It needs nothing but
    itself: no script, no font, no picture from elsewhere. It follows the reader's light or dark theme and prints on
    paper.

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
    template = page_template(where, "lightning_failures.reporting", "report.html", place=_place, code=_code)
    runs = [_run(record, columns, place) for place, record in enumerate(records)]
    page = template.render(
        title=title,
        words=sentences,
        sparkline=sparkline,
        runs=runs,
        comparison=comparison(records, columns) if len(records) > 1 else [],
        glance=any(run["tiles"] for run in runs),
        evidence=_evidence(records, columns),
        glossary=glossary((key for record in records for key in record.last_values()), columns, records),
    )
    return write_file(where, Path(folder) / "report.html", share_glyphs(page))


def write_findings(folder: str | Path, records: Sequence[RunRecord], where: str = "write_report") -> Path:
    """Write ``findings.json``: all findings, and of each run its origin, epochs, time and last values; strict JSON."""
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
                "started": record.started,
                "seed": record.seed,
                "commit": record.commit,
                "versions": record.versions,
            }
            for record in records
        },
        "version": __version__,
    }


def _run(record: RunRecord, columns: Sequence[Column], place: int) -> dict[str, Any]:
    """What the page says of one run: the verdict with its proof, then what else was found."""
    standing = [each for each in record.standing if each.kind != MONITOR_ERROR]
    told = [_told(each, record.standing[: record.standing.index(each)]) for each in record.standing]
    first = next((each for each in told if standing and each["finding"] is standing[0]), None)
    undefined = {key: why for key, why in record.undefined.items() if math.isnan(record.last(key))}
    reasons: dict[str, list[str]] = {}
    for key, why in undefined.items():
        reasons.setdefault(why, []).append(key)
    for number, each in enumerate(told):
        each["proof"] = _proof(proof_of(each["finding"], record, columns), f"proof{place}-{number}")
        each["folded"] = _folded(each)
    return {
        "record": record,
        "says": sentences.verdict(record),
        "beside": sentences.beside_verdict(record),
        "headline": sentences.headline(record, columns),
        "first": first,
        "proof": _proof(picture_of(record, columns), f"proof{place}") if first is None else first["proof"],
        "others": [each for each in told if each is not first],
        "origin": provenance(record),
        "tiles": tiles(record, columns),
        "undefined": reasons,
        "values": sorted(record.last_values().items()),
    }


def _told(finding: Finding, before: Sequence[Finding] = ()) -> dict[str, Any]:
    """What the page says of one finding; the experiment of a cause that was told before is not shown again."""
    parts = explanation.passages(finding, before)
    passages = [part for part in parts if part.label != "When raised"]
    again = any(part.label == "Why" and part.text.startswith("As above") for part in passages)
    return {
        "finding": finding,
        "message": explanation.message(finding),
        "mild": finding.severity == "watch" and finding.cause is None,
        "passages": passages,
        "raised": "".join(part.text for part in parts if part not in passages),
        "experiment": explanation.experiment(replace(finding, experiment={}) if again else finding),
    }


def _folded(told: dict[str, Any]) -> str:
    """What of a finding that is not the first one is folded up; of one that is worth watching all but the message."""
    excluded = any(part.aside for part in told["passages"])
    parts = {
        "what to try": told["mild"] and told["passages"],
        "the picture that proves it": told["proof"],
        "what was excluded": excluded and not told["mild"],
    }
    said = ", and ".join(part for part, there in parts.items() if there)
    return said[:1].upper() + said[1:]


def _proof(shown: Shown | None, name: str) -> dict[str, Any]:
    """What proves a finding, as the page shows it; empty where nothing does."""
    if isinstance(shown, Picture):
        return {"svg": "", "png": shown.png, "caption": shown.caption}
    return {} if shown is None else {"svg": _draw(shown.draw, name, shown.label), "png": "", "caption": shown.caption}


def _evidence(records: Sequence[RunRecord], columns: Sequence[Column]) -> list[dict[str, Any]]:
    """What each column saw, those that saw something; then the findings of no column."""
    found = []
    for column in columns:
        own = [_findings(record, column, columns) for record in records]
        figures = _figures(records, column)
        sections = _sections(records, column)
        found.append(_part(column.title or column.noun, records, figures, own, sections))
    others = [_findings(record, None, columns) for record in records]
    found.append(_part("Other findings", records, [[] for _ in records], others, []))
    return [part for part in found if part["runs"] or part["sections"]]


def _part(
    title: str,
    records: Sequence[RunRecord],
    figures: Sequence[Sequence[tuple[Any, str]]],
    findings: Sequence[Sequence[dict[str, Any]]],
    sections: Sequence[dict[str, Any]],
) -> dict[str, Any]:
    """One column's part of the evidence."""
    runs = [
        {"record": record, "figures": drawn, "findings": own, "level": 5 if len(records) > 1 else 4}
        for record, drawn, own in zip(records, figures, findings, strict=True)
        if drawn or own
    ]
    number = sum(map(len, findings))
    note = f"{number} finding{'s' * (number != 1)}" if number else ""
    return {"title": title, "note": note, "runs": runs, "sections": sections}


def _findings(record: RunRecord, column: Column | None, columns: Sequence[Column]) -> list[dict[str, Any]]:
    """The findings of a column, or of none, with the images that do not prove them at the top already."""
    of_run = [*record.standing, *(finding for finding in record.findings if not finding.standing)]
    found = []
    for finding in of_run:
        owner = column_of(finding, columns)
        if (None if owner is None else owner[0]) is column:
            proof = proof_of(finding, record, columns)
            images = [each for each in pictures_of(finding, record.pictures) if each is not proof]
            found.append(_told(finding) | {"images": images})
    return found


def _figures(records: Sequence[RunRecord], column: Column) -> list[list[tuple[Any, str]]]:
    """The charts of a column, of each run."""
    figures: list[list[tuple[Any, str]]] = [[] for _ in records]
    for name, seen in views(column, records):
        for chart in column.charts:
            for place, (record, make) in enumerate(zip(seen, chart.of(seen), strict=True)):
                watched = not name or name in records[place].columns
                if watched and make is not None:
                    svg = _draw(make, _identifier(chart.name, name, place), chart.label(record) or "")
                    caption = chart.caption_of(record)
                    figures[place].append((svg, f"{name}: {caption}" if name else caption))
    return figures


def _sections(records: Sequence[RunRecord], column: Column) -> list[dict[str, Any]]:
    """The parts in which runs stand beside each other, one for each monitor that logged something for it."""
    found = [_section(section, seen, name) for name, seen in views(column, records) for section in column.sections]
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


def _place(value: float) -> str:
    """Where a share stands on a bar of 100."""
    return f"{100 * min(max(value, 0.0), 1.0):.1f}"


def _code(text: str) -> Any:
    """A text in which what stands between grave accents is code; all else comes out as it is."""
    from markupsafe import Markup, escape

    return Markup(re.sub(r"`([^`]+)`", r"<code>\1</code>", str(escape(text))))


def _identifier(name: str, monitor: str, place: int) -> str:
    """A prefix for the ids of a picture, which no other picture has."""
    return f"{name}{place}" if not monitor else f"{name}{place}-{monitor.encode().hex()}-"


def _draw(figure: "Callable[[], Figure]", name: str, label: str) -> Any:
    from markupsafe import Markup

    drawn = figure()
    svg = to_svg(drawn, name, label)
    close(drawn)
    return Markup(svg)  # our own, with names escaped by matplotlib and to_svg
