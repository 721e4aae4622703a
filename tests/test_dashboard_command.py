"""The dashboard on W&B: what stands in it, from the columns' declarations alone, and how it is written."""

import json
import re
import sys
import warnings
from pathlib import Path
from typing import Any

import pytest

from lightning_failures.callbacks.columns import COLUMNS
from lightning_failures.cli import main
from lightning_failures.records.term import Term
from lightning_failures.reporting.column import Column, Medium
from lightning_failures.reporting.dashboard import as_data, sections_of


def specified(capsys: pytest.CaptureFixture[str], *options: str) -> dict[str, Any]:
    assert main(["dashboard", "team/project", "--dry-run", "--json", "-", *options]) == 0
    said: dict[str, Any] = json.loads(capsys.readouterr().out)
    return said


def keys_of(section: dict[str, Any]) -> list[str]:
    return [panel["key"] for panel in section["panels"]]


def test_findings_stand_first_and_each_noun_has_its_section(capsys: pytest.CaptureFixture[str]) -> None:
    sections = specified(capsys)["sections"]
    assert [section["title"] for section in sections] == [
        "Findings",
        *(column.noun.capitalize() for column in COLUMNS),
    ]
    assert keys_of(sections[0]) == [
        "failures/findings",
        "failures/verdict",
        "failures/found",
        "failures/findings/table",
    ]


def test_each_headline_has_one_panel_with_its_words_and_stands_before_all_that_is_no_headline(
    capsys: pytest.CaptureFixture[str],
) -> None:
    sections = {each["title"]: each["panels"] for each in specified(capsys, "--detail", "full")["sections"]}
    for column in COLUMNS:
        panels = sections[column.noun.capitalize()]
        headlines = {
            f"failures/{term.short}" if term.short else f"failures/{column.noun}/{term.key}": term
            for term in column.terms
            if term.headline
        }
        assert {panel["key"] for panel in panels[: len(headlines)]} == set(headlines)
        media = [f"failures/{column.noun}/{each.key}" for each in column.media]
        assert [panel["key"] for panel in panels[len(headlines) :]][: len(media)] == media
        keys = [panel["key"] for panel in panels]
        assert len(keys) == len(set(keys))
        for panel in panels[: len(headlines)]:
            assert panel["range"] == headlines[panel["key"]].range or "worst_factor" in panel["key"]
        own = {f"failures/{column.noun}/{term.key}" for term in column.terms}
        assert own <= set(keys)  # the details are there too


def test_a_column_of_ones_own_needs_no_line_in_the_command() -> None:
    terms = (
        Term("cost", "Cost", "What it costs.", "0 upwards", "lower is better", unit="euros"),
        Term("luck/*", "Luck", "How lucky.", "-1 to 1", "higher is better", headline=True, short="luck", worst="min"),
    )
    column = Column("fate", terms, media=(Medium("stars", "picture", "The stars"),))
    (plain,) = as_data(sections_of([column]))
    assert plain["title"] == "Fate"
    assert keys_of(plain) == ["failures/luck", "failures/fate/stars"]
    assert plain["panels"][0]["title"] == "Luck, the smallest"
    assert plain["panels"][0]["bounds"] == [-1, 1]
    (full,) = as_data(sections_of([column], "full"))
    assert keys_of(full) == ["failures/luck", "failures/fate/stars", "failures/fate/cost", "failures/fate/luck/*"]
    assert (full["panels"][2]["unit"], full["panels"][2]["bounds"]) == ("euros", [0, None])
    assert sections_of([Column("silent", ())]) == []


def test_a_range_that_is_no_plain_figures_bounds_no_axis() -> None:
    ranges = {term.range: term.bounds for column in COLUMNS for term in column.terms}
    assert ranges["0 to 1"] == (0, 1)
    assert ranges["0 upwards"] == (0, None)
    assert ranges["-1 to 1"] == (-1, 1)
    assert ranges["0 to the number of channels"] == (0, None)
    open_ended = (
        "any number",
        "about 0 to 1",
        "0 to 1 over the factor's share of the images",
        "1 to the number of features; 0 for constant features",
    )
    assert {ranges[each] for each in open_ended} == {(None, None)}


def test_a_monitor_with_a_name_of_its_own_has_a_section_of_its_own(capsys: pytest.CaptureFixture[str]) -> None:
    sections = specified(capsys, "--monitors", "scanners=factors")["sections"]
    titles = [section["title"] for section in sections]
    own = sections[titles.index("Factors") + 1]
    assert own["title"] == "Factors (scanners)"
    assert {"failures/scanners/worst_factor", "failures/scanners/error_ratio/*", "failures/scanners/table"} <= set(
        keys_of(own)
    )


def test_a_dry_run_prints_each_panel_and_needs_neither_the_package_nor_an_account(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("wandb", "wandb_workspaces"):
        monkeypatch.setitem(sys.modules, name, None)  # as if it were not installed
    monkeypatch.setenv("COLUMNS", "240")
    assert main(["dashboard", "team/project", "--dry-run"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert any(re.fullmatch(r"  What a layer kept, the smallest +failures/kept +0 to 1 +curve +h.*", x) for x in lines)
    assert any(re.search(r"failures/factors/table +table", line) for line in lines)
    assert re.fullmatch(r"12 sections, \d+ panels; nothing was written\.", lines[-1])


@pytest.mark.parametrize("width", [60, 100, 130])
def test_the_table_fits_the_terminal(
    width: int, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    assert main(["dashboard", "team/project", "--dry-run"]) == 0
    assert max(map(len, capsys.readouterr().out.splitlines())) <= width


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (
            ["project"],
            "no entity and project; given 'project'. Write ENTITY/PROJECT, as in the address of the project on W&B.",
        ),
        (
            ["team/project/more"],
            "no entity and project; given 'team/project/more'. "
            "Write ENTITY/PROJECT, as in the address of the project on W&B.",
        ),
        (
            ["team/project", "--dry-run", "--monitors", "scanners"],
            "no monitor with a name of its own; given 'scanners'. Write NAME=NOUN, such as scanners=factors.",
        ),
        (
            ["team/project", "--dry-run", "--monitors", "scanners=scanner"],
            "no monitor logs under this noun; given 'scanner'. "
            f"Use one of {', '.join(column.noun for column in COLUMNS)}.",
        ),
    ],
)
def test_what_cannot_be_used_is_one_clear_line(
    arguments: list[str], line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["dashboard", *arguments]) == 2
    assert capsys.readouterr().err == f"lightning-failures: error: dashboard: {line}\n"


def test_without_the_package_the_error_says_how_to_get_it(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("wandb_workspaces", "wandb_workspaces.workspaces"):
        monkeypatch.setitem(sys.modules, name, None)
    assert main(["dashboard", "team/project"]) == 2
    assert capsys.readouterr().err == (
        "lightning-failures: error: dashboard: a dashboard on W&B; given no wandb-workspaces. "
        "Run pip install wandb-workspaces; --dry-run works without.\n"
    )


# -- against the model of wandb-workspaces itself


@pytest.fixture
def theirs() -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        pytest.importorskip("wandb_workspaces.workspaces", reason="needs wandb-workspaces")
    from lightning_failures.reporting import wandb_dashboard

    return wandb_dashboard


def spec(capsys: pytest.CaptureFixture[str], theirs: Any) -> tuple[dict[str, Any], Any, Any]:
    """The plain specification, their workspace and their report."""
    from lightning_failures.callbacks.findings.logged import SUMMARY
    from lightning_failures.commands.dashboard import _sections

    sections = _sections("headline", ())
    return (
        specified(capsys),
        theirs.to_workspace("team", "project", "Title", sections, SUMMARY),
        theirs.to_report("team", "project", "Title", sections),
    )


def test_their_workspace_holds_each_panel_where_it_was_specified(
    capsys: pytest.CaptureFixture[str], theirs: Any
) -> None:
    said, workspace, _ = spec(capsys, theirs)
    view = json.loads(workspace._to_model().model_dump_json(by_alias=True, exclude_none=True))
    assert (view["entity"], view["project"], view["displayName"]) == ("team", "project", "Title")
    section = view["spec"]["section"]
    assert section["settings"]["xAxis"] == "trainer/global_step"
    columns = section["runSets"][0]["runFeed"]["columnOrder"]
    assert columns == ["run:displayName", "summary:failures/verdict", "summary:failures/found"]
    made = section["panelBankConfig"]["sections"]
    assert [each["name"] for each in made] == [each["title"] for each in said["sections"]]
    assert all(each["isOpen"] for each in made)
    for their, ours in zip(made, said["sections"], strict=True):
        *panels, words = their["panels"]
        for theirs_, panel in zip(panels, ours["panels"], strict=True):
            config = theirs_["config"]
            if panel["kind"] == "curve":
                assert theirs_["viewType"] == "Run History Line Plot"
                assert (config["chartTitle"], config["xAxis"]) == (panel["title"], "trainer/global_step")
                assert config["yAxisTitle"] == ", ".join(filter(None, (panel["unit"], panel["range"])))
                assert [config.get("yAxisMin"), config.get("yAxisMax")] == panel["bounds"]
            elif panel["kind"] == "picture":
                assert (config["chartTitle"], config["mediaKeys"]) == (panel["title"], [panel["key"]])
            else:
                assert f'"val": "{panel["key"]}"' in json.dumps(config)
            assert f"**{panel['title']}**, `{panel['key']}`." in words["config"]["value"]


def test_a_star_stands_for_each_of_its_names_and_for_no_other_key(
    capsys: pytest.CaptureFixture[str], theirs: Any
) -> None:
    _, workspace, _ = spec(capsys, theirs)
    found = {
        panel.title: panel
        for section in workspace.sections
        for panel in section.panels
        if hasattr(panel, "metric_regex")
    }
    ranks = found["Effective rank of a layer"]
    assert ranks.y == []
    pattern = ranks._to_model().config.metric_regex
    assert re.search(pattern, "failures/collapse/effective_rank/net.0")
    for other in ("failures/collapse/effective_rank", "mine/failures/collapse/effective_rank/net.0", "failures/kept"):
        assert not re.search(pattern, other)
    assert found["Accuracy"].metric_regex is None
    assert found["Accuracy"].y == ["failures/accuracy"]


def test_their_report_has_the_same_panels_and_none_lies_on_another(
    capsys: pytest.CaptureFixture[str], theirs: Any
) -> None:
    said, _, report = spec(capsys, theirs)
    model = json.loads(report._to_model().model_dump_json(by_alias=True, exclude_none=True))
    assert (model["displayName"], model["project"]) == ("Title", {"name": "project", "entityName": "team"})
    grids = [block for block in report.blocks if type(block).__name__ == "PanelGrid"]
    assert [len(grid.panels) for grid in grids] == [len(section["panels"]) for section in said["sections"]]
    for grid in grids:
        assert (grid.runsets[0].entity, grid.runsets[0].project) == ("", "")  # those of the report
        cells = [
            (x, y)
            for panel in grid.panels
            for x in range(panel.layout.x, panel.layout.x + panel.layout.w)
            for y in range(panel.layout.y, panel.layout.y + panel.layout.h)
        ]
        assert len(cells) == len(set(cells))
        assert max(x for x, _ in cells) < 24
    headings = [block.text for block in report.blocks if type(block).__name__ == "H1"]
    assert headings == [section["title"] for section in said["sections"]]


def test_the_addresses_of_what_was_written_are_said(
    capsys: pytest.CaptureFixture[str], theirs: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    import wandb_workspaces.reports.v2 as wr
    import wandb_workspaces.workspaces as ws

    sent: list[tuple[Any, dict[str, Any]]] = []
    monkeypatch.setattr(wr.Report, "save", lambda self, **options: sent.append((self, options)))
    monkeypatch.setattr(ws.Workspace, "save_as_new_view", lambda self: sent.append((self, {})))
    monkeypatch.setattr(wr.Report, "url", property(lambda self: f"https://w/{self.project}/reports/1"))
    monkeypatch.setattr(ws.Workspace, "url", property(lambda self: f"https://w/{self.project}?nw=1"))
    path = tmp_path / "dashboard.json"
    assert main(["dashboard", "team/project", "--title", "Mine", "--json", str(path)]) == 0
    (report, options), (workspace, _) = sent
    assert (report.title, options) == ("Mine", {"draft": True})
    assert (workspace.name, workspace.entity) == ("Mine", "team")
    assert capsys.readouterr().out.splitlines()[-2:] == [
        "Workspace: https://w/project?nw=1",
        "Report: https://w/project/reports/1",
    ]
    assert json.loads(path.read_text())["workspace"] == "https://w/project?nw=1"


def test_what_wandb_refuses_is_one_line_that_says_what_to_do(
    capsys: pytest.CaptureFixture[str], theirs: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    import wandb_workspaces.reports.v2 as wr

    def refused(self: Any, **options: Any) -> None:
        raise ConnectionError("no route\nto the host")

    monkeypatch.setattr(wr.Report, "save", refused)
    assert main(["dashboard", "team/project"]) == 2
    assert capsys.readouterr().err == (
        "lightning-failures: error: dashboard: W&B did not take the dashboard; given team/project; ConnectionError: "
        "no route to the host. Run wandb login, and check the name of the entity; --dry-run needs neither.\n"
    )
