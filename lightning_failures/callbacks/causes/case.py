"""One finding of a run, asked for its cause: the figures that a test reads, and what it gives."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from lightning_failures.records.finding import Evidence, Finding
from lightning_failures.records.run_record import RunRecord

__all__ = [
    "ENOUGH",
    "EXCLUDED",
    "INAPPLICABLE",
    "LEAST_GAIN",
    "TOO_MUCH",
    "Case",
    "CauseTest",
    "Tested",
    "experiment_of",
    "experiment_on",
    "figure",
    "gained",
    "mends",
]

#: Evaluations that are looked back for a figure, since not every evaluation examines everything.
BACK = 4

#: Gain, at the lower end of its interval, and share of the gap that undoing a cause must bring so that it explains.
LEAST_GAIN, ENOUGH = 0.05, 0.25

#: Share of the gap from which something else is undone: more than there was to be mended.
TOO_MUCH = 1.5


@dataclass(frozen=True)
class Case:
    """A finding with the record of its run.

    Args:
        finding: that asks for its cause.
        record: of the run so far.
    """

    finding: Finding
    record: RunRecord

    def value(self, key: str) -> float:
        """The newest known value behind ``failures/`` among the last evaluations; nan where there is none."""
        return next(iter(self.values(key)), math.nan)

    def values(self, key: str) -> list[float]:
        """The known values behind ``failures/`` among the last evaluations, the newest first."""
        last = reversed(self.record.evaluations[-BACK:])
        values = [evaluation.values.get(f"failures/{key}", math.nan) for evaluation in last]
        return [value for value in values if not math.isnan(value)]

    def logged(self, key: str) -> bool:
        """Whether a key behind ``failures/`` was logged among the last evaluations, be it as nan."""
        return any(f"failures/{key}" in evaluation.values for evaluation in self.record.evaluations[-BACK:])

    def named(self, pattern: str) -> dict[str, float]:
        """The last known values of keys behind ``failures/`` with a star, by what the star stands for."""
        found = self.record.matching(f"failures/{pattern}")
        return {name: value for name, value in found.items() if not math.isnan(value)}


class Tested(NamedTuple):
    """What the test of one cause gave.

    Args:
        holds: whether it explains the finding.
        why: what was tried and what came of it, in plain words with the figures.
        advice: what to change, in terms of the user's code.
        experiment: figures before and after undoing it; see :class:`.Finding`.
        applies: whether it could explain such a finding at all.
    """

    holds: bool
    why: str = ""
    advice: str = ""
    experiment: Mapping[str, Evidence] = {}
    applies: bool = True

    @property
    def share(self) -> float:
        """Share of the gap that undoing it closes; nan where nothing was undone."""
        share = self.experiment.get("share")
        return math.nan if share is None else float(share)


#: Tested, and not the cause.
EXCLUDED = Tested(holds=False)

#: What the finding tells has nothing to do with it.
INAPPLICABLE = Tested(holds=False, applies=False)


class CauseTest(NamedTuple):
    """A cause that can be tested.

    Args:
        name: one of :data:`.CAUSES`.
        explains: kinds of finding that it can explain.
        test: from a case to what came of it; None where the figures that it needs are not known.
        undoes: whether the test is an experiment, which undoes the cause and sees what that mends. Where such a test
            could not be made, no later cause is named without an experiment of its own.
    """

    name: str
    explains: tuple[str, ...]
    test: Callable[[Case], Tested | None]
    undoes: bool = False


def experiment_of(case: Case, name: str) -> dict[str, Evidence]:
    """The figures of one experiment on validation images, all of one evaluation; empty where it was not made.

    Of the last evaluations it is the newest one that also asked for training images, without which nobody can say how
    much of the gap is closed.

    Args:
        case: that is asked.
        name: of the experiment, such as ``"input_scale"``.
    """
    return _of_one_evaluation(case, "", name, "reached")


def experiment_on(case: Case, family: str, name: str) -> dict[str, Evidence]:
    """The figures of the experiment on images of one kind, likewise; and the accuracy on ``own`` and ``others``.

    Args:
        case: that is asked.
        family: ``"factor"`` or ``"group"``.
        name: of the factor or of the group, as it stands in keys.
    """
    return _of_one_evaluation(case, f"{family}_", name, f"{family}_others/{name}", ("own", "others"))


def _of_one_evaluation(
    case: Case, family: str, name: str, needed: str, more: Sequence[str] = ()
) -> dict[str, Evidence]:
    ends = ("before_low", "before_high", "after_low", "after_high", "gain_low", "gain_low_of_images")
    figures = ("before", "after", *ends, "share", *more)
    for evaluation in reversed(case.record.evaluations[-BACK:]):
        values = {key: evaluation.values.get(f"failures/causes/{family}{key}/{name}", math.nan) for key in figures}
        known = evaluation.values.get(f"failures/causes/{needed}", math.nan)
        if not (math.isnan(values["after"]) or math.isnan(known)):
            return {key: value for key, value in values.items() if not math.isnan(value)}
    return {}


def mends(experiment: Mapping[str, Evidence], enough: float = ENOUGH) -> bool:
    """Whether undoing the cause closes enough of the gap, beyond chance; by images where groups are few.

    Args:
        experiment: its figures.
        enough: share of the gap.
    """
    gain, share = experiment.get("gain_low", experiment.get("gain_low_of_images")), experiment.get("share")
    if gain is None or share is None:
        return False
    return float(gain) > LEAST_GAIN and enough <= float(share) < TOO_MUCH


def figure(experiment: Mapping[str, Evidence], name: str) -> float:
    """One figure of an experiment; nan where it has none."""
    value = experiment.get(name)
    return float(value) if isinstance(value, float | int) else math.nan


def gained(experiment: Mapping[str, Evidence], gap: str = "the gap to training images") -> str:
    """What undoing a cause gave, in words to be said behind "the accuracy".

    Args:
        experiment: its figures.
        gap: of which it has a share, in words.

    Example:
        >>> made = {"before": 0.17, "after": 0.966, "after_low": 0.944, "after_high": 0.979, "share": 0.994}
        >>> gained(made)
        'goes from 0.17 to 0.97 (95% interval 0.94 to 0.98), which closes 99% of the gap to training images'
    """
    figures = {name: float(value) for name, value in experiment.items() if isinstance(value, float | int)}
    said = f"goes from {figures['before']:.2f} to {figures['after']:.2f}"
    if "after_low" in figures and "after_high" in figures:
        said += f" (95% interval {figures['after_low']:.2f} to {figures['after_high']:.2f})"
    if "share" in figures:
        part = "all" if figures["share"] >= 0.995 else f"{figures['share']:.0%}"
        said += f", which closes {part} of {gap}"
    return said
