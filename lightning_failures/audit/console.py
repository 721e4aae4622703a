"""Audits of data on the console: every figure side by side, then the risks in plain words."""

from collections.abc import Sequence
from math import isnan

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from lightning_failures.audit.data_audit import DataAudit, Risk
from lightning_failures.audit.sentences import CONTENT, carriers, compare, describe, facts, group_facts, in_digits, rows
from lightning_failures.functional.estimate import Estimate

__all__ = ["print_audits"]

# Colours that can be read on light and on dark terminals; the words say the same without them.
SEVERITIES = {"high": "bold red", "moderate": "bold magenta"}
MOST_GROUPS = 12  # that stand in the table
WIDEST = 110  # longer lines are hard to read
EXPLAINED = (
    "In brackets: 95% intervals; accuracies are of held-out images. Variance ratio: the largest variance along a "
    "direction of the mean spectra over that at which half of what they say of the labels is collected. Directions: "
    "the share of the variance and of the label information that the first of them hold, and a linear model of them."
)

CARRIED = (
    "What linear models read of held-out images: from one kind of content and nothing else, and from images that all "
    "have this content of one image. Of single channels, the three that tell most."
)


def print_audits(console: Console, audits: Sequence[DataAudit]) -> None:
    """Print the figures of some audits side by side, and what they mean.

    Args:
        console: where to print.
        audits: one, or several to be compared.
    """
    width = min(console.width, WIDEST)
    console.print(_figures(audits, console.width))
    console.print(Padding(Text(EXPLAINED, style="dim"), (0, 0, 1, 0)), width=width)
    if carriers(audits):
        console.print(_carriers(audits, console.width))
        console.print(Padding(Text(CARRIED, style="dim"), (0, 0, 1, 0)), width=width)
    for audit in audits:
        if audit.groups is not None:
            console.print(_left_out(audit, console.width))
            for line in group_facts(audit):
                console.print(Padding(Text(line, style="dim"), (0, 0, 0, 0)), width=width)
            console.print()
    for audit in audits:
        console.print(Text.assemble((audit.name, "bold"), f": {describe(audit)}"), width=width)
        for risk in audit.risks:
            console.print(_entry(risk), width=width)
        if not audit.risks:
            console.print(Padding(Text("No risk was found.", style="bold green"), (0, 0, 0, 2)))
        for line in facts(audit):
            console.print(Padding(Text(line), (0, 0, 0, 2)), width=width)
        for name, why in audit.notes.items():
            console.print(Padding(Text(f"{name.replace('_', ' ')}: {why}.", style="dim"), (0, 0, 0, 2)), width=width)
        console.print()
    if len(audits) > 1:
        for line in compare(audits):
            console.print(Text(line), width=width)
        console.print()


def _figures(audits: Sequence[DataAudit], width: int) -> Table:
    intervals = width >= 34 + 20 * len(audits)
    table = Table(box=SIMPLE_HEAD, show_edge=False, padding=(0, 1, 0, 0), pad_edge=False, header_style="bold")
    table.add_column("", no_wrap=True)
    for audit in audits:
        table.add_column(audit.name, justify="right", overflow="fold")
    for section, found in rows(audits).items():
        if not found:
            continue
        table.add_row(Text(section, style="bold"))
        for place, (name, cells) in enumerate(found):
            table.add_row(f"  {name}", *(_cell(cell, intervals) for cell in cells), end_section=place == len(found) - 1)
    return table


def _carriers(audits: Sequence[DataAudit], width: int) -> Table:
    intervals = width >= 36 + 40 * len(audits)
    table = Table(box=SIMPLE_HEAD, show_edge=False, padding=(0, 1, 0, 0), pad_edge=False, header_style="bold")
    table.add_column(CONTENT, no_wrap=True)
    for audit in audits:
        name = f"{audit.name}: " if len(audits) > 1 else ""
        table.add_column(f"{name}from it alone", justify="right", overflow="fold")
        table.add_column("without it", justify="right")
    for name, readings in carriers(audits):
        cells = [cell for reading in readings for cell in (reading or (None, None))]
        table.add_row(f"  {name}", *(_cell(cell, intervals) for cell in cells))
    return table


def _left_out(audit: DataAudit, width: int) -> Table:
    """One row for each group, the worst first, and one over all."""
    found = audit.groups
    assert found is not None
    intervals = width >= 90
    table = Table(box=SIMPLE_HEAD, show_edge=False, padding=(0, 1, 0, 0), pad_edge=False, header_style="bold")
    table.add_column(f"{audit.name}: one group left out", overflow="fold")
    for head in (audit.unit, "not seen", "mixed"):
        table.add_column(head, justify="right")
    for one in found.left_out[:MOST_GROUPS]:
        scale = Text(" other scale", style="bold magenta") if one.other_scale else Text()
        cells = (
            (_cell(one.accuracy, intervals), _cell(one.mixed, intervals))
            if one.scored
            else (Text("not scored"), Text())
        )
        table.add_row(Text(f"  {one.name}") + scale, f"{one.images:,}", *cells)
    if len(found.left_out) > MOST_GROUPS:
        table.add_row(Text(f"  and {len(found.left_out) - MOST_GROUPS} more", style="dim"))
    total = sum(one.images for one in found.left_out)
    table.add_row("  all", f"{total:,}", _cell(found.accuracy, intervals), _cell(found.mixed, intervals))
    return table


def _cell(cell: Estimate | str | None, intervals: bool) -> Text:
    if cell is None:
        return Text("-", style="dim")
    if isinstance(cell, str):
        return Text(cell)
    if isnan(cell.value):
        return Text("undefined", style="dim")
    if isnan(cell.low):
        return Text(f"{cell.value:.2f}")
    value, low, high = in_digits(cell)
    return Text.assemble(value, (f" ({low}-{high})" if intervals else "", "dim"))


def _entry(risk: Risk) -> Padding:
    grid = Table.grid(padding=(0, 1))
    grid.add_column(width=8)
    grid.add_column()
    title = risk.kind.replace("_", " ").capitalize()
    grid.add_row(Text(risk.severity, style=SEVERITIES[risk.severity]), Text(title, style="bold"))
    grid.add_row("", Text(risk.message))
    grid.add_row("", Text.assemble(("Try: ", "bold"), risk.advice))
    return Padding(grid, (0, 0, 0, 2))
