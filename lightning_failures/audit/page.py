"""The page of one or more audits, with its figure: ``audit.html`` and ``audit.png``."""

from collections.abc import Sequence
from pathlib import Path

from lightning_failures.audit import sentences
from lightning_failures.audit.data_audit import DataAudit
from lightning_failures.audit.figures import audit_figure, audit_panels
from lightning_failures.records.written_file import write_file
from lightning_failures.reporting.figure_style import close, share_glyphs, to_png, to_svg
from lightning_failures.reporting.page import page_template

__all__ = ["write_audit"]

TITLE = "Audit of data, before training"


def write_audit(
    folder: str | Path, audits: Sequence[DataAudit], title: str = TITLE, where: str = "write_audit"
) -> Path:
    """Write ``audit.html`` and ``audit.png`` into a folder, which is made if need be.

    The page needs nothing but itself and follows the reader's light or dark theme.

    Args:
        folder: where both files go.
        audits: one, or several side by side.
        title: heading of the page.
        where: the public name to put into an error.

    Returns:
        Path of the page.

    Raises:
        InputError: a file cannot be written.
        MissingPackageError: jinja2 or matplotlib is not installed.
    """
    template = page_template(where, "lightning_failures.audit", "audit.html")
    from markupsafe import Markup  # comes with jinja2

    figure = audit_figure(audits)
    write_file(where, Path(folder) / "audit.png", to_png(figure))
    close(figure)
    page = template.render(
        title=title,
        words=sentences,
        audits=audits,
        rows=sentences.rows(audits),
        carriers=sentences.carriers(audits),
        comparison=sentences.compare(audits) if len(audits) > 1 else [],
        figures=[(audit.name, [Markup(part) for part in _panels(audit, place)]) for place, audit in enumerate(audits)],
    )
    return write_file(where, Path(folder) / "audit.html", share_glyphs(page))


def _panels(audit: DataAudit, place: int) -> list[str]:
    """The figures of one audit, which stand beside each other where there is room."""
    drawn = []
    for number, (title, figure) in enumerate(audit_panels(audit).items()):
        drawn.append(to_svg(figure, f"audit{place}-{number}", f"{audit.name}: {title}"))
        close(figure)
    return drawn
