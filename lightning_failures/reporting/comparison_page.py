"""A comparison for people: on the console, and as a page that needs nothing but itself."""

from pathlib import Path

from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from lightning_failures.records.numbers import number
from lightning_failures.records.written_file import write_file
from lightning_failures.reporting.comparison import Comparison, Figure
from lightning_failures.reporting.comparison_text import answer, interval, sentences
from lightning_failures.reporting.page import page_template
from lightning_failures.reporting.sentences import title

__all__ = ["print_comparison", "write_comparison"]

# Colours that can be read on light and on dark terminals; the words say the same without them.
_STYLES = {
    "Better": "bold green",
    "Gone": "bold green",
    "Worse": "bold red",
    "New": "bold red",
    "Note": "dim",
    "better": "green",
    "worse": "bold red",
    "no interval": "dim",
    "not told apart": "dim",
}


def print_comparison(comparison: Comparison, top: int = 20, console: Console | None = None) -> None:
    """Say whether the change helped, what is gone, new, better and worse; then the headline figures as a table.

    Args:
        comparison: of two sides.
        top: rows of the table at most.
        console: where to print; by default the terminal.
    """
    out = Console(highlight=False) if console is None else console
    width = min(out.width, 110)
    out.print()
    out.print(Text(answer(comparison), style="bold"))
    for word, side in (("before", comparison.before), ("after", comparison.after)):
        out.print(Text(f"{word:7}{', '.join(run.record.name for run in side)}", style="dim"), width=width)
    out.print()
    grid = Table.grid(padding=(0, 1))
    grid.add_column(no_wrap=True)
    grid.add_column(overflow="fold")
    for word, text in sentences(comparison):
        if word:
            grid.add_row(Text(word, style=_STYLES.get(word, "bold")), Text(text, style="dim" if word == "Note" else ""))
        else:
            out.print(Text(text), width=width)
    out.print(Padding(grid, (0, 0, 1, 0)), width=width)
    figures = [each for each in comparison.figures if each.headline]
    if figures:
        out.print(_table(figures[:top]), width=width)
    rest = len(comparison.figures) - len(figures[:top])
    if rest:
        out.print(Text(f"{rest} more figures stand in the page (--out DIR) and in JSON (--json FILE).", style="dim"))


def _table(figures: list[Figure]) -> Table:
    table = Table(box=None, padding=(0, 1), header_style="dim", pad_edge=False)
    table.add_column("Headline figures", overflow="fold")
    for head in ("before", "after", "difference", "95% interval"):
        table.add_column(head, justify="right", no_wrap=head != "95% interval")
    table.add_column("")
    places = [name for name, _ in map(_parts, figures)]
    before = ""
    for each, name in zip(figures, places, strict=True):
        if name != before and places.count(name) > 1:
            table.add_row(Text(name))
        before = name
        known = interval(each).removeprefix("95% interval ") if each.outcome != "no interval" else ""
        cells = [number(each.before), number(each.after), _signed(each), known]
        table.add_row(
            Text(f"  {_parts(each)[1]}" if places.count(name) > 1 else each.name),
            *cells,
            Text(each.outcome, style=_STYLES.get(each.outcome, "")),
        )
    return table


def _parts(figure: Figure) -> tuple[str, str]:
    """The name of what is measured, and what it is measured of; nothing of a figure of all images."""
    name, colon, subject = figure.name.partition(": ")
    return (f"{name} ({figure.group})", subject) if colon and figure.group else (f"{figure.name} ({figure.group})", "")


def write_comparison(folder: str | Path, comparison: Comparison, where: str) -> Path:
    """Write ``comparison.html`` into a folder; names that hold markup stand there as text.

    Args:
        folder: made if need be.
        comparison: of two sides.
        where: the public name to put into an error.

    Returns:
        Path of the page.

    Raises:
        InputError: the file cannot be written.
        MissingPackageError: jinja2 is not installed.
    """
    template = page_template(where, "lightning_failures.reporting", "comparison.html", signed=_signed)
    groups: dict[str, list[Figure]] = {}
    for each in comparison.figures:
        groups.setdefault(each.group, []).append(each)
    page = template.render(
        comparison=comparison,
        answer=answer(comparison),
        tone=_tone(comparison),
        sentences=sentences(comparison),
        headlines=[each for each in comparison.figures if each.headline],
        groups=groups,
        title=title,
    )
    return write_file(where, Path(folder) / "comparison.html", page)


def _tone(comparison: Comparison) -> str:
    """The class of the verdict's colour."""
    text = answer(comparison)
    tones = {"It helped.": "clear", "It harmed": "failing", "It helped": "warned"}
    return next((tone for begins, tone in tones.items() if text.startswith(begins)), "unknown")


def _signed(figure: Figure) -> str:
    return f"{'+' if figure.difference >= 0 else '-'}{number(abs(figure.difference))}"
