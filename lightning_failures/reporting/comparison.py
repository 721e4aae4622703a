"""Runs before a change beside runs after it: by how much each figure moved, and which findings are gone or new."""

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from statistics import NormalDist, fmean
from typing import Any, Literal, NamedTuple

from lightning_failures.records.finding import SEVERITIES, Finding
from lightning_failures.records.keys import escape, match_key, subject_in_words
from lightning_failures.records.kind import MONITOR_ERROR, OWN_RULE
from lightning_failures.records.run_record import RunRecord
from lightning_failures.records.term import Term
from lightning_failures.records.validation_keys import MEASURED, measured_accuracy, users_accuracy, users_loss
from lightning_failures.reporting.column import Column
from lightning_failures.reporting.intervals import UNKNOWN, Interval, mover, paired, welch, wilson
from lightning_failures.reporting.logged_runs import LoggedRun

__all__ = ["Comparison", "Figure", "FindingChange", "beyond_chance", "compare"]

Outcome = Literal["better", "worse", "changed", "not told apart", "no interval"]
_LOWER, _UPPER = ", lower end", ", upper end"


class Figure(NamedTuple):
    """One figure before and after.

    Args:
        key: under which it is logged.
        name: in words, with the factor, the layer or the band that it is of.
        group: the noun of its monitor; empty for what the user logs.
        headline: whether it is one of the few figures that a run is told by.
        sign: 1 where higher is better, -1 where lower is, 0 where neither is said.
        before: mean over the runs before the change, of the last value of each.
        after: likewise.
        difference: ``after - before``.
        low: lower end of its 95% interval; nan where there is none.
        high: upper end.
        method: how the interval was made; empty without one.
        why: why there is none; empty with one.
        values_before: of each run; nan where it has none.
        values_after: likewise.
    """

    key: str
    name: str
    group: str
    headline: bool
    sign: int
    before: float
    after: float
    difference: float
    low: float
    high: float
    method: str
    why: str
    values_before: tuple[float, ...]
    values_after: tuple[float, ...]

    @property
    def outcome(self) -> Outcome:
        """Whether it is better or worse beyond chance, as far as its interval tells."""
        if not (math.isfinite(self.low) and math.isfinite(self.high)):
            return "no interval"
        if self.low <= 0 <= self.high:
            return "not told apart"
        if not self.sign:
            return "changed"
        return "better" if self.difference * self.sign > 0 else "worse"


def beyond_chance(figures: Sequence[Figure]) -> list[Figure]:
    """Those that are better or worse though many were looked at: by Bonferroni, as wide as their number asks for.

    Args:
        figures: of which any one would be reported; their 95% intervals are widened as those of a normal law are.
    """
    told = [each for each in figures if each.outcome != "no interval"]
    if not told:
        return []
    normal = NormalDist()
    wider = normal.inv_cdf(1 - 0.025 / len(told)) / normal.inv_cdf(0.975)

    def stands(each: Figure) -> bool:
        nearer = each.difference - each.low if each.difference > 0 else each.high - each.difference  # end to 0
        return each.outcome in ("better", "worse") and wider * nearer < abs(each.difference)

    return [each for each in told if stands(each)]


class FindingChange(NamedTuple):
    """One finding, in how many runs of each side it stands at the end.

    Args:
        finding: as it stands in the last run that has it, after the change where there is one.
        before: number of runs before the change that have it.
        after: number of runs after it.
        causes_before: the proven causes, each once.
        causes_after: likewise.
        severities: the worst before, and the worst after; empty where no run of the side has it.
        not_compared: why nothing is said of it; empty where the other side examined the same.
    """

    finding: Finding
    before: int
    after: int
    causes_before: tuple[str, ...] = ()
    causes_after: tuple[str, ...] = ()
    severities: tuple[str, str] = ("", "")
    not_compared: str = ""


class Comparison(NamedTuple):
    """All that is said of two sides.

    Args:
        before: the runs before the change.
        after: the runs after it.
        paired: whether the runs were compared pair by pair.
        accuracy: the accuracy, or None where none was logged on both sides.
        loss: the user's validation loss, likewise.
        figures: all figures that both sides logged, the headlines of each monitor first.
        findings: those that stand at the end of any run; empty where a side has a source that tells none.
        only_before: names of factors, layers and so on that only the first side has, by the figure in words.
        only_after: likewise.
        notes: what a reader must know of the comparison, in plain sentences.
    """

    before: tuple[LoggedRun, ...]
    after: tuple[LoggedRun, ...]
    paired: bool
    accuracy: Figure | None
    loss: Figure | None
    figures: tuple[Figure, ...]
    findings: tuple[FindingChange, ...]
    only_before: dict[str, tuple[str, ...]]
    only_after: dict[str, tuple[str, ...]]
    notes: tuple[str, ...]

    @property
    def tells_findings(self) -> bool:
        """Whether all runs tell their findings."""
        return all(run.tells_findings for run in (*self.before, *self.after))

    def of(self, outcome: Outcome) -> list[Figure]:
        """The headline figures of one outcome, without the accuracy and what says the same."""
        shown = [each for each in self.figures if each.headline and each.outcome == outcome]
        return [each for each in shown if not _is_accuracy(each.key)]

    def found(self, which: Literal["gone", "new", "still", "not compared"]) -> list[FindingChange]:
        """The findings that are gone, new, or still there, the most severe first."""

        def its(each: FindingChange) -> str:
            if each.not_compared:
                return "not compared"
            return "still" if each.before and each.after else "gone" if each.before else "new"

        return [each for each in self.findings if its(each) == which]


def compare(
    before: Sequence[LoggedRun], after: Sequence[LoggedRun], columns: Sequence[Column], by_pairs: bool = False
) -> Comparison:
    """Compare the last values and the standing findings of runs before a change with those of runs after it.

    With two runs or more on each side, which differ by their seed, the interval of a difference is Welch's, or
    Student's over the pairs. With one run on each side it is made of the interval that each run logged of the figure,
    or of the number of images that an accuracy is of; other figures have none.

    Args:
        before: at least one run.
        after: at least one run.
        columns: what is known of each noun: its terms and its rules.
        by_pairs: the n-th run of each side have the same seed; both sides have as many runs.
    """
    sides = before, after
    last = [[run.record.last_values() for run in side] for side in sides]
    short = {f"failures/{term.short}": term for column in columns for term in column.terms if term.short}
    names = {name: noun for run in (*before, *after) for name, noun in _monitors(run.record, columns).items()}
    terms = {name: column.terms for name, noun in names.items() for column in columns if column.noun == noun}
    seen = [{key for values in side for key, value in values.items() if not math.isnan(value)} for side in last]
    both = [key for key in dict.fromkeys(key for values in last[0] for key in values) if key in seen[0] & seen[1]]
    figures = []
    for key in both:
        term, ends = _explained(key, terms)
        if key in short:  # a log holds these in place of the figure's own key; a record holds both
            of = short[key]
            if not any(match_key(f"failures/{name}/{of.key}", each) is not None for name in names for each in both):
                figures.append(
                    _figure(key, None, [], last, by_pairs, names)._replace(name=of.name, headline=True, sign=of.sign)
                )
        elif term is None or not (_LOWER in term.name or _UPPER in term.name):
            figures.append(_figure(key, term, ends, last, by_pairs, names))
    order = {column.noun: place for place, column in enumerate(columns)}
    figures.sort(key=lambda each: (bool(each.group), order.get(each.group, -1), not each.headline))
    accuracy = measured_accuracy(both) or users_accuracy(both)
    loss = users_loss(both)
    by_key = {each.key: each for each in figures}
    return Comparison(
        tuple(before),
        tuple(after),
        by_pairs,
        by_key.get(accuracy or ""),
        by_key.get(loss or ""),
        tuple(figures),
        _findings(sides, last, columns) if all(run.tells_findings for side in sides for run in side) else (),
        _only(seen[0] - seen[1], seen[1], terms),
        _only(seen[1] - seen[0], seen[0], terms),
        tuple(_notes(sides, last)),
    )


def _is_accuracy(key: str) -> bool:
    """Whether a key says of all images how many are right, which the first sentence says."""
    last = key.rpartition("/")[2]
    return key.startswith("failures/") and (last in MEASURED or key.endswith("/error/all"))


def _monitors(record: RunRecord, columns: Sequence[Column]) -> dict[str, str]:
    """Names of the monitors of a run, and their nouns; a log tells only what stands in its keys."""
    nouns = {column.noun for column in columns}
    logged = {key.split("/")[1] for key in record.last_values() if key.startswith("failures/") and key.count("/") > 1}
    return {name: name for name in logged & nouns} | record.columns


def _explained(key: str, terms: dict[str, tuple[Term, ...]]) -> tuple[Term | None, list[tuple[str, str]]]:
    """The term of a key, and the keys that may hold its ends, whose terms are called its lower and upper end."""
    parts = key.split("/", 2)
    known = terms.get(parts[1], ()) if parts[0] == "failures" and len(parts) == 3 else ()
    matching = [term for term in known if term.matches(parts[2])]
    if not matching:
        return None, []
    best = max(matching, key=lambda term: (not term.key.endswith("*"), len(term.key)))
    ends = []
    for term in matching:
        subject = parts[2][len(term.key) - 1 :] if term.key.endswith("*") else ""
        by_name = {each.name: each.key for each in known}
        pair = [by_name.get(_with_end(term.name, end, by_name)) for end in (_LOWER, _UPPER)]
        if pair[0] and pair[1]:
            low, high = (f"failures/{parts[1]}/{each.removesuffix('*')}{subject}" for each in pair if each)
            ends.append((low, high))
    return best, ends


def _with_end(name: str, end: str, known: Iterable[str]) -> str:
    """The name of the term of an end; it may stand before what the figure is of."""
    return next((each for each in known if end in each and each.replace(end, "") == name), "")


def _figure(
    key: str,
    term: Term | None,
    ends: list[tuple[str, str]],
    last: list[list[dict[str, float]]],
    by_pairs: bool,
    names: dict[str, str],
) -> Figure:
    values = [tuple(run.get(key, math.nan) for run in side) for side in last]
    pairs = [(x, y) for x, y in zip(*values, strict=False) if math.isfinite(x) and math.isfinite(y)]
    known = [[x for x in side if not math.isnan(x)] for side in values]
    if by_pairs and pairs:
        known = [[pair[place] for pair in pairs] for place in (0, 1)]
    interval, method, why = _interval(key, ends, known, last, by_pairs)
    first, second = (fmean(side) for side in known)
    name, group, headline, sign = key, "", False, 0
    if term is not None:
        monitor = key.split("/")[1]
        subject = key.split("/", 2)[2][len(term.key) - 1 :] if term.key.endswith("*") else ""
        group = names[monitor]
        own = "" if monitor == group else f", {monitor}"
        name = f"{term.name}{own}: {subject_in_words(subject)}" if subject else f"{term.name}{own}"
        headline, sign = term.headline, term.sign
    elif key in (users_accuracy([key]), users_loss([key])):
        headline, sign = True, 1 if users_accuracy([key]) else -1
    return Figure(
        key, name, group, headline, sign, first, second, second - first, *interval, method, why, values[0], values[1]
    )


def _interval(
    key: str,
    ends: list[tuple[str, str]],
    known: list[list[float]],
    last: list[list[dict[str, float]]],
    by_pairs: bool,
) -> tuple[Interval, str, str]:
    """The interval of a difference, how it was made, and why there is none."""
    if any(math.isinf(x) for side in known for x in side):
        return UNKNOWN, "", "a value is infinite"
    counts = [len(side) for side in last]
    if min(counts) > 1:
        if min(map(len, known)) < 2:
            return UNKNOWN, "", "fewer than two runs of a side have a value"
        interval = paired(*known) if by_pairs else welch(*known)
        method = "the runs of each side, pair by pair" if by_pairs else "the runs of each side"
        return (interval, method, "") if interval.known else (UNKNOWN, "", "the runs of a side do not differ")
    if counts != [1, 1]:
        return UNKNOWN, "", "one side has a single run"
    (first,), (second,) = known
    for low, high in ends:
        logged = [Interval(side[0].get(low, math.nan), side[0].get(high, math.nan)) for side in last]
        if all(x.known and x.low <= value <= x.high for x, value in zip(logged, (first, second), strict=True)):
            return mover(first, logged[0], second, logged[1]), "the interval that each run logged", ""
    images = _images(key)
    if images:
        shares = [wilson(x, side[0].get(images, math.nan)) for x, side in zip((first, second), last, strict=True)]
        if shares[0].known and shares[1].known:
            return mover(first, shares[0], second, shares[1]), "the number of images of each run", ""
    return UNKNOWN, "", "one run on each side, and no interval was logged of this figure"


def _images(key: str) -> str:
    """The key that counts the images of which a share of right or wrong ones is logged; empty where it is no such."""
    start, _, last = key.rpartition("/")
    if not key.startswith("failures/"):
        return ""
    if last in MEASURED:
        return f"{start}/images"
    return f"{start.removesuffix('/error')}/images/{last}" if start.endswith("/error") else ""


# -- findings


def _findings(
    sides: tuple[Sequence[LoggedRun], Sequence[LoggedRun]],
    last: list[list[dict[str, float]]],
    columns: Sequence[Column],
) -> tuple[FindingChange, ...]:
    standing = [
        [{_identity(f): f for f in reversed(run.record.standing) if f.kind != MONITOR_ERROR} for run in side]
        for side in sides
    ]
    known = {key: f for side in standing for run in side for key, f in run.items()}
    found = []
    for key, finding in known.items():
        counts = [sum(key in run for run in side) for side in standing]
        before, after = (
            tuple(dict.fromkeys(f.cause for run in side if (f := run.get(key)) is not None and f.cause))
            for side in standing
        )
        why = ""
        if not all(counts):
            has, lacks = (0, 1) if counts[0] else (1, 0)
            why = _unexamined(finding, last[has], last[lacks], [run.record for run in sides[lacks]], columns)
        found.append(FindingChange(finding, counts[0], counts[1], before, after, _severities(key, standing), why))
    return tuple(sorted(found, key=lambda each: -SEVERITIES.index(each.finding.severity)))


def _severities(
    key: tuple[str, str, str], standing: list[list[dict[tuple[str, str, str], Finding]]]
) -> tuple[str, str]:
    """The worst severity of a finding on each side."""
    before, after = (
        max((run[key].severity for run in side if key in run), key=SEVERITIES.index, default="") for side in standing
    )
    return before, after


def _identity(finding: Finding) -> tuple[str, str, str]:
    """What makes two findings one: kind and subject, whichever rule raised it; of users' own rules the rule too."""
    return finding.kind, finding.subject, finding.rule if finding.kind == OWN_RULE else ""


def _unexamined(
    finding: Finding,
    has: list[dict[str, float]],
    lacks: list[dict[str, float]],
    records: list[RunRecord],
    columns: Sequence[Column],
) -> str:
    """Why the side without a finding cannot have had it; empty where it examined the same."""
    rule = finding.rule.partition(" (")[0]
    noun = next((column.noun for column in columns if any(each.name == rule for each in column.rules)), None)
    watched = [noun in record.columns.values() for record in records if record.columns]
    if noun is not None and watched and not any(watched):
        return f"no monitor of {noun} watched the other side"
    if finding.subject:
        segment = escape(finding.subject)
        named = [
            any(segment in key.split("/")[2:] for run in side for key in run if key.startswith("failures/"))
            for side in (has, lacks)
        ]
        if named[0] and not named[1]:
            return f"{finding.subject} was not examined on the other side"
    return ""


# -- what a reader must know


def _only(keys: set[str], others: set[str], terms: dict[str, tuple[Term, ...]]) -> dict[str, tuple[str, ...]]:
    """Names that one side has alone, of headline figures that both sides have of other names."""
    found: dict[str, list[str]] = {}
    for name, known in terms.items():
        for term in known:
            pattern = f"failures/{name}/{term.key}"
            if term.headline and term.key.endswith("*") and any(match_key(pattern, key) for key in others):
                own = sorted(subject_in_words(each) for key in keys if (each := match_key(pattern, key)))
                if own:
                    found.setdefault(term.name, []).extend(own)
    return {name: tuple(own) for name, own in found.items()}


def _notes(sides: tuple[Sequence[LoggedRun], Sequence[LoggedRun]], last: list[list[dict[str, float]]]) -> Iterable[str]:
    for run in (*sides[0], *sides[1]):
        yield from run.notes
        if not run.record.evaluations:
            yield f"Nothing was evaluated in {run.record.name}."
    silent = [run.record.name for side in sides for run in side if not run.tells_findings]
    if silent:
        yield f"Findings are not compared: the logs of {', '.join(silent)} hold figures alone."
    epochs = [sorted({run.record.epochs for run in side if run.record.evaluations}) for side in sides]
    if all(epochs) and epochs[0] != epochs[1]:
        yield f"The runs are of unequal length: {_or(epochs[0])} epochs before, {_or(epochs[1])} after."
    kinds = [{run.record.evaluated or "validation" for run in side} for side in sides]
    if kinds[0] != kinds[1]:
        yield f"These are other images: {_or(sorted(kinds[0]))} images before, {_or(sorted(kinds[1]))} images after."
    counted = Counter(key for side in last for run in side for key in run if _counts_all(key))
    images = next((key for key in sorted(counted) if counted[key] == sum(map(len, last))), None)
    if images is not None:
        numbers = [sorted({int(run[images]) for run in side if math.isfinite(run[images])}) for side in last]
        if all(numbers) and numbers[0] != numbers[1]:
            yield f"These are other images: {_or(numbers[0])} before, {_or(numbers[1])} after."


def _counts_all(key: str) -> bool:
    return key in ("failures/collapse/images", "failures/factors/images/all")


def _or(values: Sequence[Any]) -> str:
    return " or ".join(map(str, values))
