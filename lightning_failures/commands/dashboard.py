"""A dashboard on W&B, made from what the columns declare of their figures."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from lightning_failures.errors import InputError, UnknownNameError
from lightning_failures.records.strict_json import write_json

if TYPE_CHECKING:
    from lightning_failures.reporting.dashboard import DashboardSection

__all__ = ["dashboard"]

WHERE = "dashboard"


def dashboard(
    project: str,
    dry_run: bool = False,
    detail: Literal["headline", "full"] = "headline",
    monitors: list[str] | None = None,
    title: str = "When, how and why it fails",
    json: Path | None = None,
) -> int:
    """Lay out what the monitors log as a dashboard on W&B: a saved workspace of a project, and a draft of a report.

    Both begin with the findings. Then comes one section for each kind of monitor, with its headlines first. Each panel
    has a title in plain words, and its unit and range beside the axis.

    It needs the package wandb-workspaces and an account (wandb login). With --dry-run it needs neither: the panels are
    printed, and nothing is sent.

    Args:
        project: ENTITY/PROJECT, as in the address of the project on W&B; the entity is a user or a team.
        dry_run: print the panels, and write nothing on W&B.
        detail: headline for the curves that are logged by default; full for those of failure_monitors(detail="full").
        monitors: NAME=NOUN for each monitor with a name of its own, such as scanners=factors.
        title: of the workspace and of the report.
        json: file for the same that programs can read.

    Returns:
        The exit code, 0.

    Raises:
        InputError: no ENTITY/PROJECT, no NAME=NOUN, a file that cannot be written, or W&B refused the dashboard.
        UnknownNameError: there is no such noun.
        MissingPackageError: wandb-workspaces is not installed, and this is no dry run.

    Example:
        lightning-failures dashboard team/project --dry-run
        lightning-failures dashboard team/project --detail full --monitors scanners=factors
    """
    from lightning_failures.callbacks.findings.logged import SUMMARY
    from lightning_failures.reporting.dashboard import as_data, print_dashboard

    entity, name = _address(project)
    sections = _sections(detail, monitors or ())
    said: dict[str, Any] = {"entity": entity, "project": name, "title": title, "sections": as_data(sections)}
    if not dry_run:
        from lightning_failures.reporting.wandb_dashboard import write_dashboard

        said |= write_dashboard(entity, name, title, sections, SUMMARY, WHERE)._asdict()
    if json is not None:
        write_json(WHERE, json, said)
    print_dashboard(sections, {key: said[key] for key in ("workspace", "report") if key in said})
    return 0


def _address(project: str) -> tuple[str, str]:
    parts = project.split("/")
    if len(parts) != 2 or not all(part.strip() for part in parts):
        fix = "Write ENTITY/PROJECT, as in the address of the project on W&B."
        raise InputError(WHERE, "no entity and project", repr(project), fix)
    return parts[0], parts[1]


def _sections(detail: Literal["headline", "full"], monitors: Sequence[str]) -> "list[DashboardSection]":
    """The findings, then what each column declares."""
    from lightning_failures.callbacks.columns import COLUMNS
    from lightning_failures.callbacks.findings.logged import COUNT, SUMMARY, TABLE
    from lightning_failures.reporting.dashboard import DashboardSection, Panel, curve, medium_panel, sections_of

    nouns, named = [column.noun for column in COLUMNS], dict[str, str]()
    for each in monitors:
        name, _, noun = each.partition("=")
        if not name or not noun:
            fix = "Write NAME=NOUN, such as scanners=factors."
            raise InputError(WHERE, "no monitor with a name of its own", repr(each), fix)
        if noun not in nouns:
            fix = f"Use one of {', '.join(nouns)}."
            raise UnknownNameError(WHERE, "no monitor logs under this noun", repr(noun), fix)
        named[name] = noun
    words = [Panel(text, "summary", key) for key, text in SUMMARY.items()]
    findings = DashboardSection("Findings", (curve(COUNT), *words, medium_panel(TABLE, COUNT.key)))
    return [findings, *sections_of(COLUMNS, detail, named)]
