"""The table of rules in the terminal."""

from collections.abc import Iterable, Mapping
from typing import Any

from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from lightning_failures.reporting.console import STYLES

__all__ = ["print_rules"]

WIDTH = 110  # longer lines are hard to read


def print_rules(rules: Iterable[Mapping[str, Any]], console: Console | None = None) -> None:
    """Print rules one below the other, each with the same lines.

    Args:
        rules: the fields of :class:`.Rule`, as plain data.
        console: where to print; by default the terminal.
    """
    out = console or Console(highlight=False)
    width = min(out.width, WIDTH)
    for rule in rules:
        action = " and ends the run" if rule["action"] == "stop" else ""
        kind = "" if rule["kind"] == rule["name"] else f" ({rule['kind']})"
        severity = rule["severity"]
        head = Text.assemble((rule["name"], "bold"), kind, ", ", (severity, STYLES[severity]), action)
        out.print(head, width=width)
        rows = Table.grid(padding=(0, 1))
        rows.add_column(width=7, style="dim")
        rows.add_column(overflow="fold")
        rows.add_row("raised", _all(rule["when"]))
        for worse, conditions in rule["severe_when"].items():
            rows.add_row(worse, _all(conditions))
        if rule["clear"]:
            rows.add_row("cleared", _all(rule["clear"]))
        rows.add_row("counts", _counts(rule["persistence"], rule["warmup"], rule["warmup_steps"]))
        if rule["plain_when"]:
            rows.add_row(
                "plain", Text("one evaluation is enough where these hold too\n").append(_all(rule["plain_when"]))
            )
        if rule["last_when"]:
            said = "the last evaluation of a run is enough where these hold too\n"
            rows.add_row("last", Text(said).append(_all(rule["last_when"])))
        rows.add_row("source", Text(rule["source"] or "none given", style="" if rule["source"] else "dim"))
        out.print(Padding(rows, (0, 0, 1, 2)), width=width)


def _all(conditions: Iterable[str]) -> Text:
    return Text("\n").join(Text(condition) for condition in conditions)


def _counts(persistence: int, warmup: int, warmup_steps: int) -> str:
    times = "at every evaluation" if persistence == 1 else f"at {persistence} evaluations in a row"
    before = [f"{word} {first}" for word, first in (("epoch", warmup), ("step", warmup_steps)) if first]
    return f"{times}, none before {' or '.join(before)}" if before else times
