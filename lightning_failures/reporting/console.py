"""What people see in the terminal: a line when a finding is raised, and the verdict at the end."""

import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from io import StringIO
from pathlib import Path
from typing import Any

from rich.console import Console, RenderableType
from rich.padding import Padding
from rich.rule import Rule
from rich.table import Table
from rich.text import Text

from lightning_failures.records.finding import Finding
from lightning_failures.records.run_record import RunRecord
from lightning_failures.reporting.column import Column
from lightning_failures.reporting.explanation import because, message, passages
from lightning_failures.reporting.sentences import cost, headline, on_which, status, tally, title, when

__all__ = ["print_finding", "print_notice", "print_verdict"]

# Colours that can be read on light and on dark terminals; the words say the same without them.
STYLES = {
    "watch": "bold color(31)",  # of the sixteen neither cyan nor blue can be read on both
    "failure": "bold red",
    "warning": "bold magenta",
    "cleared": "green",
    "explained": "bold",
    "rejected": "bold magenta",
    "stand-in": "bold magenta",
    "stopped": "bold red",
}
STATUSES = {
    "failing": "bold red",
    "warned": "bold magenta",
    "watch": STYLES["watch"],
    "clear": "bold green",
    "unknown": "bold",
}


def print_verdict(
    records: Sequence[RunRecord],
    columns: Sequence[Column],
    console: Console | None = None,
    report: str | Path | None = None,
) -> None:
    """Say of each run whether, when, how and why it fails, and what to try.

    Args:
        records: the runs.
        columns: what is known of each noun, such as what the accuracy is compared with.
        console: where to print; by default the terminal, above a progress bar where one is running.
        report: the written report, to be named at the end.
    """
    with _terminal(console) as out:
        width = min(out.width, 110)  # longer lines are hard to read
        out.print()
        images = {on_which(record) for record in records}
        heading = f"Verdict {images.pop()}".strip() if len(images) == 1 else "Verdict"
        out.print(Rule(Text(heading, style="bold"), align="left", style="dim"), width=width)
        for record in records:
            out.print(Text(record.name, style="bold"))
            lines = [Text(headline(record, columns)), Text(tally(record), style=STATUSES[status(record)])]
            lines += [Text(cost(record), style="dim")] if cost(record) else []
            entries = [*record.standing, *(f for f in record.findings if not f.standing)]
            parts: list[RenderableType] = [
                *lines,
                *(_entry(each, record, entries[:at]) for at, each in enumerate(entries)),
            ]
            for part in parts:
                out.print(Padding(part, (0, 0, 0, 2)), width=width)
            out.print()
        if report is not None:
            out.print(Text.assemble(("Report: ", "bold"), str(report)), soft_wrap=True)


def print_finding(finding: Finding, console: Console | None = None, run: str = "") -> None:
    """One line when a finding is raised or cleared, which leaves a progress bar whole.

    Args:
        finding: the finding.
        console: where to print; by default the terminal, above a progress bar where one is running.
        run: name of the run, where there are several.
    """
    word = finding.severity if finding.standing else "cleared"
    at = finding.epoch if finding.standing else finding.cleared
    line = Text.assemble((f"{run} " if run else "") + f"epoch {at} ", (word, STYLES[word]), f" {title(finding)}")
    if finding.standing:
        line.append(f"{because(finding)}. {' '.join(finding.message.split())}")
    else:
        line.append(f". Raised at epoch {finding.epoch}.")
    with _terminal(console) as out:
        if out.is_terminal:
            out.print(line, no_wrap=True, overflow="ellipsis")
        else:  # a log file keeps the whole sentence
            out.print(line, soft_wrap=True)


def print_notice(epoch: int, word: str, text: str, console: Console | None = None) -> None:
    """Say what was decided at an evaluation, in full, which leaves a progress bar whole.

    Args:
        epoch: Lightning's epoch, counted from 0.
        word: what was decided, for example ``"rejected"``.
        text: what and why.
        console: where to print; by default the terminal, above a progress bar where one is running.
    """
    with _terminal(console) as out:
        out.print(Text.assemble(f"epoch {epoch} ", (word, STYLES[word]), f" {text}"), soft_wrap=not out.is_terminal)


@contextmanager
def _terminal(console: Console | None) -> Iterator[Console]:
    """A console that writes all at once, so that no progress bar is drawn in between."""
    if console is not None:
        yield console
        return
    buffer, screen = StringIO(), Console()
    system: Any = screen.color_system
    yield Console(
        file=buffer, force_terminal=screen.is_terminal, color_system=system, width=screen.width, highlight=False
    )
    encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
    text = buffer.getvalue().encode(encoding, "replace").decode(encoding)
    bars = sys.modules.get("tqdm")
    with _bars_of_rich_held():
        if bars is None:
            sys.stdout.write(text)
        else:  # clears the bars, writes, and draws them again
            bars.tqdm.write(text, file=sys.stdout, end="")


@contextmanager
def _bars_of_rich_held() -> Iterator[None]:
    """No thread draws a bar of rich's meanwhile.

    One that does so between the time at which rich has counted the lines of the bar and that at which it has written
    over them leaves a bar behind, or takes the last line above it away. Lightning's own thread takes the same lock.
    """
    console = getattr(sys.stdout, "_FileProxy__console", None)  # rich stands in for it while it draws bars
    shown = [*getattr(console, "_live_stack", ()), getattr(console, "_live", None)]  # by version of rich
    with ExitStack() as held:
        for lock in filter(None, (getattr(live, "_lock", None) for live in shown)):
            held.enter_context(lock)
        yield


def _entry(finding: Finding, record: RunRecord, before: Sequence[Finding]) -> Table:
    word = finding.severity if finding.standing else "cleared"
    grid = Table.grid(padding=(0, 1))
    grid.add_column(width=7)
    grid.add_column()
    grid.add_row(Text(word, style=STYLES[word]), Text.assemble((title(finding), "bold"), f", {when(finding, record)}"))
    if finding.standing:
        grid.add_row("", Text(message(finding)))
        for part in passages(finding, before):
            grid.add_row("", Text.assemble((f"{part.label}: ", "" if part.aside else "bold"), part.text))
    return grid
