"""A comparison in plain words, for the console, the page and JSON alike."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from lightning_failures.records.numbers import number
from lightning_failures.reporting.comparison import Comparison, Figure, FindingChange, beyond_chance
from lightning_failures.reporting.sentences import title
from lightning_failures.version import __version__

__all__ = ["answer", "as_data", "between", "interval", "sentences", "span"]

_MOST = 5  # of what is better and worse on the first screen


def answer(comparison: Comparison) -> str:
    """Whether the change helped, in one sentence."""
    good, bad = _good(comparison), _bad(comparison)
    if good and bad:
        outcomes = {"better": "It helped, but not in every way.", "worse": "It harmed, but not in every way."}
        return outcomes.get(_first(comparison), "It helped in some ways and harmed in others.")
    if good or bad:
        return "It helped." if good else "It harmed."
    if all(each.outcome == "no interval" for each in comparison.figures):
        return "It cannot be told: no figure has an interval."
    return "Nothing changed that can be told from chance."


def sentences(comparison: Comparison) -> list[tuple[str, str]]:
    """The first screen: what is said, and a word before it, such as ``"Worse"``, or none."""
    said = []
    first = comparison.accuracy or comparison.loss
    if first is not None:
        said.append(("", _moved(_first_name(first, comparison), first)))
    else:
        said.append(("", "No accuracy and no validation loss was logged on both sides."))
    if comparison.tells_findings:
        several = len(comparison.before) > 1 or len(comparison.after) > 1
        for word, which in (("Gone", "gone"), ("New", "new"), ("Still there", "still")):
            found = comparison.found(which)  # type: ignore[arg-type]
            said.append((word, _listed(found, comparison if several else None)))
        said += [
            ("Not compared", f"{title(each.finding)}: {each.not_compared}.")
            for each in comparison.found("not compared")
        ]
    for word, outcome in (("Better", "better"), ("Worse", "worse"), ("Changed", "changed")):
        figures = comparison.of(outcome)  # type: ignore[arg-type]
        if figures:
            shown = _gathered([(*each.name.partition(": ")[::2], f" {between(each)}") for each in figures[:_MOST]])
            more = f"; and {len(figures) - _MOST} more" if len(figures) > _MOST else ""
            said.append((word, f"{shown}{more}."))
        elif outcome != "changed":
            said.append((word, f"no {'other ' if first is not None else ''}headline figure, beyond chance."))
    return said + [("Note", text) for text in _notes(comparison)]


def between(figure: Figure) -> str:
    """From what to what a figure moved, with its interval."""
    return f"from {number(figure.before)} to {number(figure.after)} ({span(figure)})"


def span(figure: Figure) -> str:
    """By how much a figure moved, with its interval: ``"+0.05, 95% interval 0.02 to 0.08"``."""
    return f"{_signed(figure.difference)}, {interval(figure)}"


def interval(figure: Figure) -> str:
    """The interval of a difference in words, or that there is none."""
    if figure.outcome == "no interval":
        return "no interval"
    return f"95% interval {number(figure.low)} to {number(figure.high)}"


def as_data(comparison: Comparison) -> dict[str, Any]:
    """The comparison for programs, as plain containers."""

    def finding(each: FindingChange) -> dict[str, Any]:
        return each._asdict() | {"finding": each.finding.to_dict()}

    return {
        "answer": answer(comparison),
        "sentences": [f"{word}: {text}" if word else text for word, text in sentences(comparison)],
        "before": [_run(run) for run in comparison.before],
        "after": [_run(run) for run in comparison.after],
        "paired": comparison.paired,
        "accuracy": None if comparison.accuracy is None else comparison.accuracy.key,
        "findings": {
            which.replace(" ", "_"): [finding(each) for each in comparison.found(which)]
            for which in ("gone", "new", "still", "not compared")
        }
        if comparison.tells_findings
        else None,
        "figures": [each._asdict() | {"outcome": each.outcome} for each in comparison.figures],
        "only_before": comparison.only_before,
        "only_after": comparison.only_after,
        "notes": _notes(comparison),
        "version": __version__,
    }


def _run(run: Any) -> dict[str, Any]:
    return {"name": run.record.name, "source": run.source, "epochs": run.record.epochs}


def _first_name(figure: Figure, comparison: Comparison) -> str:
    images = {run.record.evaluated or "validation" for run in (*comparison.before, *comparison.after)}
    which = images.pop().capitalize() if len(images) == 1 else ""
    return f"{which} {'accuracy' if figure is comparison.accuracy else 'loss'}".strip().capitalize()


def _moved(name: str, figure: Figure) -> str:
    before, after = number(figure.before), number(figure.after)
    if figure.difference == 0:
        return f"{name} is {after}, as before."
    verb = "rose" if figure.difference > 0 else "fell"
    text = f"{name} {verb} from {before} to {after} ({span(figure)})"
    if figure.outcome == "not told apart":
        return f"{text}, which cannot be told from chance."
    if figure.outcome == "no interval":
        return f"{text[:-1]}: {figure.why})."
    return f"{text}."


def _listed(found: Sequence[FindingChange], counted: Comparison | None) -> str:
    if not found:
        return "no finding."
    names = []
    for each in found:
        asides = []
        if counted is not None:
            runs = len(counted.before), len(counted.after)
            asides.append(f"{each.before} of {runs[0]} before, {each.after} of {runs[1]} after")
        if each.before and each.after and set(each.causes_before) != set(each.causes_after):
            asides.append(f"cause before: {_causes(each.causes_before)}, now: {_causes(each.causes_after)}")
        if all(each.severities) and each.severities[0] != each.severities[1]:
            asides.append(f"a {each.severities[0]} before, a {each.severities[1]} now")
        kind = title(replace(each.finding, subject=""))
        names.append((kind, each.finding.subject, f" ({'; '.join(asides)})" if asides else ""))
    return f"{len(found)} finding{'s' * (len(found) != 1)}: {_gathered(names)}."


def _gathered(told: Sequence[tuple[str, str, str]]) -> str:
    """What is told of several things: each kind of thing once, behind it its subjects with what is told of them.

    Example:
        >>> _gathered([("Ratio", "dark", " rose"), ("Accuracy", "", " fell"), ("Ratio", "small", " rose")])
        'Ratio: dark rose, small rose; Accuracy fell'
    """
    kinds: dict[str, list[str]] = {}
    for kind, subject, text in told:
        kinds.setdefault(f"{kind}: " if subject else kind, []).append(subject + text)
    return "; ".join(kind + ", ".join(parts) for kind, parts in kinds.items())


def _causes(names: Sequence[str]) -> str:
    return ", ".join(name.replace("_", " ") for name in names) or "none proven"


def _good(comparison: Comparison) -> bool:
    gone = [each for each in comparison.found("gone") if each.finding.severity != "watch" and _most(each, comparison)]
    return bool(gone or _first(comparison) == "better" or "better" in _surely(comparison))


def _bad(comparison: Comparison) -> bool:
    new = [each for each in comparison.found("new") if each.finding.severity != "watch" and _most(each, comparison)]
    return bool(new or _first(comparison) == "worse" or "worse" in _surely(comparison))


def _most(each: FindingChange, comparison: Comparison) -> bool:
    """Whether a finding that one side has alone stands in more than half of its runs."""
    return 2 * each.before > len(comparison.before) or 2 * each.after > len(comparison.after)


def _surely(comparison: Comparison) -> set[str]:
    """Which ways headline figures moved, beyond the chance of looking at so many."""
    shown = [each for which in ("better", "worse", "changed", "not told apart") for each in comparison.of(which)]
    return {each.outcome for each in beyond_chance(shown)}


def _first(comparison: Comparison) -> str:
    first = comparison.accuracy or comparison.loss
    return "" if first is None else first.outcome


def _notes(comparison: Comparison) -> list[str]:
    notes = list(comparison.notes)
    for side, only in (("before", comparison.only_before), ("after", comparison.only_after)):
        notes += [f"{name}, only {side} the change: {', '.join(own)}." for name, own in only.items()]
    told = [each for each in comparison.figures if each.headline and each.outcome != "no interval"]
    if len(comparison.before) == len(comparison.after) == 1:
        notes.append(
            "One run on each side: intervals are of the choice of images, not of the seed. They take the images of the "
            "two runs as drawn apart, and are wider than need be where these are the same. Runs with other seeds tell "
            "more."
        )
    elif min(len(comparison.before), len(comparison.after)) == 1:
        notes.append("One side has a single run, so that no figure has an interval. Add a run with another seed.")
    if len(told) >= 20:
        notes.append(
            f"{len(told)} headline figures have an interval; about {round(len(told) / 20)} of so many stand out by "
            "chance alone."
        )
    return notes


def _signed(value: float) -> str:
    return f"{'+' if value >= 0 else '-'}{number(abs(value))}"
