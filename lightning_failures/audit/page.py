"""The page of one or more audits, with its figure: ``audit.html`` and ``audit.png``."""

import re
from collections.abc import Sequence
from importlib import metadata, resources
from pathlib import Path

from lightning_failures.audit import sentences
from lightning_failures.audit.audit import DataAudit
from lightning_failures.audit.figures import audit_figure
from lightning_failures.errors import MissingPackageError
from lightning_failures.reporting.figure_style import close, to_png, to_svg

__all__ = ["write_audit"]

TITLE = "Audit of data, before training"


def write_audit(folder: str | Path, audits: Sequence[DataAudit], title: str = TITLE) -> Path:
    """Write ``audit.html`` and ``audit.png`` into a folder, which is made if need be.

    The page needs nothing but itself and follows the reader's light or dark theme.

    Args:
        folder: where both files go.
        audits: one, or several side by side.
        title: heading of the page.

    Returns:
        Path of the page.

    Raises:
        MissingPackageError: jinja2 or matplotlib is not installed.
    """
    try:
        import jinja2
        from markupsafe import Markup
    except ImportError as error:
        raise MissingPackageError(
            "write_audit", "the page needs jinja2", "no jinja2", 'Run pip install "lightning-failures[report]".'
        ) from error
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    figure = audit_figure(audits)
    (folder / "audit.png").write_bytes(to_png(figure))
    label = " ".join(f"{audit.name}: {len(audit.risks) or 'no'} risks." for audit in audits)
    drawn = to_svg(figure, "audit", label)
    close(figure)
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    page = environment.from_string(_read("audit", "audit.html")).render(
        title=title,
        version=_version(),
        style=Markup(_style()),
        words=sentences,
        audits=audits,
        rows=sentences.rows(audits),
        comparison=sentences.compare(audits) if len(audits) > 1 else [],
        figure=Markup(drawn),
    )
    path = folder / "audit.html"
    path.write_text(page, encoding="utf-8")
    return path


def _style() -> str:
    """The style of the failure report, so that all pages look alike."""
    found = re.search(r"<style>(.*?)</style>", _read("reporting", "report.html"), flags=re.DOTALL)
    return found[1] if found else ""


def _read(folder: str, name: str) -> str:
    return resources.files(f"lightning_failures.{folder}").joinpath(name).read_text(encoding="utf-8")


def _version() -> str:
    try:
        return metadata.version("lightning-failures")
    except metadata.PackageNotFoundError:
        return "from source"
