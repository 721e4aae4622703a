"""The one picture that proves a finding: the one that its column declares, or its indicator against its threshold."""

import math
import re
from collections.abc import Callable, Container, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from lightning_failures.errors import InputError
from lightning_failures.records.condition import Condition
from lightning_failures.records.finding import Finding
from lightning_failures.records.keys import match_key, subject_in_words
from lightning_failures.records.numbers import number
from lightning_failures.records.picture import Picture, pictures_of
from lightning_failures.records.run_record import Evaluation, RunRecord
from lightning_failures.records.term import Term, find_term
from lightning_failures.reporting.column import Chart, Column, Drawing, Section, views
from lightning_failures.reporting.figure_style import COLOURS, canvas, short
from lightning_failures.reporting.figures import Line, by_epoch, points

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = [
    "Maker",
    "Shown",
    "Trace",
    "Traces",
    "column_of",
    "from_chart",
    "from_section",
    "picture_of",
    "proof_of",
    "traces",
]

#: What proves a finding: a picture yet to be drawn, or images that were drawn in the run.
Shown = Drawing | Picture

#: What makes the picture of a finding of a run; None where the run logged nothing to be drawn.
Maker = Callable[[RunRecord, Finding], Drawing | None]

_SUBJECT = "{subject}"
_INDICATOR = re.compile(r"(?P<key>.+?) = \S+ (?P<bound>[<>]=? .+?)(?: \(now [^()]*\))?(?:, at | ?, |$)")
_SHADES, _LEVEL = (("first", "o", "-"), ("second", "D", "--"), ("third", "s", "-.")), ("soft", "", ":")


class Trace(NamedTuple):
    """One quantity of a picture: a line where a run logged it several times, a mark with its interval where once.

    The first of a picture is what the finding tells of; the others are what it is held against.

    Args:
        name: in words, short; ``{subject}`` stands for the finding's subject.
        key: as it is logged; a star stands for the finding's subject.
        low: key of the lower end of its 95% interval, likewise; empty: none.
        high: of the upper end.
        level: whether it is a level that others are held against, such as chance: a dotted line without marks.
    """

    name: str
    key: str
    low: str = ""
    high: str = ""
    level: bool = False

    @property
    def keys(self) -> tuple[str, ...]:
        """All keys that it has."""
        return tuple(key for key in (self.key, self.low, self.high) if key)


@dataclass(frozen=True)
class Traces:
    """What draws some quantities of a run, over its course or, where there is none, beside each other.

    Args:
        label: of the axis, in words.
        caption: what is seen, in plain sentences; ``{subject}`` stands for the finding's subject.
        quantities: the first is the one that the finding tells of; without it there is no picture.
        whole: whether the axis is that of a share, 0 to 1, whatever the values.
    """

    label: str
    caption: str
    quantities: tuple[Trace, ...]
    whole: bool = False

    def __call__(self, record: RunRecord, finding: Finding) -> Drawing | None:
        """The picture of a finding of a run; None where the run did not log what it tells of."""
        found = [_filled(each, record, finding) for each in self.quantities]
        known = [each for each in found if each is not None]
        if found[0] is None:
            return None
        said = ", ".join(f"{each.name} {number(record.last(each.key))}" for each in known)
        return Drawing(
            self.caption.replace(_SUBJECT, finding.subject or "all images"),
            f"{self.label[0].upper()}{self.label[1:]} of {record.name}. At the end: {said}.",
            partial(_draw, replace(record, findings=[finding]), known, self.label, self.whole),
        )


def traces(label: str, caption: str, *quantities: Trace, whole: bool = False) -> Traces:
    """:class:`Traces` of so many quantities."""
    return Traces(label, caption, quantities, whole)


def from_chart(chart: Chart) -> Maker:
    """What draws a run as one of its charts does, with the one finding marked."""

    def of(record: RunRecord, finding: Finding) -> Drawing | None:
        alone = replace(record, findings=[finding])
        (make,), label = chart.of([alone]), chart.label(alone)
        return None if make is None or label is None else Drawing(chart.caption_of(alone), label, make)

    return of


def from_section(section: Section) -> Maker:
    """What draws a run as a part of the report does."""

    def of(record: RunRecord, finding: Finding) -> Drawing | None:
        if section.table(record) is None:
            return None
        return Drawing(section.caption, section.label([record]), lambda: section.draw([record]))

    return of


def proof_of(finding: Finding, record: RunRecord, columns: Sequence[Column]) -> Shown | None:
    """What proves a finding of a run; None where nothing shows more than the sentence says.

    Args:
        finding: of the run.
        record: of the run.
        columns: which declare what proves the findings of their rules.
    """
    found = column_of(finding, columns)
    declared = None if found is None else next((p for p in found[0].proofs if found[1] in p.rules), None)
    if declared is None:
        return _of_indicator(finding, record, columns)
    images = pictures_of(finding, record.pictures) if declared.images else []
    if images or declared.of is None:
        return images[0] if images else None
    column, rule = found or (columns[0], "")
    monitor = _monitor_of(finding, rule) or column.noun
    return declared.of(record.seen_by(monitor, column.noun), finding)


def picture_of(record: RunRecord, columns: Sequence[Column]) -> Drawing | None:
    """What shows how a run went in which nothing was found: its accuracy against a reference, as a column draws it.

    Args:
        record: of the run.
        columns: of which the one with a :class:`.Reference` is asked for its first chart.
    """
    compared = (column for column in columns if column.reference is not None and column.charts)
    for column in compared:
        chart = column.charts[0]
        (make,), label = chart.of([record]), chart.label(record)
        if make is not None and label is not None:
            return Drawing(chart.caption_of(record), label, make)
    return None


def column_of(finding: Finding, columns: Sequence[Column]) -> tuple[Column, str] | None:
    """The column whose rule raised a finding, and that rule's name; None where it was a rule of the user's own."""
    raised_by = finding.rule or finding.kind  # a rule is called as its kind where it has no other name
    for column in columns:
        for rule in column.rules:
            if raised_by == rule.name or raised_by.startswith(f"{rule.name} ("):
                return column, rule.name
    return None


def _monitor_of(finding: Finding, rule: str) -> str:
    """The name of the monitor that a copied rule is for: what stands in brackets behind the rule's."""
    return finding.rule.removeprefix(rule).strip(" ()")


# -- a finding's own indicator


def _of_indicator(finding: Finding, record: RunRecord, columns: Sequence[Column]) -> Drawing | None:
    """The first indicator of the finding's rule against its threshold, which the finding's criterion names."""
    condition = _indicator(finding.criterion)
    if condition is None or math.isnan(record.last(condition.key)):
        return None
    term = _term(condition.key, record, columns)
    name = condition.key if term is None else term.name
    bound = _threshold(condition)
    limits = [
        replace(each, values=each.values | {bound: condition.limit(each.values)})
        for each in record.evaluations
        if condition.key in each.values
    ]
    side = "below" if condition.comparison.startswith("<") else "above"
    caption = f"{name}, by evaluation. Dotted: the threshold of the rule {finding.rule}; it holds {side} that."
    label = name[0].lower() + name[1:]
    made = traces(short(label, 48), caption, Trace("this run", condition.key), Trace("threshold", bound, level=True))
    return made(replace(record, evaluations=limits), finding)


def _indicator(criterion: str) -> Condition | None:
    """The first comparison that a criterion says; None where it says none with a threshold.

    Example:
        >>> print(_indicator("val_loss = 2.31 > 2, at 3 evaluations in a row"))
        val_loss > 2
        >>> print(_indicator("a/reach = 0.7 > a/own + 0.2 (now 0.5), b = 3 <= 4, at 1 evaluation"))
        a/reach > a/own + 0.2
    """
    found = _INDICATOR.match(criterion)
    if found is None:
        return None
    try:
        return Condition.parse(f"{found['key']} {found['bound']}")
    except InputError:  # a criterion of somebody's own making
        return None


def _threshold(condition: Condition) -> str:
    return f"threshold {condition.bound_text}"


def _term(key: str, record: RunRecord, columns: Sequence[Column]) -> Term | None:
    """What a logged key means, in the words of its column."""
    for column in columns:
        for name, _ in views(column, [record]):
            before = f"failures/{name or column.noun}/"
            if key.startswith(before):
                return find_term(column.terms, key.removeprefix(before))
    return None


# -- drawing


def _filled(trace: Trace, record: RunRecord, finding: Finding) -> Trace | None:
    """A quantity on the finding's subject, with keys that the run logged; None where it has no value."""
    key = _logged(trace.key, record, finding)
    if key is None or not any(math.isfinite(each.values.get(key, math.nan)) for each in record.evaluations):
        return None
    low, high = (_logged(each, record, finding) or "" for each in (trace.low, trace.high))
    name = trace.name.replace(_SUBJECT, short(finding.subject, 24))
    return trace._replace(name=name, key=key, low=low, high=high)


def _logged(pattern: str, record: RunRecord, finding: Finding) -> str | None:
    """The key that a pattern stands for on the finding's subject; None where the run logged none."""
    known = record.last_values()
    if "*" not in pattern:
        return pattern if pattern in known else None
    matched = ((key, match_key(pattern, key)) for key in known)
    return next((key for key, name in matched if name and subject_in_words(name) == finding.subject), None)


def _draw(record: RunRecord, quantities: Sequence[Trace], label: str, whole: bool) -> "Figure":
    times = [each for each in record.evaluations if math.isfinite(each.values.get(quantities[0].key, math.nan))]
    limits = (0.0, 1.0) if whole else _limits(times, quantities)
    if len(times) < 2:
        return _beside(times[-1], quantities, limits, label)
    lines, keys = [], {key for each in quantities for key in each.keys}
    known = [replace(each, values=_without_gaps(each.values, keys)) for each in record.evaluations]
    for place, each in enumerate(quantities):
        low, high = (dict(zip(*points(record, key), strict=True)) for key in (each.low, each.high))
        colour, marker, style = _shade(each, place)
        lines.append(Line(each.name, each.key, colour, marker, style, low, high))
    return by_epoch(replace(record, evaluations=known), lines, limits, label)


def _without_gaps(values: Mapping[str, float], keys: Container[str]) -> dict[str, float]:
    """Values of an evaluation without those that it did not measure, so that a line goes on to the next one."""
    return {key: value for key, value in values.items() if key not in keys or math.isfinite(value)}


def _shade(trace: Trace, place: int) -> tuple[str, str, str]:
    """Colour, mark and line of a quantity by its place in the picture."""
    return _LEVEL if trace.level else _SHADES[min(place, len(_SHADES) - 1)]


def _limits(times: Sequence[Evaluation], quantities: Sequence[Trace]) -> tuple[float, float]:
    """Limits that hold all values with their intervals; from 0 where that is not far below."""
    keys = [key for each in quantities for key in each.keys]
    values = [value for each in times for key in keys if math.isfinite(value := each.values.get(key, math.nan))]
    low, high = min(values), max(values)
    low = 0.0 if 0 < low < 0.7 * high else low
    margin = 0.06 * (high - low) or 0.1 * abs(high) or 0.1
    return (low if low == 0 else low - margin), (1.0 if 0.9 < high <= 1.0 else high + margin)


def _beside(at: Evaluation, quantities: Sequence[Trace], limits: tuple[float, float], label: str) -> "Figure":
    """Quantities of one evaluation beneath each other, each with its interval."""
    shown = [each for each in quantities if math.isfinite(at.values.get(each.key, math.nan))]
    with canvas(4.7, 0.7 + 0.32 * len(shown)) as figure:
        axes = figure.add_subplot()
        for place, each in enumerate(shown):
            value, (colour, marker, _) = at.values[each.key], _shade(each, place)
            axes.plot([0, value], [place, place], "-", color=COLOURS["line"], linewidth=1, zorder=1)
            axes.plot([value], [place], marker or "o", color=COLOURS[colour], zorder=3, clip_on=False)
            low, high = (at.values.get(key, math.nan) for key in (each.low, each.high))
            if math.isfinite(low) and math.isfinite(high):
                axes.plot([low, high], [place, place], "-", color=COLOURS[colour], zorder=2)
            axes.text(1.02, place, f"{value:.2f}", transform=axes.get_yaxis_transform(), va="center")
        axes.set_yticks(range(len(shown)), [each.name for each in shown])
        axes.tick_params(axis="y", length=0)
        axes.set(xlim=limits, ylim=(len(shown) - 0.5, -0.5), xlabel=label)
        axes.grid(axis="x")
    return figure
