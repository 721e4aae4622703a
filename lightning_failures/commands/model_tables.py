"""Factors of one or more models, and of models against a reference, as tables on the console."""

from collections.abc import Iterable, Mapping, Sequence
from itertools import combinations
from math import isnan
from typing import TYPE_CHECKING

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from lightning_failures.functional.clusters import FEWEST_GROUPS
from lightning_failures.records.numbers import number, p_value

if TYPE_CHECKING:
    from lightning_failures.commands.model_statistics import ModelStatistics

__all__ = ["print_hardest", "print_models", "print_pairs"]

LEVEL = 0.05
# Colours that can be read on light and on dark terminals; the marks say the same without them.
HARD, EASY = "bold red", "green"

Values = Mapping[str, float]


def print_models(
    console: Console, models: Mapping[str, Values], names: Sequence[str], groups: str | None = None
) -> None:
    """Print the error ratios, hardest factor first: with all their figures for one model, side by side for more.

    Args:
        console: where to print.
        models: for each model its statistics, by the keys of the metrics.
        names: the factors.
        groups: what images belong together by; None: they are independent.
    """
    for model, values in models.items():
        share = f"{100 * values['error/all']:.1f}% of {number(values['images/all'])} images misclassified"
        if groups is not None:
            share += f", of {number(values['groups/all'])} groups ({groups})"
        console.print(Text.assemble((model, "bold"), f": {share}"))
    placed = all(f"matched_residual/{names[0]}" in values for values in models.values())
    order = sorted(names, key=lambda name: -_mean(values[f"error_ratio/{name}"] for values in models.values()))
    console.print()
    if len(models) == 1:
        ((_, values),) = models.items()
        console.print(_one_model(values, order, calibration=not (placed or groups) or console.width >= 88))
    else:
        intervals = console.width >= 26 + 18 * len(models)
        console.print(_many_models(models, order, intervals=intervals))
    console.print()
    for model, values in models.items():
        worst, shrunk = values["error_ratio/worst"], values["error_ratio/worst_shrunk"]
        if not isnan(worst):
            (name, *_) = (name for name in names if values[f"error_ratio/{name}"] == worst)
            text = f": hardest is {name}, {_fixed(worst)} ({_fixed(shrunk)} after shrinkage)"
            console.print(Text.assemble((model, "bold"), text))
    _explain(
        console,
        "Error ratio: error rate on the factor over that on all images; 1 is typical. * differs from 1: p below "
        f"{LEVEL} after Holm's adjustment for {len(names)} factors.",
        f"Intervals and p count groups ({groups}), not images; below {FEWEST_GROUPS} groups there is no interval."
        if groups is not None
        else "",
        "Within class: errors over those that the classes of these images explain." if len(models) == 1 else "",
        "At equal accuracy: from published models, in standard deviations; below 0 is worse." if placed else "",
    )


def print_hardest(console: Console, model: "ModelStatistics", names: Sequence[str], continuous: Sequence[str]) -> None:
    """Print what is hard beside single factors: two that come together, trends along continuous columns, and classes.

    Args:
        console: where to print.
        model: its statistics.
        names: the factors.
        continuous: the columns that were cut.
    """
    lines = [_together(model, names), *(_trend(model.trends, name) for name in continuous)]
    classes = [f"{model.class_name(row)} ({row.errors} of {row.images} wrong)" for row in model.classes if row.errors]
    lines.append(f"hardest classes: {', '.join(classes)}" if classes else "")
    for line in filter(None, lines):
        console.print(Text.assemble((model.model, "bold"), f": {line}"))
    console.print()


def _together(model: "ModelStatistics", names: Sequence[str]) -> str:
    """Two factors that are harder together than either alone, beyond chance; nothing where no two are."""
    found = []
    for one, other in combinations(names, 2):
        both, low, images = (model.together[f"{key}/{one}&{other}"] for key in ("error_ratio", "low", "images"))
        alone = model.values[f"error_ratio/{one}"], model.values[f"error_ratio/{other}"]
        if low > max(alone):
            told = f"{both:.2f} on {number(images)} images ({alone[0]:.2f} and {alone[1]:.2f} each)"
            found.append((both, f"hardest together are {one} and {other}, {told}"))
    return max(found, default=(0.0, ""))[1]


def _trend(trends: Values, name: str) -> str:
    """Whether errors change along a continuous column."""
    deviate, p = trends[f"trend/{name}"], trends[f"p_value/{name}"]
    if isnan(deviate):
        auc = trends[f"error_auc/{name}"]
        return "" if isnan(auc) else f"{name} tells errors with an AUC of {auc:.2f} (0.5: not at all)"
    course = "change little" if p >= LEVEL else "rise" if deviate > 0 else "fall"
    return f"errors {course} with {name} (p {p_value(p)}, AUC {trends[f'error_auc/{name}']:.2f})"


def print_pairs(
    console: Console, pairs: Mapping[str, Values], names: Sequence[str], reference: str, groups: str | None = None
) -> None:
    """Print each model's error ratios over those of the reference.

    Args:
        console: where to print.
        pairs: for each model its statistics against the reference, by the keys of the metric.
        names: the factors.
        reference: name of the reference.
        groups: what images belong together by; None: they are independent.
    """
    for model, values in pairs.items():
        own, before = 100 * values["error/all"], 100 * values["reference_error/all"]
        console.print(
            Text.assemble((model, "bold"), f" against {reference}: {own:.1f}% wrong instead of {before:.1f}%")
        )
        console.print()
        table = _table("factor", "errors", "instead\nof", "p", "ratio\nof ratios", "95%\ninterval", "")
        for name in sorted(names, key=lambda name: -_mean([values[f"ratio/{name}"]])):
            fell_behind = values[f"spillover/{name}"] == 1
            p, ratio = values[f"p_value/{name}"], values[f"ratio/{name}"]
            table.add_row(
                name,
                number(values[f"errors/{name}"]),
                number(values[f"reference_errors/{name}"]),
                _probability(values[f"mcnemar_p/{name}"]),
                _marked(ratio, p),
                _interval(values, name),
                Text("fell behind", style=HARD) if fell_behind else "",
            )
        console.print(table)
        console.print()
    _explain(
        console,
        "p: McNemar's exact test of the errors." if groups is None else f"p: of the errors, counted by {groups}.",
        "Ratio of ratios: the factor's error ratio over that of the reference; "
        f"* differs from 1: p below {LEVEL} after Holm's adjustment. "
        "Fell behind: it rose, though all errors became fewer.",
    )


def _one_model(values: Values, names: Sequence[str], *, calibration: bool) -> Table:
    placed = f"matched_residual/{names[0]}" in values
    grouped = "groups/all" in values
    heads = ["factor", "images", *["groups"] * grouped, "errors", "error\nratio", "95%\ninterval", "p", "within\nclass"]
    table = _table(*heads, *["calib.\nerror"] * calibration, *["at equal\naccuracy"] * placed)
    for name in names:
        p = values[f"p_value/{name}"]
        row: list[str | Text] = [
            name,
            number(values[f"images/{name}"]),
            *([number(values[f"groups/{name}"])] if grouped else []),
            number(values[f"errors/{name}"]),
            _marked(values[f"error_ratio/{name}"], p),
            _interval(values, name),
            _probability(p),
            _fixed(values[f"standardised/{name}"]),
        ]
        if calibration:
            row.append(_fixed(values[f"calibration_error/{name}"]))
        if placed:
            row.append(f"{values[f'matched_residual/{name}']:+z.1f}")
        table.add_row(*row)
    return table


def _many_models(models: Mapping[str, Values], names: Sequence[str], *, intervals: bool) -> Table:
    table = _table("factor", "images", *models)
    first = next(iter(models.values()))
    for name in names:
        cells = []
        for values in models.values():
            cell = _marked(values[f"error_ratio/{name}"], values[f"p_value/{name}"])
            cells.append(Text.assemble(cell, "  ", _interval(values, name)) if intervals else cell)
        table.add_row(name, number(first[f"images/{name}"]), *cells)
    return table


def _table(*heads: str) -> Table:
    table = Table(box=SIMPLE_HEAD, show_edge=False, padding=(0, 1, 0, 0), pad_edge=False, header_style="bold")
    for column, head in enumerate(heads):
        table.add_column(head, justify="left" if column == 0 else "right", no_wrap=True, vertical="bottom")
    return table


def _marked(ratio: float, p: float) -> Text:
    """The ratio, with a star where it differs from 1; the star's place is kept, so that the points stand in line."""
    if p < LEVEL:
        return Text(f"{_fixed(ratio)}*", style=HARD if ratio > 1 else EASY)
    return Text(f"{_fixed(ratio)} ")


def _interval(values: Values, name: str) -> str:
    low, high = values[f"low/{name}"], values[f"high/{name}"]
    return "" if isnan(low) else f"{low:.2f}-{high:.2f}"


def _fixed(value: float) -> str:
    return "-" if isnan(value) else f"{value:.2f}"


def _probability(value: float) -> str:
    return "" if isnan(value) else p_value(value).replace(" ", "")


def _explain(console: Console, *sentences: str) -> None:
    console.print(Text(" ".join(filter(None, sentences)), style="dim"))
    console.print()


def _mean(ratios: Iterable[float]) -> float:
    """Mean of the ratios that are defined; below all others where none is."""
    defined = [ratio for ratio in ratios if not isnan(ratio)]
    return sum(defined) / len(defined) if defined else -1.0
