"""Runs beside the truth about them, by case and network."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from judgement import Judgement, Truth, findings_of, judge, said
from shares import middle, share

__all__ = ["Cell", "JudgedRun", "broken_off", "cells", "judged", "line", "overall"]


class JudgedRun(NamedTuple):
    """One run that ended."""

    record: Mapping[str, Any]
    truth: Truth
    judgement: Judgement

    @property
    def said(self) -> list[str]:
        """What stands at its end, in words."""
        return [said(each) for each in findings_of(self.record) if each.standing and each.severity != "watch"]

    @property
    def right(self) -> bool:
        """Whether all that was said is true, and all that is true was said."""
        if not self.truth.failing:
            return not self.judgement.alarms
        return self.judgement.cause_right and self.judgement.severity_right


class Cell(NamedTuple):
    """The runs of one case and network."""

    case: str
    network: str
    runs: Sequence[JudgedRun]

    def held(self, name: str) -> str:
        """In how many of them something of their :class:`.Judgement` holds."""
        return f"{sum(bool(getattr(run.judgement, name)) for run in self.runs)} of {len(self.runs)}"

    def middle(self, name: str) -> str:
        """Median, least and greatest of a number of their :class:`.Judgement`."""
        return middle(getattr(run.judgement, name) for run in self.runs)

    def mean(self, name: str) -> str:
        """Mean of a number of their records, as far as it is known."""
        known = [run.record[name] for run in self.runs if run.record.get(name) is not None]
        return f"{sum(known) / len(known):.2f}" if known else ""

    def said(self) -> str:
        """What stands at their ends, with the number of runs in which it does."""
        return _counted(text for run in self.runs for text in run.said)

    def false(self, name: str) -> str:
        """False alarms (``alarms``: that stand, ``passing``: that were cleared), with the number of runs."""
        return _counted(text for run in self.runs for text in getattr(run.judgement, name))


def judged(records: Iterable[Mapping[str, Any]], truths: Mapping[str, Truth]) -> list[JudgedRun]:
    """The runs that ended and whose truth is known."""
    ended = [one for one in records if one["case"] in truths and not one.get("crash")]
    return [JudgedRun(one, truths[one["case"]], judge(truths[one["case"]], findings_of(one))) for one in ended]


def cells(runs: Iterable[JudgedRun], cases: Iterable[str]) -> list[Cell]:
    """Runs by case, in the order of the cases, and by network."""
    groups: dict[tuple[str, str], list[JudgedRun]] = {}
    for run in runs:
        groups.setdefault((run.record["case"], run.record["network"]), []).append(run)
    networks = dict.fromkeys(network for _, network in groups)
    there = [(case, network) for case in cases for network in networks if (case, network) in groups]
    return [Cell(*place, groups[place]) for place in there]


def overall(runs: Sequence[JudgedRun]) -> list[str]:
    """Of failing runs: detected, cause right, severity right; of healthy ones: an alarm that stands, that passed."""
    failing = [run.judgement for run in runs if run.truth.failing]
    healthy = [run.judgement for run in runs if not run.truth.failing]
    return [
        share(each.detected for each in failing),
        share(each.cause_right for each in failing),
        share(each.severity_right for each in failing),
        share(bool(each.alarms) for each in healthy),
        share(bool(each.passing) for each in healthy),
    ]


def broken_off(records: Iterable[Mapping[str, Any]]) -> str:
    """A sentence about the runs that broke off; empty where all ended."""
    names = [f"{one['case']} ({one['network']}, seed {one['seed']})" for one in records if one.get("crash")]
    return f"Runs that broke off, and count nowhere: {', '.join(names)}." if names else ""


def line(record: Mapping[str, Any]) -> str:
    """One run that was just done, in one line."""
    seconds = f"{record['case']} ({record['network']}, seed {record['seed']}) {record['cpu_seconds']:.1f} s"
    if record.get("crash"):
        return f"{seconds}: broke off: {record['crash'].strip().splitlines()[-1]}"
    heard = [
        f"{said(each)}, {each.severity}, {each.epoch}{'' if each.standing else f' to {each.cleared}'}"
        for each in findings_of(record)
    ]
    return f"{seconds}: {'; '.join(heard) or 'nothing'}"


def _counted(texts: Iterable[str]) -> str:
    return "; ".join(f"{text} ({count})" for text, count in sorted(Counter(texts).items()))
