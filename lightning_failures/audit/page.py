"""The page of one or more audits, with its figure: ``audit.html`` and ``audit.png``."""

from collections.abc import Sequence
from pathlib import Path

from lightning_failures.audit import sentences
from lightning_failures.audit.data_audit import DataAudit
from lightning_failures.audit.figures import audit_figure
from lightning_failures.records.written_file import write_file
from lightning_failures.reporting.figure_style import close, to_png, to_svg
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
    label = " ".join(f"{audit.name}: {len(audit.risks) or 'no'} risks." for audit in audits)
    drawn = to_svg(figure, "audit", label)
    close(figure)
    page = template.render(
        title=title,
        words=sentences,
        audits=audits,
        rows=sentences.rows(audits),
        carriers=sentences.carriers(audits),
        comparison=sentences.compare(audits) if len(audits) > 1 else [],
        figure=Markup(drawn),
    )
    return write_file(where, Path(folder) / "audit.html", page)
