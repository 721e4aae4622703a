"""The report of one or more runs: two JSON files for machines and ``report.html``, one file, for people."""

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lightning_failures.errors import InputError
from lightning_failures.records.numbers import number
from lightning_failures.records.run_record import RunRecord, factor_rows, write_records
from lightning_failures.records.strict_json import write_json
from lightning_failures.records.written_file import write_file
from lightning_failures.reporting import sentences
from lightning_failures.reporting.column import Column
from lightning_failures.reporting.figure_style import close, to_svg
from lightning_failures.reporting.figures import accuracy_figure, accuracy_limits, interchange_figure
from lightning_failures.reporting.glossary import glossary
from lightning_failures.reporting.page import page_template
from lightning_failures.reporting.summary import comparison, tiles
from lightning_failures.version import __version__

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["write_findings", "write_report"]

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
    template = page_template(where, "lightning_failures.reporting", "report.html")
    page = template.render(
        title=title,
        words=sentences,
        runs=[_run(record, place, accuracy_limits(records)) for place, record in enumerate(records)],
        comparison=comparison(records) if len(records) > 1 else [],
        factors=_factors(records),
        glossary=glossary((key for record in records for key in record.last_values()), columns),
    )
    return write_file(where, Path(folder) / "report.html", page)


def write_findings(folder: str | Path, records: Sequence[RunRecord], where: str = "write_report") -> Path:
    """Write ``findings.json``: all findings, and of each run its epochs, time and last values; strict JSON."""
    names = [record.name for record in records]
    if not names or len(set(names)) < len(names):
        given = ", ".join(map(repr, names)) or "none"
        raise InputError(where, "the runs cannot be told apart", given, "Pass runs with different names.")
    data = {
        "findings": [finding.to_dict() | {"run": record.name} for record in records for finding in record.findings],
        "runs": {
            record.name: {
                "epochs": record.epochs,
                "evaluations": len(record.evaluations),
                "seconds": record.seconds,
                "monitor_share": record.monitor_share,
                "last": {key: float(value) for key, value in record.last_values().items()},
                "undefined": record.undefined,
            }
            for record in records
        },
        "version": __version__,
    }
    return write_json(where, Path(folder) / "findings.json", data)


def _run(record: RunRecord, place: int, limits: tuple[float, float]) -> dict[str, Any]:
    """What the page shows of one run."""
    from lightning_failures.callbacks.channels.figures import record_bars

    last = record.last_values()
    figures = []
    if sentences.accuracy_key(record):
        label = f"Accuracy of {record.name} by epoch. {sentences.headline(record)}"
        figures.append((_draw(lambda: accuracy_figure(record, limits), f"accuracy{place}", label), "accuracy"))
    own = record.last("failures/simplicity/own/1")
    if "failures/simplicity/own/1" in last:
        label = f"Interchange of {record.name} by epoch. At the end one direction decides {number(own)} of pairs."
        figures.append((_draw(lambda: interchange_figure(record), f"interchange{place}", label), "interchange"))
    channels = {name: abs(change) for name, change in record.matching("failures/channels/change/*").items()}
    if channels:
        most = max(channels, key=lambda name: channels[name])
        label = f"What {record.name} loses without each band of channels, most without {most}."
        figures.append((_draw(lambda: record_bars(record), f"channels{place}", label), "channels"))
    undefined = {key: why for key, why in record.undefined.items() if math.isnan(record.last(key))}
    findings = [*record.standing, *(finding for finding in record.findings if not finding.standing)]
    reasons: dict[str, list[str]] = {}
    for key, why in undefined.items():
        reasons.setdefault(why, []).append(key)
    return {
        "record": record,
        "findings": findings,
        "tiles": tiles(record),
        "figures": figures,
        "undefined": reasons,
        "values": sorted(last.items()),
    }


def _factors(records: Sequence[RunRecord]) -> dict[str, Any]:
    """The factor figure of all runs and the rows of each."""
    from lightning_failures.callbacks.factors.figures import factor_figure

    tables = [(record, rows) for record in records if (rows := factor_rows(record.last_values()))]
    figures = []
    for first in range(0, len(tables), 2):  # two runs a figure can still be told apart
        arms = [record for record, _ in tables[first : first + 2]]
        worst = "; ".join(
            f"{record.name}: worst {rows[0].name}, error ratio {number(rows[0].ratio)}" for record, rows in tables
        )
        label = f"Error ratios of the factors with 95% intervals. {worst}."
        figures.append(_draw(lambda arms=arms: factor_figure(*arms), f"factors{first}", label))  # type: ignore[misc]
    return {"figures": figures, "tables": tables}


def _draw(figure: "Callable[[], Figure]", name: str, label: str) -> Any:
    from markupsafe import Markup

    drawn = figure()
    svg = to_svg(drawn, name, label)
    close(drawn)
    return Markup(svg)  # our own, with names escaped by matplotlib and to_svg
