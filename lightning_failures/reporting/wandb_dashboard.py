"""A dashboard on W&B: a saved workspace of a project, and a draft of a report with the same panels."""

import re
import warnings
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from lightning_failures.errors import InputError, MissingPackageError
from lightning_failures.reporting.dashboard import DashboardSection, Panel

__all__ = ["Written", "to_report", "to_workspace", "write_dashboard"]

#: What every curve is drawn over: logged beside each figure by Lightning's logger.
STEP = "trainer/global_step"
#: Of a report, whose grid is 24 wide: two panels beside each other, tables over the whole width.
HALF, WHOLE, HIGH = 12, 24, 8


class Written(NamedTuple):
    """Addresses of what was written."""

    workspace: str
    report: str


def to_workspace(
    entity: str, project: str, name: str, sections: Sequence[DashboardSection], columns: Mapping[str, str]
) -> Any:
    """A workspace, which nothing was sent of so far.

    Args:
        entity: user or team.
        project: of the entity.
        name: of the saved view.
        sections: of panels.
        columns: keys of the summary that stand first in the table of runs, with what they are.

    Returns:
        A ``wandb_workspaces.workspaces.Workspace``.

    Raises:
        MissingPackageError: wandb-workspaces is not installed.
    """
    ws, wr = _workspaces(), _reports()
    return ws.Workspace(
        entity=entity,
        project=project,
        name=name,
        sections=[
            ws.Section(
                name=section.title,
                panels=[*map(_panel, section.panels), wr.MarkdownPanel(markdown=_words(section))],
                is_open=True,
                layout_settings=ws.SectionLayoutSettings(columns=3, rows=-(-(len(section.panels) + 1) // 3)),
            )
            for section in sections
        ],
        settings=ws.WorkspaceSettings(x_axis=STEP),
        runset_settings=ws.RunsetSettings(pinned_columns=[f"summary:{key}" for key in columns]),
    )


def to_report(entity: str, project: str, name: str, sections: Sequence[DashboardSection]) -> Any:
    """A report with the same panels, and what each figure means in words; nothing was sent of it so far.

    Args:
        entity: user or team.
        project: of the entity.
        name: of the report.
        sections: of panels.

    Returns:
        A ``wandb_workspaces.reports.v2.Report``.

    Raises:
        MissingPackageError: wandb-workspaces is not installed.
    """
    wr = _reports()
    blocks: list[Any] = [wr.TableOfContents()]
    for section in sections:
        blocks.append(wr.H1(text=section.title))
        blocks.append(wr.MarkdownBlock(text=_words(section)))
        runs = wr.Runset()  # those of the report's own project, which need not exist so far
        panels = [_panel(panel, layout) for panel, layout in zip(section.panels, _layouts(section.panels), strict=True)]
        blocks.append(wr.PanelGrid(runsets=[runs], panels=panels))
    return wr.Report(entity=entity, project=project, title=name, blocks=blocks, width="fluid")


def write_dashboard(
    entity: str,
    project: str,
    name: str,
    sections: Sequence[DashboardSection],
    columns: Mapping[str, str],
    where: str = "write_dashboard",
) -> Written:
    """Save the workspace as a new view of the project, and the report as a draft; needs an account of W&B.

    Args:
        entity: user or team.
        project: of the entity.
        name: of both.
        sections: of panels.
        columns: keys of the summary that stand first in the table of runs, with what they are.
        where: the public name that was called, for errors.

    Raises:
        MissingPackageError: wandb-workspaces is not installed.
        InputError: W&B refused it: nobody is logged in, it cannot be reached, or there is no such entity.
    """
    workspace = to_workspace(entity, project, name, sections, columns)
    report = to_report(entity, project, name, sections)
    try:
        report.save(draft=True)  # which makes the project where there is none
        workspace.save_as_new_view()
        return Written(str(workspace.url), str(report.url))
    except Exception as error:  # errors of wandb, of its client and of the network, whose classes differ by version
        why = " ".join(f"{type(error).__name__}: {error}".split())[:300]
        fix = "Run wandb login, and check the name of the entity; --dry-run needs neither."
        raise InputError(where, "W&B did not take the dashboard", f"{entity}/{project}; {why}", fix) from error


def _words(section: DashboardSection) -> str:
    """What each panel shows, and what its figure means, in Markdown; their panels of tables have no titles."""
    parts = ((f"**{panel.title}**, `{panel.key}`", panel.meaning, panel.direction) for panel in section.panels)
    return "\n".join(f"- {'. '.join(part.rstrip('.') for part in each if part)}." for each in parts)


def _workspaces() -> Any:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # of what the package itself imports
            import wandb_workspaces.workspaces as ws
    except ImportError as error:
        fix = "Run pip install wandb-workspaces; --dry-run works without."
        raise MissingPackageError("dashboard", "a dashboard on W&B", "no wandb-workspaces", fix) from error
    return ws


def _reports() -> Any:
    _workspaces()  # which imports the reports too, and says where it is missing
    import wandb_workspaces.reports.v2 as wr

    return wr


def _panel(panel: Panel, layout: Any = None) -> Any:
    """A panel of theirs."""
    wr = _reports()
    placed = {} if layout is None else {"layout": layout}
    if panel.kind == "picture":
        return wr.MediaBrowser(title=panel.title, media_keys=[panel.key], num_columns=1, **placed)
    if panel.kind in ("table", "summary"):  # the one panel of theirs that shows a value of the summary has no title
        return wr.WeavePanelSummaryTable(table_name=panel.key, **placed)
    star = panel.key.endswith("*")
    shown: dict[str, Any] = {"metric_regex": f"^{re.escape(panel.key[:-1])}.+$"} if star else {"y": [panel.key]}
    return wr.LinePlot(
        title=panel.title, x=STEP, title_x="training step", title_y=panel.axis, range_y=panel.bounds, **shown, **placed
    )


def _layouts(panels: Sequence[Panel]) -> list[Any]:
    """Places in the grid of a report: curves two in a row, what is read or looked at over the whole width."""
    wr, places, x, y = _reports(), [], 0, 0
    for panel in panels:
        width = HALF if panel.kind == "curve" else WHOLE
        if x + width > WHOLE:
            x, y = 0, y + HIGH
        places.append(wr.Layout(x=x, y=y, w=width, h=HIGH))
        x += width
    return places
